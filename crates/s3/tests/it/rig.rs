//! An endpoint on a free port, and a small client that signs: it sends exactly what it is told to, also what is wrong.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use data_encoding::HEXLOWER;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;
use valetkey_core::Error;
use valetkey_core::Secret;
use valetkey_core::account::{OwnQuota, Quotas};
use valetkey_core::fair::Budget;
use valetkey_core::id::{AccountId, CallerId, LeaseId, StorageId, TokenId};
use valetkey_core::keyring::{Keyring, SharedKeyring};
use valetkey_core::lease::{Lease, Provenance, Refusal};
use valetkey_core::name::{BucketName, Name};
use valetkey_core::nouns::parent::{Parent, ParentRecord, Parents};
use valetkey_core::nouns::usage::{Meter, ObjectRequest, Traffic};
use valetkey_core::port::Revocations;
use valetkey_core::scope::{Actions, Path, Paths, Rights};
use valetkey_core::time::{Clock as _, Entropy as _, random_10};
use valetkey_s3::{Asking, Backend, Config, Endpoint, Sending, World};
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;

pub(crate) const BUCKET: &str = "lake";
pub(crate) const OTHER_BUCKET: &str = "other";

/// Leases of the tests: revoked by hand.
#[derive(Default)]
pub(crate) struct TestLeases {
    pub(crate) revoked: Mutex<HashSet<LeaseId>>,
    pub(crate) kept: Mutex<Vec<(LeaseId, Arc<Rights>)>>,
    /// Everything opened until then is ended.
    pub(crate) ended_until: Mutex<Option<Timestamp>>,
    /// What every account may keep, if it is said for it alone.
    pub(crate) quota: Mutex<OwnQuota>,
    /// What went over the endpoint, as it was told.
    pub(crate) moved: Mutex<Vec<(AccountId, CallerId, Traffic)>>,
    pub(crate) told: Notify,
    /// Refusals that are worth a look, and requests to the bucket that is watched.
    pub(crate) refused: Mutex<Vec<Refusal>>,
    pub(crate) requested: Mutex<Vec<ObjectRequest>>,
}

impl Meter for TestLeases {
    fn moved(&self, origin: &Provenance, _: Option<IpAddr>, traffic: Traffic, _: Timestamp) {
        self.moved.lock().unwrap().push((origin.account, origin.caller, traffic));
        self.told.notify_one();
    }

    fn refused(&self, refusal: Refusal, _: Timestamp) {
        self.refused.lock().unwrap().push(refusal);
    }

    fn watches(&self, bucket: &str) -> bool {
        bucket == OTHER_BUCKET
    }

    fn requested(&self, request: ObjectRequest) {
        self.requested.lock().unwrap().push(request);
        self.told.notify_one();
    }
}

#[async_trait]
impl Quotas for TestLeases {
    async fn own_quota(&self, _: AccountId) -> Result<OwnQuota, Error> {
        Ok(*self.quota.lock().unwrap())
    }
}

#[async_trait]
impl Revocations for TestLeases {
    fn is_revoked(&self, origin: &Provenance) -> bool {
        let ended = self.ended_until.lock().unwrap().is_some_and(|until| origin.opened <= until);
        ended || origin.lease.is_some_and(|lease| self.revoked.lock().unwrap().contains(&lease))
    }

    async fn rights(&self, lease: LeaseId) -> Result<Option<Arc<Rights>>, Error> {
        Ok(self.kept.lock().unwrap().iter().find(|(own, _)| *own == lease).map(|(_, scope)| Arc::clone(scope)))
    }
}

/// Parent access keys of the tests: made by hand.
#[derive(Default)]
pub(crate) struct TestParents(pub(crate) Mutex<Vec<Arc<Parent>>>);

#[async_trait]
impl Parents for TestParents {
    async fn parent(&self, token: TokenId, now: Timestamp) -> Result<Option<Arc<Parent>>, Error> {
        let found = self.0.lock().unwrap().iter().find(|parent| parent.token == token).cloned();
        Ok(found.filter(|parent| parent.caller.in_time(now).is_ok()))
    }

    async fn parents(&self, _: Option<AccountId>) -> Result<Vec<ParentRecord>, Error> {
        Ok(Vec::new())
    }
}

/// The three parts of a credential.
#[derive(Clone)]
pub(crate) struct Credential {
    pub(crate) lease: LeaseId,
    pub(crate) key_id: String,
    pub(crate) secret: String,
    pub(crate) token: String,
}

/// Which store the rig's endpoint is.
pub(crate) const STORAGE: StorageId = StorageId::from_bytes([5; 16]);
/// Which store is behind it, if one is.
const GATEWAY: StorageId = StorageId::from_bytes([7; 16]);

