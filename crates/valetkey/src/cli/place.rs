//! `s3://bucket/key`: read exactly, nothing decoded or normalised.

use crate::cli::failure::Failure;
use crate::cli::output::clean;

/// A bucket, and perhaps a key in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// The bucket.
    pub(crate) bucket: String,
    /// What follows the slash after it, if anything does.
    pub(crate) key: Option<String>,
}

impl Place {
    /// Reads a place.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let refused = || {
            Failure::usage(format!("`{}` is not a place in a bucket", clean(text)))
                .hint("a place is written s3://bucket/key")
        };
        let rest = text.strip_prefix("s3://").ok_or_else(refused)?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(refused());
        }
        Ok(Self { bucket: bucket.to_owned(), key: (!key.is_empty()).then(|| key.to_owned()) })
    }
}

/// A directory as the API writes it: without its last slash, which shells and people add.
pub(crate) fn directory(text: &str) -> String {
    text.strip_suffix('/').unwrap_or(text).to_owned()
}
