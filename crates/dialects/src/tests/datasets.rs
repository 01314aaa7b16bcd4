//! What the list of datasets shows of their files, and at what cost.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use valetkey_core::account::Metering;
use valetkey_core::lease::LeaseRecord;
use valetkey_core::nouns::dataset::Datasets as _;
use valetkey_core::nouns::dataset::{NewDataset, Newest};
use valetkey_core::nouns::registry::LeaseFilter;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::scope::{Action, Actions, Path, Paths};
use valetkey_core::storage::StorageKind;

use super::stock::Mood;
use super::world::{World, bucket, directory, new_storage, sealing};
use crate::edge::{EdgeLimits, RateLimits};

const LIST: &str = "/v1/datasets";

impl World {
    /// Puts an object, so many minutes after the world's beginning.
    pub(super) fn object(&self, bucket_name: &str, key: &[u8], size: usize, minute: i64) {
        let modified =
            "2026-01-01T00:00:00Z".parse::<jiff::Timestamp>().unwrap() + jiff::SignedDuration::from_mins(minute);
        self.made.2.files.put(&bucket(bucket_name), key, &vec![0; size], modified);
    }

    /// A dataset that everyone of `acme` may read, with what stands beside its files.
    async fn described(
        &self,
        text: &str,
        bucket_name: &str,
        newest: Newest,
        dictionary: Option<&str>,
        sample: Option<&str>,
    ) {
        let key = |text: Option<&str>| text.map(|text| text.as_bytes().into());
        let (dictionary, sample) = (key(dictionary), key(sample));
        let with = |dataset| NewDataset { newest, dictionary, sample, ..dataset };
        let id = self.dataset_as(text, text, bucket_name, text, with).await;
        let acme = self.account_id("acme").await;
        self.grant(acme, text, None, bucket_name, directory(text), Actions::READ, Some(id)).await;
    }

    /// The option of one dataset, by its description, in the list of a caller.
    async fn option(&self, caller: &str, text: &str) -> Value {
        let answer = self.get(caller, LIST).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        option_of(&answer.json(), text)
    }

    async fn leases(&self) -> Vec<LeaseRecord> {
        self.memory.leases(&LeaseFilter { limit: 100, ..LeaseFilter::default() }).await.unwrap()
    }

    fn listings(&self) -> usize {
        self.made.2.files.take_calls().len()
    }
}

fn option_of(list: &Value, text: &str) -> Value {
    let groups = list.as_array().unwrap().iter();
    let mut options = groups.flat_map(|group| group["options"].as_array().unwrap());
    let wanted = format!("the data set {text}");
    options.find(|option| option["description"] == wanted.as_str()).unwrap().clone()
}

async fn behind(kind: StorageKind) -> World {
    let limits = EdgeLimits { rates: RateLimits::off(), ..EdgeLimits::default() };
    World::behind(limits, new_storage("local", kind), |_, entropy, _| std::sync::Arc::new(sealing(entropy))).await
}

#[tokio::test]
async fn an_open_dataset_shows_its_newest_file_and_urls_to_it() {
    for kind in [StorageKind::Embedded, StorageKind::Gateway, StorageKind::Sts, StorageKind::R2] {
        let world = behind(kind).await;
        for (key, size, minute) in [("a.parquet", 10, 3), ("b.parquet", 20, 5), ("c.parquet", 30, 1), ("d/", 0, 9)] {
            world.object("lake", format!("flights/daily/{key}").as_bytes(), size, minute);
            world.object("lake", format!("flights/daily-secret/{key}").as_bytes(), size, minute);
            world.object("lake", format!("jobs/daily/{key}").as_bytes(), size, minute);
        }
        let list = world.get("reader", LIST).await.json();
        let open = option_of(&list, "flights-daily");
        assert_eq!(open["dataset_url"], "https://signed/lake/flights/daily/b.parquet", "{kind:?}");
        assert_eq!((&open["size"], &open["last_updated"]), (&json!(20), &json!("2026-01-01T00:05:00Z")));
        assert_eq!(open["bucket_name"], "lake");
        for closed in ["flights-secret", "jobs-daily"] {
            let closed = option_of(&list, closed);
            for field in ["bucket_name", "dataset_prefix", "dataset_url", "size", "last_updated", "dictionary_url"] {
                assert!(closed[field].is_null(), "{kind:?} {field}: {closed}");
            }
        }
        // One lease for the answer, the caller's, to read; nobody else's.
        let leases = world.leases().await;
        let [record] = leases.as_slice() else { panic!("{kind:?}: {leases:?}") };
        assert_eq!((&*record.lease.dialect, record.lease.caller), ("theirstack", world.caller_of("reader").await));
        assert!(Actions::READ.contains_all(record.lease.rights.actions()));
        assert!(!record.lease.rights.covers("lake", b"flights/daily-secret/a.parquet", Action::GetObject));
        assert_eq!(record.lease.until.duration_since(record.lease.opened).as_secs(), 3600);
        let signed = world.made.2.signed.lock().unwrap().clone();
        assert_eq!(signed.len(), 1, "nothing is signed for who may not open it");
    }
}

