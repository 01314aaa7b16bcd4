//! This server as an issuer: its keys over time, and its tokens, read by the code that reads those of others.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::sync::Arc;

use jiff::SignedDuration;
use valetkey_core::Secret;
use valetkey_core::id::ProviderId;
use valetkey_core::keyring::{Keyring, SharedKeyring};
use valetkey_core::name::Name;
use valetkey_core::nouns::identity::{Algorithm, IdentityProvider, KeySource, Preset, Signatures as _, SubjectClaim};
use valetkey_core::nouns::signing::{
    OwnIdentity as _, SigningAdmin as _, SigningAlgorithm, SigningKey, SigningKeys as _, TokenFor, published, signer,
};
use valetkey_core::time::Clock as _;
use valetkey_oidc::{Oidc, Own, Web};
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;
use valetkey_testkit::memory::Memory;

const DAY: i64 = 24 * 3600;

struct Issuing {
    clock: Arc<FixedClock>,
    memory: Arc<Memory>,
    keyring: SharedKeyring,
}

fn ring(numbers: &[u8]) -> Keyring {
    Keyring::new(&numbers.iter().map(|number| (*number, Secret::new([*number; 32]))).collect::<Vec<_>>()).unwrap()
}

impl Issuing {
    fn new() -> Self {
        let memory = Arc::new(Memory::new(Arc::new(SeededEntropy::new(1))));
        Self { clock: Arc::new(FixedClock::default()), memory, keyring: SharedKeyring::new(ring(&[1])) }
    }

    /// A node of it.
    fn node(&self, seed: u64) -> Own {
        let (memory, clock) = (self.memory.clone(), self.clock.clone());
        let entropy = Arc::new(SeededEntropy::new(seed));
        Own::new("https://valetkey.example.com", memory, self.keyring.clone(), clock, entropy)
    }

    async fn token(&self, own: &Own, algorithm: SigningAlgorithm) -> String {
        let more = [("tags", "{\"a\":1}".to_owned()), ("sub", "\"somebody else\"".to_owned())];
        let wanted = TokenFor { subject: "storage:sts:lake", audience: "cloud", algorithm, more: &more };
        own.token(&wanted).await.unwrap().reveal().clone()
    }

    /// Whether who reads the published keys now takes a token.
    async fn takes(&self, token: &str) -> bool {
        let (keys, now) = (self.memory.signing_keys().await.unwrap(), self.clock.now());
        let keys: Vec<&str> = published(&keys, now).map(|key| &*key.public).collect();
        let provider = IdentityProvider {
            id: ProviderId::from_bytes([1; 16]),
            name: Name::parse("cloud").unwrap(),
            preset: Preset::Other,
            issuer: "https://valetkey.example.com".into(),
            keys: KeySource::Static(format!("{{\"keys\":[{}]}}", keys.join(",")).into()),
            audiences: vec!["cloud".into()],
            parties: Vec::new(),
            subject: vec![SubjectClaim::parse("sub").unwrap()],
            algorithms: vec![Algorithm::Rs256, Algorithm::Es256],
            leeway_secs: 0,
            max_age_secs: 3600,
            login: None,
            version: 1,
            made: now,
            rules: Vec::new(),
        };
        let claims = Oidc::new(Web::new([]).unwrap()).verified(&Arc::new(provider), token, now).await;
        claims.is_ok()
    }

    async fn kid(&self, algorithm: SigningAlgorithm) -> String {
        let keys = self.memory.signing_keys().await.unwrap();
        signer(&keys, algorithm, self.clock.now()).unwrap().kid.to_string()
    }
}

#[tokio::test]
async fn tokens_are_taken_across_a_rotation_and_not_once_their_key_is_withdrawn() {
    use SigningAlgorithm::{Es256, Rs256};
    let all = Issuing::new();
    let own = all.node(2);
    own.settle(None).await.unwrap();
    own.settle(None).await.unwrap();
    assert_eq!(all.memory.signing_keys().await.unwrap().len(), 2, "once is enough");
    let (first, ninety) = (all.kid(Rs256).await, Some(SignedDuration::from_hours(24 * 90)));
    for algorithm in [Es256, Rs256] {
        assert!(all.takes(&all.token(&own, algorithm).await).await, "{algorithm:?}");
    }
    all.clock.advance_secs(90 * DAY - 1);
    own.settle(ninety).await.unwrap();
    assert_eq!(all.memory.signing_keys().await.unwrap().len(), 2, "not yet");
    all.clock.advance_secs(1);
    own.settle(ninety).await.unwrap();
    own.settle(ninety).await.unwrap();
    assert_eq!(all.memory.signing_keys().await.unwrap().len(), 4, "published");
    assert_eq!(all.kid(Rs256).await, first, "and not signing yet");
    all.clock.advance_secs(DAY - 1);
    let last = all.token(&own, Rs256).await;
    all.clock.advance_secs(1);
    assert_ne!(all.kid(Rs256).await, first);
    let new = all.token(&own, Rs256).await;
    assert!(all.takes(&new).await && all.takes(&last).await, "both, while the last one of the old key lives");
    let instead = own.make_key(Rs256, all.clock.now(), all.clock.now()).await.unwrap();
    let withdrawn = all.kid(Rs256).await;
    all.memory.withdraw_signing_key(&withdrawn, Some(instead), all.clock.now()).await.unwrap();
    assert!(!all.takes(&new).await && all.takes(&last).await);
    assert!(all.takes(&all.token(&own, Rs256).await).await, "another one signs");
}

