//! A small world: two accounts with datasets and one without anything, and callers of every role.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;
use valetkey_check::{Answer, Attempt, Prober};
use valetkey_core::account::{self, Kept, Metering};
use valetkey_core::caller::{CallerRecord, Role};
use valetkey_core::cors::{CorsRules, Rules};
use valetkey_core::credential::Credential;
use valetkey_core::fair::Budget;
use valetkey_core::field::Field;
use valetkey_core::grant::{Grantee, NewGrant};
use valetkey_core::health::Health;
use valetkey_core::id::{AccountId, CallerId, DatasetId, GrantId, StorageId, TokenId};
use valetkey_core::keyring::{Keyring, SharedKeyring};
use valetkey_core::name::{BucketName, Name};
use valetkey_core::nouns::dataset::{NewDataset, Newest};
use valetkey_core::nouns::registry::NewStorage;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::nouns::storage_admin::{Description, Ended, StorageAdmin};
use valetkey_core::nouns::workspace::{Access, NewWorkspace, Opening, Root, Slug, Workspace, WorkspaceAdmin as _};
use valetkey_core::port::Issuer;
use valetkey_core::scope::{Action, Actions, Path, Paths, Scope};
use valetkey_core::storage::{ExternalConfig, Quota, Revocability, Sharing, Storage, StorageKind};
use valetkey_core::time::{Clock, Lifetime};
use valetkey_core::token::{Maker, PlainToken};
use valetkey_core::vending::Vending;
use valetkey_core::{Error, Kind, Secret};
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;
use valetkey_testkit::memory::{Memory, SealingIssuer};

use super::stock::Stock;
use crate::access_grants;
use crate::custom;
use crate::dreadnode;
use crate::edge::{self, Console, Dialect, EdgeLimits, Heavy, HeavyLimits, RateLimits, Registrar, Shared};
use crate::native;
use crate::{iceberg, r2, sharing, sts, theirstack, unity};

/// The buckets that were made at the store, and what lies in them.
#[derive(Default)]
pub(super) struct Made(pub(super) Mutex<Vec<String>>, Mutex<Vec<(BucketName, Rules)>>, pub(super) Arc<Stock>);

#[async_trait]
impl CorsRules for Made {
    async fn cors(&self, _: StorageId, bucket: &BucketName) -> Result<Option<Rules>, Error> {
        Ok(self.1.lock().unwrap().iter().find(|(own, _)| own == bucket).map(|(_, rules)| rules.clone()))
    }

    async fn set_cors(&self, _: StorageId, bucket: &BucketName, rules: Option<Rules>) -> Result<(), Error> {
        let mut all = self.1.lock().unwrap();
        all.retain(|(own, _)| own != bucket);
        all.extend(rules.map(|rules| (bucket.clone(), rules)));
        Ok(())
    }
}

#[async_trait]
impl StorageAdmin for Made {
    fn read(&self, described: Description, before: Option<&Storage>) -> Result<NewStorage, Error> {
        let external = ExternalConfig {
            settings: described.settings.unwrap_or("{}".into()),
            secrets: described.secrets.map(|secrets| secrets.reveal().bytes().rev().collect()),
            sharing: described.sharing.unwrap_or_default(),
            quota: described.quota.unwrap_or_default(),
            revocation: Revocability::ExpiryOnly,
            version: 1,
        };
        let (least, most) = (Lifetime::secs(60), Lifetime::secs(604_800));
        let min_lifetime = described.min_lifetime.unwrap_or(least);
        let max_lifetime = described.max_lifetime.or(before.map(|before| before.max_lifetime)).unwrap_or(most);
        if max_lifetime < min_lifetime {
            return Err(
                Error::new(Kind::Invalid, "the longest lifetime is shorter than the shortest").at("max_ttl_secs")
            );
        }
        Ok(NewStorage {
            name: described.name,
            kind: described.kind,
            endpoint: described.endpoint.unwrap_or("http://127.0.0.1:9000".into()),
            internal_endpoint: described.internal_endpoint,
            region: described.region.unwrap_or("us-east-1".into()),
            min_lifetime,
            max_lifetime,
            external: (described.kind != StorageKind::Embedded).then(|| Arc::new(external)),
        })
    }