#[tokio::test]
async fn a_team_without_access_is_vended_and_read_nothing() {
    let world = World::new().await;
    world.object("lake", b"flights/daily/a", 1, 1);
    assert_eq!(world.get("nobody", LIST).await.status, StatusCode::OK);
    assert_eq!(world.call(&Method::HEAD, LIST, &world.token("reader").await, "").await.status, StatusCode::OK);
    assert_eq!((world.leases().await.len(), world.listings()), (0, 0));
}

#[tokio::test]
async fn what_was_read_is_kept_for_a_minute_and_read_once_for_all_who_ask() {
    for kind in [StorageKind::Embedded, StorageKind::Sts] {
        let world = behind(kind).await;
        world.object("lake", b"flights/daily/a", 1, 1);
        let token = world.token("reader").await;
        let many = (0..20).map(|_| world.call(&Method::GET, LIST, &token, ""));
        for answer in futures::future::join_all(many).await {
            assert_eq!(option_of(&answer.json(), "flights-daily")["size"], 1, "{kind:?}");
        }
        assert_eq!(world.listings(), 1, "{kind:?}");
        world.object("lake", b"flights/daily/b", 2, 2);
        world.clock.advance_secs(59);
        assert_eq!(world.option("reader", "flights-daily").await["size"], 1);
        assert_eq!(world.listings(), 0);
        world.clock.advance_secs(1);
        assert_eq!(world.option("reader", "flights-daily").await["size"], 2);
        assert_eq!(world.listings(), 1);
    }
}

#[tokio::test]
async fn the_newest_is_told_by_time_or_by_key_however_keys_look() {
    let world = World::new().await;
    world.described("by-time", "vault", Newest::ByTime, None, None).await;
    world.described("by-key", "vault", Newest::ByKey, None, None).await;
    for dir in ["by-time", "by-key"] {
        assert!(world.option("reader", dir).await["dataset_url"].is_null(), "nothing is there yet");
        for (key, size, minute) in [("2026-01-01 é+%#?&\u{1}", 0, 7), ("2026-01-02", 5, 3), ("2025/x", 9, 7)] {
            world.object("vault", format!("{dir}/{key}").as_bytes(), size, minute);
        }
        world.object("vault", format!("{dir}-more/z").as_bytes(), 99, 99);
        world.object("vault", dir.as_bytes(), 98, 98);
    }
    world.clock.advance_secs(60);
    let newest = world.option("reader", "by-time").await;
    let url = format!("https://signed/vault/by-time/{}", "2026-01-01 é+%#?&\u{1}".as_bytes().escape_ascii());
    assert_eq!(
        (newest["dataset_url"].as_str(), newest["size"].as_u64()),
        (Some(&*url), Some(0)),
        "of a size of nothing"
    );
    let newest = world.option("reader", "by-key").await;
    assert_eq!(newest["dataset_url"], "https://signed/vault/by-key/2026-01-02");
}

#[tokio::test]
async fn a_dictionary_and_a_sample_are_signed_for_who_may_open_them() {
    let world = World::new().await;
    world.described("inside", "vault", Newest::ByTime, Some("inside/columns.md"), Some("inside/few.csv")).await;
    world.described("beside", "vault", Newest::ByTime, Some("columns of beside.md"), None).await;
    let (inside, beside) = (world.option("reader", "inside").await, world.option("reader", "beside").await);
    assert_eq!(inside["dictionary_url"], "https://signed/vault/inside/columns.md");
    assert_eq!(inside["sample_dataset_url"], "https://signed/vault/inside/few.csv");
    assert!(
        inside["dataset_url"].is_null() && beside["dictionary_url"].is_null() && beside["sample_dataset_url"].is_null()
    );
    let docs = Paths::only([Path::object(b"columns of beside.md").unwrap()]).unwrap();
    let acme = world.account_id("acme").await;
    let known = world.memory.datasets().await.unwrap();
    let of = known.iter().find(|one| one.name.as_str() == "beside").unwrap().id;
    world.grant(acme, "docs", None, "vault", docs, Actions::READ, Some(of)).await;
    let beside = world.option("reader", "beside").await;
    assert_eq!(beside["dictionary_url"], "https://signed/vault/columns of beside.md");
    assert!(option_of(&world.get("other", LIST).await.json(), "inside")["dictionary_url"].is_null());
}

