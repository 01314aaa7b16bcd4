//! The keys that sign identity tokens of this server.

use jiff::{SignedDuration, Timestamp};
use valetkey_core::Kind;
use valetkey_core::error::Noun;
use valetkey_core::nouns::signing::{STAYS, SigningAlgorithm, SigningKey};

use crate::contract::Bench;

fn key(kid: &str, algorithm: SigningAlgorithm, made: Timestamp, signs_from: Timestamp) -> SigningKey {
    SigningKey {
        kid: kid.into(),
        algorithm,
        public: format!("{{\"kid\":\"{kid}\"}}").into(),
        sealed: kid.as_bytes().into(),
        made,
        signs_from,
    }
}

async fn kids(bench: &Bench) -> Vec<String> {
    bench.signing.signing_keys().await.unwrap().iter().map(|key| key.kid.to_string()).collect()
}

/// As they were made, in that order; what is over goes when another is made.
pub async fn a_signing_key_reads_back_and_goes_when_it_is_over(bench: &Bench) {
    use SigningAlgorithm::{Es256, Rs256};
    let start = bench.now();
    let later = |secs: i64| start.checked_add(SignedDuration::from_secs(secs)).unwrap();
    assert!(kids(bench).await.is_empty());
    let (one, other) = (key("one", Rs256, start, start), key("other", Es256, later(1), later(1)));
    bench.signing.add_signing_key(one.clone(), None, start).await.unwrap();
    bench.signing.add_signing_key(other.clone(), None, later(1)).await.unwrap();
    assert_eq!(*bench.signing.signing_keys().await.unwrap(), [one, other]);
    bench.signing.add_signing_key(key("two", Rs256, later(2), later(10)), Some("one"), later(2)).await.unwrap();
    assert_eq!(kids(bench).await, ["one", "other", "two"]);
    let over = later(10).checked_add(STAYS).unwrap();
    bench.signing.add_signing_key(key("three", Rs256, over, over), Some("two"), over).await.unwrap();
    assert_eq!(kids(bench).await, ["other", "two", "three"]);
}

/// Who did not see what another made makes none.
pub async fn a_signing_key_is_made_once_where_two_make_it(bench: &Bench) {
    let now = bench.now();
    let rs256 = |kid| key(kid, SigningAlgorithm::Rs256, now, now);
    bench.signing.add_signing_key(rs256("one"), None, now).await.unwrap();
    for after in [None, Some("two"), Some("")] {
        let refused = bench.signing.add_signing_key(rs256("two"), after, now).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::AlreadyExists(Noun::SigningKey));
    }
    assert_eq!(kids(bench).await, ["one"]);
}

/// One that signs goes only where another signs instead.
pub async fn a_withdrawn_signing_key_is_gone_at_once(bench: &Bench) {
    let now = bench.now();
    let later = now.checked_add(SignedDuration::from_hours(1)).unwrap();
    let rs256 = |kid, from| key(kid, SigningAlgorithm::Rs256, now, from);
    bench.signing.add_signing_key(rs256("one", now), None, now).await.unwrap();
    bench.signing.add_signing_key(rs256("two", later), Some("one"), now).await.unwrap();
    let missing = bench.signing.withdraw_signing_key("none", None, now).await.unwrap_err();
    assert_eq!(missing.kind(), Kind::NotFound(Noun::SigningKey));
    let refused = bench.signing.withdraw_signing_key("one", None, now).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Unavailable);
    bench.signing.withdraw_signing_key("one", Some(rs256("three", now)), now).await.unwrap();
    let mut left = kids(bench).await;
    left.sort();
    assert_eq!(left, ["three", "two"]);
    bench.signing.withdraw_signing_key("two", None, now).await.unwrap();
    bench.signing.reseal_signing_keys(vec![("three".into(), b"again".as_slice().into())]).await.unwrap();
    let keys = bench.signing.signing_keys().await.unwrap();
    let kept: Vec<_> = keys.iter().map(|key| (&*key.kid, &*key.sealed)).collect();
    assert_eq!(kept, [("three", b"again".as_slice())]);
}
