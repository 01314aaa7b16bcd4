//! The server that answers, and the binary that asks it.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, Uri};

use crate::drift;

/// A request as the server saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) authorization: String,
    pub(crate) body: String,
}

/// A server that answers what it is told and remembers what it was asked.
pub(crate) struct Fake {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Fake {
    pub(crate) fn start(answer: impl Fn(&Seen) -> (u16, String) + Send + Sync + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, log) = (Arc::new(answer), Arc::clone(&seen));
        let handler = move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
            let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
            async move {
                let authorization =
                    headers.get("authorization").map_or("", |value| value.to_str().unwrap_or("")).to_owned();
                let body = String::from_utf8(body.to_vec()).unwrap();
                let request = Seen { method, path: uri.to_string(), authorization, body };
                log.lock().unwrap().push(request.clone());
                let (status, body) = answer(&request);
                let headers =
                    [("content-type", "application/json"), ("x-request-id", "req_test"), ("retry-after", "7")];
                (StatusCode::from_u16(status).unwrap(), headers, body)
            }
        };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        // The thread ends with the test's process.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, Router::new().fallback(handler)).await.unwrap();
            });
        });
        Self { url, seen }
    }

    pub(crate) fn always(status: u16, body: &str) -> Self {
        let body = body.to_owned();
        Self::start(move |_| (status, body.clone()))
    }

    /// What it was asked; each of it is something that the API takes.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap().clone();
        seen.iter().for_each(drift::held);
        seen
    }

    pub(crate) fn run(&self, line: &[&str]) -> Ran {
        self.run_with(line, "")
    }

    /// The same, with something on standard input.
    pub(crate) fn run_with(&self, line: &[&str], input: &str) -> Ran {
        run_with(line, &[("VALETKEY_SERVER", &self.url), ("VALETKEY_TOKEN", crate::TOKEN)], input)
    }
}

/// How a command ended and what it wrote.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the binary with an environment of its own.
pub(crate) fn run(line: &[&str], environment: &[(&str, &str)]) -> Ran {
    run_with(line, environment, "")
}

fn run_with(line: &[&str], environment: &[(&str, &str)], input: &str) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_valetkey"));
    command.args(line).env_clear().env("HOME", "/nonexistent").envs(environment.iter().copied());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // One that does not read it may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    Ran {
        code: status.code().unwrap(),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}
