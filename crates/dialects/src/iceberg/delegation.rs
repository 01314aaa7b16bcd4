//! How a client wants to reach a table's files (`X-Iceberg-Access-Delegation`): with a credential, or with requests that are signed for it.

use http::{HeaderMap, HeaderValue};
use valetkey_core::storage::Storage;

/// Says which kinds of access the client takes.
const HEADER: &str = "x-iceberg-access-delegation";

/// What an answer about a table has beside its metadata.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Delegation {
    /// A credential.
    Vended,
    /// Where requests are signed.
    Signed,
    /// Nothing.
    None,
}

impl Delegation {
    /// What the request asks for. Who says nothing leaves it to the server, and some clients read nothing without a credential. Of both, a
    /// credential costs less.
    pub(super) fn asked(headers: &HeaderMap) -> Self {
        let mut told = headers.get_all(HEADER).iter().peekable();
        if told.peek().is_none() {
            return Self::Vended;
        }
        let words = told.filter_map(|value| HeaderValue::to_str(value).ok()).flat_map(|text| text.split(','));
        let words: Vec<String> = words.map(|word| word.trim().to_ascii_lowercase()).collect();
        let has = |word: &str| words.iter().any(|own| own == word);
        if has("vended-credentials") {
            Self::Vended
        } else if has("remote-signing") {
            Self::Signed
        } else {
            Self::None
        }
    }

    /// The same, at this storage.
    pub(super) fn at(self, storage: &Storage) -> Self {
        if self == Self::Signed && !storage.kind.signs_requests() { Self::None } else { self }
    }
}
