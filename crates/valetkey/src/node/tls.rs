//! TLS from certificate files, read again when they change.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate and its key, as they are on disk now.
#[derive(Clone)]
pub(crate) struct Tls {
    cert: PathBuf,
    key: PathBuf,
    config: Arc<ArcSwap<ServerConfig>>,
}

impl Tls {
    /// Reads the files; nothing if none are configured.
    pub(crate) fn read(cert: &Path, key: &Path) -> anyhow::Result<Option<Self>> {
        if cert.as_os_str().is_empty() {
            return Ok(None);
        }
        let config = Arc::new(ArcSwap::from_pointee(load(cert, key)?));
        Ok(Some(Self { cert: cert.to_owned(), key: key.to_owned(), config }))
    }

    /// The files to watch.
    pub(crate) fn files(&self) -> [&Path; 2] {
        [&self.cert, &self.key]
    }

    /// Reads the files again; on an error the old certificate stays.
    pub(crate) fn reload(&self) -> anyhow::Result<()> {
        self.config.store(Arc::new(load(&self.cert, &self.key)?));
        Ok(())
    }

    /// What a new connection is accepted with.
    pub(crate) fn acceptor(&self) -> tokio_rustls::TlsAcceptor {
        self.config.load_full().into()
    }
}

fn load(cert: &Path, key: &Path) -> anyhow::Result<ServerConfig> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(cert)
        .with_context(|| format!("{} cannot be read", cert.display()))?
        .collect::<Result<_, _>>()
        .with_context(|| format!("{} is not a PEM certificate chain", cert.display()))?;
    let key_der =
        PrivateKeyDer::from_pem_file(key).with_context(|| format!("{} is not a PEM private key", key.display()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key_der)
        .with_context(|| format!("{} and {} do not go together", cert.display(), key.display()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
