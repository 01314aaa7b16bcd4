//! Who stands in front of this server, and on whose behalf it asks: `X-Forwarded-For`, or the PROXY protocol.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use http::HeaderMap;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt};

/// A range of addresses, as a setting.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Network(valetkey_core::network::Network);

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        valetkey_core::network::Network::parse(&text).map(Self)
    }
}

impl Network {
    fn holds(self, address: IpAddr) -> bool {
        self.0.holds(address)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Those whose word is taken.
#[derive(Clone)]
pub(crate) struct Proxies(Arc<[Network]>);

impl Proxies {
    /// These are trusted.
    pub(crate) fn new(trusted: &[Network]) -> Self {
        Self(trusted.into())
    }

    /// Nobody is trusted.
    pub(crate) fn none() -> Self {
        Self::new(&[])
    }

    /// Whether an address is one of a trusted proxy.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.holds(address))
    }

    /// Who asks. SECURITY: each proxy adds on the right whom it heard it from; so from there on as far as the proxies are ours,
    /// and not one step further: what stands left of the first stranger, that stranger wrote.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer;
        if self.0.is_empty() || !self.trusts(peer) {
            return client;
        }
        for value in headers.get_all("x-forwarded-for").iter().rev() {
            // An entry that is no address ends the chain, and what others wrote left of it does not matter. Whoever the chain ends at
            // may be a proxy: then nobody said whose address is the client's.
            for entry in value.as_bytes().rsplit(|byte| *byte == b',') {
                let Some(address) = address_of(entry) else { return client };
                client = address;
                if !self.trusts(client) {
                    return client;
                }
            }
        }
        client
    }
}

/// An address, which some proxies write with a port.
fn address_of(entry: &[u8]) -> Option<IpAddr> {
    let entry = std::str::from_utf8(entry).ok()?.trim();
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    let parsed = bare.parse::<IpAddr>().or_else(|_| entry.parse::<std::net::SocketAddr>().map(|address| address.ip()));
    parsed.ok().map(|address| address.to_canonical())
}

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The most bytes of what follows a header's fixed part. Proxies send some hundred.
const MOST: usize = 4096;

