//! What the ledger keeps, as bytes: one entry after the other, each with its length before it.
//!
//! The bytes are what the hash chain protects, so they never change once written; another layout is another tag.

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::digest;
use jiff::Timestamp;
use valetkey_core::credential::Trace;
use valetkey_core::id::{AccountId, CallerId, GrantId, LeaseId, StorageId, TokenId};
use valetkey_core::lease::Lease;
use valetkey_core::scope::{Part, Paths, Rights};

use crate::sql::framed::{framed, put_bytes, put_text, take, take_bytes, take_framed, take_text};
use crate::sql::note::{self, Note};

const OPENED: u8 = 1;
const VOIDED: u8 = 2;
const ISSUED: u8 = 3;
/// A lease that was asked for from a known address, which stands before the dialect. 4 to 7 are notes.
const OPENED_FROM: u8 = 8;
/// A lease that was asked for with another token than its own, which stands before the address; that has no bytes where it is not known.
const OPENED_WITH: u8 = 9;
/// A lease that was narrowed from others: those stand before the token, and that has no bytes where it is the lease's own.
const OPENED_NARROWED: u8 = 10;

/// A scope longer than this is stored once and named by its digest.
const INLINE: usize = 1024;

/// The first byte of a scope that is named by its digest; a scope's own first byte is its version, never zero.
const BY_DIGEST: u8 = 0;

/// A lease as the ledger keeps it. The scope and the dialect are still bytes and text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Opened {
    pub(crate) id: LeaseId,
    pub(crate) account: AccountId,
    pub(crate) caller: CallerId,
    pub(crate) token: TokenId,
    pub(crate) storage: StorageId,
    pub(crate) scope: Vec<u8>,
    pub(crate) grants: Vec<u8>,
    pub(crate) dialect: String,
    pub(crate) credits: u32,
    pub(crate) from_ms: i64,
    pub(crate) until_s: i64,
    pub(crate) from: Option<IpAddr>,
    pub(crate) asked_with: Option<TokenId>,
    /// The ids of the leases it was narrowed from, one after the other.
    pub(crate) narrowed_from: Vec<u8>,
}

/// Who asked for a lease, beside whose it is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asker<'a> {
    pub(crate) from: Option<IpAddr>,
    /// With another token than the lease's.
    pub(crate) with: Option<TokenId>,
    /// With these leases, the first one first; a permit has few.
    pub(crate) narrowed_from: &'a [LeaseId],
}

/// A lease of which no credential came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Voided {
    pub(crate) lease: LeaseId,
    pub(crate) account: AccountId,
    pub(crate) credits: u32,
    pub(crate) at_ms: i64,
    pub(crate) kind: String,
}

/// What came of a lease at a store that somebody else runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Issued {
    pub(crate) lease: LeaseId,
    pub(crate) at_ms: i64,
    pub(crate) key_id: String,
    pub(crate) request_id: Option<String>,
    pub(crate) ends_s: i64,
}

impl Issued {
    pub(crate) fn trace(self) -> Option<Trace> {
        let Self { lease: _, at_ms: _, key_id, request_id, ends_s } = self;
        let expiration = Timestamp::from_second(ends_s).ok()?;
        Some(Trace { key_id: key_id.into(), request_id: request_id.map(Into::into), expiration })
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Entry {
    Opened(Opened),
    Issued(Issued),
    Voided(Voided),
    Note(Note),
}

/// A scope on its way into an entry.
pub(crate) enum ScopeBytes<'a> {
    /// Short: written where it is used.
    Inline(&'a Rights),
    /// Long: written once.
    Stored(Arc<LongScope>),
}

/// A scope that is stored once.
#[derive(Debug)]
pub(crate) struct LongScope {
    pub(crate) digest: [u8; 32],
    pub(crate) body: Vec<u8>,
}

impl LongScope {
    /// The scope's bytes, if it is long enough to be stored on its own.
    pub(crate) fn of(rights: &Rights) -> Option<Self> {
        let mut body = Vec::new();
        rights.encode(&mut body);
        if body.len() <= INLINE {
            return None;
        }
        Some(Self { digest: digest_of(&body), body })
    }
}

/// What a scope that is stored once is named by.
pub(crate) fn digest_of(body: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, body).as_ref());
    bytes
}

