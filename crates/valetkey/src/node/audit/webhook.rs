//! Posts of events, signed as Standard Webhooks has it (<https://www.standardwebhooks.com>), until they are taken.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use async_trait::async_trait;
use aws_lc_rs::hmac;
use data_encoding::BASE64;
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use valetkey_core::Secret;
use valetkey_core::time::Clock;

use super::destination::{Destination, Line, Taken, joined};

/// How long a post may take, with its answer's head.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most bytes of a post.
const MOST_BYTES: usize = 1 << 20;

/// Shorter keys can be guessed.
const KEY_BYTES: usize = 24;

/// Reads the key that posts are signed with.
pub(crate) fn key(secret: &Secret<String>) -> Result<hmac::Key, &'static str> {
    const SAID: &str = "is written `whsec_` and base64, of at least 24 bytes";
    let encoded = secret.reveal().strip_prefix("whsec_").ok_or(SAID)?;
    let bytes = BASE64.decode(encoded.as_bytes()).map_err(|_| SAID)?;
    if bytes.len() < KEY_BYTES { Err(SAID) } else { Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes)) }
}

pub(super) struct Webhook {
    client: reqwest::Client,
    url: String,
    key: hmac::Key,
    clock: Arc<dyn Clock>,
}

impl Webhook {
    pub(super) fn new(url: &str, secret: &Secret<String>, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .build()?;
        Ok(Self { client, url: url.to_owned(), key: key(secret).map_err(anyhow::Error::msg)?, clock })
    }

    async fn post(&self, lines: &[Line]) -> anyhow::Result<Taken> {
        let (Some(first), Some(last)) = (lines.first(), lines.last()) else { return Ok(Taken::All) };
        let (id, timestamp, body) = (format!("{}~{}", first.id, last.id), self.clock.now().as_second(), joined(lines));
        if body.len() > MOST_BYTES {
            return Ok(Taken::TooLong);
        }
        let request = self
            .client
            .post(&self.url)
            .header(CONTENT_TYPE, "application/x-ndjson")
            .header("webhook-id", &id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature(&self.key, &id, timestamp, &body))
            .body(body);
        let answer = request.send().await.map_err(reqwest::Error::without_url)?;
        // What stands in the answer is of no interest, and is not read.
        match answer.status() {
            // Others may stand before it, with a limit that is less.
            StatusCode::PAYLOAD_TOO_LARGE => Ok(Taken::TooLong),
            status if status.is_success() => Ok(Taken::All),
            status => bail!("it answered {status}"),
        }
    }
}

fn signature(key: &hmac::Key, id: &str, timestamp: i64, body: &str) -> String {
    let tag = hmac::sign(key, format!("{id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", BASE64.encode(tag.as_ref()))
}

#[async_trait]
impl Destination for Webhook {
    fn name(&self) -> &'static str {
        "webhook"
    }

    async fn send(&mut self, lines: &[Line]) -> anyhow::Result<Taken> {
        self.post(lines).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference libraries.
    #[test]
    fn a_post_is_signed_as_the_specification_has_it() {
        let key = key(&Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned())).unwrap();
        let signed = signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        for bad in ["", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_AAAA", "whsec_not base64"] {
            assert!(super::key(&Secret::new(bad.to_owned())).is_err(), "{bad}");
        }
    }

    /// Answers each post with a status, and gives its body.
    async fn receiver(statuses: &'static [u16]) -> (String, tokio::task::JoinHandle<Vec<usize>>) {
        use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let took = tokio_util::task::TaskTracker::new().spawn(async move {
            let mut bodies = Vec::new();
            for status in statuses {
                let mut stream = tokio::io::BufReader::new(listener.accept().await.unwrap().0);
                let mut length = 0;
                loop {
                    let mut line = String::new();
                    stream.read_line(&mut line).await.unwrap();
                    if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                        length = text.trim().parse().unwrap();
                    }
                    if line.trim().is_empty() {
                        break;
                    }
                }
                stream.read_exact(&mut vec![0; length]).await.unwrap();
                bodies.push(length);
                let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            bodies
        });
        (url, took)
    }

    #[tokio::test]
    async fn what_is_too_long_is_said_to_be_and_is_no_failure() {
        let (url, took) = receiver(&[204, 413, 500]).await;
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned());
        let clock = Arc::new(valetkey_testkit::clock::FixedClock::default());
        let mut webhook = Webhook::new(&url, &secret, clock).unwrap();
        let line = |bytes| Line { id: "1.0".into(), at: jiff::Timestamp::UNIX_EPOCH, text: "x".repeat(bytes) };
        // Nobody is asked to take more than was said.
        for lines in [vec![line(600_000), line(500_000)], vec![line(2_000_000)]] {
            assert_eq!(webhook.send(&lines).await.unwrap(), Taken::TooLong);
        }
        assert_eq!(webhook.send(&[]).await.unwrap(), Taken::All);
        assert_eq!(webhook.send(&[line(600_000), line(400_000)]).await.unwrap(), Taken::All);
        assert_eq!(webhook.send(&[line(10)]).await.unwrap(), Taken::TooLong);
        assert!(webhook.send(&[line(10)]).await.unwrap_err().to_string().contains("500"));
        assert_eq!(took.await.unwrap(), [1_000_002, 11, 11]);
    }
}
