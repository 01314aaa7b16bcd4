//! The keys of the embedded endpoint's own credentials, and the three parts made of them.
//!
//! * access key id: `VK` + base32 of the key's number and the lease id; public
//! * secret access key: HMAC-SHA256 of the access key id under a key only the servers hold, so that whoever sees the other
//!   two parts (a presigned URL shows them) can sign nothing
//! * session token: what the lease opens, sealed with AES-256-GCM under a key of its own, derived from the access key id
//!
//! Any server with the ring verifies without a query. The ring's first key makes new credentials; the others still verify
//! those made before, so that keys rotate without ending a live credential.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use jiff::Timestamp;

use crate::error::Error;
use crate::id::{AccountId, CallerId, LeaseId, StorageId, TokenId};
use crate::lease::{Lease, Provenance};
use crate::scope::Rights;
use crate::secret::Secret;

const KEY_ID_PREFIX: &str = "VK";
const TOKEN_PREFIX: &str = "vks2.";
/// What session tokens started with that were sealed under one key for all leases. Still opened, no longer made.
const OLD_TOKEN_PREFIX: &str = "vks1.";
const CLAIMS_VERSION: u8 = 1;
/// Of a credential that was narrowed from another: the leases it comes of stand before its scope.
const NARROWED_VERSION: u8 = 2;

/// Random bytes that [`Keyring::seal_bytes`] wants: half of them make a key, the other half is its nonce.
pub const SEAL_NONCE_LEN: usize = 2 * NONCE_LEN;

/// SECURITY: the longest scope a session token carries itself, in bytes. Longer ones stay with the lease: the token
/// travels in a header, and servers and proxies stop reading those at 8 KiB.
pub const MAX_CARRIED_SCOPE_BYTES: usize = 3_000;

/// The longest session token there is to read, in characters.
const MAX_TOKEN_CHARS: usize = 8_000;

/// What a session token says, after its seal was checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionClaims {
    /// The lease.
    pub lease: LeaseId,
    /// Whose.
    pub account: AccountId,
    /// Who asked for it.
    pub caller: CallerId,
    /// With which token.
    pub token: TokenId,
    /// For which store.
    pub storage: StorageId,
    /// When it was opened; whole seconds.
    pub opened: Timestamp,
    /// When it ends; whole seconds.
    pub until: Timestamp,
    /// The leases it was narrowed from, the first one first.
    pub narrowed_from: Vec<LeaseId>,
    /// What it opens.
    pub reach: Carried,
}

impl SessionClaims {
    /// Where the credential comes from.
    pub fn provenance(&self) -> Provenance {
        let Self { lease, account, caller, token, storage, opened, until: _, narrowed_from: _, reach: _ } = *self;
        Provenance { lease: Some(lease), account, caller, token, storage, opened }
    }

    /// Everything whose end ends it: itself, and what it was narrowed from.
    pub fn origins(&self) -> Vec<Provenance> {
        let own = self.provenance();
        // A lease's id says when it was opened; as the credential of that lease says it: in whole seconds.
        let opened = |id: LeaseId| Timestamp::from_second(id.made_ms().div_euclid(1000)).unwrap_or(own.opened);
        let before = self.narrowed_from.iter();
        let before =
            before.map(|id| Provenance { lease: Some(*id), opened: opened(*id).min(own.opened), ..own.clone() });
        std::iter::once(own.clone()).chain(before).collect()
    }
}

/// Where a session token's scope is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Carried {
    /// In the token.
    Here(Rights),
    /// With the lease, because it is too long for a header.
    WithLease,
}

/// Why a session token was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unsealed {
    /// It is not of our form.
    #[error("the session token is malformed")]
    Malformed,
    /// Its key is not in the ring (any more).
    #[error("the session token's key is not in the ring")]
    UnknownKey,
    /// The seal does not fit: forged, changed, or of another access key id.
    #[error("the session token's seal does not fit the access key id")]
    Broken,
}

