//! Syslog messages (RFC 5424): as datagrams, or over TCP with their length before them (RFC 6587, octet counting).

use std::io::ErrorKind;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UdpSocket, UnixDatagram};
use tokio::time::timeout;

use super::destination::{Destination, Line, Taken};

/// How long a connection, or a batch of messages, may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Facility 13 (log audit), severity 6 (informational).
const PRIORITY: u32 = 13 * 8 + 6;

/// A longer message does not fit a datagram of UDP (65,507 bytes), with room for its head.
const DATAGRAM: usize = 65_000;

/// A longer message is none that a relay would take over TCP: most take some kilobytes unless they are set to more.
const STREAMED: usize = 1 << 20;

/// Where messages go.
pub(crate) enum Syslog {
    Unix(String),
    Udp(String),
    Tcp(String, Option<TcpStream>),
}

impl Syslog {
    /// Reads the setting; nothing where it is empty.
    pub(crate) fn parse(text: &str) -> Result<Option<Self>, String> {
        let is_address = |rest: &str| {
            rest.rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
        };
        match text.split_once(':') {
            None if text.is_empty() => Ok(None),
            Some(("unix", path)) if path.starts_with('/') => Ok(Some(Self::Unix(path.to_owned()))),
            Some(("udp", rest)) if is_address(rest) => Ok(Some(Self::Udp(rest.to_owned()))),
            Some(("tcp", rest)) if is_address(rest) => Ok(Some(Self::Tcp(rest.to_owned(), None))),
            Some(_) | None => Err(format!(
                "is `{}`; it is written `unix:/dev/log`, `udp:HOST:PORT` or `tcp:HOST:PORT`",
                valetkey_core::name::shortened(text)
            )),
        }
    }
}

fn message(line: &Line, most: usize) -> String {
    let text = if line.text.len() > most { line.short().text } else { line.text.clone() };
    format!("<{PRIORITY}>1 {:.3} - valetkey {} audit - {text}", line.at, std::process::id())
}

#[async_trait]
impl Destination for Syslog {
    fn name(&self) -> &'static str {
        "syslog"
    }

    async fn send(&mut self, lines: &[Line]) -> anyhow::Result<Taken> {
        let sending = async {
            match self {
                Self::Unix(path) => {
                    let socket = UnixDatagram::unbound()?;
                    socket.connect(&*path).with_context(|| format!("{path} cannot be reached"))?;
                    for line in lines {
                        socket.send(message(line, DATAGRAM).as_bytes()).await?;
                    }
                }
                Self::Udp(to) => {
                    let to = tokio::net::lookup_host(&*to).await?.next().context("the name has no address")?;
                    let own = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                    let socket = UdpSocket::bind(own).await?;
                    socket.connect(to).await?;
                    for line in lines {
                        socket.send(message(line, DATAGRAM).as_bytes()).await?;
                    }
                }
                Self::Tcp(to, kept) => {
                    let mut stream = match kept.take() {
                        Some(stream) if !is_closed(&stream) => stream,
                        Some(_) | None => TcpStream::connect(&*to).await?,
                    };
                    let framed = |line| {
                        let message = message(line, STREAMED);
                        format!("{} {message}", message.len())
                    };
                    stream.write_all(lines.iter().map(framed).collect::<String>().as_bytes()).await?;
                    stream.flush().await?;
                    *kept = Some(stream);
                }
            }
            anyhow::Ok(Taken::All)
        };
        timeout(PATIENCE, sending).await.context("it took too long")?
    }
}

/// How often is read of what the other side says, before a line is sent.
const MOST_READS: usize = 64;

/// Whether the other side has ended: what is written then is lost without a word.
fn is_closed(stream: &TcpStream) -> bool {
    // What it says is of no use, however much it is: its end stands behind it.
    let mut said = [0; 4096];
    let ended = (0..MOST_READS).find_map(|_| match stream.try_read(&mut said) {
        Ok(0) => Some(true),
        Ok(_) => None,
        Err(error) => Some(error.kind() != ErrorKind::WouldBlock),
    });
    // One that never stops talking is begun anew.
    ended.unwrap_or(true) || stream.take_error().is_ok_and(|error| error.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_read_or_refused() {
        for text in ["unix:/dev/log", "udp:127.0.0.1:514", "tcp:[::1]:601", "tcp:relay.example:601"] {
            assert!(Syslog::parse(text).unwrap().is_some(), "{text}");
        }
        assert!(Syslog::parse("").unwrap().is_none());
        for text in ["/dev/log", "unix:log", "udp:host", "udp::514", "tcp:host:0", "tls:host:6514", "tcp:host:port"] {
            assert!(Syslog::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_does_not_fit_a_datagram_is_named() {
        let line =
            Line { id: "57.3".into(), at: "2026-01-31T12:00:00.123Z".parse().unwrap(), text: "x".repeat(70_000) };
        let head = format!("<110>1 2026-01-31T12:00:00.123Z - valetkey {} audit - ", std::process::id());
        let short = message(&line, DATAGRAM);
        assert!(short.starts_with(&head) && short.contains(r#""uid":"57.3""#) && short.len() < 400, "{short}");
        assert_eq!(message(&line, usize::MAX).len(), head.len() + 70_000);
    }
}