pub(crate) struct Rig {
    pub(crate) endpoint: Endpoint,
    pub(crate) address: SocketAddr,
    pub(crate) keyring: SharedKeyring,
    pub(crate) clock: Arc<FixedClock>,
    pub(crate) leases: Arc<TestLeases>,
    pub(crate) parents: Arc<TestParents>,
    pub(crate) entropy: Arc<SeededEntropy>,
    pub(crate) dir: Arc<TempDir>,
    pub(crate) tasks: TaskTracker,
    /// Which store the buckets are in.
    pub(crate) storage: StorageId,
    /// The way to it, if it is another.
    pub(crate) behind: Option<Arc<dyn Backend>>,
    pub(crate) account: AccountId,
    world: World,
}

pub(crate) fn ring(numbers: &[u8]) -> Keyring {
    let masters: Vec<_> = numbers.iter().map(|number| (*number, Secret::new([*number; 32]))).collect();
    Keyring::new(&masters).unwrap()
}

impl Rig {
    pub(crate) async fn start() -> Self {
        Self::start_in(Arc::new(TempDir::new().unwrap()), |_| {}).await
    }

    /// Starts over a directory that another rig may have left.
    pub(crate) async fn start_in(dir: Arc<TempDir>, change: impl FnOnce(&mut Config)) -> Self {
        Self::start_with(dir, 256 * 1024 * 1024, change).await
    }

