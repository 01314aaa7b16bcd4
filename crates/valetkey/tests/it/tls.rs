//! TLS from files, and the files changing under it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};

use crate::process::{Server, answered, ran, valetkey};

/// Writes a new self-signed certificate for 127.0.0.1 and gives its PEM.
fn certify(dir: &Path) -> String {
    certify_for(dir, (1975, 2090))
}

/// The same, counting from the beginning of a year to that of another.
fn certify_for(dir: &Path, (from, until): (i32, i32)) -> String {
    let mut parameters = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    parameters.not_before = rcgen::date_time_ymd(from, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(until, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let made = parameters.self_signed(&key).unwrap();
    fs::write(dir.join("key.pem"), key.serialize_pem()).unwrap();
    fs::write(dir.join("cert.pem"), made.pem()).unwrap();
    made.pem()
}

/// A server whose API has the certificate of a directory.
fn serving(dir: &Path, data: &Path) -> Command {
    let mut command = valetkey(&["server", "run", "--data-dir", data.to_str().unwrap(), "--output", "json"]);
    command
        .args(["--api-listen", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0"])
        .env("VALETKEY_API__TLS_CERT_FILE", dir.join("cert.pem"))
        .env("VALETKEY_API__TLS_KEY_FILE", dir.join("key.pem"));
    command
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
    answered(&mut valetkey(&["server", "init", "--data-dir", data.to_str().unwrap(), "--output", "json"]));
    let server = Server::start(&mut serving(dir.path(), &data));
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

#[tokio::test]
async fn a_certificate_that_does_not_count_now_does_not_replace_one_that_does() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let good = certify(dir.path());
    let said = answered(&mut valetkey(&["server", "init", "--data-dir", data.to_str().unwrap(), "--output", "json"]));
    let operator = said["operator_token"].as_str().unwrap();
    let server = Server::start(&mut serving(dir.path(), &data));
    let client = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(good.as_bytes()).unwrap()])
        .build()
        .unwrap();
    let url = format!("{}/metrics", server.api());
    let figures = async || client.get(&url).bearer_auth(operator).send().await.unwrap().text().await.unwrap();
    let end = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("vk_certificate_end_timestamp_seconds{")).unwrap();
        line.rsplit(' ').next().unwrap().to_owned()
    };
    assert_eq!(end(&figures().await), "3786912000");
    for years in [(1975, 1976), (2089, 2090)] {
        certify_for(dir.path(), years);
        server.signal("HUP");
        let failed =
            async { while !figures().await.contains("vk_reload_successful{what=\"certificate of the API\"} 0") {} };
        tokio::time::timeout(Duration::from_secs(20), failed).await.unwrap();
        assert!(lives(server.api(), &good).await, "{years:?}");
        assert_eq!(end(&figures().await), "3786912000");
    }
    server.stop();
}

#[tokio::test]
async fn the_end_of_the_s3_endpoints_certificate_is_a_figure_too() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    certify_for(dir.path(), (2020, 2040));
    let said = answered(&mut valetkey(&["server", "init", "--data-dir", data.to_str().unwrap(), "--output", "json"]));
    let operator = said["operator_token"].as_str().unwrap();
    let mut command = valetkey(&["server", "run", "--data-dir", data.to_str().unwrap(), "--output", "json"]);
    command.args(["--api-listen", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0"]);
    for (name, file) in [("CERT", "cert.pem"), ("KEY", "key.pem")] {
        command.env(format!("VALETKEY_S3__TLS_{name}_FILE"), dir.path().join(file));
    }
    let server = Server::start(&mut command);
    let figures = reqwest::Client::new().get(format!("{}/metrics", server.api())).bearer_auth(operator).send();
    let figures = figures.await.unwrap().text().await.unwrap();
    let line = figures.lines().find(|line| line.starts_with("vk_certificate_end_timestamp_seconds{")).unwrap();
    assert!(line.contains("cert.pem") && line.ends_with(" 2208988800"), "{line}");
    server.stop();
}

#[test]
fn a_check_of_the_configuration_reads_the_dates() {
    let dir = tempfile::tempdir().unwrap();
    let check = || {
        let output = ran(valetkey(&["server", "check-config"])
            .env("VALETKEY_API__TLS_CERT_FILE", dir.path().join("cert.pem"))
            .env("VALETKEY_API__TLS_KEY_FILE", dir.path().join("key.pem")));
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    certify(dir.path());
    assert_eq!(check().0, Some(0));
    for (years, said) in
        [((1975, 1976), "ended at 1976-01-01T00:00:00Z"), ((2089, 2090), "counts from 2089-01-01T00:00:00Z")]
    {
        certify_for(dir.path(), years);
        let (code, stderr) = check();
        assert!(code != Some(0) && stderr.contains(said), "{code:?} {stderr}");
    }
}

/// What a client that takes these protocols, by preference, comes to speak.
async fn spoken(url: &str, trusted: &str, protocols: &[&[u8]]) -> std::io::Result<Option<String>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut client = client.with_root_certificates(roots).with_no_client_auth();
    client.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let stream = tokio::net::TcpStream::connect(url.strip_prefix("https://").unwrap()).await?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let stream = tokio_rustls::TlsConnector::from(Arc::new(client)).connect(name, stream).await?;
    Ok(stream.get_ref().1.alpn_protocol().map(|protocol| String::from_utf8_lossy(protocol).into_owned()))
}

#[tokio::test]
async fn the_s3_endpoint_offers_http_2_only_where_it_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    answered(&mut valetkey(&["server", "init", "--data-dir", data.to_str().unwrap(), "--output", "json"]));
    for (http2, preferred) in [(false, "http/1.1"), (true, "h2")] {
        let trusted = certify(dir.path());
        let mut command = serving(dir.path(), &data);
        command
            .env("VALETKEY_S3__TLS_CERT_FILE", dir.path().join("cert.pem"))
            .env("VALETKEY_S3__TLS_KEY_FILE", dir.path().join("key.pem"));
        let server = Server::start(command.env("VALETKEY_S3__HTTP2", http2.to_string()));
        let s3 = server.ready["s3"].as_str().unwrap();
        let both: &[&[u8]] = &[b"h2", b"http/1.1"];
        assert_eq!(spoken(s3, &trusted, both).await.unwrap().as_deref(), Some(preferred));
        assert_eq!(spoken(server.api(), &trusted, both).await.unwrap().as_deref(), Some("h2"));
        assert_eq!(spoken(s3, &trusted, &[]).await.unwrap(), None);
        assert_eq!(spoken(s3, &trusted, &[b"h2"]).await.is_ok(), http2, "no word of its own would be understood");
        // It stays so with another certificate.
        let second = certify(dir.path());
        server.signal("HUP");
        let taken_up = async {
            loop {
                if let Ok(spoken) = spoken(s3, &second, both).await {
                    break spoken;
                }
            }
        };
        let spoken = tokio::time::timeout(Duration::from_secs(20), taken_up).await.unwrap();
        assert_eq!(spoken.as_deref(), Some(preferred));
        server.stop();
    }
}

