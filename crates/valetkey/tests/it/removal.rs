//! What is removed while a request with its key is under way: the request is refused, though it began before.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use reqsign_aws_v4::{Credential, RequestSigner};
use reqsign_core::{Context, SignRequest as _};
use serde_json::Value;

use crate::process::{Server, answered, ran, valetkey};

struct Rig {
    server: Server,
    dir: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { server: Server::dev(dir.path()), dir }
    }

    /// Runs a command as the demo's operator.
    fn admin(&self, args: &[&str]) -> String {
        let token = std::fs::read_to_string(self.dir.path().join("admin.token")).unwrap();
        let output = ran(valetkey(args).env("VALETKEY_SERVER", self.server.api()).env("VALETKEY_TOKEN", token));
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The keys of a new caller, which may write to `s3://BUCKET/w`.
    fn writer(&self, name: &str) -> Value {
        self.admin(&["bucket", "create", &format!("held-{name}")]);
        let token = self.admin(&["token", "create", name, "--account", "acme"]);
        let place = format!("s3://held-{name}/w");
        self.admin(&["grant", "create", name, &place, "--account", "acme", "--caller", name, "--access", "read-write"]);
        let vend = ["creds", &place, "--access", "read-write", "--format", "json"];
        answered(valetkey(&vend).env("VALETKEY_SERVER", self.server.api()).env("VALETKEY_TOKEN", token.trim()))
    }

    /// Writes `w/o` and holds the last byte back until `meanwhile` is done. What is answered.
    fn held_back(&self, name: &str, keys: &Value, meanwhile: impl FnOnce()) -> String {
        let s3 = self.server.ready["s3"].as_str().unwrap();
        let text = |name: &str| keys[name].as_str().unwrap().to_owned();
        let credential = Credential {
            access_key_id: text("access_key_id"),
            secret_access_key: text("secret_access_key"),
            session_token: Some(text("session_token")),
            ..Credential::default()
        };
        let request =
            http::Request::put(format!("{s3}/held-{name}/w/o")).header("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let context = Context::new();
        runtime
            .block_on(RequestSigner::new("s3", "auto").sign_request(&context, &mut parts, Some(&credential), None))
            .unwrap();
        let address = s3.strip_prefix("http://").unwrap();
        let signed = parts.headers.iter().filter(|(name, _)| *name != "host");
        let signed: Vec<String> =
            signed.map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap())).collect();
        let head = format!(
            "PUT {} HTTP/1.1\r\nhost: {address}\r\n{}content-length: 1000\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n",
            parts.uri.path(),
            signed.concat()
        );
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        socket.write_all(head.as_bytes()).unwrap();
        // The server asks for the body when it is about to read it.
        let mut go_on = [0; 25];
        socket.read_exact(&mut go_on).unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        socket.write_all(&[b'x'; 999]).unwrap();
        meanwhile();
        socket.write_all(b"x").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    }
}

#[test]
fn what_is_removed_while_a_request_is_under_way_refuses_it_after_its_last_byte() {
    let rig = Rig::new();
    let keys = rig.writer("kept");
    let answer = rig.held_back("kept", &keys, || {});
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for (name, command) in [
        ("grant", &["grant", "rm", "acme/grant", "--yes"][..]),
        ("caller", &["caller", "rm", "acme/caller", "--yes"]),
        ("bucket", &["bucket", "rm", "held-bucket", "--cascade", "--with-objects", "--yes"]),
    ] {
        let keys = rig.writer(name);
        let answer = rig.held_back(name, &keys, || drop(rig.admin(command)));
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("ExpiredToken"), "{name}: {answer}");
    }
    rig.server.stop();
}
