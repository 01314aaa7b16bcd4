//! A server for tests that answers what it was told and remembers what it was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use tokio::task::JoinSet;

/// What to answer.
pub(crate) enum Reply {
    /// A status, headers, a body.
    Now(u16, Vec<(&'static str, String)>, String),
    /// Nothing, ever.
    Never,
}

impl Reply {
    /// A success in JSON.
    pub(crate) fn json(body: &serde_json::Value) -> Self {
        Self::Now(200, vec![("content-type", "application/json".into())], body.to_string())
    }
}

/// What was asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Asked {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The fields of a form, decoded once.
    pub(crate) fn form(&self) -> Vec<(String, String)> {
        let decode = |text: &str| {
            assert!(!text.contains('+'), "a plus is ambiguous in a form");
            percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned()
        };
        let field = |field: &str| field.split_once('=').map(|(name, value)| (decode(name), decode(value))).unwrap();
        self.body.split('&').map(field).collect()
    }
}

/// The server; it ends with this value.
pub(crate) struct Stub {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    _server: JoinSet<()>,
}

impl Stub {
    /// Starts it; it gives the answers in their order, and 500 after the last.
    pub(crate) async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let replies = Arc::new(Mutex::new(replies.into_iter().collect::<VecDeque<_>>()));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let answer = move |request: Request| {
            let (replies, log) = (Arc::clone(&replies), Arc::clone(&log));
            async move {
                let (parts, body) = request.into_parts();
                let body = to_bytes(body, usize::MAX).await.unwrap();
                let line = format!("{} {}", parts.method, parts.uri);
                let headers = parts.headers.iter();
                let headers =
                    headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
                let body = String::from_utf8(body.to_vec()).unwrap();
                log.lock().unwrap().push(Asked { line, headers, body });
                let reply = replies.lock().unwrap().pop_front();
                let (status, headers, body) = match reply {
                    Some(Reply::Now(status, headers, body)) => (status, headers, body),
                    Some(Reply::Never) => std::future::pending().await,
                    None => (500, Vec::new(), "asked too often".into()),
                };
                let mut response = Response::builder().status(status);
                for (name, value) in headers {
                    response = response.header(name, value);
                }
                response.body(Body::from(body)).unwrap()
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut server = JoinSet::new();
        server.spawn(async move {
            axum::serve(listener, Router::new().fallback(answer)).await.unwrap();
        });
        Self { url, asked, _server: server }
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}
