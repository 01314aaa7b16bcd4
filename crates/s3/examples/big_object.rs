//! Sends one large object through the endpoint, both ways, over a real socket, and tells the most memory it took.
//!
//! `cargo run --release -p valetkey-s3 --example big_object -- [GIB] [DIRECTORY]`
//!
//! Client and server share the process, so the figure is a bound from above.
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use data_encoding::HEXLOWER;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
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

const BLOCK: usize = 1024 * 1024;

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

/// The most memory this process had, in MiB.
fn peak() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? / 1024)
}

struct Client {
    host: String,
    stamp: String,
    key_id: String,
    secret: String,
    token: String,
}

impl Client {
    /// The head of a signed request whose body is not.
    fn head(&self, method: &str, length: Option<u64>) -> String {
        let Self { host, stamp, key_id, secret, token } = self;
        let hmac = |key: &[u8], data: &str| sign(&Key::new(HMAC_SHA256, key), data.as_bytes());
        let day = stamp.get(..8).unwrap_or_default();
        let scope = format!("{day}/auto/s3/aws4_request");
        let names = "host;x-amz-content-sha256;x-amz-date;x-amz-security-token";
        let request = format!(
            "{method}\n/lake/big\n\nhost:{host}\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:{stamp}\n\
             x-amz-security-token:{token}\n\n{names}\nUNSIGNED-PAYLOAD"
        );
        let hash = HEXLOWER.encode(digest(&SHA256, request.as_bytes()).as_ref());
        let date = hmac(format!("AWS4{secret}").as_bytes(), day);
        let service = hmac(hmac(date.as_ref(), "auto").as_ref(), "s3");
        let key = hmac(service.as_ref(), "aws4_request");
        let signature = hmac(key.as_ref(), &format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hash}"));
        let signature = HEXLOWER.encode(signature.as_ref());
        let length = length.map(|length| format!("content-length: {length}\r\n")).unwrap_or_default();
        format!(
            "{method} /lake/big HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{length}\
             x-amz-content-sha256: UNSIGNED-PAYLOAD\r\nx-amz-date: {stamp}\r\nx-amz-security-token: {token}\r\n\
             authorization: AWS4-HMAC-SHA256 Credential={key_id}/{scope}, SignedHeaders={names}, \
             Signature={signature}\r\n\r\n"
        )
    }

    fn put(&self, size: u64) -> Outcome<String> {
        let mut socket = TcpStream::connect(&self.host)?;
        socket.write_all(self.head("PUT", Some(size)).as_bytes())?;
        let block = vec![7u8; BLOCK];
        for _ in 0..size / BLOCK as u64 {
            socket.write_all(&block)?;
        }
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok(answer.lines().next().unwrap_or_default().to_owned())
    }

    fn get(&self) -> Outcome<u64> {
        let mut socket = TcpStream::connect(&self.host)?;
        socket.write_all(self.head("GET", None).as_bytes())?;
        let mut block = vec![0u8; BLOCK];
        let mut total = 0;
        loop {
            match socket.read(&mut block)? {
                0 => return Ok(total),
                read => total += read as u64,
            }
        }
    }
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let gib: u64 = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let dir = arguments.next().map_or_else(|| std::env::temp_dir().join("valetkey-big-object"), PathBuf::from);
    let size = gib * 1024 * 1024 * 1024;

    let (clock, entropy) = (Arc::new(FixedClock::default()), Arc::new(SeededEntropy::new(1)));
    let (keyring, tasks) = (SharedKeyring::new(Keyring::new(&[(1, Secret::new([1; 32]))])?), TaskTracker::new());
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
        tasks: tasks.clone(),
    };
    let storage = StorageId::new(clock.now(), random_10(&*entropy));
    let endpoint = Endpoint::open(Config::new(storage, dir.clone()), world).await?;
    let bucket = BucketName::parse("lake")?;
    endpoint.ensure_bucket(&bucket).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let host = listener.local_addr()?.to_string();
    let serving = tasks.clone();
    tasks.spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = TowerToHyperService::new(endpoint.clone());
            serving.spawn(async move {
                drop(Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await);
            });
        }
    });

    let now = clock.now();
    let lease = Lease {
        id: LeaseId::new(now, random_10(&*entropy)),
        account: AccountId::new(now, random_10(&*entropy)),
        caller: CallerId::new(now, random_10(&*entropy)),
        token: TokenId::new(now, random_10(&*entropy)),
        storage,
        rights: Arc::new(Rights::of(bucket, Paths::Whole, Actions::READ_WRITE).ok_or("no action")?),
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
    let client = Client { host, stamp: now.strftime("%Y%m%dT%H%M%SZ").to_string(), key_id, secret, token };

    println!("{gib} GiB; peak before: {} MiB", peak()?);
    let per_second = |start: Instant| u128::from(size) / start.elapsed().as_micros().max(1);
    let start = Instant::now();
    let client = Arc::new(client);
    let putting = Arc::clone(&client);
    let put = move || putting.put(size).map_err(|error| error.to_string());
    let said = tasks.spawn_blocking(put).await??;
    println!("put: {said}; {} MB/s; peak: {} MiB", per_second(start), peak()?);
    let start = Instant::now();
    let get = move || client.get().map_err(|error| error.to_string());
    let got = tasks.spawn_blocking(get).await??;
    println!("got: {got} bytes; {} MB/s; peak: {} MiB", per_second(start), peak()?);
    std::fs::remove_dir_all(dir)?;
    std::process::exit(i32::from(got < size));
}
