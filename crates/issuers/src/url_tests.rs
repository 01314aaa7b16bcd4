//! What a URL of each kind of store opens, and for how long.

use std::collections::HashMap;

use valetkey_core::credential::{Credential, S3Keys};
use valetkey_core::id::StorageId;
use valetkey_core::keyring::{Keyring, SharedKeyring};
use valetkey_core::name::{BucketName, Name};
use valetkey_core::nouns::vault::Vault;
use valetkey_core::port::{Revocations, UrlSigner as _};
use valetkey_core::scope::{Actions, Path, Paths};
use valetkey_core::storage::{ExternalConfig, Quota, Revocability, Sharing, Storage, StorageKind};
use valetkey_core::time::{Clock as _, Entropy};
use valetkey_core::{Kind, Secret};
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;

use super::*;
use crate::kind::{Environment, Surroundings};

const NAME: &str = "far";

struct Nobody;

#[async_trait]
impl Revocations for Nobody {
    fn is_revoked(&self, _: &Provenance) -> bool {
        false
    }

    async fn rights(&self, _: LeaseId) -> Result<Option<Arc<Rights>>, Error> {
        Ok(None)
    }
}

fn issuers(secrets: &str) -> (Issuers, Storage, Timestamp) {
    let clock = Arc::new(FixedClock::default());
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(1));
    let keyring = SharedKeyring::new(Keyring::new(&[(1, Secret::new([7; 32]))]).unwrap());
    let fetchers = Arc::new(Fetchers::new(Environment {
        vault: Vault::new(keyring.clone(), entropy.clone()),
        surroundings: Surroundings::default(),
        token_dirs: Vec::new(),
        machine_identity_hosts: valetkey_core::hosts::Trusted::parse([]).unwrap(),
        identity: None,
        health: valetkey_core::health::Health::new(clock.clone()),
        clock: clock.clone(),
        entropy: entropy.clone(),
        nodes: valetkey_core::fair::LiveNodes::default(),
    }));
    let name = Name::parse(NAME).unwrap();
    let sealed = Vault::new(keyring.clone(), entropy.clone()).seal(&name, &Secret::new(secrets.to_owned())).unwrap();
    let storage = Storage {
        id: StorageId::from_bytes([1; 16]),
        name,
        kind: StorageKind::R2,
        endpoint: "https://acct.r2.cloudflarestorage.com".into(),
        internal_endpoint: None,
        region: "auto".into(),
        min_lifetime: Lifetime::secs(60),
        max_lifetime: Lifetime::secs(604_800),
        external: Some(Arc::new(ExternalConfig {
            settings: r#"{"account_id":"acct","parent_access_key_id":"11112222333344445555666677778888"}"#.into(),
            secrets: Some(sealed),
            sharing: Sharing::Caller,
            quota: Quota::default(),
            revocation: Revocability::ExpiryOnly,
            version: 1,
        })),
    };
    let tasks = tokio_util::task::TaskTracker::new();
    let cache = Cache::new(cache::Settings::default(), Arc::new(Nobody), clock.clone(), entropy.clone(), tasks, None);
    (Issuers::new(Embedded::new(keyring, entropy), fetchers, cache), storage, clock.now())
}

fn scope(paths: &[Path]) -> Rights {
    let bucket = BucketName::parse("lake").unwrap();
    Rights::of(bucket, Paths::only(paths.iter().cloned()).unwrap(), Actions::READ).unwrap()
}

fn vended(now: Timestamp) -> Credential {
    Credential::S3(S3Keys {
        access_key_id: "vended-key".to_owned(),
        secret_access_key: Secret::new("s".to_owned()),
        session_token: Secret::new("vended-token".to_owned()),
        expiration: Lifetime::secs(600).ends(now),
    })
}