#[tokio::test]
async fn nodes_of_one_database_make_one_key_and_sign_with_the_same() {
    let all = Issuing::new();
    let (one, other) = (all.node(2), all.node(3));
    let (first, second) = tokio::join!(one.settle(None), other.settle(None));
    first.and(second).unwrap();
    assert_eq!(all.memory.signing_keys().await.unwrap().len(), 2);
    for own in [&one, &other] {
        assert!(all.takes(&all.token(own, SigningAlgorithm::Es256).await).await);
    }
}

#[tokio::test]
async fn keys_are_sealed_with_the_keyring_and_sealed_again_with_its_next_key() {
    let all = Issuing::new();
    all.node(2).settle(None).await.unwrap();
    all.keyring.replace(ring(&[2, 1]));
    let own = all.node(3);
    own.reseal().await.unwrap();
    all.keyring.replace(ring(&[2]));
    assert!(all.takes(&all.token(&all.node(4), SigningAlgorithm::Rs256).await).await);
    all.keyring.replace(ring(&[3]));
    let wanted = TokenFor { subject: "s", audience: "a", algorithm: SigningAlgorithm::Rs256, more: &[] };
    let refused = all.node(5).token(&wanted).await.map(drop).unwrap_err();
    assert!(format!("{refused:?}").contains("a key that is gone"), "{refused:?}");
    assert!(all.node(5).reseal().await.is_err());
}

#[tokio::test]
async fn a_key_that_only_the_database_says_is_ours_is_not_published() {
    let all = Issuing::new();
    let own = all.node(2);
    own.settle(None).await.unwrap();
    assert_eq!(own.genuine_keys().await.unwrap().len(), 2);
    // Who writes into the database, and has no keyring: a key of their own under another's seal, and one without any.
    let stranger = Issuing::new();
    stranger.keyring.replace(ring(&[9]));
    let foreign = stranger.node(7).make_key(SigningAlgorithm::Es256, all.clock.now(), all.clock.now()).await.unwrap();
    let known = all.memory.signing_keys().await.unwrap();
    let ours = known.iter().find(|key| key.algorithm == SigningAlgorithm::Es256).unwrap();
    let lent = SigningKey { public: foreign.public.clone(), ..ours.clone() };
    for bad in [foreign, lent] {
        let memory = Arc::new(Memory::new(Arc::new(SeededEntropy::new(1))));
        memory.add_signing_key(bad, None, all.clock.now()).await.unwrap();
        let other = Issuing { memory, clock: all.clock.clone(), keyring: all.keyring.clone() };
        assert_eq!(other.node(3).genuine_keys().await.unwrap(), []);
    }
}

#[tokio::test]
async fn one_key_that_nothing_opens_does_not_keep_the_others_from_being_sealed() {
    let all = Issuing::new();
    all.node(2).settle(None).await.unwrap();
    let stranger = Issuing::new();
    stranger.keyring.replace(ring(&[9]));
    let lost = stranger.node(7).make_key(SigningAlgorithm::Es256, all.clock.now(), all.clock.now()).await.unwrap();
    let known = all.memory.signing_keys().await.unwrap();
    let newest = known.iter().find(|key| key.algorithm == SigningAlgorithm::Es256).unwrap().kid.clone();
    all.memory.add_signing_key(lost, Some(&newest), all.clock.now()).await.unwrap();
    all.keyring.replace(ring(&[2, 1]));
    assert!(all.node(3).reseal().await.is_err(), "and it is said");
    all.keyring.replace(ring(&[2]));
    assert_eq!(all.node(4).genuine_keys().await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_a_token_says_of_itself_is_not_said_by_who_asks_for_it() {
    let all = Issuing::new();
    let own = all.node(2);
    own.settle(None).await.unwrap();
    let token = all.token(&own, SigningAlgorithm::Es256).await;
    let payload = data_encoding::BASE64URL_NOPAD.decode(token.split('.').nth(1).unwrap().as_bytes()).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!((&claims["sub"], &claims["tags"]["a"]), (&"storage:sts:lake".into(), &1.into()));
    assert!(!format!("{own:?}").contains("sealed"));
}