    async fn put(&self, _: &Storage) -> Result<(), Error> {
        Ok(())
    }

    async fn ensure_bucket(&self, _: &Storage, bucket: &BucketName) -> Result<(), Error> {
        self.0.lock().unwrap().push(bucket.to_string());
        Ok(())
    }

    async fn close_bucket(&self, _: &Storage, bucket: &BucketName, with_objects: bool) -> Result<(), Error> {
        if bucket.as_str() == "vault" && !with_objects {
            return Err(Error::new(Kind::Invalid, "the bucket `vault` is not empty").at("with_objects"));
        }
        self.0.lock().unwrap().push(format!("closed {bucket}"));
        Ok(())
    }

    async fn reopen_bucket(&self, _: &Storage, bucket: &BucketName) -> Result<(), Error> {
        self.0.lock().unwrap().push(format!("reopened {bucket}"));
        Ok(())
    }

    fn purge_closed(&self) {
        self.0.lock().unwrap().push("purged".to_owned());
    }

    async fn kept(&self, account: Option<AccountId>) -> Result<HashMap<AccountId, Kept>, Error> {
        Ok(account.map(|account| (account, Kept { bytes: 700, objects: 3 })).into_iter().collect())
    }

    fn quota(&self) -> account::Quota {
        account::Quota { bytes: Some(1000), objects: None }
    }

    async fn remove(&self, storage: &Storage) {
        self.0.lock().unwrap().push(format!("removed {}", storage.name));
    }

    fn can_express(&self, storage: &Storage, scope: &Scope) -> Result<(), Error> {
        match (storage.kind, scope.paths()) {
            (StorageKind::Azure, Paths::Only(_)) => {
                Err(Error::new(Kind::Invalid, "the store opens whole buckets only").at(Field::Paths))
            }
            (StorageKind::R2, _) if scope.actions().contains(Action::PutObject) => {
                Err(Error::new(Kind::Invalid, "the store is read only"))
            }
            (StorageKind::Sts, Paths::Only(paths)) if paths.iter().any(|path| path.bytes().contains(&b':')) => {
                Err(Error::new(Kind::Invalid, "the store cannot name a colon"))
            }
            _ => Ok(()),
        }
    }

    fn has_urls(&self, storage: &Storage) -> Result<(), Error> {
        let signs = storage.kind != StorageKind::Gcs;
        if signs { Ok(()) } else { Err(Error::new(Kind::Invalid, "there is no key to sign them with")) }
    }

    async fn forget(&self, _: StorageId, key_ids: &[Box<str>]) -> Result<(), Error> {
        self.0.lock().unwrap().extend(key_ids.iter().map(|key_id| format!("forgot {key_id}")));
        Ok(())
    }

    async fn end_credentials(&self, storage: &Storage) -> Result<Ended, Error> {
        if storage.kind.is_ours() {
            return Ok(Ended { done: "refuse them".to_owned(), notes: Vec::new() });
        }
        if storage.kind == StorageKind::Sts {
            return Ok(Ended { done: "denied them".to_owned(), notes: vec!["in a minute".to_owned()] });
        }
        Err(Error::new(Kind::Invalid, "there is no way"))
    }
}

/// A store that refuses every request.
#[async_trait]
impl Prober for Made {
    async fn attempt(&self, _: &Storage, _: &Credential, _: Attempt<'_>) -> Answer {
        Answer::Refused { status: 403, code: "AccessDenied".into() }
    }
}

