//! Who may ask: a browser that was led here, another user of the machine, and a request that passed a proxy may not.

use std::net::SocketAddr;

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::{HeaderMap, Request, StatusCode};
use valetkey_core::Secret;

/// More sockets than this in the kernel's list, and nobody is known by it.
const MAX_LIST_BYTES: u64 = 32 * 1024 * 1024;

/// Where a connection came from.
#[derive(Clone, Copy, Debug)]
pub(super) enum From {
    /// Over loopback.
    Port {
        /// Our end of it.
        own: SocketAddr,
        /// Theirs.
        peer: SocketAddr,
    },
    /// Over the socket in the agent's directory, from a process of this user.
    Socket {
        /// That user.
        uid: u32,
    },
}

/// Why a request is not served.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    pub(super) why: &'static str,
}

const fn refused(status: StatusCode, why: &'static str) -> Refused {
    Refused { status, why }
}

/// Refuses what no SDK sends.
///
/// SECURITY: a page in a browser can reach loopback, by a name of its own that resolves to it; what it sends has that name as `Host`.
pub(super) fn sound<B>(request: &Request<B>, from: From) -> Result<(), Refused> {
    let headers = request.headers();
    if headers.contains_key(ORIGIN) || headers.contains_key("sec-fetch-site") {
        return Err(refused(StatusCode::FORBIDDEN, "this is not for browsers"));
    }
    if headers.contains_key("x-forwarded-for") || headers.contains_key("forwarded") {
        return Err(refused(StatusCode::FORBIDDEN, "this is not for requests that passed a proxy"));
    }
    let From::Port { own, .. } = from else { return Ok(()) };
    let strange = refused(StatusCode::FORBIDDEN, "the request is for another host");
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok()).ok_or_else(|| strange.clone())?;
    let target = request.uri().authority().map(http::uri::Authority::as_str);
    if hosts.next().is_some() || !is_own(host, own) || target.is_some_and(|target| !is_own(target, own)) {
        return Err(strange);
    }
    Ok(())
}

/// Whether a `Host` names our end of the connection.
fn is_own(host: &str, own: SocketAddr) -> bool {
    let host = host.to_ascii_lowercase();
    let without_port = |name: &str| own.port() == 80 && host == name;
    let named = |name: &str| host == format!("{name}:{}", own.port()) || without_port(name);
    let address = match own {
        SocketAddr::V4(own) => own.ip().to_string(),
        SocketAddr::V6(own) => format!("[{}]", own.ip()),
    };
    named(&address)
        || (own.ip().is_loopback() && named("localhost"))
        || (address == "169.254.169.254" && named("metadata.google.internal"))
}

/// Whether a request shows a secret, in one of the headers that SDKs send one in.
pub(super) fn shows(headers: &HeaderMap, secret: &Secret<String>) -> bool {
    let is_it = |text: &str| secret.ct_eq(text);
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    header(AUTHORIZATION.as_str()).is_some_and(|text| is_it(text.strip_prefix("Bearer ").unwrap_or(text)))
        || header("x-identity-header").is_some_and(is_it)
        || header("secret").is_some_and(is_it)
}

/// Whether the other end belongs to the user that the agent runs as.
///
/// SECURITY: the metadata services' own protocols have no secret. Where the kernel does not say whose a connection is, it is nobody's.
pub(super) fn is_ours(from: From) -> bool {
    match from {
        From::Socket { uid } => uid == own_user(),
        From::Port { own, peer } => owner(peer, own) == Some(own_user()),
    }
}

/// Whether the other end belongs to another user, for certain.
pub(super) fn is_anothers(from: From) -> bool {
    match from {
        From::Socket { uid } => uid != own_user(),
        From::Port { own, peer } => owner(peer, own).is_some_and(|uid| uid != own_user()),
    }
}

/// The user this process runs as.
pub(super) fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The user whose socket is connected from `peer` to `own`, on this machine.
fn owner(peer: SocketAddr, own: SocketAddr) -> Option<u32> {
    use std::io::Read as _;
    let list = if peer.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
    let mut text = String::new();
    std::fs::File::open(list).ok()?.take(MAX_LIST_BYTES).read_to_string(&mut text).ok()?;
    listed(&text, &as_listed(peer), &as_listed(own))
}

