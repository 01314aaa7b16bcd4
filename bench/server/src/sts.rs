//! A Security Token Service that grants whatever it is asked: `AssumeRole`, answered after a while, and refused beyond a quota.
//!
//! * Every credential is another one; the session token is as long as those of AWS are.
//! * The quota is a bucket of tokens that a second fills, as AWS has it; beyond it the answer is `400 Throttling`, at once.
//! * `GET /calls` says how many calls were answered and how many refused.
//!
//! Neither signatures nor policies are looked at: this measures who asks, not what is granted.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use jiff::{SignedDuration, Timestamp};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::Outcome;

/// A session token has so many characters: AWS's, with a session policy in it, have about as many.
const TOKEN_CHARS: usize = 800;
/// How long a credential lives if nothing is asked for.
const USUAL_SECS: i64 = 3600;

struct Sts {
    latency: Duration,
    calls_per_sec: f64,
    state: Mutex<Calls>,
}

struct Calls {
    answered: u64,
    refused: u64,
    tokens: f64,
    at: Instant,
}

impl Sts {
    /// Counts a call; the number of this one if the quota has room for it.
    fn call(&self) -> Option<u64> {
        let now = Instant::now();
        let mut calls = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let filled = now.duration_since(calls.at).as_secs_f64() * self.calls_per_sec;
        calls.tokens = (calls.tokens + filled).min(self.calls_per_sec);
        calls.at = now;
        if calls.tokens < 1.0 {
            calls.refused += 1;
            return None;
        }
        calls.tokens -= 1.0;
        calls.answered += 1;
        Some(calls.answered)
    }
}

/// Serves, until the process is ended.
pub(crate) async fn serve(socket: TcpListener, latency: Duration, calls_per_sec: u32) -> Outcome<()> {
    let calls_per_sec = f64::from(calls_per_sec);
    let calls = Calls { answered: 0, refused: 0, tokens: calls_per_sec, at: Instant::now() };
    let sts = Arc::new(Sts { latency, calls_per_sec, state: Mutex::new(calls) });
    let router = Router::new().route("/", post(assume_role)).route("/calls", get(counted)).with_state(sts);
    let socket = socket.tap_io(|stream| {
        // Without it the figures are about Nagle's algorithm.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(socket, router).await?;
    Ok(())
}

async fn counted(State(sts): State<Arc<Sts>>) -> String {
    let calls = sts.state.lock().unwrap_or_else(PoisonError::into_inner);
    format!("{{\"answered\":{},\"refused\":{}}}\n", calls.answered, calls.refused)
}

async fn assume_role(State(sts): State<Arc<Sts>>, form: Bytes) -> Response {
    let Some(number) = sts.call() else {
        let text = "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
            <Code>Throttling</Code><Message>Rate exceeded</Message></Error><RequestId>refused</RequestId></ErrorResponse>";
        return xml(StatusCode::BAD_REQUEST, text.to_owned());
    };
    tokio::time::sleep(sts.latency).await;
    let secs = field(&form, "DurationSeconds").and_then(|secs| secs.parse().ok()).unwrap_or(USUAL_SECS);
    #[expect(clippy::disallowed_methods, reason = "a store has a clock of its own")]
    let end = Timestamp::now() + SignedDuration::from_secs(secs);
    let token = format!("{number:0>TOKEN_CHARS$}");
    xml(
        StatusCode::OK,
        format!(
            "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials>\
             <AccessKeyId>ASIA{number:016}</AccessKeyId><SecretAccessKey>{number:040}</SecretAccessKey>\
             <SessionToken>{token}</SessionToken><Expiration>{end:.0}</Expiration></Credentials>\
             <PackedPolicySize>6</PackedPolicySize></AssumeRoleResult>\
             <ResponseMetadata><RequestId>00000000-0000-0000-0000-{number:012}</RequestId></ResponseMetadata>\
             </AssumeRoleResponse>"
        ),
    )
}

fn xml(status: StatusCode, text: String) -> Response {
    (status, [(header::CONTENT_TYPE, "text/xml")], text).into_response()
}

/// A field of a form whose value needs no decoding.
fn field<'a>(form: &'a [u8], name: &str) -> Option<&'a str> {
    let form = std::str::from_utf8(form).ok()?;
    form.split('&').filter_map(|pair| pair.split_once('=')).find(|(own, _)| *own == name).map(|(_, value)| value)
}
