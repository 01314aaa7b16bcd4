//! Answers as this API writes them.

use http::{HeaderName, HeaderValue};
use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::credential::S3Keys;

use crate::edge::{Call, Reply};

/// Some clients ask for it, of answers and of refusals.
pub(super) const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// An XML document that grows.
pub(super) struct Xml(String);

impl Xml {
    pub(super) fn new() -> Self {
        // A credential with a short scope fits without growing.
        Self(String::with_capacity(2048))
    }

    /// An element with text in it.
    pub(super) fn text(mut self, name: &str, text: &str) -> Self {
        self.0.extend(["<", name, ">"]);
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                // XML 1.0 has no way to write these.
                c if c.is_control() && !matches!(c, '\t' | '\n' | '\r') => self.0.push('\u{fffd}'),
                c => self.0.push(c),
            }
        }
        self.0.extend(["</", name, ">"]);
        self
    }

    /// The same where there is text.
    pub(super) fn some(self, name: &str, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.text(name, text),
            None => self,
        }
    }

    /// An element with others in it; with attributes behind its name, if it has any.
    pub(super) fn within(mut self, start: &str, inner: impl FnOnce(Self) -> Self) -> Self {
        self.0.extend(["<", start, ">"]);
        let mut inside = inner(self);
        inside.0.extend(["</", start.split(' ').next().unwrap_or(start), ">"]);
        inside
    }

    /// A credential.
    pub(super) fn credentials(self, keys: &S3Keys) -> Self {
        self.within("Credentials", |xml| {
            xml.text("AccessKeyId", &keys.access_key_id)
                .text("SecretAccessKey", keys.secret_access_key.reveal())
                .text("SessionToken", keys.session_token.reveal())
                .text("Expiration", &at(keys.expiration))
        })
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0.into_bytes()
    }
}

/// A time in whole seconds with `Z`.
pub(super) fn at(instant: Timestamp) -> String {
    format!("{instant:.0}")
}

/// The answer to an action: what is in its result, and the request's id.
#[expect(clippy::unnecessary_wraps, reason = "what handlers end with")]
pub(super) fn answer(call: &Call, action: &str, result: impl FnOnce(Xml) -> Xml) -> Result<Reply, Error> {
    let id = call.request_id.to_str().unwrap_or_default();
    let document = Xml::new().within(&format!("{action}Response xmlns=\"{NAMESPACE}\""), |xml| {
        let xml = xml.within(&format!("{action}Result"), result);
        xml.within("ResponseMetadata", |xml| xml.text("RequestId", id))
    });
    let id: HeaderValue = call.request_id.clone();
    Ok(Reply::written(document.into_bytes(), "text/xml").header(REQUEST_ID, id))
}