#[tokio::test]
async fn what_explains_a_dataset_is_never_its_newest_file() {
    let world = World::new().await;
    world.described("inside", "vault", Newest::ByKey, Some("inside/columns.md"), Some("inside/few.csv")).await;
    for (key, minute) in [("inside/columns.md", 8), ("inside/few.csv", 9)] {
        world.object("vault", key.as_bytes(), 1, minute);
    }
    let none = world.option("reader", "inside").await;
    assert!(none["dataset_url"].is_null() && none["size"].is_null() && none["dictionary_url"].is_string(), "{none}");
    world.object("vault", b"inside/2026-01-01", 7, 1);
    world.clock.advance_secs(60);
    assert_eq!(world.option("reader", "inside").await["dataset_url"], "https://signed/vault/inside/2026-01-01");
}

#[tokio::test]
async fn a_store_that_hangs_or_fails_leaves_the_other_rows_and_holds_nobody_for_long() {
    for mood in [Mood::Hangs, Mood::Fails] {
        let world = World::new().await;
        world.described("slow", "vault", Newest::ByTime, None, Some("slow/few.csv")).await;
        world.object("lake", b"flights/daily/a", 4, 1);
        world.object("vault", b"slow/a", 4, 1);
        world.made.2.moods.lock().unwrap().insert("vault", mood);
        let started = tokio::time::Instant::now();
        let list = world.get("reader", LIST).await;
        assert_eq!(list.status, StatusCode::OK);
        assert_eq!(option_of(&list.json(), "flights-daily")["size"], 4);
        let slow = option_of(&list.json(), "slow");
        assert!(slow["dataset_url"].is_null() && slow["size"].is_null());
        assert_eq!(slow["sample_dataset_url"], "https://signed/vault/slow/few.csv", "that needs no reading");
        assert!(started.elapsed().as_secs() <= 4, "{:?}", started.elapsed());
        // It is not waited for again each time.
        let again = tokio::time::Instant::now();
        assert_eq!(world.option("reader", "flights-daily").await["size"], 4);
        assert!(again.elapsed().as_secs() < 1, "{:?}", again.elapsed());
        if mood == Mood::Fails {
            world.made.2.moods.lock().unwrap().clear();
            world.clock.advance_secs(15);
            assert_eq!(world.option("reader", "slow").await["size"], 4);
        }
    }
}

#[tokio::test]
async fn a_list_with_urls_costs_what_a_vend_costs_and_without_credits_has_none() {
    let world = World::new().await;
    world.object("lake", b"flights/daily/a", 4, 1);
    let acme = world.account_id("acme").await;
    world.memory.change_account(acme, valetkey_core::account::Standing::Active, Metering::of(3)).await.unwrap();
    world.memory.add_credits(acme, 4, jiff::Timestamp::UNIX_EPOCH).await.unwrap();
    assert!(world.option("reader", "flights-daily").await["dataset_url"].is_string());
    let balance = world.get("reader", "/v0/billing/credit-balance").await.json();
    assert_eq!(balance["used_api_credits"], 3);
    let poor = world.option("reader", "flights-daily").await;
    assert!(poor["dataset_url"].is_null(), "{poor}");
    assert_eq!(poor["size"], 4, "what is there is told all the same");
    let balance = world.get("reader", "/v0/billing/credit-balance").await.json();
    assert_eq!(balance["used_api_credits"], 3);
}

#[tokio::test]
async fn where_urls_show_their_credential_it_opens_what_the_answer_names_and_nothing_else() {
    let world = behind(StorageKind::R2).await;
    *world.made.2.shows.lock().unwrap() = true;
    for number in 0..30 {
        let text = format!("set{number:02}");
        world.described(&text, "vault", Newest::ByTime, None, None).await;
        world.object("vault", format!("{text}/new").as_bytes(), 1, 2);
        world.object("vault", format!("{text}/old").as_bytes(), 1, 1);
    }
    let list = world.get("reader", LIST).await.json();
    assert_eq!(option_of(&list, "set29")["dataset_url"], "https://signed/vault/set29/new");
    let signed = world.made.2.signed.lock().unwrap().clone();
    assert_eq!(signed.len(), 30);
    for (_, scope) in &signed {
        assert!(!scope.covers("vault", b"set00/old", Action::GetObject));
        assert!(!scope.covers("vault", b"set00/newer", Action::GetObject));
    }
    // Never one for each row.
    let vault = world.leases().await.into_iter().filter(|one| one.lease.rights.bucket().as_str() == "vault");
    assert_eq!(vault.count(), 3, "one to list with, and two for what thirty URLs name");
}

