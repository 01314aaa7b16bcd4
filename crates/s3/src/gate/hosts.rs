//! The hosts that the endpoint answers to: which of their labels is a bucket's name, and for which a token was signed.

use valetkey_core::id::AccountId;

/// Stands in a host for the account's id in hexadecimal.
const ACCOUNT: &str = "{account}.";

/// The hosts that the endpoint answers to.
#[derive(Debug)]
pub(crate) struct Hosts {
    /// In front of these a bucket's name may stand.
    domains: Box<[Box<str>]>,
    /// The same for Cloudflare R2's form of a host; with the account's id as one more label, or without.
    r2: Box<[Form]>,
}

#[derive(Debug)]
struct Form {
    account: bool,
    rest: Box<str>,
}

/// A host, taken apart.
struct Parts<'h> {
    bucket: Option<&'h str>,
    /// Without the bucket's label, with the port.
    endpoint: &'h str,
    account: Option<AccountId>,
}

/// What stands in front of a domain; nothing if the name is not in it.
fn in_front<'h>(name: &'h str, domain: &str) -> Option<&'h str> {
    let (front, back) = name.split_at_checked(name.len().checked_sub(domain.len())?)?;
    if !back.eq_ignore_ascii_case(domain) {
        return None;
    }
    if front.is_empty() { Some(front) } else { front.strip_suffix('.') }
}

/// A configured host without what changes nothing: a slash or a dot at its end, a scheme's default port.
fn settled(host: &str) -> &str {
    let host = host.trim().trim_end_matches('/');
    let host = [":443", ":80"].into_iter().find_map(|port| host.strip_suffix(port)).unwrap_or(host);
    host.trim_end_matches('.')
}

/// The host without its port, and without the dot of a whole name.
fn without_port(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.trim_end_matches('.')
}

impl Hosts {
    pub(crate) fn new(domains: &[String], r2: Vec<String>) -> Self {
        let form = |host: String| match settled(&host).strip_prefix(ACCOUNT) {
            Some(rest) => Form { account: true, rest: rest.into() },
            None => Form { account: false, rest: settled(&host).into() },
        };
        Self {
            domains: domains.iter().map(|domain| settled(domain).into()).collect(),
            r2: r2.into_iter().map(form).collect(),
        }
    }

    fn parts<'h>(&self, host: &'h str) -> Parts<'h> {
        let name = without_port(host);
        let after = |bucket: &str| host.get(bucket.len() + 1..).unwrap_or(host);
        for form in &self.r2 {
            let Some(front) =
                in_front(name, without_port(&form.rest)).filter(|front| !front.is_empty() || !form.account)
            else {
                continue;
            };
            if !form.account {
                let bucket = Some(front).filter(|front| !front.is_empty());
                return Parts { bucket, endpoint: bucket.map_or(host, after), account: None };
            }
            let (bucket, account) = match front.rsplit_once('.') {
                Some((bucket, account)) => (Some(bucket), account),
                None => (None, front),
            };
            if let Some(account) = AccountId::from_hex(&account.to_ascii_lowercase()) {
                return Parts { bucket, endpoint: bucket.map_or(host, after), account: Some(account) };
            }
        }
        let bucket = self.domains.iter().find_map(|domain| in_front(name, domain).filter(|front| !front.is_empty()));
        Parts { bucket, endpoint: bucket.map_or(host, after), account: None }
    }

    /// The bucket that a host names in front of one of ours.
    pub(crate) fn bucket<'h>(&self, host: &'h str) -> Option<&'h str> {
        self.parts(host).bucket
    }

    /// Whether a host is not another account's.
    pub(crate) fn serves(&self, host: &str, account: AccountId) -> bool {
        self.parts(host).account.is_none_or(|named| named == account)
    }

    /// Whether what was signed for `audience` may be used at `host`: it is the host without its bucket, or one of those that were
    /// configured as ours.
    pub(crate) fn is_for(&self, audience: &str, host: &str, account: AccountId) -> bool {
        let ours = |form: &Form| {
            if !form.account {
                return form.rest.eq_ignore_ascii_case(audience);
            }
            let own = audience.split_once('.').filter(|(front, _)| *front == account.as_hex());
            own.is_some_and(|(_, rest)| form.rest.eq_ignore_ascii_case(rest))
        };
        self.parts(host).endpoint.eq_ignore_ascii_case(audience) || self.r2.iter().any(ours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "0123456789abcdef0123456789abcdef";

    fn hosts() -> Hosts {
        let r2 = ["{account}.r2.example.com", "{account}.eu.r2.example.com", "r2.localhost:9000"];
        Hosts::new(&["s3.localhost".to_owned()], r2.map(str::to_owned).to_vec())
    }

    #[test]
    fn the_bucket_stands_in_front() {
        for (host, bucket) in [
            ("s3.localhost:9000", None),
            ("lake.s3.localhost:9000", Some("lake")),
            ("a.b.S3.localhost", Some("a.b")),
            ("lake-s3.localhost", None),
            ("127.0.0.1:9000", None),
            ("r2.localhost:9000", None),
            ("lake.r2.localhost:9000", Some("lake")),
            ("r2.example.com", None),
            ("lake.r2.example.com", None),
            (&format!("{A}.r2.example.com"), None),
            (&format!("lake.{A}.r2.example.com:443"), Some("lake")),
            (&format!("a.b.{A}.eu.r2.example.com"), Some("a.b")),
            ("é.s3.localhost", Some("é")),
        ] {
            assert_eq!(hosts().bucket(host), bucket, "{host}");
        }
    }

    #[test]
    fn a_token_is_for_the_host_it_is_used_at_or_for_one_of_ours() {
        let account = AccountId::from_hex(A).unwrap();
        for (audience, host, good) in [
            ("127.0.0.1:9000", "127.0.0.1:9000", true),
            ("127.0.0.1", "127.0.0.1:9000", false),
            ("s3.localhost:9000", "lake.s3.localhost:9000", true),
            ("lake.s3.localhost:9000", "lake.s3.localhost:9000", false),
            (&format!("{A}.r2.example.com"), &format!("lake.{A}.r2.example.com"), true),
            (&format!("{A}.r2.example.com"), "127.0.0.1:9000", true),
            (&format!("{A}.eu.r2.example.com"), "127.0.0.1:9000", true),
            (&format!("{A}.us.r2.example.com"), "127.0.0.1:9000", false),
            (&format!("{}.r2.example.com", A.replace('0', "1")), "127.0.0.1:9000", false),
            ("r2.example.com", "127.0.0.1:9000", false),
            ("r2.localhost:9000", "127.0.0.1:9000", true),
            ("", "127.0.0.1:9000", false),
            ("elsewhere.com", "127.0.0.1:9000", false),
        ] {
            assert_eq!(hosts().is_for(audience, host, account), good, "{audience} at {host}");
        }
        assert!(hosts().serves(&format!("lake.{A}.r2.example.com"), account));
        assert!(!hosts().serves(&format!("lake.{A}.r2.example.com"), AccountId::from_bytes([9; 16])));
        assert!(hosts().serves("127.0.0.1", account));
    }
}