/// SECURITY: with random nonces, one key of AES-GCM may seal 2^32 times (NIST SP 800-38D, section 8.3), which is days at the rates
/// credentials are made at. So nothing is sealed with one of these: each makes keys, one for each lease or each nonce.
struct RingKey {
    number: u8,
    seal: hmac::Key,
    /// Makes the keys for what servers keep for themselves.
    keep: hmac::Key,
    sign: hmac::Key,
    check: [u8; 16],
    /// Open what was sealed before there was a key for each seal.
    old_seal: LessSafeKey,
    old_keep: LessSafeKey,
}

/// What tells a key from every other one, and tells nothing of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CheckValue {
    /// The key's number in the ring.
    pub number: u8,
    /// Made of the key in one direction.
    pub value: [u8; 16],
}

/// Why a ring is not the one that was used before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Misfit {
    /// A key has the number of another one.
    #[error("key {0} of the keyring is not the key {0} that was used here: it is another server's keyring")]
    Another(u8),
    /// The newest key is not there.
    #[error(
        "the keyring lacks key {0}, the newest that was used here: it is older than the database, or another server's"
    )]
    Lacks(u8),
}

/// Says whether a ring goes on from what is known of the one before it, the newest key first: it has the newest key, and no other
/// key by the number of one that is known. Where nothing is known every ring does.
///
/// # Errors
/// Which of the two it breaks.
pub fn goes_on(known: &[CheckValue], ring: &[CheckValue]) -> Result<(), Misfit> {
    for key in ring {
        if known.iter().any(|old| old.number == key.number && old.value != key.value) {
            return Err(Misfit::Another(key.number));
        }
    }
    match known.first() {
        Some(newest) if !ring.contains(newest) => Err(Misfit::Lacks(newest.number)),
        Some(_) | None => Ok(()),
    }
}

/// The keys, the current one first.
pub struct Keyring {
    keys: Vec<RingKey>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| key.number)).finish()
    }
}

/// Derives a key for one purpose from a master key (HMAC as the extract-less step of HKDF, RFC 5869 section 2.3).
fn derive(master: &[u8; 32], purpose: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, master), purpose)
}

/// SECURITY: half of what was derived for this alone: it proves the key and neither signs nor seals.
fn check_value(derived: &hmac::Tag) -> [u8; 16] {
    derived.as_ref().first_chunk().copied().unwrap_or_default()
}

/// An AES key of 32 bytes.
fn cipher(key: &hmac::Tag) -> Result<LessSafeKey, Error> {
    let key = UnboundKey::new(&AES_256_GCM, key.as_ref());
    key.map(LessSafeKey::new).map_err(|_| Error::internal("a sealing key could not be made"))
}

/// What a seal is bound to; the length in front keeps the two parts apart.
fn bound_to(purpose: &str, bound: &[u8]) -> Aad<Vec<u8>> {
    let mut all = Vec::with_capacity(8 + purpose.len() + bound.len());
    all.extend_from_slice(&u64::try_from(purpose.len()).unwrap_or(u64::MAX).to_be_bytes());
    all.extend_from_slice(purpose.as_bytes());
    all.extend_from_slice(bound);
    Aad::from(all)
}

