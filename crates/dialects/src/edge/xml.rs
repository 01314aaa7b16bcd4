//! Answers in XML, and a credential as AWS' APIs write it.

use jiff::Timestamp;
use valetkey_core::credential::S3Keys;

/// An XML document that grows.
pub struct Xml(String);

impl Default for Xml {
    fn default() -> Self {
        // A credential with a short scope fits without growing.
        Self(String::with_capacity(2048))
    }
}

impl Xml {
    /// A document whose root is this element, with attributes behind its name if it has any.
    pub fn document(start: &str, inner: impl FnOnce(Self) -> Self) -> Vec<u8> {
        Self::default().within(start, inner).0.into_bytes()
    }

    /// An element with text in it.
    #[must_use]
    pub fn text(mut self, name: &str, text: &str) -> Self {
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
    #[must_use]
    pub fn some(self, name: &str, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.text(name, text),
            None => self,
        }
    }

    /// An element with others in it; with attributes behind its name, if it has any.
    #[must_use]
    pub fn within(mut self, start: &str, inner: impl FnOnce(Self) -> Self) -> Self {
        self.0.extend(["<", start, ">"]);
        let mut inside = inner(self);
        inside.0.extend(["</", start.split(' ').next().unwrap_or(start), ">"]);
        inside
    }

    /// A credential.
    #[must_use]
    pub fn credentials(self, keys: &S3Keys) -> Self {
        self.within("Credentials", |xml| {
            xml.text("AccessKeyId", &keys.access_key_id)
                .text("SecretAccessKey", keys.secret_access_key.reveal())
                .text("SessionToken", keys.session_token.reveal())
                .text("Expiration", &xml_time(keys.expiration))
        })
    }
}

/// A time in whole seconds with `Z`.
pub fn xml_time(instant: Timestamp) -> String {
    format!("{instant:.0}")
}
