//! Against a store in memory: one that is right, and ones that are wrong in a single way each.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;

use jiff::Timestamp;

use valetkey_core::account::{Account, Kept, Metering, OwnQuota, Quota, Standing};
use valetkey_core::caller::{Caller, Role};
use valetkey_core::credential::{Issued, Narrowed, S3Keys, Trace};
use valetkey_core::error::{Error, Kind};
use valetkey_core::id::{AccountId, CallerId, LeaseId, StorageId, TokenId};
use valetkey_core::lease::{Lease, Refusal};
use valetkey_core::nouns::provider::{Documented, Hints};
use valetkey_core::nouns::registry::NewStorage;
use valetkey_core::nouns::storage_admin::{Description, Ended};
use valetkey_core::policy::Permit;
use valetkey_core::port::{Directory, Issuer, Ledger};
use valetkey_core::probe::directory_of;
use valetkey_core::scope::{Action, Listing, Path, Paths, Rights, Scope};
use valetkey_core::secret::Secret;
use valetkey_core::snapshot::Snapshot;
use valetkey_core::time::{Clock, Lifetime};
use valetkey_core::token::TokenDigest;

use super::*;

fn now() -> Timestamp {
    Timestamp::from_second(1_767_225_600).unwrap()
}

fn bucket(text: &str) -> BucketName {
    BucketName::parse(text).unwrap()
}

fn storage() -> Storage {
    storage_of(StorageKind::Sts)
}

fn storage_of(kind: StorageKind) -> Storage {
    Storage {
        id: StorageId::from_bytes([2; 16]),
        name: Name::parse("lake-store").unwrap(),
        kind,
        endpoint: "https://s3.example.com".into(),
        internal_endpoint: None,
        region: "auto".into(),
        min_lifetime: Lifetime::secs(900),
        max_lifetime: Lifetime::secs(3600),
        external: None,
    }
}

fn caller(role: Role) -> Caller {
    Caller {
        id: CallerId::from_bytes([3; 16]),
        account: AccountId::from_bytes([1; 16]),
        name: Name::parse("root").unwrap(),
        role,
        token: TokenId::from_bytes([4; 16]),
        token_until: None,
        held: None,
        identity: None,
        as_of: 0,
    }
}

fn snapshot() -> Snapshot {
    let account = Account {
        id: AccountId::from_bytes([1; 16]),
        name: Name::parse("operators").unwrap(),
        standing: Standing::Active,
        metering: Metering::Free,
        datasets_bucket: None,
        quota: OwnQuota::default(),
    };
    Snapshot::new(account, [Arc::new(storage())], Vec::<valetkey_core::grant::Grant>::new(), now())
}

/// How the store in memory is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wrong {
    Nothing,
    /// What is outside the scope can be done to a key that ends like this.
    Outside(Verb, &'static str),
    /// A read-only credential may do this.
    Reader(Verb),
    /// Any secret will do.
    AnySecret,
    /// Any bucket will do.
    AnyBucket,
    /// Says that what is outside is not there.
    Hides,
    /// Refuses this inside.
    Narrow(Verb),
    /// Cannot be reached from the start.
    Down,
    /// Gives no credential.
    NoCredential,
    /// Opens only single objects.
    ObjectsOnly,
    /// Allows everything to everyone.
    Open,
    /// Takes a key as a path of its disk.
    Joins,
    /// Allows one of the extras.
    Extra(Extra),
    /// Answers one of the extras with something that says nothing.
    Vague(Extra),
}

struct World {
    wrong: Wrong,
    scopes: Mutex<BTreeMap<String, Arc<Rights>>>,
    objects: Mutex<BTreeSet<(String, String)>>,
    leases: Mutex<Vec<Lease>>,
    voided: Mutex<usize>,
}

impl Clock for World {
    fn now(&self) -> Timestamp {
        now()
    }
}

impl Entropy for World {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(0xab);
    }
}

#[async_trait]
impl Directory for World {
    async fn caller_by_digest(&self, _: TokenDigest, _: Timestamp) -> Result<Arc<Caller>, Error> {
        Err(Error::internal("nobody asks"))
    }
    async fn account(&self, _: AccountId, _: Timestamp) -> Result<Arc<Snapshot>, Error> {
        Ok(Arc::new(snapshot()))
    }
}