impl Keyring {
    /// Makes a ring of numbered 32-byte master keys, the current one first.
    ///
    /// # Errors
    /// `Internal` when there is no key or two have one number.
    pub fn new(masters: &[(u8, Secret<[u8; 32]>)]) -> Result<Self, Error> {
        let mut keys: Vec<RingKey> = Vec::with_capacity(masters.len());
        for (number, master) in masters {
            if keys.iter().any(|key| key.number == *number) {
                return Err(Error::internal(format!("key number {number} is twice in the ring")));
            }
            let of = |purpose: &[u8]| derive(master.reveal(), purpose);
            let making = |purpose: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, of(purpose).as_ref());
            keys.push(RingKey {
                number: *number,
                seal: making(b"valetkey session token seal v2"),
                keep: making(b"valetkey kept bytes seal v2"),
                sign: making(b"valetkey secret access key v1"),
                check: check_value(&of(b"valetkey key check v1")),
                old_seal: cipher(&of(b"valetkey session token seal v1"))?,
                old_keep: cipher(&of(b"valetkey kept bytes seal v1"))?,
            });
        }
        if keys.is_empty() {
            return Err(Error::internal("the ring has no key"));
        }
        Ok(Self { keys })
    }

    /// The check values of its keys, the current one's first.
    pub fn check_values(&self) -> Vec<CheckValue> {
        self.keys.iter().map(|key| CheckValue { number: key.number, value: key.check }).collect()
    }

    fn current(&self) -> Result<&RingKey, Error> {
        self.keys.first().ok_or_else(|| Error::internal("the ring has no key"))
    }

    fn numbered(&self, number: u8) -> Option<&RingKey> {
        self.keys.iter().find(|key| key.number == number)
    }

    /// The access key id that a lease's credential made now has.
    ///
    /// # Errors
    /// `Internal` when the ring is empty.
    pub fn access_key_id(&self, lease: LeaseId) -> Result<String, Error> {
        let mut bytes = [0u8; 17];
        let (number, id) = bytes.split_at_mut(1);
        number.copy_from_slice(&[self.current()?.number]);
        id.copy_from_slice(&lease.to_bytes());
        let mut text = String::with_capacity(30);
        text.push_str(KEY_ID_PREFIX);
        BASE32_NOPAD.encode_append(&bytes, &mut text);
        Ok(text)
    }

    /// The secret access key that belongs to an access key id; nothing if its key is not in the ring.
    pub fn secret_access_key(&self, access_key_id: &str) -> Option<Secret<String>> {
        let (number, _) = parse_access_key_id(access_key_id)?;
        let tag = hmac::sign(&self.numbered(number)?.sign, access_key_id.as_bytes());
        Some(Secret::new(BASE64URL_NOPAD.encode(tag.as_ref())))
    }

    /// Seals what a lease opens. The nonce must be fresh randomness.
    ///
    /// # Errors
    /// `Internal` when sealing fails.
    pub fn seal(&self, lease: &Lease, access_key_id: &str, nonce: [u8; NONCE_LEN]) -> Result<Secret<String>, Error> {
        self.seal_narrowed(lease, &[], access_key_id, nonce)
    }

    /// The same of a lease that was narrowed from others: the end of any of them ends it.
    ///
    /// # Errors
    /// `Internal` when sealing fails, or when it was narrowed from more than a token can name.
    pub fn seal_narrowed(
        &self,
        lease: &Lease,
        narrowed_from: &[LeaseId],
        access_key_id: &str,
        nonce: [u8; NONCE_LEN],
    ) -> Result<Secret<String>, Error> {
        let key = self.current()?;
        let mut claims = Vec::with_capacity(256);
        claims.push(if narrowed_from.is_empty() { CLAIMS_VERSION } else { NARROWED_VERSION });
        claims.extend_from_slice(&lease.id.to_bytes());
        claims.extend_from_slice(&lease.account.to_bytes());
        claims.extend_from_slice(&lease.caller.to_bytes());
        claims.extend_from_slice(&lease.token.to_bytes());
        claims.extend_from_slice(&lease.storage.to_bytes());
        claims.extend_from_slice(&lease.opened.as_second().to_be_bytes());
        claims.extend_from_slice(&lease.until.as_second().to_be_bytes());
        if !narrowed_from.is_empty() {
            let count = u8::try_from(narrowed_from.len());
            claims.push(count.map_err(|_| Error::internal("a lease was narrowed too often"))?);
            for id in narrowed_from {
                claims.extend_from_slice(&id.to_bytes());
            }
        }
        let before = claims.len();
        claims.push(1);
        lease.rights.encode(&mut claims);
        if claims.len() - before > MAX_CARRIED_SCOPE_BYTES {
            claims.truncate(before);
            claims.push(0);
        }
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + claims.len() + 16);
        sealed.push(key.number);
        sealed.extend_from_slice(&nonce);
        let mut body = claims;
        cipher(&hmac::sign(&key.seal, access_key_id.as_bytes()))?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(access_key_id.as_bytes()),
                &mut body,
            )
            .map_err(|_| Error::internal("sealing a session token failed"))?;
        sealed.extend_from_slice(&body);
        let mut text = String::with_capacity(TOKEN_PREFIX.len() + sealed.len() * 4 / 3 + 3);
        text.push_str(TOKEN_PREFIX);
        BASE64URL_NOPAD.encode_append(&sealed, &mut text);
        Ok(Secret::new(text))
    }

    /// Seals bytes that only servers open again, for one purpose: what was sealed for another, or with other `bound` bytes, does
    /// not open. The nonce must be fresh randomness.
    ///
    /// # Errors
    /// `Internal` when sealing fails.
    pub fn seal_bytes(
        &self,
        purpose: &'static str,
        bound: &[u8],
        plain: &[u8],
        nonce: [u8; SEAL_NONCE_LEN],
    ) -> Result<Vec<u8>, Error> {
        let key = self.current()?;
        let mut body = plain.to_vec();
        let failed = || Error::internal("sealing failed");
        let (salt, own) = nonce.split_first_chunk::<NONCE_LEN>().ok_or_else(failed)?;
        let own = Nonce::try_assume_unique_for_key(own).map_err(|_| failed())?;
        cipher(&hmac::sign(&key.keep, salt))?
            .seal_in_place_append_tag(own, bound_to(purpose, bound), &mut body)
            .map_err(|_| failed())?;
        let mut sealed = Vec::with_capacity(1 + SEAL_NONCE_LEN + body.len());
        sealed.push(key.number);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&body);
        Ok(sealed)
    }

    /// Opens what [`Keyring::seal_bytes`] sealed for that purpose; nothing if it does not fit or its key is gone.
    pub fn open_bytes(&self, purpose: &'static str, bound: &[u8], sealed: &[u8]) -> Option<Secret<Vec<u8>>> {
        let (number, rest) = sealed.split_first()?;
        let key = self.numbered(*number)?;
        let (first, behind) = rest.split_first_chunk::<NONCE_LEN>()?;
        let open = |key: &LessSafeKey, nonce: &[u8; NONCE_LEN], body: &[u8]| {
            let mut body = body.to_vec();
            let nonce = Nonce::assume_unique_for_key(*nonce);
            key.open_in_place(nonce, bound_to(purpose, bound), &mut body)
                .ok()
                .map(|opened| Secret::new(opened.to_vec()))
        };
        let new = behind
            .split_first_chunk::<NONCE_LEN>()
            .and_then(|(nonce, body)| open(&cipher(&hmac::sign(&key.keep, first)).ok()?, nonce, body));
        // No byte says which of the two it is; the seal of one never opens as the other.
        new.or_else(|| open(&key.old_keep, first, behind))
    }

    /// Whether sealed bytes were sealed with the current key: the others are sealed again before their key goes.
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        self.keys.first().is_some_and(|key| sealed.first() == Some(&key.number))
    }

    /// Checks a session token's seal against the access key id it came with, and reads it.
    ///
    /// # Errors
    /// Says which check failed; none of them tells a stranger anything about the keys.
    pub fn unseal(&self, session_token: &str, access_key_id: &str) -> Result<SessionClaims, Unsealed> {
        if session_token.len() > MAX_TOKEN_CHARS {
            return Err(Unsealed::Malformed);
        }
        let (old, body) = match session_token.strip_prefix(TOKEN_PREFIX) {
            Some(body) => (false, body),
            None => (true, session_token.strip_prefix(OLD_TOKEN_PREFIX).ok_or(Unsealed::Malformed)?),
        };
        let mut sealed = BASE64URL_NOPAD.decode(body.as_bytes()).map_err(|_| Unsealed::Malformed)?;
        let (number, rest) = sealed.split_first_mut().ok_or(Unsealed::Malformed)?;
        let (nonce, body) = rest.split_first_chunk_mut::<NONCE_LEN>().ok_or(Unsealed::Malformed)?;
        let (of_id, lease) = parse_access_key_id(access_key_id).ok_or(Unsealed::Broken)?;
        if of_id != *number {
            return Err(Unsealed::Broken);
        }
        let key = self.numbered(*number).ok_or(Unsealed::UnknownKey)?;
        let own;
        let seal = if old {
            &key.old_seal
        } else {
            own = cipher(&hmac::sign(&key.seal, access_key_id.as_bytes())).map_err(|_| Unsealed::Broken)?;
            &own
        };
        let opened = seal
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(access_key_id.as_bytes()), body)
            .map_err(|_| Unsealed::Broken)?;
        let claims = read_claims(opened).ok_or(Unsealed::Malformed)?;
        if claims.lease == lease { Ok(claims) } else { Err(Unsealed::Broken) }
    }
}

