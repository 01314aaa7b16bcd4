//! Which kinds of stores each dialect vends from: in the form each carries, and refused where it is configured if it cannot.

use std::sync::Arc;

use async_trait::async_trait;
use http::{Method, StatusCode};
use jiff::SignedDuration;
use serde_json::{Value, json};
use valetkey_core::credential::{AzureSas, Credential, GoogleToken, Issued};
use valetkey_core::grant::Grantee;
use valetkey_core::id::{AccountId, TableId, TokenId};
use valetkey_core::lease::{Lease, Revoker};
use valetkey_core::nouns::parent::{NewParent, ParentAdmin as _, Permission};
use valetkey_core::nouns::registry::NewStorage;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::nouns::share::{Recipient, ShareAdmin as _};
use valetkey_core::nouns::table::{History, NewTable, SharedName, TableAccess, TableRoot};
use valetkey_core::nouns::workspace::Access;
use valetkey_core::policy::Permit;
use valetkey_core::port::Issuer;
use valetkey_core::storage::{Shape, StorageKind};
use valetkey_core::time::{Clock as _, Lifetime};
use valetkey_core::token::{Maker, PlainToken};
use valetkey_core::{Error, Secret};
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;
use valetkey_testkit::memory::{Memory, SealingIssuer};

use super::access_grants::Key;
use super::world::{Shot, World, bucket, new_storage, sealing};
use crate::edge::{Class, Dialect, EdgeLimits, RateLimits};

/// A world in which `acme` was given something through every dialect.
pub(super) struct Doors {
    pub(super) world: World,
    account: AccountId,
    parent: TokenId,
    token: PlainToken,
    table: TableId,
}

/// Everything that vends, one of each dialect.
pub(super) const DIALECTS: [&str; 10] =
    ["native", "theirstack", "dreadnode", "r2", "sharing", "sts", "access-grants", "unity", "iceberg", "parcels"];
const TABLE: &str = "/delta-sharing/shares/Sales/schemas/main/tables/daily/temporary-table-credentials";

impl Doors {
    pub(super) async fn behind(
        storage: NewStorage,
        issuer: impl FnOnce(&Arc<FixedClock>, &Arc<SeededEntropy>, &Arc<Memory>) -> Arc<dyn Issuer>,
    ) -> Self {
        let limits = EdgeLimits { rates: RateLimits::off(), ..EdgeLimits::default() };
        let ours = storage.kind.is_ours();
        let world = World::behind(limits, storage, issuer).await;
        let now = world.clock.now();
        world.workspace("acme", "main", None, Access::ReadWrite, true).await;
        let account = world.account_id("acme").await;
        let token = PlainToken::generate(&*world.entropy);
        let new = NewParent {
            account,
            name: "job".parse().unwrap(),
            buckets: vec![bucket("vault")],
            permission: Permission::ObjectReadOnly,
            until: None,
            maker: Maker::Server,
        };
        let parent = world.memory.create_parent(new, &token, now).await.unwrap().token.id;
        let provider = world.account_id("globex").await;
        let name = SharedName::parse("Sales").unwrap();
        let share = world.memory.create_share(provider, &name, None, now).await.unwrap().id;
        let access = if ours { TableAccess::Both } else { TableAccess::Directory };
        let shared = world.memory.add_table(share, table(&world, access), now).await.unwrap().id;
        let recipient = Recipient {
            share,
            account,
            to: Grantee::Everyone,
            max_lifetime: Lifetime::secs(86_400),
            until: None,
            made: now,
        };
        let by = Revoker { by: world.caller_of("root").await, at: now };
        world.memory.add_recipient(recipient, by).await.unwrap();
        Self { world, account, parent, token, table: shared }
    }

    /// Asks for a credential in one dialect.
    pub(super) async fn vend(&self, dialect: &str) -> Shot {
        let token = if dialect == "r2" { self.token.reveal().to_owned() } else { self.world.token("reader").await };
        self.vend_with(dialect, &token).await
    }

