//! Why a connection could not be made, in words, and what to do about it: above all when TLS says no.

use std::error::Error;

use rustls::pki_types::ServerName;
use rustls::{CertificateError, InvalidMessage};

use crate::cli::failure::{Exit, Failure};

/// What is known of the server that did not answer.
pub(crate) struct Server<'a> {
    /// Its URL, as people wrote it.
    pub(crate) url: &'a str,
    /// Whether it is this machine.
    pub(crate) loopback: bool,
    /// Whether `http` was asked for.
    pub(crate) plain: bool,
}

/// The refusal for an error of the connection.
pub(crate) fn refused(server: &Server<'_>, error: &(dyn Error + 'static)) -> Failure {
    let url = server.url;
    let failure = |why: &str| Failure::new(Exit::Unreachable, format!("`{url}` cannot be reached: {why}"));
    if let Some(tls) = of_tls(error) {
        let (why, hint) = in_words(tls, url);
        return failure(&why).hint(hint);
    }
    let why = causes(error);
    let silent =
        ["connection closed before message completed", "connection reset", "invalid HTTP version", "broken pipe"];
    let lower = why.to_lowercase();
    if server.plain && silent.iter().any(|word| lower.contains(&word.to_lowercase())) {
        return failure("it ended the connection without an answer")
            .hint("does it take https? try https:// in its URL");
    }
    if server.loopback {
        failure(&why)
            .hint("is the server running? `valetkey dev` starts one; --server or VALETKEY_SERVER names another")
    } else {
        failure(&why).hint("--server or VALETKEY_SERVER names the server")
    }
}

/// What TLS has to do with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tls {
    /// Nobody that is trusted here signed the certificate.
    Untrusted,
    /// Something else.
    Other,
}

/// Whether it was TLS that said no.
pub(crate) fn tls(error: &(dyn Error + 'static)) -> Option<Tls> {
    Some(match of_tls(error)? {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            Tls::Untrusted
        }
        _ => Tls::Other,
    })
}

/// The deepest cause says most; what only repeats it is left out.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// What TLS said, wherever it is among the causes.
fn of_tls<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // What an error of the system's kind holds is not among its sources.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(inner) = inner {
            let inner: &(dyn Error + 'static) = inner;
            if let Some(found) = of_tls(inner) {
                return Some(found);
            }
        }
        next = error.source();
    }
    None
}

/// Where the page is that says how to make a certificate.
const PAGE: &str = "docs/tls.md says how to make one";

fn in_words(error: &rustls::Error, url: &str) -> (String, String) {
    let trust = "--ca-cert-file FILE, or SSL_CERT_FILE, trusts a certificate authority of your own";
    let (why, hint) = match error {
        rustls::Error::InvalidCertificate(why) => of_certificate(why, trust),
        rustls::Error::NoCertificatesPresented => ("it showed no certificate".to_owned(), PAGE.to_owned()),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            let plain = url.replacen("https://", "http://", 1);
            ("it does not speak TLS on that port".to_owned(), format!("does it take plain http? try {plain}"))
        }
        rustls::Error::AlertReceived(alert) => (
            format!("it refused the TLS handshake ({alert:?})"),
            "is there a proxy that wants a certificate, or another host's name?".to_owned(),
        ),
        rustls::Error::PeerIncompatible(_) => (
            "it speaks no version of TLS, or no cipher, that is safe (TLS 1.2 or newer)".to_owned(),
            "the server, or what stands in front of it, has to be set up again".to_owned(),
        ),
        other => (format!("TLS failed: {other}"), trust.to_owned()),
    };
    (why, hint)
}

fn of_certificate(why: &CertificateError, trust: &str) -> (String, String) {
    let renew = "the server takes a new one as soon as its file is replaced".to_owned();
    match why {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            ("nobody that is trusted here signed its certificate".to_owned(), trust.to_owned())
        }
        CertificateError::Expired => ("its certificate has ended".to_owned(), renew),
        CertificateError::ExpiredContext { not_after, .. } => {
            let at = i64::try_from(not_after.as_secs()).ok().and_then(|secs| jiff::Timestamp::from_second(secs).ok());
            let at = at.map_or_else(String::new, |at| format!(", at {at}"));
            (format!("its certificate has ended{at}"), renew)
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            ("its certificate does not count yet".to_owned(), "is this machine's clock right?".to_owned())
        }
        CertificateError::NotValidForName => {
            ("its certificate is for another host".to_owned(), named("the host in the URL"))
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let host = match expected {
                ServerName::DnsName(name) => name.as_ref().to_owned(),
                ServerName::IpAddress(address) => std::net::IpAddr::from(*address).to_string(),
                _ => "that host".to_owned(),
            };
            let of = if presented.is_empty() {
                "for no host by name (it has no subjectAltName)".to_owned()
            } else {
                format!("for {}, not for {host}", presented.join(", "))
            };
            (format!("its certificate is {of}"), named(&host))
        }
        CertificateError::Revoked => ("its certificate was revoked".to_owned(), renew),
        other => {
            let said = format!("{other:?}");
            if said.contains("CaUsedAsEndEntity") {
                let why = "its certificate is that of a certificate authority (`CA:TRUE`), which no server may show";
                (why.to_owned(), format!("sign one for the server with it; {PAGE}"))
            } else {
                (format!("its certificate cannot be used ({other})"), trust.to_owned())
            }
        }
    }
}

fn named(host: &str) -> String {
    format!("use a name that it is for, or make one for {host}; {PAGE}")
}