#[async_trait]
impl Ledger for World {
    async fn open(&self, permit: &Permit, _: Option<&Trace>, at: Timestamp) -> Result<Lease, Error> {
        let mut leases = self.leases.lock().unwrap();
        let lease = Lease {
            id: LeaseId::from_bytes([u8::try_from(leases.len()).unwrap(); 16]),
            account: permit.account(),
            caller: permit.caller(),
            token: permit.token(),
            storage: permit.storage().id,
            rights: Arc::clone(permit.rights()),
            grants: Arc::clone(&permit.because().grants),
            dialect: permit.dialect().into(),
            credits: 0,
            opened: at,
            until: permit.until(),
        };
        leases.push(lease.clone());
        Ok(lease)
    }
    async fn issued(&self, _: &Lease, _: &Trace, _: Timestamp) -> Result<(), Error> {
        Ok(())
    }
    async fn void(&self, _: &Lease, _: Kind, _: Timestamp) -> Result<(), Error> {
        *self.voided.lock().unwrap() += 1;
        Ok(())
    }
    fn refused(&self, _: Refusal, _: Timestamp) {}
}

#[async_trait]
impl Issuer for World {
    fn ready(&self, _: &Permit) -> Result<Option<Issued>, Error> {
        Ok(None)
    }
    async fn issue(&self, permit: &Permit, lease: &Lease) -> Result<Issued, Error> {
        if self.wrong == Wrong::NoCredential {
            return Err(Error::new(Kind::Upstream, "the storage refused to give a credential")
                .answered(403)
                .note("AssumeRole answered 403 `AccessDenied`"));
        }
        let id = lease.id.to_string();
        self.scopes.lock().unwrap().insert(id.clone(), Arc::clone(permit.rights()));
        let keys = S3Keys {
            secret_access_key: Secret::new(format!("secret-of-{id}")),
            access_key_id: id,
            session_token: Secret::new("token".to_owned()),
            expiration: permit.until(),
        };
        let mut issued = Issued::own(Credential::S3(keys));
        if self.wrong == Wrong::ObjectsOnly {
            issued.narrowed = Arc::from([Narrowed::action(Action::ListBucket, "one object has no list")]);
        }
        Ok(issued)
    }
}

#[async_trait]
impl StorageAdmin for World {
    fn read(&self, _: Description, _: Option<&Storage>) -> Result<NewStorage, Error> {
        Err(Error::internal("nobody asks"))
    }
    fn hints(&self, kind: StorageKind) -> Hints {
        let beyond: &[_] = match kind {
            StorageKind::Sts => &[
                (Extra::Tags, Documented::Closed),
                (Extra::Acl, Documented::Closed),
                (Extra::Attributes, Documented::Closed),
                (Extra::Versions, Documented::Closed),
                (Extra::Untag, Documented::Closed),
            ],
            StorageKind::Azure => &[
                (Extra::Lease, Documented::Open),
                (Extra::Retag, Documented::Open),
                (Extra::Undelete, Documented::Open),
            ],
            StorageKind::R2 => &[(Extra::Write, Documented::Open)],
            StorageKind::Gcs => &[
                (Extra::List, Documented::Open),
                (Extra::Undelete, Documented::Open),
                (Extra::Retention, Documented::Open),
            ],
            StorageKind::Embedded | StorageKind::Gateway => &[],
        };
        Hints { vend: Some("is the role right?"), rights: Some("do both policies allow it?"), beyond, also: &[] }
    }
    fn has_urls(&self, _: &Storage) -> Result<(), Error> {
        Ok(())
    }
    async fn put(&self, _: &Storage) -> Result<(), Error> {
        Ok(())
    }
    async fn ensure_bucket(&self, _: &Storage, _: &BucketName) -> Result<(), Error> {
        Ok(())
    }
    async fn close_bucket(&self, _: &Storage, _: &BucketName, _: bool) -> Result<(), Error> {
        Ok(())
    }
    async fn reopen_bucket(&self, _: &Storage, _: &BucketName) -> Result<(), Error> {
        Ok(())
    }
    fn purge_closed(&self) {}
    async fn kept(&self, _: Option<AccountId>) -> Result<HashMap<AccountId, Kept>, Error> {
        Ok(HashMap::new())
    }
    fn quota(&self) -> Quota {
        Quota::default()
    }
    async fn remove(&self, _: &Storage) {}
    fn can_express(&self, _: &Storage, scope: &Scope) -> Result<(), Error> {
        let Paths::Only(set) = scope.paths() else { return Ok(()) };
        if self.wrong == Wrong::ObjectsOnly && set.iter().any(|path| matches!(path, Path::Directory(_))) {
            return Err(Error::new(Kind::Invalid, "this store opens no directories"));
        }
        Ok(())
    }
    async fn forget(&self, _: StorageId, _: &[Box<str>]) -> Result<(), Error> {
        Ok(())
    }
    async fn end_credentials(&self, _: &Storage) -> Result<Ended, Error> {
        Err(Error::internal("nobody asks"))
    }
}

