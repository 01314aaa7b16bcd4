//! The shared access signature itself: what is signed, and the query that carries it.
//!
//! After "Create a user delegation SAS" and "Create a service SAS" (Azure Storage REST API) for service version 2023-11-03.
//! There is no `st`: a signature holds from the moment the service sees it, so that a clock of ours that is ahead does no harm.

use aws_lc_rs::hmac;
use data_encoding::BASE64;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use valetkey_core::Secret;

use crate::azure::scope::{Compiled, Resource};

/// The version of the service that is signed for and asked.
pub(super) const VERSION: &str = "2023-11-03";

/// What stays as it is in the query's values: what the service's own libraries leave.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// A user delegation key, as the service gave it.
#[derive(Clone, Debug)]
pub(super) struct DelegationKey {
    pub(super) oid: String,
    /// Of which tenant.
    pub(super) tid: String,
    /// From when it signs, as the service wrote it.
    pub(super) start: String,
    /// Until when, as the service wrote it.
    pub(super) expiry: String,
    pub(super) service: String,
    pub(super) version: String,
    /// Until when, as an instant.
    pub(super) expires: Timestamp,
    /// The key.
    pub(super) value: Secret<Vec<u8>>,
}

/// What signs.
pub(super) enum Signer<'a> {
    /// A key delegated by a user; its signatures carry an id that the service writes into its logs.
    Delegated(&'a DelegationKey, &'a str),
    /// The account's own key.
    Account(&'a Secret<Vec<u8>>),
}

/// Over which connections a signature is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Protocol {
    /// Only TLS.
    HttpsOnly,
    /// Any: the endpoint itself has no TLS.
    Any,
}