    /// Starts with so many bytes of memory for bodies.
    pub(crate) async fn start_with(dir: Arc<TempDir>, bytes: usize, change: impl FnOnce(&mut Config)) -> Self {
        let entropy = Arc::new(SeededEntropy::new(7));
        let (clock, leases) = (Arc::new(FixedClock::default()), Arc::new(TestLeases::default()));
        let parents = Arc::new(TestParents::default());
        let (keyring, tasks) = (SharedKeyring::new(ring(&[1])), TaskTracker::new());
        let world = World {
            keyring: keyring.clone(),
            leases: Arc::clone(&leases) as Arc<dyn Revocations>,
            parents: Arc::clone(&parents) as Arc<dyn Parents>,
            quotas: Arc::clone(&leases) as Arc<dyn Quotas>,
            health: valetkey_core::health::Health::new(Arc::clone(&clock) as Arc<_>),
            meter: Arc::clone(&leases) as Arc<dyn Meter>,
            clock: Arc::clone(&clock) as Arc<_>,
            entropy: Arc::clone(&entropy) as Arc<_>,
            budget: Budget::new(bytes),
            tasks: tasks.clone(),
        };
        let own = world.clone();
        let mut config = Config::new(STORAGE, dir.path().join("objects"));
        change(&mut config);
        let endpoint = Endpoint::open(config, world).await.unwrap();
        let behind = crate::behind(dir.path());
        let storage = if behind.is_some() { GATEWAY } else { STORAGE };
        if let Some(behind) = &behind {
            endpoint.attach((GATEWAY, &Name::parse("behind").unwrap()), Arc::clone(behind));
        }
        for bucket in [BUCKET, OTHER_BUCKET] {
            endpoint.ensure_bucket_at(storage, &BucketName::parse(bucket).unwrap()).await.unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (service, serving) = (endpoint.clone(), tasks.clone());
        tasks.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                serving.spawn(async move {
                    let connection = Builder::new(TokioExecutor::new());
                    let service = TowerToHyperService::new(service);
                    drop(connection.serve_connection(TokioIo::new(socket), service).await);
                });
            }
        });
        let account = AccountId::new(clock.now(), random_10(&*entropy));
        Self {
            endpoint,
            address,
            keyring,
            clock,
            leases,
            parents,
            entropy,
            dir,
            tasks,
            storage,
            behind,
            account,
            world: own,
        }
    }

    /// Whether the buckets are in another store.
    pub(crate) fn is_behind(&self) -> bool {
        self.behind.is_some()
    }

    /// Whether requests go on to that store as they are, and nothing of them is kept here.
    pub(crate) fn forwards(&self) -> bool {
        self.behind.as_ref().is_some_and(|behind| behind.forward().is_some())
    }

    /// How many uploads there are at that store.
    pub(crate) async fn uploads_behind(&self) -> usize {
        let asking = Asking {
            method: http::Method::GET,
            bucket: BUCKET.to_owned(),
            key: None,
            query: vec![("uploads".to_owned(), String::new())],
            headers: http::HeaderMap::new(),
            source: None,
            body: Sending::Whole(bytes::Bytes::new()),
            works: false,
            now: self.clock.now(),
        };
        let answer = self.behind.as_ref().unwrap().forward().unwrap().send(asking).await.unwrap();
        let document = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
        String::from_utf8(document.to_vec()).unwrap().matches("<UploadId>").count()
    }

    /// The world this one lives in.
    pub(crate) fn world(&self) -> World {
        self.world.clone()
    }

    pub(crate) async fn put(&self, bucket: &str, key: &str, bytes: impl Into<bytes::Bytes>) {
        if self.is_behind() {
            let credential = self.vend_for(bucket, Paths::Whole, Actions::READ_WRITE, 60);
            let ask = self.ask("PUT", &format!("/{bucket}/{}", encoded_key(key))).header("content-type", "text/plain");
            self.send(ask.body(bytes.into()), &credential).await.ok();
            return;
        }
        let bucket = BucketName::parse(bucket).unwrap();
        self.endpoint.put_bytes(&bucket, key, bytes.into(), "text/plain").await.unwrap();
    }

    /// Vends a credential for one hour.
    pub(crate) fn vend(&self, paths: Paths, actions: Actions) -> Credential {
        self.vend_for(BUCKET, paths, actions, 3600)
    }

    /// Vends a credential for a directory.
    pub(crate) fn directory(&self, directory: &str, actions: Actions) -> Credential {
        self.vend(Paths::only([Path::directory(directory.as_bytes()).unwrap()]).unwrap(), actions)
    }

    pub(crate) fn whole(&self) -> Credential {
        self.vend(Paths::Whole, Actions::READ_WRITE)
    }

    pub(crate) fn vend_for(&self, bucket: &str, paths: Paths, actions: Actions, secs: i64) -> Credential {
        self.vend_at(self.storage, bucket, paths, actions, secs)
    }

    /// Vends a credential for a store, ours or another.
    pub(crate) fn vend_at(
        &self,
        storage: StorageId,
        bucket: &str,
        paths: Paths,
        actions: Actions,
        secs: i64,
    ) -> Credential {
        self.vend_to(self.account, storage, bucket, (paths, actions), secs)
    }

    /// As [`Self::whole`], of an account of its own.
    pub(crate) fn whole_of_another(&self) -> Credential {
        let account = AccountId::new(self.clock.now(), random_10(&*self.entropy));
        self.vend_to(account, self.storage, BUCKET, (Paths::Whole, Actions::READ_WRITE), 3600)
    }

    fn vend_to(
        &self,
        account: AccountId,
        storage: StorageId,
        bucket: &str,
        (paths, actions): (Paths, Actions),
        secs: i64,
    ) -> Credential {
        let now = self.clock.now();
        let scope = Rights::of(BucketName::parse(bucket).unwrap(), paths, actions).unwrap();
        let lease = Lease {
            id: LeaseId::new(now, random_10(&*self.entropy)),
            account,
            caller: CallerId::new(now, random_10(&*self.entropy)),
            token: TokenId::new(now, random_10(&*self.entropy)),
            storage,
            rights: Arc::new(scope),
            grants: [].into(),
            dialect: "test".into(),
            credits: 0,
            opened: now,
            until: Timestamp::from_second(now.as_second() + secs).unwrap(),
        };
        self.leases.kept.lock().unwrap().push((lease.id, Arc::clone(&lease.rights)));
        let mut nonce = [0; 12];
        self.entropy.fill(&mut nonce);
        let ring = self.keyring.load();
        let key_id = ring.access_key_id(lease.id).unwrap();
        Credential {
            lease: lease.id,
            secret: ring.secret_access_key(&key_id).unwrap().reveal().clone(),
            token: ring.seal(&lease, &key_id, nonce).unwrap().reveal().clone(),
            key_id,
        }
    }

    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// A request to a path of the bucket, signed at the rig's time.
    pub(crate) fn ask(&self, method: &str, target: &str) -> Ask {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name.to_owned(), value.to_owned())
        });
        Ask {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.collect(),
            headers: vec![("host".to_owned(), self.host())],
            unsigned: Vec::new(),
            body: Vec::new(),
            sha256: None,
            time: self.clock.now(),
            region: "auto".to_owned(),
            service: "s3".to_owned(),
        }
    }

    pub(crate) async fn send(&self, ask: Ask, credential: &Credential) -> Answer {
        self.raw(ask.signed(credential)).await
    }

    pub(crate) async fn get(&self, target: &str, credential: &Credential) -> Answer {
        self.send(self.ask("GET", target), credential).await
    }

    /// Sends a signed request, and the second half of its body only when the first was asked for and `meanwhile` was done.
    pub(crate) async fn halting(&self, ask: Ask, credential: &Credential, meanwhile: impl FnOnce()) -> Answer {
        let wire = ask.unsigned("expect", "100-continue").signed(credential);
        let head = wire.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let (head, body) = wire.split_at(head);
        let (first, second) = body.split_at(body.len() / 2);
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        socket.write_all(head).await.unwrap();
        // The server asks for the body when it has let the request in.
        let mut asked = [0; 25];
        socket.read_exact(&mut asked).await.unwrap();
        assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
        socket.write_all(first).await.unwrap();
        meanwhile();
        socket.write_all(second).await.unwrap();
        let mut answer = Vec::new();
        drop(socket.read_to_end(&mut answer).await);
        Answer::read(&answer)
    }

    /// Sends a signed request, and its body once it is asked for, if it is.
    pub(crate) async fn halting_or_not(&self, ask: Ask, credential: &Credential) -> Answer {
        let wire = ask.unsigned("expect", "100-continue").signed(credential);
        let head = wire.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        socket.write_all(&wire[..head]).await.unwrap();
        let mut answer = vec![0; 25];
        socket.read_exact(&mut answer).await.unwrap();
        if answer == b"HTTP/1.1 100 Continue\r\n\r\n" {
            socket.write_all(&wire[head..]).await.unwrap();
        }
        drop(socket.read_to_end(&mut answer).await);
        Answer::read(&answer)
    }

    /// Sends bytes as they are and reads the answer to its end.
    pub(crate) async fn raw(&self, wire: Vec<u8>) -> Answer {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        // A refusal may come before all was sent.
        drop(socket.write_all(&wire).await);
        let mut answer = Vec::new();
        drop(socket.read_to_end(&mut answer).await);
        Answer::read(&answer)
    }
}

