//! What a listing with a delimiter costs where a bucket has a million keys in few or in many directories: for each entry that is
//! told, beside a listing of keys that lie side by side.
//!
//! `cargo run --release -p valetkey-s3 --example list_rate -- [KEYS] [DIRECTORY]`
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;
use tokio_util::task::TaskTracker;
use valetkey_core::Secret;
use valetkey_core::fair::Budget;
use valetkey_core::id::{AccountId, CallerId, LeaseId, StorageId, TokenId};
use valetkey_core::keyring::{Keyring, SharedKeyring};
use valetkey_core::lease::{Lease, Provenance};
use valetkey_core::name::BucketName;
use valetkey_core::port::Revocations;
use valetkey_core::scope::{Actions, Paths, Rights};
use valetkey_core::time::{Clock as _, random_10};
use valetkey_s3::{Config, Endpoint, World};
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;
use valetkey_testkit::memory::Memory;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// So often each page is asked for; the median counts.
const TIMES: usize = 9;

/// Leases that never end early.
struct Open;

#[async_trait]
impl Revocations for Open {
    fn is_revoked(&self, _: &Provenance) -> bool {
        false
    }

    async fn rights(&self, _: LeaseId) -> Result<Option<Arc<Rights>>, valetkey_core::Error> {
        Ok(None)
    }
}

/// An endpoint with one bucket, and a key to it.
struct Store {
    endpoint: Endpoint,
    stamp: String,
    key_id: String,
    secret: String,
    token: String,
}

impl Store {
    async fn open(dir: PathBuf) -> Outcome<Self> {
        let (clock, entropy) = (Arc::new(FixedClock::default()), Arc::new(SeededEntropy::new(1)));
        let keyring = SharedKeyring::new(Keyring::new(&[(1, Secret::new([1; 32]))])?);
        let world = World {
            keyring: keyring.clone(),
            leases: Arc::new(Open),
            parents: Arc::new(Memory::new(Arc::clone(&entropy) as Arc<_>)),
            quotas: Arc::new(Memory::new(Arc::clone(&entropy) as Arc<_>)),
            health: valetkey_core::health::Health::new(Arc::clone(&clock) as Arc<_>),
            meter: Arc::new(Memory::new(Arc::clone(&entropy) as Arc<_>)),
            clock: Arc::clone(&clock) as Arc<_>,
            entropy: Arc::clone(&entropy) as Arc<_>,
            budget: Budget::new(256 * 1024 * 1024),
            tasks: TaskTracker::new(),
        };
        let storage = StorageId::new(clock.now(), random_10(&*entropy));
        let endpoint = Endpoint::open(Config::new(storage, dir), world).await?;
        let bucket = BucketName::parse("lake")?;
        endpoint.ensure_bucket(&bucket).await?;
        let now = clock.now();
        let lease = Lease {
            id: LeaseId::new(now, random_10(&*entropy)),
            account: AccountId::new(now, random_10(&*entropy)),
            caller: CallerId::new(now, random_10(&*entropy)),
            token: TokenId::new(now, random_10(&*entropy)),
            storage,
            rights: Arc::new(Rights::of(bucket, Paths::Whole, Actions::READ).ok_or("no action")?),
            grants: [].into(),
            dialect: "example".into(),
            credits: 0,
            opened: now,
            until: now.checked_add(jiff::SignedDuration::from_hours(1))?,
        };
        let ring = keyring.load();
        let key_id = ring.access_key_id(lease.id)?;
        let secret = ring.secret_access_key(&key_id).ok_or("no secret")?.reveal().clone();
        let token = ring.seal(&lease, &key_id, [7; 12])?.reveal().clone();
        Ok(Self { endpoint, stamp: now.strftime("%Y%m%dT%H%M%SZ").to_string(), key_id, secret, token })
    }