const fn action(verb: Verb) -> Action {
    match verb {
        Verb::Put => Action::PutObject,
        Verb::Get => Action::GetObject,
        Verb::Delete => Action::DeleteObject,
        Verb::List => Action::ListBucket,
        Verb::Parts | Verb::Extra(_) => Action::MultipartUpload,
    }
}

impl World {
    fn allows(&self, keys: &S3Keys, attempt: &Attempt<'_>) -> bool {
        let Attempt { verb, bucket, key } = *attempt;
        let secret = keys.secret_access_key.reveal() == &format!("secret-of-{}", keys.access_key_id);
        if !secret {
            return self.wrong == Wrong::AnySecret;
        }
        let scope = Arc::clone(&self.scopes.lock().unwrap()[&keys.access_key_id]);
        let inside = match verb {
            Verb::List => scope.listing(bucket.as_str(), key.as_bytes(), Action::ListBucket) != Listing::Refused,
            Verb::Extra(extra) => return self.wrong == Wrong::Extra(extra),
            Verb::Put | Verb::Get | Verb::Delete | Verb::Parts => {
                scope.covers(bucket.as_str(), key.as_bytes(), action(verb))
            }
        };
        let reader = !scope.actions().contains(Action::PutObject);
        inside
            || match self.wrong {
                Wrong::Outside(wide, end) => wide == verb && key.ends_with(end) && !reader && scope.bucket() == bucket,
                Wrong::Reader(wide) => wide == verb && reader && scope.parts().places().cover_key(key.as_bytes()),
                Wrong::AnyBucket => {
                    scope.parts().places().cover_key(key.as_bytes()) && scope.bucket() != bucket && !reader
                }
                Wrong::Nothing
                | Wrong::AnySecret
                | Wrong::Hides
                | Wrong::Narrow(_)
                | Wrong::Down
                | Wrong::NoCredential
                | Wrong::ObjectsOnly
                | Wrong::Open
                | Wrong::Joins
                | Wrong::Extra(_)
                | Wrong::Vague(_) => false,
            }
    }
}

#[async_trait]
impl Prober for World {
    async fn attempt(&self, _: &Storage, credential: &Credential, attempt: Attempt<'_>) -> Answer {
        let Attempt { verb, bucket, key } = attempt;
        if self.wrong == Wrong::Down {
            return Answer::Failed("it cannot be reached".to_owned());
        }
        if let (Wrong::Vague(vague), Verb::Extra(extra)) = (self.wrong, verb)
            && vague == extra
        {
            return Answer::Failed("it answered 400".to_owned());
        }
        let allowed = self.allows(credential.s3().unwrap(), &attempt);
        if self.wrong != Wrong::Open && (!allowed || self.wrong == Wrong::Narrow(verb)) {
            let hidden = self.wrong == Wrong::Hides && verb == Verb::Get && key.ends_with("a-b/secret");
            return if hidden {
                Answer::NotFound
            } else {
                Answer::Refused { status: 403, code: "AccessDenied".into() }
            };
        }
        let mut objects = self.objects.lock().unwrap();
        let joined = key.replace("/a/../", "/");
        let key = if self.wrong == Wrong::Joins { &*joined } else { key };
        let place = (bucket.to_string(), key.to_owned());
        match verb {
            Verb::Put => drop(objects.insert(place)),
            Verb::Delete => drop(objects.remove(&place)),
            Verb::Get if !objects.contains(&place) => return Answer::NotFound,
            Verb::Get | Verb::Parts | Verb::Extra(_) => {}
            Verb::List => {
                let of = objects.iter().filter(|(own, name)| own == bucket.as_str() && name.starts_with(key));
                return Answer::Listed(of.map(|(_, name)| name.as_str().into()).collect());
            }
        }
        Answer::Allowed
    }
}