/// A key as it stands in a path.
pub(crate) fn encoded_key(key: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'/');
    key.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// A request.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) method: String,
    /// As it goes over the wire: encoded.
    pub(crate) path: String,
    /// Encoded too.
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: Vec<(String, String)>,
    /// Headers that are sent and not signed.
    pub(crate) unsigned: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// What is told of the body; its digest if nothing.
    pub(crate) sha256: Option<String>,
    pub(crate) time: Timestamp,
    pub(crate) region: String,
    pub(crate) service: String,
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest(&SHA256, bytes).as_ref())
}

pub(crate) fn hmac(key: &[u8], data: &str) -> Vec<u8> {
    sign(&Key::new(HMAC_SHA256, key), data.as_bytes()).as_ref().to_vec()
}

impl Ask {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn unsigned(mut self, name: &str, value: &str) -> Self {
        self.unsigned.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn told(mut self, sha256: &str) -> Self {
        self.sha256 = Some(sha256.to_owned());
        self
    }

    pub(crate) fn stamp(&self) -> String {
        self.time.strftime("%Y%m%dT%H%M%SZ").to_string()
    }

    pub(crate) fn scope(&self) -> String {
        format!("{}/{}/{}/aws4_request", &self.stamp()[..8], self.region, self.service)
    }

    pub(crate) fn signing_key(&self, secret: &str) -> Vec<u8> {
        let date = hmac(format!("AWS4{secret}").as_bytes(), &self.stamp()[..8]);
        let region = hmac(&date, &self.region);
        hmac(&hmac(&region, &self.service), "aws4_request")
    }

    fn canonical_query(&self) -> String {
        let mut pairs = self.query.clone();
        pairs.sort();
        pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
    }

    fn signature(&self, secret: &str, payload: &str) -> (String, String) {
        let mut headers = self.headers.clone();
        headers.sort();
        let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
        let signed = names.join(";");
        let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let query = self.canonical_query();
        let request = format!("{}\n{}\n{query}\n{lines}\n{signed}\n{payload}", self.method, self.path);
        let to_sign = format!("AWS4-HMAC-SHA256\n{}\n{}\n{}", self.stamp(), self.scope(), sha256(request.as_bytes()));
        (signed, HEXLOWER.encode(&hmac(&self.signing_key(secret), &to_sign)))
    }

