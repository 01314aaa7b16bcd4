//! A server's address as settings hold it: `https://s3.example.com`. The one parser of all that are shown to clients or compared.

use crate::name::shortened;

/// The longest one, in bytes.
const MOST_BYTES: usize = 512;

/// Whether an address may have a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PathRule {
    /// A host, maybe a port, and nothing else.
    None,
    /// Also a path, as some stores have their account there.
    Allowed,
}

/// Reads an address, and writes it the one way there is: the scheme and the host in lower case, without the scheme's own port, without a
/// dot at the host's end and without a slash at the end.
///
/// # Errors
/// What is wrong with it. SECURITY: one with a user in it is not repeated.
pub fn parse(text: &str, path: PathRule) -> Result<Box<str>, String> {
    let refused = |why: &str| Err(format!("`{}` is not an address (`https://s3.example.com`): {why}", shortened(text)));
    if text.contains('@') {
        return Err("an address has no user and no password in it".to_owned());
    }
    if text.len() > MOST_BYTES || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return refused("it has a space, or something that is not ASCII, or is too long");
    }
    if text.contains(['?', '#', '\\']) {
        return refused("it has a query, a fragment or a backslash");
    }
    let Some((scheme, rest)) = text.split_once("://") else { return refused("it starts with https:// or http://") };
    let scheme = scheme.to_ascii_lowercase();
    let own_port = match scheme.as_str() {
        "https" => "443",
        "http" => "80",
        _ => return refused("it starts with https:// or http://"),
    };
    let (authority, below) = rest.split_once('/').unwrap_or((rest, ""));
    let below = below.trim_end_matches('/');
    if !below.is_empty() && path == PathRule::None {
        return refused("it has a path");
    }
    let (host, port) = match authority.rsplit_once(':') {
        // The colons of an IPv6 address are inside of its brackets.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        Some(_) | None => (authority, None),
    };
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    if !is_host(&host) {
        return refused("it has no host, or one that cannot be");
    }
    let port = match port {
        None | Some("") => String::new(),
        Some(port) if port == own_port => String::new(),
        Some(port)
            if port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0) =>
        {
            format!(":{port}")
        }
        Some(_) => return refused("its port is not a number from 1 to 65535"),
    };
    let below = if below.is_empty() { String::new() } else { format!("/{below}") };
    Ok(format!("{scheme}://{host}{port}{below}").into())
}

fn is_host(host: &str) -> bool {
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let label =
        |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    host.len() <= 253 && host.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_one_way() {
        for (text, wanted) in [
            ("https://s3.example.com", "https://s3.example.com"),
            ("HTTPS://S3.Example.COM.:443/", "https://s3.example.com"),
            ("http://127.0.0.1:80//", "http://127.0.0.1"),
            ("http://[::1]:7071", "http://[::1]:7071"),
            ("https://h:80", "https://h:80"),
            ("https://h:", "https://h"),
        ] {
            assert_eq!(parse(text, PathRule::None).unwrap().as_ref(), wanted, "{text}");
        }
        assert_eq!(parse("http://H:10000/Account/", PathRule::Allowed).unwrap().as_ref(), "http://h:10000/Account");
    }

    #[test]
    fn what_is_more_than_an_address_is_refused_and_a_secret_not_repeated() {
        for text in [
            "",
            "s3.example.com",
            "ftp://h",
            "https://",
            "https://:1",
            "https://h/x",
            "https://h?x",
            "https://h/?x",
            "https://h#x",
            "https:// h",
            "https://h h",
            "https://h\n",
            "https://h:0",
            "https://h:65536",
            "https://h:x",
            "https://h:+1",
            "https://a..b",
            "https://é.example",
            "https://[::1",
            "https://[x]",
            "https:/h",
            "s3://h",
            "https://h\\x",
        ] {
            assert!(parse(text, PathRule::None).is_err(), "{text:?}");
        }
        let said = parse("https://user:s3cret@h", PathRule::Allowed).unwrap_err();
        assert!(!said.contains("s3cret"), "{said}");
        assert!(parse("https://h/a?b", PathRule::Allowed).is_err());
    }
}
