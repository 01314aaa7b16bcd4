//! Packages of an account: content-addressed blobs and the manifests that name them, as an OCI registry keeps them.
//!
//! Nothing crosses accounts: a blob that two of them have is there twice.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use aws_lc_rs::digest;
use jiff::Timestamp;

use crate::error::{Error, Kind};
use crate::field::Attribute;
use crate::id::{AccountId, CallerId};
use crate::name::{Name, shortened};

/// The SHA-256 of a blob or a manifest: written `sha256:` and 64 digits of hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

const ALGORITHM: &str = "sha256:";

impl Digest {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut own = [0; 32];
        own.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
        Self(own)
    }

    /// Takes the stored bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Refuses bytes whose digest is another one.
    ///
    /// # Errors
    /// `Malformed`.
    pub fn check(self, own: Self) -> Result<(), Error> {
        if self == own {
            return Ok(());
        }
        Err(Error::new(Kind::Malformed, format!("the content's digest is `{own}`, not `{self}`")).at(Attribute::Digest))
    }
}

fn hex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return None;
    }
    let mut bytes = [0; 32];
    for (at, slot) in bytes.iter_mut().enumerate() {
        *slot = u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok()?;
    }
    Some(bytes)
}

fn write_hex(bytes: &[u8; 32], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ALGORITHM)?;
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text.strip_prefix(ALGORITHM).and_then(hex).map(Self).ok_or_else(|| {
            let said =
                format!("`{}` is not a digest; one is `sha256:` and 64 digits of lowercase hex", shortened(text));
            Error::new(Kind::Invalid, said)
        })
    }
}

/// What a manifest is called beside its digest.
///
/// * 1 to 128 characters of `A-Z`, `a-z`, `0-9`, `_`, `.` and `-`, the first neither `.` nor `-`
/// * source: OCI Distribution Specification 1.1, "Pulling manifests"
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Tag(Box<str>);

impl Tag {
    /// Reads a tag.
    ///
    /// # Errors
    /// `Invalid` when it breaks one of the promises above.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let inside = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !first || text.len() > 128 || !text.bytes().all(inside) {
            return Err(Error::new(
                Kind::Invalid,
                format!(
                    "`{}` is not a tag; one has 1 to 128 characters of A-Z, a-z, 0-9, `_`, `.`, `-` and does not start with `.` or `-`",
                    shortened(text)
                ),
            ));
        }
        Ok(Self(text.into()))
    }

    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How a manifest is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reference {
    /// By what it is called now.
    Tag(Tag),
    /// By its content.
    Digest(Digest),
}

impl Reference {
    /// Reads a tag or a digest.
    ///
    /// # Errors
    /// `Invalid` when it is neither.
    pub fn parse(text: &str) -> Result<Self, Error> {
        // A tag has no colon.
        if text.contains(':') { text.parse().map(Self::Digest) } else { Tag::parse(text).map(Self::Tag) }
    }
}

/// Names an upload that was begun: a secret of 32 random bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct UploadKey([u8; 32]);

impl UploadKey {
    /// Takes random bytes, or the stored ones.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its digest: what is kept of it.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }

    /// Reads it back from a URL.
    pub fn parse(text: &str) -> Option<Self> {
        hex(text).map(Self)
    }

    /// Shows it, for the one URL that hands it out.
    pub fn reveal(&self) -> String {
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
            text.extend([digit(byte >> 4), digit(byte & 15)]);
            text
        })
    }
}

impl fmt::Debug for UploadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[key of an upload]")
    }
}

/// An upload that was begun.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Upload {
    /// What is kept of its key.
    pub key: Digest,
    /// The account the blob will be of.
    pub account: AccountId,
    /// Who began it, and alone may end it.
    pub caller: CallerId,
    /// The package it is for.
    pub package: Name,
}

/// The most uploads one caller may have begun; with one more its oldest is forgotten.
pub const MOST_UPLOADS: u32 = 64;

/// A manifest: bytes as they came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// The digest of the bytes.
    pub digest: Digest,
    /// The media type it was pushed with.
    pub media_type: Box<str>,
    /// The bytes.
    pub body: Vec<u8>,
}

impl Manifest {
    /// The refusal of one that names a blob that is not there.
    pub fn lacks(blob: Digest) -> Error {
        Error::new(Kind::Malformed, format!("the manifest names the blob `{blob}`, which was not pushed"))
    }
}

/// Keeps blobs and manifests. Every change is durable when the call returns.
#[async_trait]
pub trait Packages: Send + Sync {
    /// Begins an upload that may be ended until `until`.
    async fn begin_upload(&self, upload: &Upload, until: Timestamp, now: Timestamp) -> Result<(), Error>;

    /// Ends an upload: the blob is kept, the upload is over. `NotFound(Package)` when no such upload of this caller for this
    /// package was begun, or its time is over. The digest must be that of the bytes (`Malformed`); then the upload stays.
    async fn finish_upload(&self, upload: &Upload, digest: Digest, body: Vec<u8>, now: Timestamp) -> Result<(), Error>;

    /// A blob of an account.
    async fn blob(&self, account: AccountId, digest: Digest) -> Result<Option<Vec<u8>>, Error>;

    /// How many bytes a blob of an account has.
    async fn blob_size(&self, account: AccountId, digest: Digest) -> Result<Option<u64>, Error>;

    /// Keeps a manifest under its digest and, if one is given, a tag, which then names this one and no other. Every blob it
    /// `needs` must be there (`Malformed`).
    async fn put_manifest(
        &self,
        account: AccountId,
        package: &Name,
        tag: Option<&Tag>,
        manifest: &Manifest,
        needs: &[Digest],
        now: Timestamp,
    ) -> Result<(), Error>;

    /// A manifest of an account's package.
    async fn manifest(
        &self,
        account: AccountId,
        package: &Name,
        reference: &Reference,
    ) -> Result<Option<Manifest>, Error>;

    /// The tags of a package, in order; none when nothing was pushed.
    async fn tags(&self, account: AccountId, package: &Name) -> Result<Vec<Tag>, Error>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_reads_back_and_nothing_like_it_does() {
        let digest = Digest::of(b"");
        let text = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(digest.to_string(), text);
        assert_eq!(text.parse::<Digest>().unwrap(), digest);
        for bad in [
            "",
            "sha256:",
            text.strip_suffix('5').unwrap(),
            &text.to_uppercase(),
            &text.replace("256", "512"),
            &format!("{text}0"),
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_reference_is_a_tag_or_a_digest() {
        assert!(matches!(Reference::parse("0.1.0"), Ok(Reference::Tag(_))));
        assert!(matches!(Reference::parse(&Digest::of(b"x").to_string()), Ok(Reference::Digest(_))));
        for bad in ["", ".a", "-a", "a/b", "sha256:x", "ä", &"x".repeat(129)] {
            assert!(Reference::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_upload_key_reads_back_and_is_not_shown() {
        let key = UploadKey::from_bytes([0xa7; 32]);
        assert_eq!(UploadKey::parse(&key.reveal()), Some(key));
        assert_eq!(format!("{key:?}"), "[key of an upload]");
        assert_eq!(UploadKey::parse("a7"), None);
    }
}