/// The number of the key and the lease that an access key id names; nothing if it is not one of ours.
pub fn parse_access_key_id(text: &str) -> Option<(u8, LeaseId)> {
    let digits = text.strip_prefix(KEY_ID_PREFIX)?;
    let bytes = BASE32_NOPAD.decode(digits.as_bytes()).ok()?;
    let (number, id) = bytes.split_first()?;
    Some((*number, LeaseId::from_bytes(id.try_into().ok()?)))
}

fn read_claims(mut bytes: &[u8]) -> Option<SessionClaims> {
    fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
        let (head, rest) = from.split_first_chunk::<N>()?;
        *from = rest;
        Some(*head)
    }
    let from = &mut bytes;
    let [version] = take::<1>(from)?;
    if ![CLAIMS_VERSION, NARROWED_VERSION].contains(&version) {
        return None;
    }
    let lease = LeaseId::from_bytes(take(from)?);
    let account = AccountId::from_bytes(take(from)?);
    let caller = CallerId::from_bytes(take(from)?);
    let token = TokenId::from_bytes(take(from)?);
    let storage = StorageId::from_bytes(take(from)?);
    let opened = Timestamp::from_second(i64::from_be_bytes(take(from)?)).ok()?;
    let until = Timestamp::from_second(i64::from_be_bytes(take(from)?)).ok()?;
    let mut narrowed_from = Vec::new();
    if version == NARROWED_VERSION {
        let [count] = take::<1>(from)?;
        for _ in 0..count {
            narrowed_from.push(LeaseId::from_bytes(take(from)?));
        }
    }
    let reach = match take::<1>(from)? {
        [0] => Carried::WithLease,
        [1] => Carried::Here(Rights::decode(from)?),
        _ => return None,
    };
    from.is_empty().then_some(SessionClaims {
        lease,
        account,
        caller,
        token,
        storage,
        opened,
        until,
        narrowed_from,
        reach,
    })
}

