//! Posts of events, signed as Standard Webhooks has it (<https://www.standardwebhooks.com>), until they are taken.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use async_trait::async_trait;
use aws_lc_rs::hmac;
use data_encoding::BASE64;
use reqwest::header::CONTENT_TYPE;
use valetkey_core::Secret;
use valetkey_core::time::Clock;

use super::destination::{Destination, Line, joined};

/// How long a post may take, with its answer's head.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most bytes of a post; one event alone may be longer.
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

    async fn post(&self, lines: &[Line]) -> anyhow::Result<()> {
        let (Some(first), Some(last)) = (lines.first(), lines.last()) else { return Ok(()) };
        let (id, timestamp, body) = (format!("{}~{}", first.id, last.id), self.clock.now().as_second(), joined(lines));
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
        if !answer.status().is_success() {
            bail!("it answered {}", answer.status());
        }
        Ok(())
    }
}

fn signature(key: &hmac::Key, id: &str, timestamp: i64, body: &str) -> String {
    let tag = hmac::sign(key, format!("{id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", BASE64.encode(tag.as_ref()))
}

/// Cuts lines into posts.
fn posts(lines: &[Line]) -> Vec<&[Line]> {
    let (mut posts, mut rest) = (Vec::new(), lines);
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take_while(|line| {
            bytes += line.text.len() + 1;
            bytes <= MOST_BYTES
        });
        let (post, after) = rest.split_at(fits.count().max(1));
        posts.push(post);
        rest = after;
    }
    posts
}

#[async_trait]
impl Destination for Webhook {
    fn name(&self) -> &'static str {
        "webhook"
    }

    async fn send(&mut self, lines: &[Line]) -> anyhow::Result<()> {
        for post in posts(lines) {
            self.post(post).await?;
        }
        Ok(())
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

    #[test]
    fn posts_stay_small_and_a_long_event_goes_alone() {
        let line = |bytes| Line { id: "1.0".into(), at: jiff::Timestamp::UNIX_EPOCH, text: "x".repeat(bytes) };
        let lines = [line(600_000), line(400_000), line(100_000), line(2_000_000), line(1)];
        assert_eq!(posts(&lines).iter().map(|post| post.len()).collect::<Vec<_>>(), [2, 1, 1, 1]);
        assert!(posts(&[]).is_empty());
    }
}
