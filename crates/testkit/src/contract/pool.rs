//! What nodes keep together of the credentials of external storages.

use jiff::{SignedDuration, Timestamp};
use valetkey_core::id::StorageId;
use valetkey_core::nouns::pool::{CLAIM, Claimant, NewPooled, Pool, PoolKey};

const KEY: PoolKey = PoolKey([1; 32]);
const OTHER: PoolKey = PoolKey([2; 32]);

fn at(secs: i64) -> Timestamp {
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    start.checked_add(SignedDuration::from_secs(secs)).unwrap()
}

fn storage(number: u8) -> StorageId {
    StorageId::from_bytes([number; 16])
}

fn fetched(key_id: &str, of: u8, ends: i64) -> NewPooled {
    NewPooled { storage: storage(of), key_id: key_id.into(), sealed: key_id.as_bytes().into(), ends: at(ends) }
}

async fn kept(pool: &dyn Pool, key: PoolKey, secs: i64) -> Option<String> {
    let sealed = pool.look(key, at(secs)).await.unwrap().sealed?;
    Some(String::from_utf8(sealed.into()).unwrap())
}

/// The newest of each key.
pub async fn what_is_kept_is_there_until_it_is_over_or_removed(pool: &dyn Pool) {
    assert_eq!(kept(pool, KEY, 0).await, None);
    assert_eq!(pool.look(KEY, at(0)).await.unwrap().version, 0);
    pool.keep(KEY, fetched("one", 1, 100)).await.unwrap();
    pool.keep(OTHER, fetched("other", 1, 100)).await.unwrap();
    assert_eq!(kept(pool, KEY, 99).await.as_deref(), Some("one"));
    assert_eq!(kept(pool, KEY, 100).await, None, "it is over");
    pool.keep(KEY, fetched("two", 1, 200)).await.unwrap();
    let seen = pool.look(KEY, at(150)).await.unwrap();
    assert_eq!((seen.sealed.as_deref(), seen.version), (Some("two".as_bytes()), 2));
    pool.remove(storage(2), &["two".into()]).await.unwrap();
    pool.remove(storage(1), &["one".into(), "none".into()]).await.unwrap();
    assert_eq!(kept(pool, KEY, 150).await.as_deref(), Some("two"), "of another storage, or by another name");
    pool.remove(storage(1), &["one".into(), "two".into()]).await.unwrap();
    assert_eq!(kept(pool, KEY, 0).await, None);
    assert_eq!(kept(pool, OTHER, 0).await.as_deref(), Some("other"));
}

/// Where several nodes write.
pub async fn one_claims_at_a_time(pool: &dyn Pool) {
    let (one, two) = (Claimant([1; 16]), Claimant([2; 16]));
    let end = CLAIM.as_secs();
    let claim = async |version, by, secs| pool.claim(KEY, version, by, at(secs)).await.unwrap();
    assert!(claim(0, one, 0).await);
    assert!(!claim(0, two, end - 1).await);
    assert!(pool.claim(OTHER, 0, two, at(0)).await.unwrap(), "another key");
    pool.extend(KEY, two, at(end - 1)).await.unwrap();
    pool.extend(KEY, one, at(end - 1)).await.unwrap();
    assert!(!claim(0, two, end).await, "it was extended, by its holder");
    pool.give_up(KEY, two).await.unwrap();
    assert!(!claim(0, two, end).await, "only its holder gives it back");
    assert!(claim(0, two, 2 * end - 1).await, "its holder is gone");
    pool.give_up(KEY, two).await.unwrap();
    assert!(claim(0, one, 2 * end - 1).await);
    pool.keep(KEY, fetched("one", 1, 100)).await.unwrap();
    assert!(!claim(0, two, 2 * end).await, "something was kept since");
    assert!(claim(1, two, 2 * end).await);
}