/// An instant as the service writes it.
pub(super) fn written(instant: Timestamp) -> String {
    instant.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Signs: the query, without a question mark.
pub(super) fn sign(
    account: &str,
    compiled: &Compiled,
    protocol: Protocol,
    expires: Timestamp,
    signer: &Signer<'_>,
) -> Secret<String> {
    let Compiled { container, resource, permissions, narrowed: _ } = compiled;
    let permissions = permissions.to_string();
    let expiry = written(expires);
    let (kind, path, depth) = match resource {
        Resource::Container => ("c", format!("/blob/{account}/{container}"), None),
        Resource::Blob(name) => ("b", format!("/blob/{account}/{container}/{name}"), None),
        Resource::Directory(name, depth) => ("d", format!("/blob/{account}/{container}/{name}"), Some(*depth)),
    };
    let protocol = match protocol {
        Protocol::HttpsOnly => "https",
        Protocol::Any => "",
    };
    let mut lines = vec![&*permissions, "", &*expiry, &*path];
    let key = match signer {
        Signer::Delegated(key, correlation) => {
            let DelegationKey { oid, tid, start, expiry, service, version, expires: _, value } = key;
            // Behind the version: who is authorised or not by POSIX rights (nobody said), and the id for the logs.
            lines.extend([&**oid, tid, start, expiry, service, version, "", "", correlation]);
            value
        }
        Signer::Account(key) => {
            // The name of a stored access policy.
            lines.push("");
            *key
        }
    };
    // Addresses; then snapshot, encryption scope and five headers of answers after the resource.
    lines.extend(["", protocol, VERSION, kind, "", "", "", "", "", "", ""]);
    let signing = hmac::Key::new(hmac::HMAC_SHA256, key.reveal());
    let signature = BASE64.encode(hmac::sign(&signing, lines.join("\n").as_bytes()).as_ref());

    let mut query = String::with_capacity(512);
    let mut put = |name: &str, value: &str| {
        if !value.is_empty() {
            let start = if query.is_empty() { "" } else { "&" };
            query.extend([start, name, "="]);
            query.extend(utf8_percent_encode(value, KEPT));
        }
    };
    put("se", &expiry);
    put("sp", &permissions);
    put("spr", protocol);
    put("sv", VERSION);
    put("sr", kind);
    if let Some(depth) = depth {
        put("sdd", &depth.to_string());
    }
    if let Signer::Delegated(key, correlation) = signer {
        put("scid", correlation);
        put("skoid", &key.oid);
        put("sktid", &key.tid);
        put("skt", &key.start);
        put("ske", &key.expiry);
        put("sks", &key.service);
        put("skv", &key.version);
    }
    put("sig", &signature);
    Secret::new(query)
}

#[cfg(test)]
mod tests {
    use valetkey_core::credential::{AzureSas, Credential};
    use valetkey_core::name::BucketName;
    use valetkey_core::port::SignedUrls as _;
    use valetkey_core::scope::{Action, Actions, Path, Paths, Rights};

    use super::*;
    use crate::azure::Namespace;
    use crate::azure::scope::compile;
    use crate::azure::urls::{Key, Of, Urls};

    // Every expected query below was made by Microsoft's own libraries for Python, azure-storage-blob 12.19.0 and
    // azure-storage-file-datalake 12.14.0 (service version 2023-11-03), of the same keys, instants and names.

    fn key() -> DelegationKey {
        DelegationKey {
            oid: "11111111-1111-1111-1111-111111111111".into(),
            tid: "22222222-2222-2222-2222-222222222222".into(),
            start: "2025-12-31T23:45:00Z".into(),
            expiry: "2026-01-02T00:00:00Z".into(),
            service: "b".into(),
            version: VERSION.into(),
            expires: "2026-01-02T00:00:00Z".parse().unwrap(),
            value: Secret::new((0..32).collect()),
        }
    }

    fn compiled(paths: Paths, actions: Actions) -> Compiled {
        let scope = Rights::of(BucketName::parse("lake").unwrap(), paths, actions).unwrap();
        compile(&scope, Namespace::Hierarchical).unwrap()
    }

    fn only(path: Path) -> Paths {
        Paths::only([path]).unwrap()
    }

    fn signed(compiled: &Compiled, protocol: Protocol, signer: &Signer<'_>) -> String {
        let expires = "2026-01-01T01:00:00Z".parse().unwrap();
        sign("lakeaccount", compiled, protocol, expires, signer).reveal().clone()
    }

    const CORRELATION: &str = "33333333-3333-4333-8333-333333333333";
    const DELEGATED: &str = "skoid=11111111-1111-1111-1111-111111111111&sktid=22222222-2222-2222-2222-222222222222\
        &skt=2025-12-31T23%3A45%3A00Z&ske=2026-01-02T00%3A00%3A00Z&sks=b&skv=2023-11-03";

    #[test]
    fn a_delegated_signature_is_the_one_of_microsofts_library() {
        let key = key();
        let with = |paths, actions, correlation| {
            signed(&compiled(paths, actions), Protocol::HttpsOnly, &Signer::Delegated(&key, correlation))
        };
        assert_eq!(
            with(Paths::Whole, Actions::READ_WRITE, ""),
            format!(
                "se=2026-01-01T01%3A00%3A00Z&sp=racwdl&spr=https&sv=2023-11-03&sr=c&{DELEGATED}\
                 &sig=1Ullun9VY8g2P9udjXSNcGuo5UzmsRw1kPqiORGhwqA%3D"
            )
        );
        assert_eq!(
            with(Paths::Whole, Actions::READ, CORRELATION),
            format!(
                "se=2026-01-01T01%3A00%3A00Z&sp=rl&spr=https&sv=2023-11-03&sr=c&scid={CORRELATION}&{DELEGATED}\
                 &sig=afetDe7vcSIdPoy6kdVw8uo7F9zhl0y9VjaPRuGu7u8%3D"
            )
        );
        let name = "jobs/Grüße $1 %2F+'\"x.parquet";
        assert_eq!(
            with(only(Path::object(name.as_bytes()).unwrap()), Actions::of(&[Action::GetObject]), CORRELATION),
            format!(
                "se=2026-01-01T01%3A00%3A00Z&sp=r&spr=https&sv=2023-11-03&sr=b&scid={CORRELATION}&{DELEGATED}\
                 &sig=955AO2wHPcE9LoHTqmh4OI1Aj1RxyELoxmoMRwWe0JI%3D"
            )
        );
        assert_eq!(
            with(only(Path::directory(b"jobs/daily").unwrap()), Actions::READ, CORRELATION),
            format!(
                "se=2026-01-01T01%3A00%3A00Z&sp=rl&spr=https&sv=2023-11-03&sr=d&sdd=2&scid={CORRELATION}&{DELEGATED}\
                 &sig=obvxATPU20gvFy6MLOfg7MPzXtKyW8WVotYj0RA4FQo%3D"
            )
        );
    }

    #[test]
    fn a_url_has_a_signature_of_its_blob_alone_under_the_credentials_own_id() {
        let expiration = "2026-01-01T01:00:00Z".parse().unwrap();
        let sas_token = Secret::new(format!("se=x&sp=rl&sr=d&sdd=1&scid={CORRELATION}&sig=x"));
        let credential = Credential::Azure(AzureSas { sas_token, expiration });
        let jobs = only(Path::directory(b"jobs").unwrap());
        let rights = Rights::of(BucketName::parse("lake").unwrap(), jobs, Actions::READ).unwrap();
        let of = Of { account: "lakeaccount", namespace: Namespace::Hierarchical, protocol: Protocol::HttpsOnly };
        let place = ("https://lakeaccount.blob.core.windows.net", &rights);
        let urls = Urls::new(of, place, &credential, Key::Delegated(key()), expiration);
        let url = urls.url("jobs/Grüße $1 %2F+'\"x.parquet".as_bytes()).unwrap();
        assert_eq!(
            url.reveal(),
            &format!(
                "https://lakeaccount.blob.core.windows.net/lake/jobs/Gr%C3%BC%C3%9Fe%20%241%20%252F%2B%27%22x.parquet?\
                 se=2026-01-01T01%3A00%3A00Z&sp=r&spr=https&sv=2023-11-03&sr=b&scid={CORRELATION}&{DELEGATED}\
                 &sig=955AO2wHPcE9LoHTqmh4OI1Aj1RxyELoxmoMRwWe0JI%3D"
            )
        );
        for outside in ["jobs-secret/a", "x"] {
            assert!(urls.url(outside.as_bytes()).is_err(), "{outside}");
        }
    }

    #[test]
    fn a_signature_of_the_account_is_the_one_of_microsofts_library() {
        let key = Secret::new((0..64).collect::<Vec<u8>>());
        let with = |paths, actions, protocol| signed(&compiled(paths, actions), protocol, &Signer::Account(&key));
        assert_eq!(
            with(Paths::Whole, Actions::READ, Protocol::HttpsOnly),
            "se=2026-01-01T01%3A00%3A00Z&sp=rl&spr=https&sv=2023-11-03&sr=c\
             &sig=5EREqmNLhRxtLdIHZgO29RqA59pZf7cMI%2BWxh84Fa6c%3D"
        );
        // In a tree nobody is given the `d` of one object.
        let scope =
            Rights::of(BucketName::parse("lake").unwrap(), only(Path::object(b"a/b").unwrap()), Actions::READ_WRITE);
        let flat = compile(&scope.unwrap(), Namespace::Flat).unwrap();
        assert_eq!(
            signed(&flat, Protocol::Any, &Signer::Account(&key)),
            "se=2026-01-01T01%3A00%3A00Z&sp=racwd&sv=2023-11-03&sr=b\
             &sig=rfpwZbEWpu0/S0rTHidxAiPgwLH34ELAHOVF2OX%2Byks%3D"
        );
        assert_eq!(
            with(only(Path::directory(b"a/b/c").unwrap()), Actions::READ_WRITE, Protocol::HttpsOnly),
            "se=2026-01-01T01%3A00%3A00Z&sp=racwdl&spr=https&sv=2023-11-03&sr=d&sdd=3\
             &sig=ccN7zo84lNdSs8Apxrhhwmr93PQW/DVXDhJLXskkHcE%3D"
        );
    }

    #[test]
    fn what_signs_is_not_shown() {
        let shown = format!("{:?}", key());
        assert!(shown.contains("[secret]") && !shown.contains("[0, 1"), "{shown}");
    }
}