/// The owner in the kernel's list of the connection between two addresses. Established ones alone have one.
fn listed(list: &str, local: &str, remote: &str) -> Option<u32> {
    list.lines().skip(1).find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let is_it = words.next() == Some(local) && words.next() == Some(remote) && words.next() == Some("01");
        if is_it { words.nth(3)?.parse().ok() } else { None }
    })
}

/// An address as the kernel lists it: words of the machine's own byte order, in hexadecimal.
fn as_listed(address: SocketAddr) -> String {
    let word = |bytes: &[u8]| {
        <[u8; 4]>::try_from(bytes).map_or_else(|_| String::new(), |bytes| format!("{:08X}", u32::from_ne_bytes(bytes)))
    };
    let host: String = match address {
        SocketAddr::V4(address) => word(&address.ip().octets()),
        SocketAddr::V6(address) => address.ip().octets().chunks(4).map(word).collect(),
    };
    format!("{host}:{:04X}", address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> SocketAddr {
        "127.0.0.1:7073".parse().unwrap()
    }

    fn port() -> From {
        From::Port { own: own(), peer: "127.0.0.1:40000".parse().unwrap() }
    }

    fn asked(headers: &[(&str, &str)]) -> Result<(), Refused> {
        let mut request = Request::builder().uri("/container");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        sound(&request.body(()).unwrap(), port())
    }

    #[test]
    fn a_host_that_is_not_ours_is_refused() {
        for host in ["127.0.0.1:7073", "localhost:7073", "LOCALHOST:7073"] {
            assert_eq!(asked(&[("host", host)]), Ok(()), "{host}");
        }
        for host in ["rebound.example:7073", "127.0.0.1", "127.0.0.1:80", "127.0.0.2:7073", "", "169.254.169.254"] {
            assert!(asked(&[("host", host)]).is_err(), "{host}");
        }
        assert!(asked(&[]).is_err());
        assert!(asked(&[("host", "127.0.0.1:7073"), ("host", "rebound.example")]).is_err());
        let absolute = Request::builder().uri("http://rebound.example/x").header("host", "127.0.0.1:7073");
        assert!(sound(&absolute.body(()).unwrap(), port()).is_err());
    }

    #[test]
    fn browsers_and_proxies_are_refused() {
        for odd in ["origin", "sec-fetch-site", "x-forwarded-for", "forwarded"] {
            assert!(asked(&[("host", "127.0.0.1:7073"), (odd, "x")]).is_err(), "{odd}");
        }
    }

    #[test]
    fn a_secret_is_shown_whole_or_not_at_all() {
        let secret = Secret::new("abc".to_owned());
        let shown = |name: &'static str, value: &'static str| {
            shows(&HeaderMap::from_iter([(http::HeaderName::from_static(name), value.parse().unwrap())]), &secret)
        };
        assert!(
            shown("authorization", "abc") && shown("authorization", "Bearer abc") && shown("x-identity-header", "abc")
        );
        for wrong in ["", "ab", "abcd", "Basic abc", "abc "] {
            assert!(!shown("authorization", wrong), "{wrong}");
        }
        assert!(!shown("x-other", "abc"));
    }

    #[test]
    fn the_kernels_list_says_whose_a_connection_is() {
        let list = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                    0: 0100007F:1BA1 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 5 1\n\
                    1: 0100007F:9C40 0100007F:1BA1 01 00000000:00000000 00:00000000 00000000  1001        0 6 1\n\
                    2: 0100007F:9C41 0100007F:1BA1 06 00000000:00000000 00:00000000 00000000  1000        0 0 1\n";
        let of = |peer: &str| listed(list, peer, "0100007F:1BA1");
        assert_eq!(of("0100007F:9C40"), Some(1001));
        assert_eq!(of("0100007F:9C41"), None, "one that is over is nobody's");
        assert_eq!(of("0100007F:9C42"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_connection_of_this_process_is_its_users() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = std::net::TcpListener::bind(address) else { continue };
            let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (peer, own) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
            assert_eq!(owner(peer, own), Some(own_user()));
            assert!(is_ours(From::Port { own, peer }));
            assert_eq!(owner(own, "127.0.0.1:1".parse().unwrap()), None);
        }
    }
}