#[tokio::test]
async fn who_may_not_list_learns_no_keys() {
    let world = World::new().await;
    let acme = world.account_id("acme").await;
    let id = world.dataset("blind", "blind", "vault", "blind").await;
    world.object("vault", b"blind/secret-name", 1, 1);
    let get = Actions::of(&[Action::GetObject]);
    world.grant(acme, "blind", None, "vault", directory("blind"), get, Some(id)).await;
    let blind = world.option("reader", "blind").await;
    assert_eq!(blind["dataset_prefix"], "blind");
    assert!(blind["dataset_url"].is_null() && blind["size"].is_null(), "{blind}");
}

#[tokio::test]
async fn a_hundred_thousand_files_are_read_within_bounds() {
    let world = World::new().await;
    for number in 0..100_000 {
        world.object("lake", format!("flights/daily/{number:06}").as_bytes(), 0, i64::from(number == 77_777));
    }
    let found = world.option("reader", "flights-daily").await;
    assert_eq!(found["dataset_url"], "https://signed/lake/flights/daily/077777");
    assert_eq!(world.listings(), 101);
}

#[tokio::test]
async fn the_operator_says_which_buckets_datasets_an_unmodified_client_gets() {
    let world = World::new().await;
    world.described("more", "vault", Newest::ByTime, None, None).await;
    let vend = async || world.post("reader", "/v1/datasets/credentials", "").await;
    assert_eq!(vend().await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let set = async |text: &str| {
        let token = world.token("root").await;
        let body = json!({ "datasets_bucket": text }).to_string();
        world.call(&Method::PATCH, "/api/v1/accounts/acme", &token, &body).await
    };
    let done = set("vault").await;
    assert_eq!((done.status, &done.json()["datasets_bucket"]), (StatusCode::OK, &json!("vault")));
    assert_eq!(vend().await.json()["storage"]["bucket_name"], "vault");
    let lake = world.post("reader", "/v1/datasets/credentials?bucket=lake", "").await;
    assert_eq!(lake.json()["storage"]["bucket_name"], "lake", "what is named counts");
    let other = world.post("other", "/v1/datasets/credentials", "").await;
    assert_eq!(other.status, StatusCode::OK);
    let refused = set("none-such").await;
    assert_eq!((refused.status, &refused.json()["field"]), (StatusCode::NOT_FOUND, &json!("datasets_bucket")));
    assert!(set("").await.json()["datasets_bucket"].is_null());
    assert_eq!(vend().await.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn prefixes_stand_as_their_store_opens_them() {
    for (kind, prefix) in [
        (StorageKind::Embedded, "flights/daily"),
        (StorageKind::Gateway, "flights/daily"),
        (StorageKind::Sts, "flights/daily/"),
        (StorageKind::R2, "flights/daily/"),
    ] {
        let world = behind(kind).await;
        let vended = world.post("reader", "/v1/datasets/credentials", "").await.json();
        assert_eq!(vended["storage"]["prefixes"], json!([prefix]), "{kind:?}");
        assert_eq!(world.option("reader", "flights-daily").await["dataset_prefix"], prefix, "{kind:?}");
    }
}

#[tokio::test]
async fn what_stands_beside_a_dataset_is_changed_and_taken_away() {
    let world = World::new().await;
    world.described("seen", "lake", Newest::ByTime, Some("docs/old.md"), None).await;
    let root = world.token("root").await;
    let change = async |body: Value| {
        let shot = world.call(&Method::PATCH, "/api/v1/datasets/seen", &root, &body.to_string()).await;
        (shot.status.as_u16(), shot.json())
    };
    let (status, answer) =
        change(json!({"newest": "key", "dictionary": "docs/new.md", "sample": "docs/few.csv"})).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(
        (&answer["newest"], &answer["dictionary"], &answer["sample"]),
        (&json!("key"), &json!("docs/new.md"), &json!("docs/few.csv"))
    );
    // What is not given stays; what is null goes.
    let (_, answer) = change(json!({"dictionary": null})).await;
    assert_eq!((&answer["dictionary"], &answer["sample"]), (&Value::Null, &json!("docs/few.csv")));
    for (body, field) in [
        (json!({"newest": "size"}), "newest"),
        (json!({"newest": null}), "null"),
        (json!({"sample": "docs/"}), "sample"),
        (json!({"dictionary": ""}), "dictionary"),
        (json!({"samples": "x"}), "samples"),
    ] {
        let (status, answer) = change(body.clone()).await;
        assert!([400, 422].contains(&status), "{body}: {answer}");
        assert!(answer.to_string().contains(field), "{body}: {answer}");
    }
}
