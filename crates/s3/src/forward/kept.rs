//! What the index still has of objects that were written through the gateway before requests went on as they are: headers that the
//! storage had not been given. It is told as long as the object is unchanged, and nothing is added to it.

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, HeaderValue};
use s3s::S3Error;

use crate::error::Result;
use crate::forward::context::Cx;
use crate::gate::session::Live;
use crate::gateway::port::Answer;
use crate::objects::checksum::Algorithm;
use crate::objects::record::CHECKSUM_TYPE;

impl Cx {
    async fn has_facts(&self) -> Result<bool> {
        if self.kit.bare.has(self.number) {
            return Ok(false);
        }
        let has = self.kit.objects.has_facts(self.number).await?;
        if !has {
            self.kit.bare.add(self.number);
        }
        Ok(has)
    }

    /// Adds what is kept of an object to the headers of an answer about it.
    pub(super) async fn overlay(&self, _: &Live, headers: &mut HeaderMap) -> Result<()> {
        if !self.has_facts().await? {
            return Ok(());
        }
        let Some(facts) = self.kit.objects.facts(self.number, self.key().as_bytes()).await? else { return Ok(()) };
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let whole = text(CONTENT_RANGE).is_none();
        let size = match text(CONTENT_RANGE) {
            Some(range) => range.rsplit('/').next().and_then(|size| size.parse::<u64>().ok()),
            None => text(CONTENT_LENGTH).and_then(|size| size.parse().ok()),
        };
        if text(ETAG).map(|tag| tag.trim_matches('"')) != Some(&*facts.tag) || size != Some(facts.size) {
            return Ok(());
        }
        let own = |name: &str| Algorithm::of_header(name).is_some() || name == CHECKSUM_TYPE;
        let asked = self
            .headers
            .get("x-amz-checksum-mode")
            .is_some_and(|mode| mode.as_bytes().eq_ignore_ascii_case(b"enabled"));
        let checksums = whole && asked && !headers.keys().any(|name| own(name.as_str()));
        for (name, value) in &facts.headers.0 {
            let Ok(header) = HeaderName::try_from(&**name) else { continue };
            let wanted = if own(name) { checksums } else { !headers.contains_key(&header) };
            if let Some(value) = HeaderValue::from_bytes(value).ok().filter(|_| wanted) {
                headers.insert(header, value);
            }
        }
        Ok(())
    }

    /// Forgets what is kept of an object that was written, or may have been: where the storage did not say that it was not.
    pub(super) async fn written_over(&self, outcome: Result<Answer>) -> Result<Answer> {
        let refused = |error: &S3Error| error.status_code().is_some_and(|status| status.is_client_error());
        if !outcome.as_ref().is_err_and(refused) {
            self.forget(self.key()).await?;
        }
        outcome
    }

    /// The same, of any key.
    pub(super) async fn forget(&self, key: &str) -> Result<()> {
        if self.has_facts().await? { self.kit.objects.forget_facts(self.number, key.as_bytes()).await } else { Ok(()) }
    }
}