async fn checked(wrong: Wrong) -> (Report, Arc<World>) {
    checked_at(StorageKind::Sts, wrong).await
}

async fn checked_at(kind: StorageKind, wrong: Wrong) -> (Report, Arc<World>) {
    let world = Arc::new(World {
        wrong,
        scopes: Mutex::default(),
        objects: Mutex::default(),
        leases: Mutex::default(),
        voided: Mutex::default(),
    });
    let checker = Checker {
        vending: Vending {
            clock: Arc::clone(&world) as Arc<dyn Clock>,
            directory: Arc::clone(&world) as Arc<dyn Directory>,
            ledger: Arc::clone(&world) as Arc<dyn Ledger>,
            issuer: Arc::clone(&world) as Arc<dyn Issuer>,
        },
        stores: Arc::clone(&world) as Arc<dyn StorageAdmin>,
        prober: Arc::clone(&world) as Arc<dyn Prober>,
        entropy: Arc::clone(&world) as Arc<dyn Entropy>,
    };
    let buckets = vec![
        (bucket("alone"), StorageId::from_bytes([9; 16])),
        (bucket("lake"), storage().id),
        (bucket("pond"), storage().id),
    ];
    let report = checker.check(&caller(Role::Operator), &storage_of(kind), buckets, None, "test").await.unwrap();
    assert_eq!(report.bucket, bucket("lake"), "the first of its own");
    (report, world)
}

fn with(report: &Report, status: Status) -> Vec<&'static str> {
    report.rows.iter().filter(|row| row.status == status).map(|row| row.name).collect()
}

/// Runs what waits for nothing.
fn wait<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("it waits"),
    }
}

#[test]
fn a_store_that_is_right_passes_and_nothing_is_left() {
    let (report, world) = wait(checked(Wrong::Nothing));
    assert!(report.passed, "{report:#?}");
    assert_eq!(with(&report, Status::Passed).len(), report.rows.len(), "{report:#?}");
    assert!(world.objects.lock().unwrap().is_empty() && report.left.is_empty());
    let leases = world.leases.lock().unwrap();
    assert_eq!(leases.len(), 4);
    for lease in leases.iter() {
        assert!(lease.grants.is_empty());
        assert_eq!(lease.until, Lifetime::secs(900).ends(now()), "the least there is");
        assert_eq!(
            directory_of(&lease.rights.parts().places()).as_deref(),
            Some(&b".valetkey/checks/abababababababababab"[..])
        );
    }
}

#[test]
fn a_store_that_is_wrong_in_one_way_fails_in_that_row() {
    for (wrong, row) in [
        (Wrong::Outside(Verb::Get, "a-b/secret"), "get-sibling"),
        (Wrong::Outside(Verb::Put, "a-b/secret"), "put-sibling"),
        (Wrong::Outside(Verb::Delete, "a-b/secret"), "delete-sibling"),
        (Wrong::Outside(Verb::List, "a-b/"), "list-sibling"),
        (Wrong::Outside(Verb::List, "ab/"), "list-parent"),
        (Wrong::Reader(Verb::Put), "put-reader"),
        (Wrong::Reader(Verb::Delete), "delete-reader"),
        (Wrong::AnySecret, "tampered"),
        (Wrong::AnyBucket, "get-elsewhere"),
        (Wrong::Narrow(Verb::Parts), "parts-inside"),
        (Wrong::Narrow(Verb::List), "list-inside"),
        (Wrong::Extra(Extra::Tags), "beyond-tags"),
        (Wrong::Extra(Extra::Acl), "beyond-acl"),
        (Wrong::Extra(Extra::Attributes), "beyond-attributes"),
        (Wrong::Extra(Extra::Versions), "beyond-versions"),
        (Wrong::Extra(Extra::Untag), "beyond-untag"),
    ] {
        let (report, world) = wait(checked(wrong));
        assert!(!report.passed, "{wrong:?}");
        assert_eq!(with(&report, Status::Failed), [row], "{wrong:?}: {report:#?}");
        assert!(world.objects.lock().unwrap().is_empty(), "{wrong:?}");
    }
}

#[test]
fn what_is_said_not_to_be_there_is_no_refusal() {
    let (report, _) = wait(checked(Wrong::Hides));
    assert!(!report.passed);
    assert_eq!(with(&report, Status::Failed), ["get-sibling", "reader-sibling"], "{report:#?}");
}