pub(super) struct World {
    pub(super) clock: Arc<FixedClock>,
    pub(super) memory: Arc<Memory>,
    pub(super) entropy: Arc<SeededEntropy>,
    pub(super) shared: Arc<Shared>,
    pub(super) made: Arc<Made>,
    pub(super) storage: StorageId,
    app: axum::Router,
}

/// One answer.
pub(super) struct Shot {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Shot {
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// Status, headers and body as one text; secrets as their shape.
    pub(super) fn whole(&self) -> String {
        let mut text = format!("{}\n", self.status);
        // The length is written by the connection, which is not here.
        let shown = self.headers.iter().filter(|(name, _)| *name != http::header::CONTENT_LENGTH);
        let mut headers: Vec<String> =
            shown.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        headers.sort();
        writeln!(text, "{}\n", headers.join("\n")).unwrap();
        let mut value = self.json();
        hide(&mut value);
        write!(text, "{}", serde_json::to_string_pretty(&value).unwrap()).unwrap();
        text
    }
}

fn hide(value: &mut serde_json::Value) {
    let Some(fields) = value.as_object_mut() else { return };
    for (name, value) in fields {
        let Some(text) = value.as_str() else { continue };
        let shape = match name.as_str() {
            "secret_access_key" | "secretAccessKey" => "[43 of base64url]",
            "session_token" | "sessionToken" => "[vks2. and base64url]",
            "token" if text.starts_with("vkt_") => "[vkt_ and 50 more]",
            _ => continue,
        };
        match shape {
            "[43 of base64url]" => assert_eq!(text.len(), 43),
            "[vks2. and base64url]" => assert!(text.starts_with("vks2.") && text.len() > 100),
            _ => assert_eq!(text.len(), 54),
        }
        *value = shape.into();
    }
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub(super) fn bucket(text: &str) -> BucketName {
    BucketName::parse(text).unwrap()
}

pub(super) fn directory(path: &str) -> Paths {
    Paths::only([Path::directory(path.as_bytes()).unwrap()]).unwrap()
}

pub(super) fn ring() -> Keyring {
    Keyring::new(&[(1, Secret::new([7; 32]))]).unwrap()
}

pub(super) fn sealing(entropy: &Arc<SeededEntropy>) -> SealingIssuer {
    SealingIssuer { ring: ring(), entropy: entropy.clone() }
}

/// A store with nothing special about it.
pub(super) fn new_storage(text: &str, kind: StorageKind) -> NewStorage {
    let external = ExternalConfig {
        settings: "{}".into(),
        secrets: None,
        sharing: Sharing::Caller,
        quota: Quota::default(),
        revocation: Revocability::ExpiryOnly,
        version: 1,
    };
    let endpoint = match kind {
        StorageKind::Embedded | StorageKind::Gateway | StorageKind::Sts | StorageKind::R2 => "http://127.0.0.1:9000",
        StorageKind::Azure => "https://acct.blob.core.windows.net",
        StorageKind::Gcs => "https://storage.googleapis.com",
    };
    NewStorage {
        name: name(text),
        kind,
        endpoint: endpoint.into(),
        internal_endpoint: None,
        region: "us-east-1".into(),
        min_lifetime: Lifetime::secs(60),
        max_lifetime: Lifetime::secs(604_800),
        external: (kind != StorageKind::Embedded).then(|| Arc::new(external)),
    }
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with(EdgeLimits { rates: RateLimits::off(), ..EdgeLimits::default() }).await
    }

    /// Accounts `acme` (reader, writer, boss: admin), `globex` (other, chief: admin), `poor` (nobody: nothing granted,
    /// metered), `ops` (root: operator). Buckets `lake` and `vault`.
    pub(super) async fn with(limits: EdgeLimits) -> Self {
        Self::behind(limits, new_storage("local", StorageKind::Embedded), |_, entropy, _| Arc::new(sealing(entropy)))
            .await
    }

    /// The same, with another store behind its buckets and another issuer for it.
    pub(super) async fn behind(
        limits: EdgeLimits,
        storage: NewStorage,
        issuer: impl FnOnce(&Arc<FixedClock>, &Arc<SeededEntropy>, &Arc<Memory>) -> Arc<dyn Issuer>,
    ) -> Self {
        let clock = Arc::new(FixedClock::default());
        let entropy = Arc::new(SeededEntropy::new(7));
        let memory = Arc::new(Memory::new(entropy.clone()));
        let now = clock.now();
        let shared = Arc::new(Shared {
            vending: Vending {
                clock: clock.clone(),
                directory: memory.clone(),
                ledger: memory.clone(),
                issuer: issuer(&clock, &entropy, &memory),
            },
            registry: Registrar::new(memory.clone(), memory.clone()),
            trail: memory.clone(),
            usage: memory.clone(),
            workspaces: memory.clone(),
            packages: memory.clone(),
            entropy: entropy.clone(),
            shares: memory.clone(),
            keyring: SharedKeyring::new(ring()),
            parents: memory.clone(),
            leases: memory.clone(),
            identities: memory.clone(),
            own: Some(super::signing::own(&memory, &clock, &entropy)),
            signatures: super::identity::oidc(),
            logins: super::identity::oidc(),
            console: Some(Arc::new(Console::new("http://127.0.0.1:7070"))),
            heavy: Heavy::new(HeavyLimits::default()),
            bodies: Budget::new(128 * 1024 * 1024),
            health: Health::new(clock.clone()),
        });
        let storage = memory.create_storage(storage, now).await.unwrap().id;
        let made = Arc::new(Made::default());
        let app = edge::router(shared.clone(), limits, Self::dialects(&shared, &made)).unwrap();
        let world = Self { clock, memory, entropy, shared, made, storage, app };
        for text in ["lake", "vault"] {
            world.memory.create_bucket(storage, &bucket(text), now).await.unwrap();
        }
        let daily = world.dataset("flights-daily", "flights", "lake", "flights/daily").await;
        world.dataset("flights-secret", "flights", "lake", "flights/daily-secret").await;
        let jobs = world.dataset("jobs-daily", "jobs", "lake", "jobs/daily").await;
        let acme = world.account("acme", 0).await;
        let globex = world.account("globex", 0).await;
        world.account("poor", 2).await;
        world.account("ops", 0).await;
        for (account, caller, role) in [
            ("acme", "reader", Role::Member),
            ("acme", "writer", Role::Member),
            ("acme", "boss", Role::Admin),
            ("globex", "other", Role::Member),
            ("globex", "chief", Role::Admin),
            ("poor", "nobody", Role::Member),
            ("ops", "root", Role::Operator),
        ] {
            world.caller(account, caller, role).await;
        }
        let writer = world.caller("acme", "writer", Role::Member).await;
        world.grant(acme, "daily", None, "lake", directory("flights/daily"), Actions::READ, Some(daily)).await;
        let work = Actions::READ_WRITE.without(Action::DeleteObject);
        world.grant(acme, "work", Some(writer), "lake", directory("work/writer"), work, None).await;
        world.grant(globex, "jobs", None, "lake", directory("jobs/daily"), Actions::READ, Some(jobs)).await;
        world.grant(globex, "vault", None, "vault", Paths::Whole, Actions::READ_WRITE, None).await;
        world
    }

    pub(super) fn dialects(shared: &Arc<Shared>, made: &Arc<Made>) -> Vec<Dialect> {
        let urls = super::tables::urls();
        let logs = Some(Arc::clone(&urls.logs));
        let tables = logs.clone();
        let mut dialects = vec![
            native::dialect(
                shared,
                native::Settings::default(),
                made.clone(),
                made.clone(),
                (logs, made.2.clone()),
                made.clone(),
            ),
            theirstack::dialect(
                shared,
                theirstack::Settings { patience: Duration::from_secs(2), ..theirstack::Settings::default() },
                Stock::files(&made.2),
            ),
            dreadnode::dialect(shared, dreadnode::Settings::default()),
            r2::dialect(shared),
            sharing::dialect(shared, sharing::Settings::default(), Some(urls)),
            sts::dialect(shared, sts::Settings::default()),
            access_grants::dialect(shared, access_grants::Settings::default()),
            unity::dialect(shared, unity::Settings::default(), tables),
            iceberg::dialect(
                shared,
                iceberg::Settings { upstreams: vec![made.2.lakehouse.clone()], ..iceberg::Settings::default() },
                made.2.clone(),
                made.2.clone(),
            ),
        ];
        custom::add(shared, &mut dialects, vec![custom::Spec::read(super::own::PARCELS).unwrap()]).unwrap();
        dialects
    }

    pub(super) async fn dataset(&self, text: &str, topic: &str, bucket_name: &str, path: &str) -> DatasetId {
        self.dataset_as(text, topic, bucket_name, path, |dataset| dataset).await
    }

    pub(super) async fn dataset_as(
        &self,
        text: &str,
        topic: &str,
        bucket_name: &str,
        path: &str,
        change: impl FnOnce(NewDataset) -> NewDataset,
    ) -> DatasetId {
        let dataset = NewDataset {
            id: (),
            name: name(text),
            topic: name(topic),
            description: format!("the data set {text}"),
            storage: self.storage,
            bucket: bucket(bucket_name),
            path: Path::directory(path.as_bytes()).unwrap(),
            format: "parquet".into(),
            frequency: "daily".into(),
            version: "1".into(),
            deprecated: false,
            newest: Newest::ByTime,
            dictionary: None,
            sample: None,
        };
        self.memory.create_dataset(change(dataset), self.clock.now()).await.unwrap()
    }

    async fn account(&self, text: &str, credits: u32) -> AccountId {
        self.memory.create_account(&name(text), Metering::of(credits), self.clock.now()).await.unwrap().id
    }

    pub(super) async fn account_id(&self, text: &str) -> AccountId {
        self.memory.account_named(&name(text)).await.unwrap().unwrap().id
    }

    pub(super) async fn caller(&self, account: &str, text: &str, role: Role) -> CallerId {
        let account = self.account_id(account).await;
        self.memory.ensure_caller(account, &name(text), role, self.clock.now()).await.unwrap()
    }

    #[expect(clippy::too_many_arguments, reason = "a fixture, called with literals")]
    pub(super) async fn grant(
        &self,
        account: AccountId,
        text: &str,
        to: Option<CallerId>,
        bucket_name: &str,
        paths: Paths,
        actions: Actions,
        dataset: Option<DatasetId>,
    ) -> GrantId {
        let grant = NewGrant {
            name: name(text),
            account,
            to: to.map_or(Grantee::Everyone, Grantee::Caller),
            storage: self.storage,
            dataset,
            scope: Scope::new(bucket(bucket_name), paths, actions).unwrap().into(),
            max_lifetime: Lifetime::secs(604_800),
            from: None,
            until: None,
            conditions: None,
        };
        self.memory.create_grant(grant, self.clock.now()).await.unwrap()
    }

    /// A new token of a caller.
    pub(super) async fn token_of(&self, caller: &str, secs: Option<i64>) -> (TokenId, String) {
        for account in self.memory.accounts().await.unwrap() {
            for CallerRecord { id, name: own, .. } in self.memory.callers(account.id).await.unwrap() {
                if own.as_str() == caller {
                    let token = PlainToken::generate(&*self.entropy);
                    let now = self.clock.now();
                    let until = secs.map(|secs| now + jiff::SignedDuration::from_secs(secs));
                    let record = self.memory.create_token(id, &token, until, Maker::Server, now).await.unwrap();
                    return (record.id, token.reveal().to_owned());
                }
            }
        }
        panic!("no caller {caller}")
    }

    pub(super) async fn token(&self, caller: &str) -> String {
        self.token_of(caller, None).await.1
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Shot {
        Self::shot(self.answer(request).await).await
    }

    /// Sends a request, and does not read the answer.
    pub(super) async fn answer(&self, request: Request<Body>) -> axum::response::Response {
        self.app.clone().oneshot(request).await.unwrap()
    }

    /// Reads an answer.
    pub(super) async fn shot(response: axum::response::Response) -> Shot {
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Shot { status: parts.status, headers: parts.headers, body: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    /// Sends a request with a token and a body.
    pub(super) async fn call(&self, method: &Method, path: &str, token: &str, body: &str) -> Shot {
        self.send(self.asking(method, path, token, body).await).await
    }

    /// A request with a token, where its dialect has it, or with a key that was vended to it, and a body.
    pub(super) async fn asking(&self, method: &Method, path: &str, token: &str, body: &str) -> Request<Body> {
        if path.starts_with(access_grants::PATH) {
            let key = self.key_of(token, "daily").await;
            return self.signed(&key, method, path);
        }
        let request = Request::builder().method(method).uri(path);
        let (request, body) = if path.starts_with(sts::PATH) {
            let form = request.header("content-type", "application/x-www-form-urlencoded");
            (form, format!("{body}&WebIdentityToken={token}"))
        } else {
            (request.header("authorization", format!("Bearer {token}")), body.to_owned())
        };
        request.body(Body::from(body)).unwrap()
    }

    /// As a new token of the caller.
    pub(super) async fn get(&self, caller: &str, path: &str) -> Shot {
        self.call(&Method::GET, path, &self.token(caller).await, "").await
    }

    /// As a new token of the caller.
    pub(super) async fn post(&self, caller: &str, path: &str, body: &str) -> Shot {
        self.call(&Method::POST, path, &self.token(caller).await, body).await
    }

    /// As a new token of the caller.
    pub(super) async fn delete(&self, caller: &str, path: &str) -> Shot {
        self.call(&Method::DELETE, path, &self.token(caller).await, "").await
    }
}

impl World {
    /// A workspace in `lake`, under `teams/<account>/<key>`.
    pub(super) async fn workspace(
        &self,
        account: &str,
        key: &str,
        to: Option<CallerId>,
        access: Access,
        is_default: bool,
    ) -> Workspace {
        let to = to.map_or(Grantee::Everyone, Grantee::Caller);
        let new = NewWorkspace {
            account: self.account_id(account).await,
            key: Slug::parse(key).unwrap(),
            name: format!("The {key} one").into(),
            storage: self.storage,
            bucket: bucket("lake"),
            root: Some(Root::parse(&format!("teams/{account}/{key}")).unwrap()),
            is_default,
            openings: vec![Opening { name: name(&format!("workspace-{key}")), to }],
            access,
            max_lifetime: Lifetime::secs(604_800),
        };
        self.memory.create_workspace(new, self.clock.now()).await.unwrap()
    }

    /// Gives the store another address inside the cluster and another longest lifetime.
    pub(super) async fn change_storage(&self, internal: Option<&str>, most_secs: u32) {
        let changed = NewStorage {
            name: name("local"),
            kind: StorageKind::Embedded,
            endpoint: "http://127.0.0.1:9000".into(),
            internal_endpoint: internal.map(Into::into),
            region: "us-east-1".into(),
            min_lifetime: Lifetime::secs(60),
            max_lifetime: Lifetime::secs(most_secs),
            external: None,
        };
        self.memory.change_storage(self.storage, changed).await.unwrap();
    }

    pub(super) async fn caller_of(&self, text: &str) -> CallerId {
        for account in self.memory.accounts().await.unwrap() {
            for CallerRecord { id, name: own, .. } in self.memory.callers(account.id).await.unwrap() {
                if own.as_str() == text {
                    return id;
                }
            }
        }
        panic!("no caller {text}")
    }
}