/// Whether a scope may be too long to be written in place; then it is worth to ask [`LongScope::of`].
pub(crate) fn may_be_long(rights: &Rights) -> bool {
    let long = |part: &Part| match part.paths() {
        Paths::Whole => false,
        Paths::Only(set) => set.len() > 8 || set.iter().map(|path| path.bytes().len()).sum::<usize>() > 800,
    };
    rights.parts().only().is_none_or(long)
}

/// The digest that stands for a scope, if these bytes are one.
pub(crate) fn scope_digest(bytes: &[u8]) -> Option<&[u8]> {
    bytes.strip_prefix(&[BY_DIGEST])
}

/// Writes a lease, and who asked for it, after what is in the buffer.
pub(crate) fn write_opened(lease: &Lease, scope: &ScopeBytes<'_>, asker: Asker<'_>, out: &mut Vec<u8>) {
    let Asker { from, with, narrowed_from } = asker;
    framed(out, |out| {
        let tag = match (from, with) {
            _ if !narrowed_from.is_empty() => OPENED_NARROWED,
            (None, None) => OPENED,
            (Some(_), None) => OPENED_FROM,
            (_, Some(_)) => OPENED_WITH,
        };
        out.push(tag);
        out.extend_from_slice(&lease.id.to_bytes());
        out.extend_from_slice(&lease.account.to_bytes());
        out.extend_from_slice(&lease.caller.to_bytes());
        out.extend_from_slice(&lease.token.to_bytes());
        out.extend_from_slice(&lease.storage.to_bytes());
        out.extend_from_slice(&lease.credits.to_be_bytes());
        out.extend_from_slice(&lease.opened.as_millisecond().to_be_bytes());
        out.extend_from_slice(&lease.until.as_second().to_be_bytes());
        let with = with.map(TokenId::to_bytes);
        if tag == OPENED_NARROWED {
            put_bytes(&narrowed_from.iter().flat_map(|lease| lease.to_bytes()).collect::<Vec<_>>(), out);
            put_bytes(with.as_ref().map_or(&[], |with| &with[..]), out);
        } else if let Some(with) = with {
            out.extend_from_slice(&with);
        }
        match from {
            None if matches!(tag, OPENED_WITH | OPENED_NARROWED) => put_bytes(&[], out),
            None => {}
            Some(IpAddr::V4(v4)) => put_bytes(&v4.octets(), out),
            Some(IpAddr::V6(v6)) => put_bytes(&v6.octets(), out),
        }
        put_text(&lease.dialect, out);
        // A permit has at most one grant for each path, and those are far fewer than this holds.
        let grants = u16::try_from(lease.grants.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&grants.to_be_bytes());
        for grant in lease.grants.iter().take(usize::from(grants)) {
            out.extend_from_slice(&grant.to_bytes());
        }
        match scope {
            ScopeBytes::Inline(scope) => scope.encode(out),
            ScopeBytes::Stored(scope) => {
                out.push(BY_DIGEST);
                out.extend_from_slice(&scope.digest);
            }
        }
    });
}

/// Writes a void after what is in the buffer.
pub(crate) fn write_voided(voided: &Voided, out: &mut Vec<u8>) {
    let Voided { lease, account, credits, at_ms, kind } = voided;
    framed(out, |out| {
        out.push(VOIDED);
        out.extend_from_slice(&lease.to_bytes());
        out.extend_from_slice(&account.to_bytes());
        out.extend_from_slice(&credits.to_be_bytes());
        out.extend_from_slice(&at_ms.to_be_bytes());
        put_text(kind, out);
    });
}

/// Writes what came of a lease after what is in the buffer.
pub(crate) fn write_issued(lease: LeaseId, trace: &Trace, at_ms: i64, out: &mut Vec<u8>) {
    framed(out, |out| {
        out.push(ISSUED);
        out.extend_from_slice(&lease.to_bytes());
        out.extend_from_slice(&at_ms.to_be_bytes());
        out.extend_from_slice(&trace.expiration.as_second().to_be_bytes());
        put_text(&trace.key_id, out);
        put_text(trace.request_id.as_deref().unwrap_or_default(), out);
    });
}