#[test]
fn a_store_that_cannot_be_reached_fails_and_refuses_nothing() {
    let (report, _) = wait(checked(Wrong::Down));
    assert!(!report.passed);
    assert_eq!(with(&report, Status::Failed), ["plant", "clean-up"], "{report:#?}");
    assert_eq!(with(&report, Status::Passed).len(), 4, "the credentials alone: {report:#?}");
    assert_eq!(report.left, ["lake/.valetkey/checks/abababababababababab/a-b/secret"], "it may be there");
}

#[test]
fn a_store_that_gives_no_credential_fails_in_words_for_the_operator() {
    let (report, world) = wait(checked(Wrong::NoCredential));
    assert!(!report.passed);
    assert_eq!(with(&report, Status::Failed), ["credential"], "{report:#?}");
    assert_eq!(
        report.rows[0].reason,
        "the storage refused to give a credential: AssumeRole answered 403 `AccessDenied`; is the role right?"
    );
    assert_eq!(*world.voided.lock().unwrap(), 1, "on record");
    assert!(with(&report, Status::Passed).is_empty());
}

#[test]
fn what_a_store_cannot_say_is_skipped_with_the_reason() {
    let (report, world) = wait(checked(Wrong::ObjectsOnly));
    assert!(report.passed, "{report:#?}");
    assert_eq!(with(&report, Status::Skipped), ["directories", "list-inside"], "{report:#?}");
    assert!(world.objects.lock().unwrap().is_empty());
    let single = |lease: &Lease| matches!(lease.rights.parts().places(), Paths::Only(set) if matches!(set.iter().next(), Some(Path::Object(_))));
    assert!(world.leases.lock().unwrap().iter().all(single));
}

#[test]
fn a_store_open_to_everyone_fails_wherever_it_should_refuse() {
    let (report, _) = wait(checked(Wrong::Open));
    assert!(!report.passed);
    assert_eq!(with(&report, Status::Failed).len(), 15, "{report:#?}");
}

#[test]
fn a_store_that_joins_keys_to_paths_is_found_by_a_key_with_dots() {
    let (report, _) = wait(checked(Wrong::Joins));
    assert!(!report.passed);
    assert_eq!(with(&report, Status::Failed), ["get-astray", "list-astray"], "{report:#?}");
    let told = |row: &&Row| row.name == "get-astray" && row.reason.contains("takes keys for paths");
    assert!(report.rows.iter().any(|row| told(&row)), "{report:#?}");
}

fn reason<'a>(report: &'a Report, name: &str) -> &'a str {
    &report.rows.iter().find(|row| row.name == name).unwrap().reason
}

#[test]
fn what_a_kind_allows_beyond_its_actions_is_told_as_open_closed_or_not_to_be_told() {
    let (report, _) = wait(checked_at(StorageKind::Azure, Wrong::Extra(Extra::Lease)));
    assert!(report.passed, "documented to be open: {report:#?}");
    assert_eq!(reason(&report, "beyond-lease"), "open, as documented");
    assert_eq!(reason(&report, "beyond-undelete"), "closed: refused with 403 `AccessDenied`");
    let (report, _) = wait(checked_at(StorageKind::Azure, Wrong::Vague(Extra::Retag)));
    assert!(report.passed, "what cannot be told fails nothing and stops nothing: {report:#?}");
    assert_eq!(with(&report, Status::Skipped), ["beyond-retag"], "{report:#?}");
    assert_eq!(reason(&report, "beyond-retag"), "not known: it answered 400");
    let (report, _) = wait(checked_at(StorageKind::Gcs, Wrong::Nothing));
    let names: Vec<_> = report.rows.iter().map(|row| row.name).filter(|name| name.starts_with("beyond-")).collect();
    assert_eq!(names, ["beyond-list", "beyond-undelete", "beyond-retention"]);
    let (report, _) = wait(checked_at(StorageKind::Embedded, Wrong::Nothing));
    assert!(report.rows.iter().all(|row| !row.name.starts_with("beyond-")), "nothing is beyond: {report:#?}");
}

#[test]
fn a_store_that_writes_with_a_right_to_delete_is_told_and_cleaned_up() {
    let (report, world) = wait(checked_at(StorageKind::R2, Wrong::Nothing));
    assert_eq!(reason(&report, "beyond-write"), "closed: refused with 403 `AccessDenied`");
    assert!(world.objects.lock().unwrap().is_empty());
}