/// Reads a header of the PROXY protocol, version 2 (`proxy-protocol.txt` of `HAProxy`, section 2.2): on whose behalf the connection
/// was made; nothing if on the proxy's own.
pub(super) async fn read_header(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<IpAddr>> {
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut fixed = [0; 16];
    stream.read_exact(&mut fixed).await?;
    let [.., command, family, high, low] = fixed;
    if !fixed.starts_with(&SIGNATURE) {
        return Err(wrong("it does not begin with a header of the PROXY protocol, version 2"));
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > MOST {
        return Err(wrong("its header is too long"));
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    match command {
        0x20 => return Ok(None),
        0x21 => {}
        _ => return Err(wrong("its header is of another version or command")),
    }
    // The source is first, then the destination, then both ports.
    let source = match family {
        0x11 => rest.first_chunk::<4>().filter(|_| length >= 12).map(|bytes| IpAddr::V4(Ipv4Addr::from(*bytes))),
        0x21 => rest.first_chunk::<16>().filter(|_| length >= 36).map(|bytes| IpAddr::V6(Ipv6Addr::from(*bytes))),
        _ => None,
    };
    let source = source.ok_or_else(|| wrong("its header names no address of a TCP connection"))?;
    Ok(Some(source.to_canonical()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        Network::try_from(text.to_owned()).unwrap()
    }

    fn client(trusted: &[&str], peer: &str, forwarded: &[&str]) -> String {
        let trusted: Vec<Network> = trusted.iter().map(|text| network(text)).collect();
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        Proxies::new(&trusted).client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn whom_a_trusted_proxy_names_is_who_asks_and_what_a_client_wrote_is_not() {
        let ours = ["10.0.0.0/8", "2001:db8::/32"];
        for (peer, forwarded, wanted) in [
            ("10.0.0.1", &["203.0.113.7"][..], "203.0.113.7"),
            ("10.0.0.1", &["1.1.1.1, 203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", &["1.1.1.1", "203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", &["1.1.1.1, 203.0.113.7, 10.2.3.4"], "203.0.113.7"),
            ("10.0.0.1", &["1.1.1.1, 203.0.113.7", "10.2.3.4,10.2.3.5"], "203.0.113.7"),
            ("::ffff:10.0.0.1", &["203.0.113.7:4711"], "203.0.113.7"),
            ("2001:db8::1", &["[2001:db9::7]"], "2001:db9::7"),
            ("2001:db8::1", &["[2001:db9::7]:443"], "2001:db9::7"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.7, unknown, 10.2.3.4"], "10.2.3.4"),
            ("10.0.0.1", &["203.0.113.7, "], "10.0.0.1"),
            ("10.0.0.1", &["10.9.9.9"], "10.9.9.9"),
            // What is no text is what its writer is: nobody whom a proxy named.
            ("10.0.0.1", &["\u{ff}, 203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", &["203.0.113.7, \u{ff}"], "10.0.0.1"),
            // Who is no proxy of ours speaks for nobody else.
            ("203.0.113.9", &["198.51.100.1"], "203.0.113.9"),
        ] {
            assert_eq!(client(&ours, peer, forwarded), wanted.parse::<IpAddr>().unwrap().to_canonical().to_string());
        }
        assert_eq!(client(&[], "10.0.0.1", &["203.0.113.7"]), "10.0.0.1", "nobody is trusted unless it is said");
    }

    #[test]
    fn ranges_are_read_exactly_or_refused() {
        let holds = |text: &str, address: &str| network(text).holds(address.parse().unwrap());
        assert!(holds("10.0.0.0/8", "10.255.0.1") && !holds("10.0.0.0/8", "11.0.0.0"));
        assert!(holds("192.0.2.1", "192.0.2.1") && !holds("192.0.2.1", "192.0.2.2"));
        assert!(holds("0.0.0.0/0", "203.0.113.7") && !holds("0.0.0.0/0", "2001:db8::1"));
        assert!(holds("::/0", "2001:db8::1") && !holds("::/0", "203.0.113.7"));
        assert!(holds("10.0.0.0/8", "::ffff:10.1.1.1"));
        assert_eq!(network("2001:db8::/32").to_string(), "2001:db8::/32");
        for bad in [
            "",
            "10",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.1/8",
            "::1/64",
            "a/8",
            "10.0.0.0/8/8",
            "::ffff:10.0.0.0/104",
        ] {
            assert!(Network::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap();
        [&SIGNATURE[..], &[command, family], &length.to_be_bytes(), rest].concat()
    }

    #[tokio::test]
    async fn the_proxy_protocol_says_who_asks() {
        let v4 = [203, 0, 113, 7, 10, 0, 0, 1, 0x12, 0x34, 0x01, 0xbb];
        let v6 = [&[0x20, 0x01, 0x0d, 0xb9], &[0; 11][..], &[7], &[0; 16], &[0x12, 0x34, 0x01, 0xbb]].concat();
        let with_more = [&v4[..], &[0x04, 0, 1, 0]].concat();
        for (bytes, wanted) in [
            (header(0x21, 0x11, &v4), Some("203.0.113.7")),
            (header(0x21, 0x11, &with_more), Some("203.0.113.7")),
            (header(0x21, 0x21, &v6), Some("2001:db9::7")),
            (header(0x20, 0x00, &[]), None),
        ] {
            let sent = [&bytes[..], b"GET"].concat();
            let mut stream = &sent[..];
            let client = read_header(&mut stream).await.unwrap();
            assert_eq!(client.map(|client| client.to_string()).as_deref(), wanted);
            assert_eq!(stream, b"GET", "not a byte more is read");
        }
        for bad in [
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.7 10.0.0.1 1 2\r\n".to_vec(),
            header(0x21, 0x11, &v4[..11]),
            header(0x21, 0x12, &v4),
            header(0x21, 0x00, &[]),
            header(0x22, 0x11, &v4),
            header(0x11, 0x11, &v4),
            header(0x21, 0x11, &[0; 5000]),
            header(0x21, 0x11, &v4)[..20].to_vec(),
        ] {
            assert!(read_header(&mut &bad[..]).await.is_err(), "{}", bad.escape_ascii());
        }
    }
}