    /// Signs in the header; gives the signature too.
    pub(crate) fn sign(mut self, credential: &Credential) -> (Self, String) {
        let payload = self.sha256.clone().unwrap_or_else(|| sha256(&self.body));
        let stamp = self.stamp();
        self = self.header("x-amz-content-sha256", &payload).header("x-amz-date", &stamp);
        if !credential.token.is_empty() {
            self = self.header("x-amz-security-token", &credential.token);
        }
        let (signed, signature) = self.signature(&credential.secret, &payload);
        let scope = self.scope();
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed}, Signature={signature}",
            credential.key_id
        );
        (self.unsigned("authorization", &authorization), signature)
    }

    pub(crate) fn signed(self, credential: &Credential) -> Vec<u8> {
        self.sign(credential).0.wire()
    }

    /// Signs in the query.
    pub(crate) fn presigned(mut self, credential: &Credential, expires: u32) -> Self {
        let encoded = |text: &str| text.replace('/', "%2F").replace('=', "%3D");
        let names = |ask: &Self| {
            let mut names: Vec<String> = ask.headers.iter().map(|(name, _)| name.clone()).collect();
            names.sort();
            names.join("%3B")
        };
        let (signed, stamp) = (names(&self), self.stamp());
        let credential_text = encoded(&format!("{}/{}", credential.key_id, self.scope()));
        for (name, value) in [
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", &credential_text),
            ("X-Amz-Date", &stamp),
            ("X-Amz-Expires", &expires.to_string()),
            ("X-Amz-Security-Token", &encoded(&credential.token)),
            ("X-Amz-SignedHeaders", &signed),
        ] {
            if !value.is_empty() {
                self.query.push((name.to_owned(), value.to_owned()));
            }
        }
        let (_, signature) = self.signature(&credential.secret, "UNSIGNED-PAYLOAD");
        self.query.push(("X-Amz-Signature".to_owned(), signature));
        self
    }

    /// The request as it goes over the wire.
    pub(crate) fn wire(&self) -> Vec<u8> {
        let query: Vec<String> = self.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let target = if query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, query.join("&")) };
        let mut head = format!("{} {target} HTTP/1.1\r\nconnection: close\r\n", self.method);
        let all = || self.headers.iter().chain(&self.unsigned);
        for (name, value) in all() {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let framed = all().any(|(name, _)| name == "content-length" || name == "transfer-encoding");
        if !framed && (!self.body.is_empty() || self.method == "PUT" || self.method == "POST") {
            head.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        head.push_str("\r\n");
        [head.as_bytes(), &self.body].concat()
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn read(wire: &[u8]) -> Self {
        let mut wire = wire;
        loop {
            let end = wire.windows(4).position(|window| window == b"\r\n\r\n");
            let Some(end) = end else { return Self { status: 0, headers: Vec::new(), body: wire.to_vec() } };
            let head = String::from_utf8_lossy(&wire[..end]).into_owned();
            let status = head.split(' ').nth(1).unwrap().parse().unwrap();
            wire = &wire[end + 4..];
            if status == 100 {
                continue;
            }
            let headers: Vec<(String, String)> = head
                .lines()
                .skip(1)
                .map(|line| line.split_once(':').unwrap())
                .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
                .collect();
            let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
            let body = if chunked { dechunk(wire) } else { wire.to_vec() };
            return Self { status, headers, body };
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The texts of every element of this name.
    pub(crate) fn all(&self, element: &str) -> Vec<String> {
        let (start, end) = (format!("<{element}>"), format!("</{element}>"));
        let text = self.text();
        text.split(&start).skip(1).map(|rest| rest.split(&end).next().unwrap().to_owned()).collect()
    }

    /// The text of the one element of this name.
    pub(crate) fn one(&self, element: &str) -> String {
        let all = self.all(element);
        assert_eq!(all.len(), 1, "{element} in {}", self.text());
        all[0].clone()
    }

    /// The status and, of a refusal with a document, its code.
    pub(crate) fn outcome(&self) -> (u16, String) {
        if self.status < 300 || self.body.is_empty() {
            return (self.status, String::new());
        }
        assert_eq!(self.header("content-type"), Some("application/xml"), "{}", self.text());
        assert_eq!(self.one("RequestId"), self.header("x-amz-request-id").unwrap());
        (self.status, self.one("Code"))
    }

    #[track_caller]
    pub(crate) fn is(&self, status: u16, code: &str) {
        assert_eq!(self.outcome(), (status, code.to_owned()), "{}", self.text());
    }

    #[track_caller]
    pub(crate) fn ok(&self) -> &Self {
        assert!((200..300).contains(&self.status), "{} {}", self.status, self.text());
        self
    }
}

fn dechunk(mut wire: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let Some(end) = wire.windows(2).position(|window| window == b"\r\n") else { return body };
        let size = usize::from_str_radix(std::str::from_utf8(&wire[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&wire[end + 2..end + 2 + size]);
        wire = &wire[end + 4 + size..];
    }
}

/// Bytes that are different at every place and the same in every run.
pub(crate) fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    SeededEntropy::new(seed).fill(&mut bytes);
    bytes
}