    /// Asks for a page; the query's parameters are in order. Gives the answer, and how long it took.
    async fn list(&self, query: &str) -> Outcome<(String, Duration)> {
        let Self { endpoint, stamp, key_id, secret, token } = self;
        let hmac = |key: &[u8], data: &str| sign(&Key::new(HMAC_SHA256, key), data.as_bytes());
        let day = stamp.get(..8).unwrap_or_default();
        let scope = format!("{day}/auto/s3/aws4_request");
        let names = "host;x-amz-content-sha256;x-amz-date;x-amz-security-token";
        let request = format!(
            "GET\n/lake\n{query}\nhost:x\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:{stamp}\n\
             x-amz-security-token:{token}\n\n{names}\nUNSIGNED-PAYLOAD"
        );
        let hash = HEXLOWER.encode(digest(&SHA256, request.as_bytes()).as_ref());
        let date = hmac(format!("AWS4{secret}").as_bytes(), day);
        let service = hmac(hmac(date.as_ref(), "auto").as_ref(), "s3");
        let key = hmac(service.as_ref(), "aws4_request");
        let signature = hmac(key.as_ref(), &format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hash}"));
        let signature = HEXLOWER.encode(signature.as_ref());
        let request = Request::get(format!("/lake?{query}"))
            .header("host", "x")
            .header("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
            .header("x-amz-date", stamp)
            .header("x-amz-security-token", token)
            .header(
                "authorization",
                format!("AWS4-HMAC-SHA256 Credential={key_id}/{scope}, SignedHeaders={names}, Signature={signature}"),
            )
            .body(Empty::<Bytes>::new())?;
        let start = Instant::now();
        let answer = endpoint.answer(request).await;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        let took = start.elapsed();
        let body = String::from_utf8(body.to_vec())?;
        if status.is_success() { Ok((body, took)) } else { Err(body.into()) }
    }

    /// The entries of a page, and how many nanoseconds each took.
    async fn page(&self, query: &str) -> Outcome<(usize, u128)> {
        let (mut entries, mut all) = (0, Vec::new());
        for _ in 0..TIMES {
            let (body, took) = self.list(query).await?;
            entries = body.matches("<CommonPrefixes>").count() + body.matches("<Contents>").count();
            all.push(took);
        }
        all.sort_unstable();
        let median = all.get(TIMES / 2).map_or(0, Duration::as_nanos);
        Ok((entries, median / entries.max(1) as u128))
    }

    /// The same of all pages.
    async fn all(&self, query: &str) -> Outcome<(usize, u128)> {
        let (mut entries, mut took, mut token) = (0, Duration::ZERO, String::new());
        loop {
            let (body, one) = self.list(&format!("{token}{query}")).await?;
            entries += body.matches("<CommonPrefixes>").count() + body.matches("<Contents>").count();
            took += one;
            let Some((_, rest)) = body.split_once("<NextContinuationToken>") else { break };
            let next = rest.split('<').next().unwrap_or_default();
            token = format!("continuation-token={next}&");
        }
        Ok((entries, took.as_nanos() / entries.max(1) as u128))
    }
}

/// Puts empty objects into the index of a bucket, side by side in so many directories.
async fn fill(dir: &std::path::Path, keys: u32, directories: u32) -> Outcome<()> {
    let mut index = SqliteConnectOptions::new().filename(dir.join("index.sqlite")).connect().await?;
    sqlx::query(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?1) \
         INSERT INTO objects (bucket, key, size, etag, modified_ms, headers, segments) \
         SELECT (SELECT id FROM buckets), CAST(printf('d%06d/%07d', i / (?1 / ?2), i) AS BLOB), 0, \
         'd41d8cd98f00b204e9800998ecf8427e', 1735689600000, x'', x'' FROM n",
    )
    .bind(keys)
    .bind(directories)
    .execute(&mut index)
    .await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let keys: u32 = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let root = arguments.next().map_or_else(|| std::env::temp_dir().join("valetkey-list-rate"), PathBuf::from);
    for directories in [keys / 1000, keys / 10] {
        let dir = root.join(directories.to_string());
        let store = Store::open(dir.clone()).await?;
        fill(&dir, keys, directories).await?;
        let (_, plain) = store.page("list-type=2").await?;
        println!("{keys} keys in {directories} directories; a page of keys: {plain} ns each");
        let told = |what: &str, (entries, each): (usize, u128)| {
            let tenths = each * 10 / plain.max(1);
            println!("  {what}: {entries} entries, {each} ns each, {}.{} times a key's", tenths / 10, tenths % 10);
        };
        told("the first page of directories", store.page("delimiter=%2F&list-type=2").await?);
        told("all directories", store.all("delimiter=%2F&list-type=2").await?);
        told("one directory", store.page("delimiter=%2F&list-type=2&prefix=d000001%2F").await?);
    }
    std::fs::remove_dir_all(root)?;
    std::process::exit(0);
}