/// The address of its bytes: 4 or 16.
pub(crate) fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
    }
}

/// An address as the index keeps it; nothing where it is not known.
pub(crate) fn address_bytes(from: Option<IpAddr>) -> Option<Vec<u8>> {
    from.map(|from| match from {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    })
}

/// The entries of a page's body; `None` once where it does not parse.
pub(crate) fn read(body: &[u8]) -> impl Iterator<Item = Option<Entry>> {
    let mut rest = body;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let entry = take_framed(&mut rest).and_then(read_entry);
        if entry.is_none() {
            rest = &[];
        }
        Some(entry)
    })
}

/// The entries of a page's body with their bytes, up to where it does not parse.
pub(crate) fn framed_entries(body: &[u8]) -> impl Iterator<Item = (&[u8], Entry)> {
    let mut rest = body;
    std::iter::from_fn(move || {
        let before = rest;
        let entry = take_framed(&mut rest).and_then(read_entry)?;
        let bytes = before.get(..before.len() - rest.len())?;
        Some((bytes, entry))
    })
}

/// A lease that was opened, as far as it is told without reading all of it: of a million, few are of interest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Glance<'a> {
    pub(crate) id: LeaseId,
    pub(crate) account: AccountId,
    pub(crate) caller: CallerId,
    pub(crate) token: TokenId,
    pub(crate) storage: StorageId,
    pub(crate) credits: u32,
    pub(crate) from_ms: i64,
    pub(crate) until_s: i64,
    pub(crate) asked_with: Option<TokenId>,
    narrowed_from: &'a [u8],
    entry: &'a [u8],
}

impl Glance<'_> {
    /// Whether it was narrowed from another.
    pub(crate) fn is_narrowed(&self) -> bool {
        !self.narrowed_from.is_empty()
    }

    pub(crate) fn read(&self) -> Option<Opened> {
        match read_entry(self.entry)? {
            Entry::Opened(opened) => Some(opened),
            Entry::Issued(_) | Entry::Voided(_) | Entry::Note(_) => None,
        }
    }
}

/// The leases opened in a page, up to where it does not parse.
pub(crate) fn glances(body: &[u8]) -> impl Iterator<Item = Glance<'_>> {
    let mut rest = body;
    std::iter::from_fn(move || {
        loop {
            let entry = take_framed(&mut rest)?;
            if matches!(entry.first(), Some(&(OPENED | OPENED_FROM | OPENED_WITH | OPENED_NARROWED))) {
                return glance(entry);
            }
        }
    })
}

fn glance(entry: &[u8]) -> Option<Glance<'_>> {
    let mut bytes = entry;
    let from = &mut bytes;
    let [tag] = take::<1>(from)?;
    head(tag, from, entry)
}

/// What every entry of a lease begins with, after its tag.
fn head<'a>(tag: u8, from: &mut &'a [u8], entry: &'a [u8]) -> Option<Glance<'a>> {
    let id = LeaseId::from_bytes(take(from)?);
    let account = AccountId::from_bytes(take(from)?);
    let caller = CallerId::from_bytes(take(from)?);
    let token = TokenId::from_bytes(take(from)?);
    let storage = StorageId::from_bytes(take(from)?);
    let credits = u32::from_be_bytes(take(from)?);
    let from_ms = i64::from_be_bytes(take(from)?);
    let until_s = i64::from_be_bytes(take(from)?);
    let narrowed_from = if tag == OPENED_NARROWED { take_bytes(from)? } else { &[] };
    if tag == OPENED_NARROWED && (narrowed_from.is_empty() || !narrowed_from.len().is_multiple_of(16)) {
        return None;
    }
    let asked_with = match tag {
        OPENED_WITH => Some(take(from)?),
        OPENED_NARROWED => match take_bytes(from)? {
            [] => None,
            bytes => Some(bytes.try_into().ok()?),
        },
        _ => None,
    };
    let asked_with = asked_with.map(TokenId::from_bytes);
    Some(Glance { id, account, caller, token, storage, credits, from_ms, until_s, asked_with, narrowed_from, entry })
}