/// The ring everyone uses, replaced as a whole when keys rotate.
#[derive(Clone, Debug)]
pub struct SharedKeyring(Arc<RwLock<Arc<Keyring>>>);

impl SharedKeyring {
    /// Shares a ring.
    pub fn new(ring: Keyring) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(ring))))
    }

    /// The ring as it is now.
    pub fn load(&self) -> Arc<Keyring> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another ring in its place.
    pub fn replace(&self, ring: Keyring) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::GrantId;
    use crate::name::BucketName;
    use crate::scope::{Actions, Path, Paths};

    #[test]
    fn kept_bytes_open_for_their_purpose_and_nothing_else() {
        let sealed = ring(&[1]).seal_bytes("a", b"x", b"plain", [7; 24]).unwrap();
        let both = ring(&[2, 1]);
        assert_eq!(both.open_bytes("a", b"x", &sealed).unwrap().reveal(), b"plain");
        assert!(!both.is_current(&sealed) && ring(&[1]).is_current(&sealed));
        assert!(both.open_bytes("b", b"x", &sealed).is_none());
        assert!(both.open_bytes("a", b"y", &sealed).is_none());
        assert!(both.open_bytes("ax", b"", &sealed).is_none());
        assert!(ring(&[2]).open_bytes("a", b"x", &sealed).is_none());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(both.open_bytes("a", b"x", &changed).is_none(), "{at}");
        }
        assert!(both.open_bytes("a", b"x", b"").is_none());
    }

    fn ring(numbers: &[u8]) -> Keyring {
        let masters: Vec<_> = numbers.iter().map(|number| (*number, Secret::new([*number; 32]))).collect();
        Keyring::new(&masters).unwrap()
    }

    fn lease(number: u8, paths: usize) -> Lease {
        let paths: Vec<Path> =
            (0..paths).map(|at| Path::directory(format!("jobs/{at:040}").as_bytes()).unwrap()).collect();
        Lease {
            id: LeaseId::from_bytes([number; 16]),
            account: AccountId::from_bytes([2; 16]),
            caller: CallerId::from_bytes([3; 16]),
            token: TokenId::from_bytes([4; 16]),
            storage: StorageId::from_bytes([5; 16]),
            rights: Arc::new(
                Rights::of(BucketName::parse("lake").unwrap(), Paths::only(paths).unwrap(), Actions::READ).unwrap(),
            ),
            grants: Arc::from([GrantId::from_bytes([6; 16])]),
            dialect: "test".into(),
            credits: 0,
            opened: Timestamp::from_second(1_767_225_600).unwrap(),
            until: Timestamp::from_second(1_767_229_200).unwrap(),
        }
    }

    #[test]
    fn a_session_token_opens_only_with_its_own_key_id() {
        let ring = ring(&[1]);
        let (one, two) = (lease(7, 2), lease(8, 2));
        let (id_one, id_two) = (ring.access_key_id(one.id).unwrap(), ring.access_key_id(two.id).unwrap());
        let token = ring.seal(&one, &id_one, [9; 12]).unwrap();
        let claims = ring.unseal(token.reveal(), &id_one).unwrap();
        assert_eq!((claims.lease, claims.until), (one.id, one.until));
        assert_eq!(claims.reach, Carried::Here((*one.rights).clone()));
        assert_eq!(ring.unseal(token.reveal(), &id_two), Err(Unsealed::Broken));
        assert_eq!(ring.unseal(token.reveal(), "AKIAIOSFODNN7EXAMPLE"), Err(Unsealed::Broken));
    }

    #[test]
    fn a_session_token_names_what_its_credential_was_narrowed_from() {
        let (ring, lease) = (ring(&[1]), lease(7, 2));
        let id = ring.access_key_id(lease.id).unwrap();
        let opened = Timestamp::from_second(1_767_225_000).unwrap();
        let before = [LeaseId::new(opened, [3; 10]), LeaseId::new(opened, [4; 10])];
        let token = ring.seal_narrowed(&lease, &before, &id, [9; 12]).unwrap();
        let claims = ring.unseal(token.reveal(), &id).unwrap();
        assert_eq!((&*claims.narrowed_from, claims.lease), (&before[..], lease.id));
        assert_eq!(claims.reach, Carried::Here((*lease.rights).clone()));
        let origins = claims.origins();
        let leases: Vec<_> = origins.iter().filter_map(|origin| origin.lease).collect();
        assert_eq!(leases, [lease.id, before[0], before[1]]);
        assert_eq!((origins[0].opened, origins[1].opened), (lease.opened, opened));
        let plain = ring.unseal(ring.seal(&lease, &id, [9; 12]).unwrap().reveal(), &id).unwrap();
        assert_eq!(plain.origins(), [plain.provenance()]);
    }

    #[test]
    fn no_change_to_a_session_token_goes_unnoticed() {
        let ring = ring(&[1]);
        let lease = lease(7, 1);
        let id = ring.access_key_id(lease.id).unwrap();
        let token = ring.seal(&lease, &id, [9; 12]).unwrap();
        for at in 0..token.reveal().len() {
            let mut changed = token.reveal().clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert!(ring.unseal(std::str::from_utf8(&changed).unwrap(), &id).is_err(), "at {at}");
            assert!(ring.unseal(token.reveal().get(..at).unwrap(), &id).is_err(), "cut at {at}");
        }
    }

    /// What the server sealed before there was a key for each lease, with the ring, lease and nonce of these tests.
    const OLD_TOKEN: &str = "vks1.AQkJCQkJCQkJCQkJCZvvPQS5EDGWa9aPcRLx9W5HdNUhlP-0aN06e-sd0xEeBCxvbeqhc1ll59U0KmWrCG7-BVSPgEQ-RKv\
        RSE8ogxPupUZ3pTnoL73qjRzPUvH4eBo2SNPIuEahg-y82d34z8vshPr6Lb7-MWKBz3iZbs_aaLvvSrM_g0xFFfN5sOFa8bYHt47\
        mflzisvb6WBZQ_JAa_lSQzDZ2OxmWpHU4kh6gP6QSMLtK5VfE4BtgJb_QaiY03nz-ZcvY0eth6DkNA-Soc_qwnlh8_o_t6_Oqfaa\
        mqS9uuOlALbk8sqAjSOM";
    const OLD_KEPT: &str = "AQcHBwcHBwcHBwcHB4Y7jWuKFG8jIcL1T7BUKpVlxEsBog";

    #[test]
    fn what_was_sealed_under_one_key_for_all_is_still_good() {
        let ring = ring(&[1]);
        let (one, two) = (lease(7, 2), lease(8, 2));
        let id = ring.access_key_id(one.id).unwrap();
        let claims = ring.unseal(OLD_TOKEN, &id).unwrap();
        assert_eq!((claims.lease, claims.until), (one.id, one.until));
        assert_eq!(claims.reach, Carried::Here((*one.rights).clone()));
        assert_eq!(ring.unseal(OLD_TOKEN, &ring.access_key_id(two.id).unwrap()), Err(Unsealed::Broken));
        // Each seal is of its own form.
        assert_eq!(ring.unseal(&OLD_TOKEN.replacen("vks1.", "vks2.", 1), &id), Err(Unsealed::Broken));
        let token = ring.seal(&one, &id, [9; 12]).unwrap();
        assert_eq!(ring.unseal(&token.reveal().replacen("vks2.", "vks1.", 1), &id), Err(Unsealed::Broken));
        let kept = BASE64URL_NOPAD.decode(OLD_KEPT.as_bytes()).unwrap();
        assert_eq!(ring.open_bytes("a", b"x", &kept).unwrap().reveal(), b"plain");
        assert!(ring.open_bytes("b", b"x", &kept).is_none());
    }

    #[test]
    fn each_lease_and_each_kept_secret_is_sealed_under_a_key_of_its_own() {
        let ring = ring(&[1]);
        // With one key and one nonce the same stream of bits would hide both: what they differ in would show.
        let sealed = |number| {
            let lease = lease(number, 2);
            let token = ring.seal(&lease, &ring.access_key_id(lease.id).unwrap(), [9; 12]).unwrap();
            BASE64URL_NOPAD.decode(token.reveal().strip_prefix("vks2.").unwrap().as_bytes()).unwrap()
        };
        let (one, two) = (sealed(7), sealed(8));
        let same = one.iter().zip(&two).skip(1 + NONCE_LEN + 17).filter(|(one, two)| one == two).count();
        assert!(same < one.len() / 10, "{same} of {}", one.len());
        let kept = |salt| {
            let mut nonce = [7; SEAL_NONCE_LEN];
            nonce[0] = salt;
            ring.seal_bytes("a", b"x", &[0; 200], nonce).unwrap()
        };
        let same = kept(1).iter().zip(&kept(2)).skip(1 + SEAL_NONCE_LEN).filter(|(one, two)| one == two).count();
        assert!(same < 20, "{same}");
    }

    #[test]
    fn keys_rotate_without_ending_what_lives() {
        let lease = lease(7, 1);
        let before = ring(&[1]);
        let id = before.access_key_id(lease.id).unwrap();
        let token = before.seal(&lease, &id, [9; 12]).unwrap();
        let during = ring(&[2, 1]);
        assert!(during.unseal(token.reveal(), &id).is_ok());
        assert!(during.secret_access_key(&id).unwrap().ct_eq(before.secret_access_key(&id).unwrap().reveal()));
        assert_ne!(during.access_key_id(lease.id).unwrap(), id);
        let after = ring(&[2]);
        assert_eq!(after.unseal(token.reveal(), &id), Err(Unsealed::UnknownKey));
        assert!(after.secret_access_key(&id).is_none());
    }

    #[test]
    fn a_scope_too_long_for_a_header_stays_with_the_lease() {
        let ring = ring(&[1]);
        let lease = lease(7, 200);
        let id = ring.access_key_id(lease.id).unwrap();
        let token = ring.seal(&lease, &id, [9; 12]).unwrap();
        assert!(token.reveal().len() < 300);
        assert_eq!(ring.unseal(token.reveal(), &id).unwrap().reach, Carried::WithLease);
    }

    #[test]
    fn the_longest_token_fits_a_header() {
        let ring = ring(&[1]);
        let longest = (1..80).map(|paths| {
            let lease = lease(7, paths);
            ring.seal(&lease, &ring.access_key_id(lease.id).unwrap(), [9; 12]).unwrap().reveal().len()
        });
        assert!(longest.max().unwrap() < 4_500);
    }

    #[test]
    fn a_ring_goes_on_from_another_if_it_has_its_newest_key_and_no_other_by_its_numbers() {
        let foreign = Keyring::new(&[(1, Secret::new([9; 32]))]).unwrap().check_values();
        let of = |numbers: &[u8]| ring(numbers).check_values();
        for (known, now, fits) in [
            (vec![], foreign.clone(), Ok(())),
            (of(&[1]), of(&[1]), Ok(())),
            (of(&[1]), of(&[2, 1]), Ok(())),
            (of(&[2, 1]), of(&[2]), Ok(())),
            (of(&[2, 1]), of(&[3, 2]), Ok(())),
            (of(&[2, 1]), of(&[1]), Err(Misfit::Lacks(2))),
            (of(&[2, 1]), of(&[3, 1]), Err(Misfit::Lacks(2))),
            (of(&[1]), of(&[7]), Err(Misfit::Lacks(1))),
            (of(&[1]), foreign.clone(), Err(Misfit::Another(1))),
            (of(&[2, 1]), [of(&[2]), foreign.clone()].concat(), Err(Misfit::Another(1))),
        ] {
            assert_eq!(goes_on(&known, &now), fits, "{known:?} {now:?}");
        }
        // Nothing of the key, and nothing that is used otherwise.
        assert!(foreign.iter().all(|check| check.value != [9; 16]));
    }

    #[test]
    fn two_keys_of_one_number_or_none_are_no_ring() {
        let twice = [(1, Secret::new([1; 32])), (1, Secret::new([2; 32]))];
        assert!(Keyring::new(&twice).is_err());
        assert!(Keyring::new(&[]).is_err());
    }
}