    /// The same, as whom a token proves.
    pub(super) async fn vend_with(&self, dialect: &str, token: &str) -> Shot {
        let call = async |path: &str, body: &str| self.world.call(&Method::POST, path, token, body).await;
        match dialect {
            "native" => call("/api/v1/credentials", r#"{"grant":"daily"}"#).await,
            "theirstack" => call("/v1/datasets/credentials", "").await,
            "dreadnode" => {
                let path = "/api/v1/org/acme/ws/main/storage/credentials";
                self.world.call(&Method::GET, path, token, "").await
            }
            "r2" => {
                let path = format!("/client/v4/accounts/{}/r2/temp-access-credentials", self.account.as_hex());
                let body = json!({
                    "bucket": "vault", "parentAccessKeyId": self.parent.as_hex(), "permission": "object-read-only",
                    "ttlSeconds": 3600,
                });
                call(&path, &body.to_string()).await
            }
            "sharing" => call(TABLE, "").await,
            "iceberg" => {
                let path = "/iceberg/v1/Sales/namespaces/main/tables/daily/credentials";
                self.world.call(&Method::GET, path, token, "").await
            }
            "unity" => {
                let body = json!({"table_id": self.table.as_uuid(), "operation": "READ"});
                call("/api/2.1/unity-catalog/temporary-table-credentials", &body.to_string()).await
            }
            "parcels" => call("/parcels/v2/customers/daily/keys", "{}").await,
            "sts" => {
                let role = "RoleArn=arn:aws:iam:::role/daily&RoleSessionName=test";
                call("/sts?Action=AssumeRoleWithWebIdentity", role).await
            }
            "access-grants" => {
                let (id, secret) = (self.parent.as_hex(), self.token.secret_access_key());
                let key = Key { id, secret, token: None, account: self.account };
                let path = "/v20180820/accessgrantsinstance/dataaccess?target=s3://vault/x&permission=READ";
                self.world.send(self.world.signed(&key, &Method::GET, path)).await
            }
            other => panic!("no dialect {other}"),
        }
    }
}

fn table(world: &World, access: TableAccess) -> NewTable {
    NewTable {
        id: (),
        share: (),
        schema: SharedName::part("main").unwrap(),
        name: SharedName::part("daily").unwrap(),
        storage: world.storage,
        bucket: bucket("lake"),
        root: TableRoot::parse("t/plain").unwrap(),
        auxiliary: vec![TableRoot::parse("old/plain").unwrap()],
        access,
        history: History::Shared,
        format: None,
    }
}

/// Credentials of the store's own shape, which end seven seconds before the permit does.
pub(super) struct Shaped(pub(super) SealingIssuer);

#[async_trait]
impl Issuer for Shaped {
    fn ready(&self, _: &Permit) -> Result<Option<Issued>, Error> {
        Ok(None)
    }

