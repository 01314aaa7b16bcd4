//! TLS from certificate files, read again when they change.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use valetkey_core::time::Clock;

use crate::node::validity::{self, Validity};

/// A certificate and its key, as they are on disk now.
#[derive(Clone)]
pub(crate) struct Tls {
    cert: PathBuf,
    key: PathBuf,
    is_http_2: bool,
    config: Arc<ArcSwap<ServerConfig>>,
    clock: Arc<dyn Clock>,
}

/// What the files hold.
struct Loaded {
    config: ServerConfig,
    /// Of the whole chain: clients refuse the server's own certificate also for one that stands behind it.
    validity: Validity,
    /// Why clients may refuse it.
    doubts: Option<String>,
}

/// Refuses a certificate that does not count now.
fn counts(cert: &Path, validity: Validity, clock: &dyn Clock) -> anyhow::Result<()> {
    let (now, Validity { from, until }) = (clock.now(), validity);
    if now < from {
        bail!("the certificate {}, or one of its chain, counts from {from} on, which is not yet", cert.display());
    }
    if now >= until {
        bail!("the certificate {}, or one of its chain, ended at {until}", cert.display());
    }
    Ok(())
}

/// Says what of a certificate most clients refuse, though a server can be run with it.
fn doubts(cert: &Path, chain: &[CertificateDer<'static>]) -> Option<String> {
    // Basic constraints (RFC 5280, section 4.2.1.9): the OID, perhaps critical, then `cA TRUE`.
    let is_authority = |der: &[u8]| {
        let oid = [0x06, 0x03, 0x55, 0x1d, 0x13];
        let behind = der.windows(oid.len()).position(|window| window == oid).and_then(|at| der.get(at + oid.len()..));
        let behind = behind.map(|rest| rest.strip_prefix(&[0x01, 0x01, 0xff]).unwrap_or(rest));
        // An octet string with a sequence in it, each with a length of one byte.
        behind.and_then(|rest| rest.get(4..7)).is_some_and(|value| value == [0x01, 0x01, 0xff])
    };
    chain.first().filter(|own| is_authority(own)).map(|_| {
        format!(
            "the certificate {} is that of a certificate authority (CA:TRUE), which clients refuse as a server's own; docs/tls.md says how to make one",
            cert.display()
        )
    })
}

/// Shows when the certificate that is served ends, as a Unix time.
fn told(cert: &Path, validity: Validity) {
    #[expect(clippy::cast_precision_loss, reason = "seconds are exact far beyond any certificate's end")]
    let end = validity.until.as_second() as f64;
    metrics::gauge!("vk_certificate_end_timestamp_seconds", "file" => cert.display().to_string()).set(end);
}

impl Tls {
    /// Reads the files; nothing if none are configured. HTTP/2 is offered only if it is served. A certificate that does not count now is told, and served: whoever
    /// checks it goes away, and whoever does not can still end a key.
    pub(crate) fn read(
        cert: &Path,
        key: &Path,
        is_http_2: bool,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Option<Self>> {
        if cert.as_os_str().is_empty() {
            return Ok(None);
        }
        let Loaded { config, validity, doubts } = load(cert, key, is_http_2)?;
        if let Some(doubts) = doubts {
            tracing::warn!("{doubts}");
        }
        if let Err(error) = counts(cert, validity, &*clock) {
            tracing::error!("{error:#}; it is served all the same, and read again when it changes");
        }
        told(cert, validity);
        let config = Arc::new(ArcSwap::from_pointee(config));
        Ok(Some(Self { cert: cert.to_owned(), key: key.to_owned(), is_http_2, config, clock }))
    }

    /// Whether the files can be used now, and why clients may refuse them all the same.
    pub(crate) fn check(cert: &Path, key: &Path, clock: &dyn Clock) -> anyhow::Result<Option<String>> {
        if cert.as_os_str().is_empty() {
            return Ok(None);
        }
        let Loaded { config: _, validity, doubts } = load(cert, key, false)?;
        counts(cert, validity, clock)?;
        Ok(doubts)
    }

    /// The files to watch.
    pub(crate) fn files(&self) -> [&Path; 2] {
        [&self.cert, &self.key]
    }

    /// Reads the files again; on an error, or if it does not count now, the old certificate stays.
    pub(crate) fn reload(&self) -> anyhow::Result<()> {
        let Loaded { config, validity, doubts: _ } = load(&self.cert, &self.key, self.is_http_2)?;
        counts(&self.cert, validity, &*self.clock)?;
        self.config.store(Arc::new(config));
        told(&self.cert, validity);
        Ok(())
    }

    /// What a new connection is accepted with.
    pub(crate) fn acceptor(&self) -> tokio_rustls::TlsAcceptor {
        self.config.load_full().into()
    }
}

fn load(cert: &Path, key: &Path, is_http_2: bool) -> anyhow::Result<Loaded> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(cert)
        .with_context(|| format!("{} cannot be read", cert.display()))?
        .collect::<Result<_, _>>()
        .with_context(|| format!("{} is not a PEM certificate chain", cert.display()))?;
    let dates: Option<Vec<Validity>> = chain.iter().map(|one| validity::of(one)).collect();
    let validity = dates.and_then(Validity::of_all);
    let validity =
        validity.with_context(|| format!("{} has no certificate whose dates can be read", cert.display()))?;
    let doubts = doubts(cert, &chain);
    let key_der =
        PrivateKeyDer::from_pem_file(key).with_context(|| format!("{} is not a PEM private key", key.display()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key_der)
        .with_context(|| format!("{} and {} do not go together", cert.display(), key.display()))?;
    let offered: &[&[u8]] = if is_http_2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
    config.alpn_protocols = offered.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Loaded { config, validity, doubts })
}

#[cfg(test)]
mod tests {
    use valetkey_testkit::clock::FixedClock;

    use super::*;

    /// A certificate and its key.
    fn certificate(from: i32, until: i32) -> (String, String) {
        let mut parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(from, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        (parameters.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn a_chain_counts_no_longer_than_each_certificate_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key_file) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let (own, key) = certificate(2020, 2040);
        std::fs::write(&key_file, key).unwrap();
        let clock = FixedClock::default();
        let year = clock.now().to_zoned(jiff::tz::TimeZone::UTC).year().into();
        for (from, until, said) in
            [(2020, 2040, None), (2020, year, Some("ended at")), (year + 1, 2040, Some("which is not yet"))]
        {
            std::fs::write(&cert, [own.clone(), certificate(from, until).0].concat()).unwrap();
            let checked = Tls::check(&cert, &key_file, &clock);
            let told = checked.as_ref().err().map(|error| format!("{error:#}"));
            assert_eq!(told.is_some(), said.is_some(), "{told:?}");
            assert!(said.is_none_or(|said| told.unwrap().contains(said)), "{from} {until}");
            let loaded = load(&cert, &key_file, false).unwrap().validity;
            assert_eq!(loaded.until.to_zoned(jiff::tz::TimeZone::UTC).year(), i16::try_from(until.min(2040)).unwrap());
        }
    }
}
