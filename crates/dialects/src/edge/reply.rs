//! A successful answer: bytes already written, in one buffer, or told piece by piece.

use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use valetkey_core::Error;

/// How a request ended well. The status stands here once, not in handlers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ended {
    Done,
    Made,
    Accepted,
    Nothing,
    Unchanged,
}

/// A successful answer.
#[derive(Debug)]
pub struct Reply {
    pub(super) ended: Ended,
    pub(super) body: Body,
    pub(super) body_type: &'static str,
    pub(super) headers: HeaderMap,
}

impl Reply {
    /// Answers with a value as JSON.
    ///
    /// # Errors
    /// `Internal` when the value cannot be written.
    pub fn json(value: &impl Serialize) -> Result<Self, Error> {
        // A credential with a short scope fits without growing.
        let mut body = Vec::with_capacity(1024);
        serde_json::to_writer(&mut body, value)
            .map_err(|error| Error::internal("an answer could not be written").caused_by(error))?;
        Ok(Self::written(body, "application/json"))
    }

    /// Answers that a thing was made, with the thing as JSON.
    ///
    /// # Errors
    /// `Internal` when the value cannot be written.
    pub fn made(value: &impl Serialize) -> Result<Self, Error> {
        Ok(Self { ended: Ended::Made, ..Self::json(value)? })
    }

    /// Answers with bytes that are already written, of this content type.
    pub fn written(body: Vec<u8>, body_type: &'static str) -> Self {
        Self::streamed(Body::from(body), body_type)
    }

    /// Answers with bytes that come one after the other.
    pub(super) fn streamed(body: Body, body_type: &'static str) -> Self {
        Self { ended: Ended::Done, body, body_type, headers: HeaderMap::new() }
    }

    /// Answers that all went well, without a body.
    pub fn empty() -> Self {
        Self::written(Vec::new(), "")
    }

    /// Answers that a thing was made, without a body.
    pub fn made_empty() -> Self {
        Self { ended: Ended::Made, ..Self::empty() }
    }

    /// Answers that a thing is on its way, without a body.
    pub fn accepted() -> Self {
        Self { ended: Ended::Accepted, ..Self::empty() }
    }

    /// Answers that there is nothing to say.
    pub fn nothing() -> Self {
        Self { ended: Ended::Nothing, ..Self::empty() }
    }

    /// Answers that what the client has is what there is.
    pub fn unchanged() -> Self {
        Self { ended: Ended::Unchanged, ..Self::empty() }
    }

    /// Adds a header of the dialect's own; a content type given here counts.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }
}