fn read_entry(entry: &[u8]) -> Option<Entry> {
    let mut bytes = entry;
    let from = &mut bytes;
    match take::<1>(from)? {
        [tag @ (OPENED | OPENED_FROM | OPENED_WITH | OPENED_NARROWED)] => {
            let Glance {
                id,
                account,
                caller,
                token,
                storage,
                credits,
                from_ms,
                until_s,
                asked_with,
                narrowed_from,
                entry: _,
            } = head(tag, from, entry)?;
            let asked_from = match tag {
                OPENED => None,
                _ => match take_bytes(from)? {
                    [] if matches!(tag, OPENED_WITH | OPENED_NARROWED) => None,
                    bytes => Some(address(bytes)?),
                },
            };
            let dialect = take_text(from)?;
            let grants = usize::from(u16::from_be_bytes(take(from)?));
            let (grants, scope) = from.split_at_checked(grants * 16)?;
            Some(Entry::Opened(Opened {
                id,
                account,
                caller,
                token,
                storage,
                scope: scope.to_vec(),
                grants: grants.to_vec(),
                dialect,
                credits,
                from_ms,
                until_s,
                from: asked_from,
                asked_with,
                narrowed_from: narrowed_from.to_vec(),
            }))
        }
        [VOIDED] => {
            let lease = LeaseId::from_bytes(take(from)?);
            let account = AccountId::from_bytes(take(from)?);
            let credits = u32::from_be_bytes(take(from)?);
            let at_ms = i64::from_be_bytes(take(from)?);
            let kind = take_text(from)?;
            from.is_empty().then_some(Entry::Voided(Voided { lease, account, credits, at_ms, kind }))
        }
        [ISSUED] => {
            let lease = LeaseId::from_bytes(take(from)?);
            let at_ms = i64::from_be_bytes(take(from)?);
            let ends_s = i64::from_be_bytes(take(from)?);
            let key_id = take_text(from)?;
            let request_id = Some(take_text(from)?).filter(|id| !id.is_empty());
            from.is_empty().then_some(Entry::Issued(Issued { lease, at_ms, key_id, request_id, ends_s }))
        }
        [tag] => note::read(tag, from).map(Entry::Note),
    }
}

impl Opened {
    /// The grants that decided.
    pub(crate) fn grant_ids(&self) -> impl Iterator<Item = GrantId> {
        self.grants.as_chunks::<16>().0.iter().map(|bytes| GrantId::from_bytes(*bytes))
    }

    /// The leases it was narrowed from, the first one first.
    pub(crate) fn leases_before(&self) -> impl Iterator<Item = LeaseId> {
        self.narrowed_from.as_chunks::<16>().0.iter().map(|bytes| LeaseId::from_bytes(*bytes))
    }

    /// Whether it was narrowed from another.
    pub(crate) fn is_narrowed(&self) -> bool {
        !self.narrowed_from.is_empty()
    }

    /// Whether it would be live at that instant, if nobody ended it early.
    pub(crate) fn in_time(&self, at_ms: i64) -> bool {
        self.from_ms <= at_ms && at_ms < self.until_s.saturating_mul(1000)
    }

    /// When it ends by itself.
    pub(crate) fn until(&self) -> Option<Timestamp> {
        Timestamp::from_second(self.until_s).ok()
    }
}

#[cfg(test)]
mod tests {
    use valetkey_core::name::BucketName;
    use valetkey_core::scope::{Actions, Path};

    use super::*;

    fn lease(paths: usize) -> Lease {
        let paths: Vec<Path> =
            (0..paths).map(|at| Path::directory(format!("team/{at:04}/data").as_bytes()).unwrap()).collect();
        let paths = Paths::only(paths).unwrap();
        let now = Timestamp::from_millisecond(1_767_225_600_123).unwrap();
        Lease {
            id: LeaseId::new(now, [1; 10]),
            account: AccountId::new(now, [2; 10]),
            caller: CallerId::new(now, [3; 10]),
            token: TokenId::new(now, [4; 10]),
            storage: StorageId::new(now, [5; 10]),
            rights: Arc::new(Rights::of(BucketName::parse("lake").unwrap(), paths, Actions::READ).unwrap()),
            grants: Arc::from([GrantId::new(now, [6; 10]), GrantId::new(now, [7; 10])]),
            dialect: "native".into(),
            credits: 3,
            opened: now,
            until: Timestamp::from_second(1_767_229_200).unwrap(),
        }
    }