    async fn issue(&self, permit: &Permit, lease: &Lease) -> Result<Issued, Error> {
        let expiration = permit.until() - SignedDuration::from_secs(7);
        let text = |text: &str| Secret::new(text.to_owned());
        Ok(match permit.storage().kind.shape() {
            Shape::S3 => {
                let mut issued = self.0.issue(permit, lease).await?;
                if let Credential::S3(keys) = Arc::make_mut(&mut issued.credential) {
                    keys.expiration = expiration;
                }
                issued
            }
            Shape::Azure => {
                Issued::own(Credential::Azure(AzureSas { sas_token: text("sv=1&sig=made-up"), expiration }))
            }
            Shape::Google => {
                Issued::own(Credential::Google(GoogleToken { access_token: text("ya29.made-up"), expiration }))
            }
        })
    }
}

async fn shaped(kind: StorageKind) -> Doors {
    Doors::behind(new_storage("local", kind), |_, entropy, _| Arc::new(Shaped(sealing(entropy)))).await
}

#[tokio::test]
async fn no_dialect_that_vends_is_left_out_here() {
    let world = World::new().await;
    let all = World::dialects(&world.shared, &world.made);
    let vends = |dialect: &&Dialect| dialect.routes.iter().any(|route| route.class == Class::Credentials);
    let names: Vec<_> = all.iter().filter(vends).map(|dialect| dialect.name).collect();
    assert_eq!(names, DIALECTS);
}

#[tokio::test]
async fn each_dialect_vends_from_the_kinds_its_wire_carries_and_refuses_the_others() {
    for kind in StorageKind::ALL {
        let doors = shaped(kind).await;
        for dialect in DIALECTS {
            let shot = doors.vend(dialect).await;
            let carried =
                kind.shape() == Shape::S3 || ["native", "sharing", "unity", "iceberg", "parcels"].contains(&dialect);
            if carried {
                assert_eq!(shot.status, StatusCode::OK, "{dialect} from {}: {}", kind.as_str(), shot.body);
                continue;
            }
            assert_eq!(shot.status, StatusCode::FORBIDDEN, "{dialect} from {}: {}", kind.as_str(), shot.body);
            assert!(shot.body.contains("which this API cannot carry"), "{}", shot.body);
            assert!(!shot.body.contains("made-up"), "{}", shot.body);
        }
    }
}

#[tokio::test]
async fn keys_to_a_table_have_the_form_of_its_store_and_its_real_end() {
    for (kind, location, field, secret) in [
        (StorageKind::Embedded, "s3://lake/t/plain", "awsTempCredentials", None),
        (StorageKind::Gateway, "s3://lake/t/plain", "awsTempCredentials", None),
        (StorageKind::Sts, "s3://lake/t/plain", "awsTempCredentials", None),
        (StorageKind::R2, "s3://lake/t/plain", "awsTempCredentials", None),
        (
            StorageKind::Azure,
            "abfss://lake@acct.dfs.core.windows.net/t/plain",
            "azureUserDelegationSas",
            Some(json!({"sasToken": "sv=1&sig=made-up"})),
        ),
        (StorageKind::Gcs, "gs://lake/t/plain", "gcpOauthToken", Some(json!({"oauthToken": "ya29.made-up"}))),
    ] {
        let doors = shaped(kind).await;
        let listed = doors.world.get("reader", "/delta-sharing/shares/Sales/all-tables").await.json();
        let listed = &listed["items"][0];
        assert_eq!(listed["location"], location);
        assert_eq!(listed["auxiliaryLocations"], json!([location.replace("t/plain", "old/plain")]));
        let modes = if kind.is_ours() { json!(["url", "dir"]) } else { json!(["dir"]) };
        assert_eq!(listed["accessModes"], modes);
        let answer = doors.vend("sharing").await.json();
        let given = answer["credentials"].as_object().unwrap();
        let mut names: Vec<&str> = given.keys().map(String::as_str).collect();
        names.sort_unstable();
        let mut wanted = ["expirationTime", "location", field];
        wanted.sort_unstable();
        assert_eq!(names, wanted);
        assert_eq!(given["location"], location);
        if let Some(secret) = secret {
            assert_eq!(given[field], secret);
        }
        let until = doors.world.clock.now() + SignedDuration::from_secs(3600 - 7);
        assert_eq!(given["expirationTime"], until.as_millisecond(), "the credential's own end");
    }
}

#[tokio::test]
async fn a_location_names_the_tables_own_store_or_nothing() {
    let ask = async |doors: &Doors, location: &str| {
        let shot = doors.world.post("reader", TABLE, &json!({"location": location}).to_string()).await;
        (shot.status.as_u16(), shot.json())
    };
    let azure = shaped(StorageKind::Azure).await;
    for location in [
        "abfs://lake@acct.dfs.core.windows.net/t/plain/day=1",
        "wasbs://lake@acct.blob.core.windows.net/t/plain/",
        "abfss://lake@acct.dfs.core.windows.net/old/plain",
        "https://acct.blob.core.windows.net/lake/t/plain",
        "https://acct.dfs.core.windows.net/lake/t/plain/day=1",
    ] {
        let (status, answer) = ask(&azure, location).await;
        assert_eq!((status, &answer["credentials"]["location"]), (200, &json!(location)));
    }
    for location in [
        "abfss://lake@other.dfs.core.windows.net/t/plain",
        "abfss://vault@acct.dfs.core.windows.net/t/plain",
        "https://other.blob.core.windows.net/lake/t/plain",
        "https://acct.blob.core.windows.net/lake/t/plain2",
        "s3://lake/t/plain",
        "gs://lake/t/plain",
    ] {
        let (status, answer) = ask(&azure, location).await;
        assert_eq!((status, &answer["errorCode"]), (400, &json!("INVALID_PARAMETER_VALUE")), "{location}");
    }
    let google = shaped(StorageKind::Gcs).await;
    assert_eq!(ask(&google, "gs://lake/t/plain/day=1").await.0, 200);
    for location in ["s3://lake/t/plain", "gs://vault/t/plain", "gs://lake@acct/t/plain"] {
        assert_eq!(ask(&google, location).await.0, 400, "{location}");
    }
    for location in ["gs://lake/t/plain", "abfss://lake@acct.dfs.core.windows.net/t/plain"] {
        assert_eq!(ask(&shaped(StorageKind::Sts).await, location).await.0, 400, "{location}");
    }
}

/// A world with a bucket in a store of each kind, named as the kind.
async fn every_kind() -> World {
    let world = World::new().await;
    let now = world.clock.now();
    for kind in StorageKind::ALL {
        let store = format!("store-{}", kind.as_str());
        let id = world.memory.create_storage(new_storage(&store, kind), now).await.unwrap().id;
        world.memory.create_bucket(id, &bucket(&format!("in-{}", kind.as_str())), now).await.unwrap();
    }
    world
}

async fn root(world: &World, path: &str, body: &Value) -> (u16, Value) {
    let shot = world.post("root", &format!("/api/v1{path}"), &body.to_string()).await;
    (shot.status.as_u16(), shot.json())
}

#[tokio::test]
async fn a_table_is_only_promised_in_the_ways_its_store_has() {
    let world = every_kind().await;
    assert_eq!(root(&world, "/shares", &json!({"name": "Sales", "account": "globex"})).await.0, 201);
    let add = async |kind: &str, more: Value| {
        let (name, bucket) = (format!("t{}", more.to_string().len()), format!("in-{kind}"));
        let mut body = json!({"schema": kind, "name": name, "bucket": bucket, "root": "t/plain"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        root(&world, "/shares/Sales/tables", &body).await
    };
    for (kind, usual) in [("embedded", "both"), ("gateway", "both"), ("sts", "dir"), ("r2", "dir"), ("gcs", "dir")] {
        let (status, answer) = add(kind, json!({})).await;
        assert_eq!((status, &answer["access"]), (201, &json!(usual)), "{kind}: {answer}");
    }
    for (kind, access, history) in [("sts", "url", "latest"), ("sts", "both", "shared"), ("r2", "url", "shared")] {
        let (status, answer) = add(kind, json!({"access": access, "history": history})).await;
        assert_eq!((status, &answer["access"]), (201, &json!(access)), "{kind} {access}: {answer}");
        assert_eq!(answer["checked"], false, "nobody has keys to look with");
    }
    for access in ["url", "both"] {
        let (status, answer) = add("gcs", json!({"access": access})).await;
        assert_eq!((status, &answer["field"]), (422, &json!("access")), "{access}: {answer}");
        let said = answer["detail"].as_str().unwrap();
        assert!(said.contains("cannot be served by `url`: there is no key to sign them with"), "{said}");
        assert!(said.contains("give access by `dir`"), "{said}");
    }
    for kind in ["sts", "r2", "azure", "gcs"] {
        let (status, answer) = add(kind, json!({"history": "latest"})).await;
        assert_eq!((status, &answer["field"]), (422, &json!("history")), "{kind}: {answer}");
    }
    // What the store cannot express is told for each directory.
    let (status, answer) = add("azure", json!({})).await;
    assert_eq!((status, &answer["field"]), (422, &json!("root")), "{answer}");
    assert!(answer["detail"].as_str().unwrap().contains("opens whole buckets only; choose another place"), "{answer}");
    let (status, answer) = add("sts", json!({"auxiliary": ["old:x"]})).await;
    assert_eq!((status, &answer["field"]), (422, &json!("auxiliary")), "{answer}");
}

#[tokio::test]
async fn what_a_store_cannot_express_is_refused_where_it_is_configured() {
    let world = every_kind().await;
    let workspace = |kind: &str, access: &str| {
        let (key, bucket) = (format!("{kind}-{access}"), format!("in-{kind}"));
        json!({"account": "acme", "key": key, "bucket": bucket, "callers": null, "access": access})
    };
    let parent = |kind: &str, permission: &str| {
        let name = format!("{kind}-{permission}");
        json!({"account": "acme", "name": name, "buckets": ["lake", format!("in-{kind}")], "permission": permission})
    };
    let dataset = |kind: &str, prefix: &str| json!({"name": format!("{kind}-{}", prefix.len()), "topic": "t", "bucket": format!("in-{kind}"), "prefix": prefix});
    let with = |mut body: Value, field: &str, value: &str| {
        body[field] = value.into();
        body
    };
    for (path, body, field, said) in [
        ("/workspaces", workspace("azure", "read"), "bucket", "carries S3 keys only"),
        ("/workspaces", workspace("gcs", "read"), "bucket", "carries S3 keys only"),
        ("/workspaces", workspace("r2", "read-write"), "bucket", "the store is read only; choose another place"),
        ("/workspaces", with(workspace("sts", "read"), "prefix", "a:b"), "bucket", "cannot name a colon"),
        ("/parent-keys", parent("azure", "object-read-only"), "buckets", "carries S3 keys only"),
        ("/parent-keys", parent("gcs", "object-read-only"), "buckets", "carries S3 keys only"),
        ("/parent-keys", parent("r2", "object-read-write"), "buckets", "the store is read only"),
        ("/datasets", dataset("azure", "d"), "bucket", "carries S3 keys only"),
        ("/datasets", dataset("gcs", "d"), "bucket", "carries S3 keys only"),
        ("/datasets", dataset("sts", "a:b"), "prefix", "cannot name a colon"),
    ] {
        let (status, answer) = root(&world, path, &body).await;
        assert_eq!((status, &answer["field"]), (422, &json!(field)), "{body}: {answer}");
        assert!(answer["detail"].as_str().unwrap().contains(said), "{body}: {answer}");
    }
    for (path, body) in [
        ("/workspaces", workspace("embedded", "read-write")),
        ("/workspaces", workspace("gateway", "read-write")),
        ("/workspaces", workspace("sts", "read-write")),
        ("/workspaces", workspace("r2", "read")),
        ("/parent-keys", parent("gateway", "admin-read-write")),
        ("/parent-keys", parent("sts", "object-read-write")),
        ("/parent-keys", parent("r2", "object-read-only")),
        ("/datasets", dataset("sts", "a")),
        ("/datasets", dataset("r2", "a")),
    ] {
        let (status, answer) = root(&world, path, &body).await;
        assert_eq!(status, 201, "{body}: {answer}");
    }
    // A key that was refused left nothing behind: its name is free.
    let (status, answer) =
        root(&world, "/parent-keys", &with(parent("sts", "object-read-only"), "name", "azure-object-read-only")).await;
    assert_eq!(status, 201, "{answer}");
}