fn query(url: &str) -> HashMap<String, String> {
    let url = reqwest::Url::parse(url).unwrap();
    url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

#[tokio::test]
async fn a_url_of_r2_holds_a_credential_for_its_object_alone() {
    let (issuers, storage, now) = issuers(r#"{"secret_access_key":"parent-secret"}"#);
    assert!(!issuers.shows_credential(&storage), "each is made for its object");
    let scope = scope(&[Path::directory(b"jobs").unwrap()]);
    let until = Lifetime::secs(3600).ends(now);
    let url = issuers.one(&storage, &vended(now), &scope, b"jobs/a b.csv", now, until).unwrap();
    assert!(url.reveal().starts_with("https://acct.r2.cloudflarestorage.com/lake/jobs/a%20b.csv?"), "{}", url.reveal());
    let query = query(url.reveal());
    assert_eq!(query["X-Amz-Expires"], "600", "no longer than what was vended");
    let token = data_encoding::BASE64.decode(query["X-Amz-Security-Token"].as_bytes()).unwrap();
    let token = String::from_utf8(token).unwrap();
    let claims = data_encoding::BASE64URL_NOPAD.decode(token.split('.').nth(1).unwrap().as_bytes()).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["paths"], serde_json::json!({"prefixPaths": [], "objectPaths": ["jobs/a b.csv"]}));
    assert_eq!((&claims["scope"], claims["exp"].as_i64()), (&"object-read-only".into(), Some(now.as_second() + 600)));
    let outside = issuers.one(&storage, &vended(now), &scope, b"jobs-secret/a", now, until).unwrap_err();
    assert_eq!(outside.kind(), Kind::Internal);
}

#[tokio::test]
async fn where_cloudflare_makes_them_what_was_vended_opens_single_objects_or_there_is_no_url() {
    let (issuers, storage, now) = issuers(r#"{"api_token":"token"}"#);
    assert!(issuers.shows_credential(&storage));
    let until = Lifetime::secs(300).ends(now);
    let objects = scope(&[Path::object(b"jobs/a").unwrap(), Path::object(b"jobs/b").unwrap()]);
    let url = issuers.one(&storage, &vended(now), &objects, b"jobs/a", now, until).unwrap();
    let query = query(url.reveal());
    assert_eq!((&*query["X-Amz-Security-Token"], &*query["X-Amz-Expires"]), ("vended-token", "300"));
    for wide in [Path::directory(b"jobs").unwrap(), Path::prefix(b"jobs/a").unwrap()] {
        let refused = issuers.one(&storage, &vended(now), &scope(&[wide]), b"jobs/a", now, until).unwrap_err();
        assert_eq!(refused.kind(), Kind::Invalid);
    }
}

#[tokio::test]
async fn a_tables_urls_at_r2_each_hold_a_credential_of_their_own_or_there_are_none() {
    let (own, storage, now) = issuers(r#"{"secret_access_key":"parent-secret"}"#);
    let scope = scope(&[Path::directory(b"t").unwrap()]);
    let until = Lifetime::secs(3600).ends(now);
    let urls = own.signs_each(&storage, &vended(now), &scope, now, until).await.unwrap();
    let tokens: Vec<String> = ["t/a", "t/b"]
        .map(|key| query(urls.url(key.as_bytes()).unwrap().reveal())["X-Amz-Security-Token"].clone())
        .to_vec();
    assert_ne!(tokens[0], tokens[1]);
    let one = own.one(&storage, &vended(now), &scope, b"t/a", now, until).unwrap();
    assert_eq!(query(one.reveal())["X-Amz-Expires"], "600", "no longer than what was vended");
    assert_eq!(urls.url(b"t2/a").map(drop).unwrap_err().kind(), Kind::Internal);
    let (api, storage, now) = issuers(r#"{"api_token":"token"}"#);
    let refused = api.signs_each(&storage, &vended(now), &scope, now, until).await.map(drop).unwrap_err();
    assert_eq!(refused.kind(), Kind::Invalid);
    assert!(refused.message().contains("`secret_access_key`"), "{refused}");
}