    #[test]
    fn entries_read_back_as_written_and_a_cut_page_is_noticed() {
        let lease = lease(2);
        let voided =
            Voided { lease: lease.id, account: lease.account, credits: 3, at_ms: 5, kind: "upstream".to_owned() };
        let mut body = Vec::new();
        write_opened(&lease, &ScopeBytes::Inline(&lease.rights), Asker::default(), &mut body);
        let opened_bytes = body.len();
        write_voided(&voided, &mut body);
        let trace = Trace { key_id: "AKIA".into(), request_id: Some("r-1".into()), expiration: lease.until };
        let unasked = Trace { request_id: None, ..trace.clone() };
        write_issued(lease.id, &trace, 7, &mut body);
        write_issued(lease.id, &unasked, 8, &mut body);
        let entries: Vec<Entry> = read(&body).collect::<Option<_>>().unwrap();
        let [Entry::Opened(opened), Entry::Voided(back), Entry::Issued(one), Entry::Issued(two)] = &entries[..] else {
            panic!("{entries:?}")
        };
        assert_eq!(*back, voided);
        assert_eq!((one.lease, one.at_ms, two.lease, two.at_ms), (lease.id, 7, lease.id, 8));
        assert_eq!((one.clone().trace(), two.clone().trace()), (Some(trace), Some(unasked)));
        assert_eq!((opened.id, opened.account, opened.caller), (lease.id, lease.account, lease.caller));
        assert_eq!((opened.token, opened.storage, opened.credits), (lease.token, lease.storage, 3));
        assert_eq!(opened.grant_ids().collect::<Vec<_>>(), *lease.grants);
        assert_eq!(Rights::decode(&mut &opened.scope[..]).unwrap(), *lease.rights);
        assert_eq!((opened.from_ms, opened.until(), opened.from), (1_767_225_600_123, Some(lease.until), None));
        for cut in 1..opened_bytes {
            assert!(read(&body[..cut]).collect::<Option<Vec<Entry>>>().is_none(), "cut at {cut}");
        }
        for cut in 1..body.len() {
            let whole: Option<Vec<Entry>> = read(&body[..cut]).collect();
            assert!(whole.is_none_or(|read| read.len() < entries.len()), "cut at {cut}");
        }
    }