/// Runs the commands of the page on making a certificate.
fn as_the_page_says(dir: &Path) {
    let page = include_str!("../../../../docs/tls.md");
    let commands = page.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let made = Command::new("sh").args(["-e", "-c", commands]).current_dir(dir).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[test]
fn the_page_makes_a_certificate_that_clients_trust_and_refusals_are_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let (own, data) = (dir.path(), dir.path().join("data"));
    as_the_page_says(own);
    let said = answered(&mut valetkey(&["server", "init", "--data-dir", data.to_str().unwrap(), "--output", "json"]));
    let operator = said["operator_token"].as_str().unwrap().to_owned();
    let serve_at = |address: &str, cert: &str, key: &str| {
        let mut command = valetkey(&["server", "run", "--data-dir", data.to_str().unwrap(), "--output", "json"]);
        command.args(["--api-listen", address, "--s3-listen", "127.0.0.1:0"]);
        command.env("VALETKEY_API__TLS_CERT_FILE", own.join(cert)).env("VALETKEY_API__TLS_KEY_FILE", own.join(key));
        Server::start(&mut command)
    };
    let serve = |cert: &str, key: &str| serve_at("127.0.0.1:0", cert, key);
    let ask = |server: &str, trusted: Option<&str>| {
        let mut command = valetkey(&["whoami", "--server", server]);
        command.env("VALETKEY_TOKEN", &operator);
        if let Some(file) = trusted {
            command.env("VALETKEY_CA_CERT_FILE", own.join(file));
        }
        let done = ran(&mut command);
        (done.status.code().unwrap(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    let server = serve("server.pem", "server.key");
    let (api, s3) = (server.api().to_owned(), server.ready["s3"].as_str().unwrap().to_owned());
    assert_eq!(ask(&api, Some("ca.pem")), (0, String::new()));
    let port = api.rsplit(':').next().unwrap();
    for (url, trusted, words, hint) in [
        (api.clone(), None, "nobody that is trusted here signed its certificate", "--ca-cert-file FILE"),
        (format!("http://127.0.0.1:{port}"), None, "it takes TLS on that port", "use https://127.0.0.1"),
        (
            s3.replace("http://", "https://"),
            Some("ca.pem"),
            "it does not speak TLS on that port",
            "try http://127.0.0.1",
        ),
    ] {
        let (code, said) = ask(&url, trusted);
        assert_eq!(code, 8, "{url}: {said}");
        assert!(said.contains(words) && said.contains(hint), "{url}: {said}");
    }
    let (code, said) = ask(&api, Some("server.key"));
    assert!(code == 1 && said.contains("server.key` holds no certificate that can be read"), "{code} {said}");
    server.stop();
    let server = serve_at("127.0.0.2:0", "server.pem", "server.key");
    let (code, said) = ask(server.api(), Some("ca.pem"));
    assert!(code == 8 && said.contains("not for 127.0.0.2") && said.contains("docs/tls.md"), "{code} {said}");
    server.stop();
    // An authority's certificate as the server's own: told when it is read, and to who meets it.
    let server = serve("ca.pem", "ca.key");
    let (code, said) = ask(server.api(), Some("ca.pem"));
    assert!(code == 8 && said.contains("certificate authority") && said.contains("docs/tls.md"), "{code} {said}");
    assert!(server.stop().contains("(CA:TRUE), which clients refuse"));
    certify_for(own, (1975, 1976));
    let server = serve("cert.pem", "key.pem");
    let (code, said) = ask(server.api(), Some("cert.pem"));
    assert!(code == 8 && said.contains("its certificate has ended"), "{code} {said}");
    server.stop();
}
