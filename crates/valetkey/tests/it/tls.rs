//! TLS from files, and the files changing under it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::process::{Server, answered, valetkey};

/// Writes a new self-signed certificate for 127.0.0.1 and gives its PEM.
fn certify(dir: &Path) -> String {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
    made.cert.pem()
}

async fn lives(url: &str, trusted: &str) -> bool {
    let client = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(trusted.as_bytes()).unwrap()])
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap();
    client.get(format!("{url}/livez")).send().await.is_ok_and(|answer| answer.status().is_success())
}

#[tokio::test]
async fn a_changed_certificate_is_taken_up() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let first = certify(dir.path());
    let data = data.to_str().unwrap();
    answered(&mut valetkey(&["server", "init", "--data-dir", data, "--output", "json"]));
    let server = Server::start(
        valetkey(&[
            "server",
            "run",
            "--data-dir",
            data,
            "--api-listen",
            "127.0.0.1:0",
            "--s3-listen",
            "127.0.0.1:0",
            "--output",
            "json",
        ])
        .env("VALETKEY_API__TLS_CERT_FILE", dir.path().join("cert.pem"))
        .env("VALETKEY_API__TLS_KEY_FILE", dir.path().join("key.pem")),
    );
    assert!(server.api().starts_with("https://"));
    assert!(lives(server.api(), &first).await);
    let second = certify(dir.path());
    server.signal("HUP");
    // The signal is taken up between two connections; each try is a new one.
    let taken_up = async { while !lives(server.api(), &second).await {} };
    tokio::time::timeout(Duration::from_secs(20), taken_up).await.unwrap();
    assert!(!lives(server.api(), &first).await);
    server.stop();
}