    /// Entries of before have no address, and their bytes are as they were: the chain over them holds.
    #[test]
    fn who_asked_stands_beside_a_lease_or_changes_nothing_of_it() {
        let lease = lease(2);
        let written = |from: Option<IpAddr>, with: Option<TokenId>| {
            let mut body = Vec::new();
            let asker = Asker { from, with, narrowed_from: &[] };
            write_opened(&lease, &ScopeBytes::Inline(&lease.rights), asker, &mut body);
            body
        };
        let without = written(None, None);
        assert_eq!(without[4], OPENED);
        let Some(Some(Entry::Opened(bare))) = read(&without).next() else { panic!() };
        for from in ["192.0.2.7", "2001:db8::7"].map(|text| text.parse::<IpAddr>().unwrap()) {
            let body = written(Some(from), None);
            assert_eq!(body.len(), without.len() + 1 + if from.is_ipv4() { 4 } else { 16 });
            let entries: Vec<Entry> = read(&body).collect::<Option<_>>().unwrap();
            assert_eq!(entries, [Entry::Opened(Opened { from: Some(from), ..bare.clone() })]);
            let glance = glances(&body).next().unwrap();
            assert_eq!((glance.id, glance.until_s), (lease.id, lease.until.as_second()));
            assert_eq!(glance.read().unwrap().from, Some(from));
            for cut in 1..body.len() {
                assert!(read(&body[..cut]).collect::<Option<Vec<Entry>>>().is_none(), "cut at {cut}");
            }
            let mut odd = body.clone();
            odd[4 + 1 + 80 + 4 + 16] = 5;
            assert!(read(&odd).any(|entry| entry.is_none()), "an address has 4 bytes or 16");
        }
        let with = Some(TokenId::from_bytes([9; 16]));
        for from in [None, Some(IpAddr::from([192, 0, 2, 7]))] {
            let body = written(from, with);
            assert_eq!((body[4], body.len()), (OPENED_WITH, without.len() + 16 + 1 + from.map_or(0, |_| 4)));
            let entries: Vec<Entry> = read(&body).collect::<Option<_>>().unwrap();
            assert_eq!(entries, [Entry::Opened(Opened { from, asked_with: with, ..bare.clone() })]);
            let glance = glances(&body).next().unwrap();
            assert_eq!((glance.asked_with, glance.read().unwrap().asked_with), (with, with));
            for cut in 1..body.len() {
                assert!(read(&body[..cut]).collect::<Option<Vec<Entry>>>().is_none(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn a_lease_that_was_narrowed_names_what_it_is_from() {
        let lease = lease(2);
        let all = [LeaseId::from_bytes([6; 16]), LeaseId::from_bytes([7; 16])];
        for from in [None, Some(IpAddr::from([192, 0, 2, 7]))] {
            for with in [None, Some(TokenId::from_bytes([9; 16]))] {
                let mut body = Vec::new();
                let asker = Asker { from, with, narrowed_from: &all };
                write_opened(&lease, &ScopeBytes::Inline(&lease.rights), asker, &mut body);
                assert_eq!(body[4], OPENED_NARROWED);
                let Some(Some(Entry::Opened(opened))) = read(&body).next() else { panic!("{from:?} {with:?}") };
                assert_eq!((opened.from, opened.asked_with, opened.is_narrowed()), (from, with, true));
                assert_eq!(opened.leases_before().collect::<Vec<_>>(), all);
                assert_eq!(Rights::decode(&mut &opened.scope[..]).unwrap(), *lease.rights);
                let glance = glances(&body).next().unwrap();
                assert!(glance.is_narrowed() && glance.read().unwrap() == opened);
                for cut in 1..body.len() {
                    assert!(read(&body[..cut]).collect::<Option<Vec<Entry>>>().is_none(), "cut at {cut}");
                }
            }
        }
    }

    #[test]
    fn noise_is_not_a_page_that_panics() {
        let entropy = valetkey_testkit::chance::SeededEntropy::new(11);
        let lease = lease(3);
        let narrowed_from = [LeaseId::from_bytes([6; 16]), LeaseId::from_bytes([7; 16])];
        let (from, with) = (Some([192, 0, 2, 7].into()), Some(TokenId::from_bytes([8; 16])));
        let asker = Asker { from, with, narrowed_from: &narrowed_from };
        let mut whole = Vec::new();
        write_opened(&lease, &ScopeBytes::Inline(&lease.rights), asker, &mut whole);
        for _ in 0..20_000 {
            let mut noise = [0u8; 8];
            valetkey_core::time::Entropy::fill(&entropy, &mut noise);
            let mut body = whole.clone();
            let at = usize::from(u16::from_be_bytes([noise[0], noise[1]])) % body.len();
            body[at] = noise[2];
            body.truncate(body.len() - usize::from(noise[3]) % 8);
            for entry in read(&body).flatten() {
                if let Entry::Opened(opened) = entry {
                    let _ = (opened.grant_ids().count(), opened.until(), Rights::decode(&mut &opened.scope[..]));
                }
            }
        }
    }

    #[test]
    fn a_long_scope_is_named_by_its_digest() {
        assert!(!may_be_long(&lease(2).rights) && LongScope::of(&lease(2).rights).is_none());
        let lease = lease(500);
        assert!(may_be_long(&lease.rights));
        let long = Arc::new(LongScope::of(&lease.rights).unwrap());
        let mut body = Vec::new();
        write_opened(&lease, &ScopeBytes::Stored(Arc::clone(&long)), Asker::default(), &mut body);
        assert!(body.len() < 250);
        let Some(Some(Entry::Opened(opened))) = read(&body).next() else { panic!() };
        assert_eq!(scope_digest(&opened.scope), Some(&long.digest[..]));
    }
}
