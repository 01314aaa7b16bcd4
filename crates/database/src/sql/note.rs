//! What the chain keeps besides leases: ends of credentials, what tokens are, and who changed what. Each of them is written in the
//! transaction that changes the rows it is about, and verifying holds the two against each other.

use std::net::IpAddr;

use valetkey_core::audit::{Author, Deed};
use valetkey_core::error::Noun;
use valetkey_core::id::{CallerId, TokenId};

use crate::sql::framed::{framed, put_text, take, take_text};
use crate::sql::target::{End, Target};

pub(super) const COVERS: u8 = 4;
pub(super) const ENDED: u8 = 5;
pub(super) const TOKEN: u8 = 6;
pub(super) const CHANGED: u8 = 7;

/// Stands for "without an end" among instants.
const NEVER: i64 = i64::MAX;

/// An entry that is no lease's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Note {
    /// From here on the chain covers revocations and tokens. So many were there before; it has them right after this.
    Covers { revocations: u64, tokens: u64 },
    /// Credentials were ended.
    Ended(End, CallerId),
    /// What a token is.
    Token(TokenNote),
    /// Somebody changed something.
    Changed(Changed),
}

/// What a token is from an instant on: the last one of a token counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TokenNote {
    pub(crate) id: TokenId,
    /// The page that said it first, if that is gone and this one says it in its place.
    pub(crate) of_page: Option<i64>,
    pub(crate) state: TokenState,
}

/// What must not be changed of a token behind the chain's back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TokenState {
    pub(crate) caller: CallerId,
    pub(crate) digest: [u8; 32],
    pub(crate) until_ms: Option<i64>,
    pub(crate) revoked: Option<(i64, CallerId)>,
}

impl TokenState {
    /// Whether it was ended, or ended of itself before an instant.
    pub(crate) fn is_over(&self, now_ms: i64) -> bool {
        self.revoked.is_some() || self.until_ms.is_some_and(|until_ms| until_ms < now_ms)
    }
}

/// A change of the registry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Changed {
    pub(crate) at_ms: i64,
    pub(crate) by: Author,
    pub(crate) deed: String,
    pub(crate) noun: String,
    pub(crate) id: String,
    pub(crate) about: String,
}

/// Writes where covering begins.
pub(crate) fn write_covers(revocations: u64, tokens: u64, out: &mut Vec<u8>) {
    framed(out, |out| {
        out.push(COVERS);
        out.extend_from_slice(&revocations.to_be_bytes());
        out.extend_from_slice(&tokens.to_be_bytes());
    });
}

pub(crate) fn write_ended(end: End, by: CallerId, out: &mut Vec<u8>) {
    let End { target, at_ms, keep_until_ms } = end;
    framed(out, |out| {
        out.push(ENDED);
        out.push(target.kind());
        out.extend_from_slice(&target.bytes());
        out.extend_from_slice(&at_ms.to_be_bytes());
        out.extend_from_slice(&keep_until_ms.to_be_bytes());
        out.extend_from_slice(&by.to_bytes());
    });
}

/// Writes what a token is.
pub(crate) fn write_token(note: &TokenNote, out: &mut Vec<u8>) {
    let TokenNote { id, of_page, state: TokenState { caller, digest, until_ms, revoked } } = *note;
    framed(out, |out| {
        out.push(TOKEN);
        out.extend_from_slice(&id.to_bytes());
        out.extend_from_slice(&of_page.unwrap_or(0).to_be_bytes());
        out.extend_from_slice(&caller.to_bytes());
        out.extend_from_slice(&digest);
        out.extend_from_slice(&until_ms.unwrap_or(NEVER).to_be_bytes());
        out.extend_from_slice(&revoked.map_or(NEVER, |(at_ms, _)| at_ms).to_be_bytes());
        out.extend_from_slice(&revoked.map_or([0; 16], |(_, by)| by.to_bytes()));
    });
}

pub(crate) fn write_changed(
    at_ms: i64,
    by: Author,
    (deed, noun): (Deed, Noun),
    id: &str,
    about: &str,
    out: &mut Vec<u8>,
) {
    framed(out, |out| {
        out.push(CHANGED);
        out.extend_from_slice(&at_ms.to_be_bytes());
        out.extend_from_slice(&by.token.map_or([0; 16], TokenId::to_bytes));
        out.extend_from_slice(&by.caller.map_or([0; 16], CallerId::to_bytes));
        put_text(&by.from.map(|from| from.to_string()).unwrap_or_default(), out);
        for text in [deed.as_str(), &noun.to_string(), id, about] {
            put_text(text, out);
        }
    });
}

/// Reads an entry of one of these tags.
pub(super) fn read(tag: u8, from: &mut &[u8]) -> Option<Note> {
    let note = match tag {
        COVERS => {
            Note::Covers { revocations: u64::from_be_bytes(take(from)?), tokens: u64::from_be_bytes(take(from)?) }
        }
        ENDED => {
            let [kind] = take::<1>(from)?;
            let target = Target::read(i64::from(kind), &take::<16>(from)?).ok()?;
            let at_ms = i64::from_be_bytes(take(from)?);
            let keep_until_ms = i64::from_be_bytes(take(from)?);
            Note::Ended(End { target, at_ms, keep_until_ms }, CallerId::from_bytes(take(from)?))
        }
        TOKEN => {
            let id = TokenId::from_bytes(take(from)?);
            let of_page = Some(i64::from_be_bytes(take(from)?)).filter(|page| *page != 0);
            let caller = CallerId::from_bytes(take(from)?);
            let digest = take(from)?;
            let until_ms = Some(i64::from_be_bytes(take(from)?)).filter(|ms| *ms != NEVER);
            let at_ms = i64::from_be_bytes(take(from)?);
            let by = CallerId::from_bytes(take(from)?);
            let revoked = (at_ms != NEVER).then_some((at_ms, by));
            Note::Token(TokenNote { id, of_page, state: TokenState { caller, digest, until_ms, revoked } })
        }
        CHANGED => {
            let at_ms = i64::from_be_bytes(take(from)?);
            let token = Some(take::<16>(from)?).filter(|bytes| *bytes != [0; 16]).map(TokenId::from_bytes);
            let caller = Some(take::<16>(from)?).filter(|bytes| *bytes != [0; 16]).map(CallerId::from_bytes);
            let address = take_text(from)?;
            let address: Option<IpAddr> = if address.is_empty() { None } else { Some(address.parse().ok()?) };
            let by = Author { token, caller, from: address, client: None };
            let (deed, noun, id, about) = (take_text(from)?, take_text(from)?, take_text(from)?, take_text(from)?);
            Note::Changed(Changed { at_ms, by, deed, noun, id, about })
        }
        _ => return None,
    };
    from.is_empty().then_some(note)
}
