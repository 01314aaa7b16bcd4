//! `valetkey dev --check`: vends for real, then tries to get further than the key allows.

mod access_grants;
mod dreadnode;
mod iceberg;
mod r2;
mod s3;
mod share;
mod sts;
mod unity;

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};
use valetkey_core::Secret;

use crate::cli::output::Out;
use crate::dev::world::{CallerState, State};
use crate::node::Node;
use s3::{Answer, Call, Keys};

const DAILY: &str = "/flights-lake/flights/daily/2013-01-01.parquet";
const SECRET: &str = "/flights-lake/flights/daily-secret/2013-01-01.parquet";
const STAGED: &str = "/flights-lake/flights/staging/check.txt";

/// Who tries what against a running node.
struct Check<'a> {
    node: &'a Node,
    state: &'a State,
    http: reqwest::Client,
    rows: Vec<Vec<String>>,
    failed: usize,
    leases: Vec<String>,
}

/// Runs every check, prints the table, and says how many failed.
pub(super) async fn run(node: &Node, state: &State, out: &Out) -> anyhow::Result<usize> {
    let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).no_proxy().build()?;
    let mut check = Check { node, state, http, rows: Vec::new(), failed: 0, leases: Vec::new() };
    check.all().await?;
    out.table(&["check", "expected", "found", "result"], &check.rows)?;
    out.note(&format!("{} passed, {} failed", check.rows.len() - check.failed, check.failed));
    Ok(check.failed)
}

fn caller<'a>(state: &'a State, name: &str) -> anyhow::Result<&'a CallerState> {
    state.callers.iter().find(|caller| caller.name == name).with_context(|| format!("the demo has no caller `{name}`"))
}

impl Check<'_> {
    fn record(&mut self, what: &str, expected: &str, found: &str) {
        let good = expected == found;
        self.failed += usize::from(!good);
        let result = if good { "ok" } else { "FAILED" };
        self.rows.push([what, expected, found, result].map(str::to_owned).to_vec());
    }

    /// Sends one call and records whether the answer is what it has to be: a status, and S3's code if it refuses.
    async fn expect(&mut self, what: &str, expected: &str, keys: &Keys, call: Call<'_>) -> anyhow::Result<Answer> {
        let answer = s3::send(&self.http, &self.node.s3_url, keys, call).await?;
        let found = if answer.code.is_empty() {
            answer.status.to_string()
        } else {
            format!("{} {}", answer.status, answer.code)
        };
        self.record(what, expected, &found);
        Ok(answer)
    }

    async fn api(&self, method: Method, path: &str, token: &str, body: Option<Value>) -> anyhow::Result<(u16, Value)> {
        let mut request = self.http.request(method, format!("{}{path}", self.node.api_url)).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        Ok((status, serde_json::from_slice(&response.bytes().await?).unwrap_or(Value::Null)))
    }

    fn keys(answer: &Value) -> anyhow::Result<Keys> {
        let text = |name: &str| {
            answer
                .get(name)
                .and_then(Value::as_str)
                .map(str::to_owned)
                .with_context(|| format!("the answer has no `{name}`"))
        };
        Ok(Keys {
            access_key_id: text("access_key_id")?,
            secret_access_key: Secret::new(text("secret_access_key")?),
            session_token: Secret::new(text("session_token")?),
        })
    }

    /// Vends by the native API; the answer's lease is looked up in the ledger at the end.
    async fn vend(&mut self, name: &str, access: &str, ttl_secs: u32) -> anyhow::Result<(Keys, String, Timestamp)> {
        let caller = caller(self.state, name)?.clone();
        let ask = json!({ "bucket": caller.bucket, "prefix": caller.prefix, "access": access, "ttl_secs": ttl_secs });
        let (status, answer) = self.api(Method::POST, "/api/v1/credentials", &caller.token, Some(ask)).await?;
        ensure!(status == 200, "vending for `{name}` answered {status}: {answer}");
        let lease = answer.get("lease_id").and_then(Value::as_str).context("no `lease_id`")?.to_owned();
        let expiration = answer.get("expiration").and_then(Value::as_str).context("no `expiration`")?.parse()?;
        let keys = Self::keys(&answer)?;
        self.leases.push(keys.access_key_id.clone());
        Ok((keys, lease, expiration))
    }

    async fn all(&mut self) -> anyhow::Result<()> {
        // Vended first, so that its second is over by the time its turn comes.
        let (short, _, short_end) = self.vend("analyst", "read", 1).await?;
        let analyst = caller(self.state, "analyst")?.clone();
        self.dataset_urls(&analyst).await?;
        let partner = caller(self.state, "partner")?.clone();
        self.beside(&partner).await?;
        let (status, answer) = self.api(Method::POST, "/v1/datasets/credentials", &analyst.token, None).await?;
        self.record("vend (TheirStack)", "200", &status.to_string());
        if status != 200 {
            bail!("nothing can be checked without a credential: {answer}");
        }
        let keys = Self::keys(&answer)?;
        self.leases.push(keys.access_key_id.clone());
        self.reading(&keys).await?;
        self.refusals(&keys).await?;
        self.writing().await?;
        self.forgeries(&keys).await?;
        self.endings(&short, short_end).await?;
        self.strangers().await?;
        self.dreadnode().await?;
        self.sts().await?;
        self.access_grants().await?;
        self.r2().await?;
        self.sharing().await?;
        self.unity().await?;
        self.iceberg().await?;
        self.store().await?;
        self.ledger().await
    }

    /// The check that operators have of every store, of the embedded one.
    async fn store(&mut self) -> anyhow::Result<()> {
        let admin = self.state.admin.token.clone();
        let path = format!("/api/v1/storages/{}/checks", self.node.handles.storage.id);
        let (status, answer) = self.api(Method::POST, &path, &admin, Some(json!({}))).await?;
        let rows = answer.get("checks").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let of = |row: &Value, field: &str| row.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let failed: Vec<String> =
            rows.iter().filter(|row| of(row, "status") == "failed").map(|row| of(row, "check")).collect();
        let passed = answer.get("passed").and_then(Value::as_bool).unwrap_or(false);
        let found = if passed { "passed".to_owned() } else { format!("{status} {}", failed.join(" ")) };
        self.record("the operator's check of the storage", "passed", &found);
        Ok(())
    }

    async fn reading(&mut self, keys: &Keys) -> anyhow::Result<()> {
        let answer = self.expect("read inside", "200", keys, Call::new(Method::GET, DAILY)).await?;
        let parquet = answer.body.starts_with(b"PAR1") && answer.body.ends_with(b"PAR1");
        self.record("what was read is the Parquet file", "true", &parquet.to_string());
        self.expect(
            "a missing key inside is missing",
            "404 NoSuchKey",
            keys,
            Call::new(Method::GET, "/flights-lake/flights/daily/none"),
        )
        .await?;
        let answer = self
            .expect(
                "list inside",
                "200",
                keys,
                Call::new(Method::GET, "/flights-lake?list-type=2&prefix=flights%2Fdaily"),
            )
            .await?;
        let listing = String::from_utf8_lossy(&answer.body);
        let inside = listing.matches("<Key>").count() == 5 && !listing.contains("daily-secret");
        self.record("the listing hides the sibling", "true", &inside.to_string());
        Ok(())
    }

    async fn refusals(&mut self, keys: &Keys) -> anyhow::Result<()> {
        let denied = "403 AccessDenied";
        self.expect("read the sibling", denied, keys, Call::new(Method::GET, SECRET)).await?;
        self.expect(
            "list the sibling",
            denied,
            keys,
            Call::new(Method::GET, "/flights-lake?list-type=2&prefix=flights%2Fdaily-secret%2F"),
        )
        .await?;
        self.expect("list the bucket", denied, keys, Call::new(Method::GET, "/flights-lake?list-type=2&prefix="))
            .await?;
        let answer = s3::send(&self.http, &self.node.s3_url, keys, Call::new(Method::GET, "/")).await?;
        let list = String::from_utf8_lossy(&answer.body);
        let own = list.matches("<Name>flights-lake</Name>").count();
        self.record("the list of buckets shows no other", "true", &(list.matches("<Name>").count() == own).to_string());
        self.expect(
            "read another account's bucket",
            denied,
            keys,
            Call::new(Method::GET, "/airlines-lake/airlines/2013/airlines.parquet"),
        )
        .await?;
        self.expect("write with a credential to read", denied, keys, Call::new(Method::PUT, DAILY).body(b"x")).await?;
        self.expect("delete with a credential to read", denied, keys, Call::new(Method::DELETE, DAILY)).await?;
        Ok(())
    }

    /// What the list of datasets says: its options, of which one is the caller's own.
    async fn datasets(&mut self, caller: &CallerState) -> anyhow::Result<(Vec<Value>, Value)> {
        let (status, list) = self.api(Method::GET, "/v1/datasets", &caller.token, None).await?;
        self.record("list datasets", "200", &status.to_string());
        let groups = list.as_array().into_iter().flatten();
        let options: Vec<Value> =
            groups.filter_map(|group| group.get("options")?.as_array()).flatten().cloned().collect();
        let open = options.iter().find(|option| text(option, "dataset_prefix").as_deref() == Some(&*caller.prefix));
        let open = open.context("the list has no dataset that is open")?.clone();
        Ok((options, open))
    }

    /// Downloads what stands beside a dataset.
    async fn beside(&mut self, caller: &CallerState) -> anyhow::Result<()> {
        let (_, open) = self.datasets(caller).await?;
        for (what, field, begins) in
            [("dictionary", "dictionary_url", "# The airlines"), ("sample", "sample_dataset_url", "carrier,name")]
        {
            let url = text(&open, field).with_context(|| format!("the dataset that is open has no `{field}`"))?;
            let answer = self.http.get(&url).send().await?;
            let (status, body) = (answer.status().as_u16(), answer.text().await?);
            let found = format!("{status} {}", body.starts_with(begins));
            self.record(&format!("download the {what} by its URL"), "200 true", &found);
        }
        Ok(())
    }

    /// Downloads a dataset by the URL that the list gives, and nothing else by it.
    async fn dataset_urls(&mut self, caller: &CallerState) -> anyhow::Result<()> {
        let (options, open) = self.datasets(caller).await?;
        let url = text(&open, "dataset_url").context("the dataset that is open has no `dataset_url`")?;
        let size = open.get("size").and_then(Value::as_u64).unwrap_or_default();
        let answer = self.http.get(&url).send().await?;
        let (status, bytes) = (answer.status().as_u16(), answer.bytes().await?);
        self.record(
            "download the newest file by its URL",
            "200 true",
            &format!("{status} {}", bytes.len() as u64 == size),
        );
        let newest = url.split('?').next().unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned();
        let other = url.replacen(&newest, "2013-01-01.parquet", 1);
        let status = self.http.get(&other).send().await?.status();
        self.record("change the key in that URL", "403", &status.as_u16().to_string());
        let closed = options.iter().filter(|option| text(option, "dataset_prefix").is_none());
        let shown = closed.filter(|option| {
            text(option, "dataset_url").is_some() || option.get("size").is_some_and(|size| !size.is_null())
        });
        self.record("URLs of datasets that are closed", "0", &shown.count().to_string());
        Ok(())
    }

    async fn writing(&mut self) -> anyhow::Result<()> {
        let (keys, _, _) = self.vend("etl", "read-write", 900).await?;
        self.expect("write with a credential to write", "200", &keys, Call::new(Method::PUT, STAGED).body(b"written"))
            .await?;
        let answer = self.expect("read what was written", "200", &keys, Call::new(Method::GET, STAGED)).await?;
        self.record("it is what was written", "true", &(answer.body == b"written").to_string());
        self.expect("write outside", "403 AccessDenied", &keys, Call::new(Method::PUT, DAILY).body(b"x")).await?;
        self.expect("delete what was written", "204", &keys, Call::new(Method::DELETE, STAGED)).await?;
        Ok(())
    }

    async fn forgeries(&mut self, keys: &Keys) -> anyhow::Result<()> {
        let wrong = "403 SignatureDoesNotMatch";
        self.expect(
            "change the key after signing",
            wrong,
            keys,
            Call::new(Method::GET, DAILY).sent_to(DAILY.replace("01-01", "01-02")),
        )
        .await?;
        self.expect(
            "change the query after signing",
            wrong,
            keys,
            Call::new(Method::GET, DAILY).sent_to(format!("{DAILY}?partNumber=1")),
        )
        .await?;
        let guessed = Keys { secret_access_key: Secret::new("A".repeat(43)), ..keys.clone() };
        self.expect("sign with a guessed secret", wrong, &guessed, Call::new(Method::GET, DAILY)).await?;
        let changed = format!("{}A", keys.session_token.reveal().trim_end_matches(|c: char| c.is_ascii_alphanumeric()));
        let tampered = Keys { session_token: Secret::new(changed), ..keys.clone() };
        self.expect("send a changed session token", "400 InvalidToken", &tampered, Call::new(Method::GET, DAILY))
            .await?;
        let (other, _, _) = self.vend("etl", "read-write", 900).await?;
        let swapped = Keys { session_token: other.session_token.clone(), ..keys.clone() };
        self.expect("send another key's session token", "400 InvalidToken", &swapped, Call::new(Method::GET, DAILY))
            .await?;
        Ok(())
    }

    async fn endings(&mut self, short: &Keys, short_end: Timestamp) -> anyhow::Result<()> {
        let (keys, lease, _) = self.vend("analyst", "read", 900).await?;
        self.expect("read before the end", "200", &keys, Call::new(Method::GET, DAILY)).await?;
        let admin = self.state.admin.token.clone();
        let (status, _) = self.api(Method::DELETE, &format!("/api/v1/leases/{lease}"), &admin, None).await?;
        self.record("end one lease", "true", &(status == 200 || status == 204).to_string());
        self.expect("read after it was ended", "400 ExpiredToken", &keys, Call::new(Method::GET, DAILY)).await?;
        let left = short_end.duration_since(self.node.handles.clock.now());
        if let Ok(left) = Duration::try_from(left) {
            tokio::time::sleep(left).await;
        }
        self.expect("read after its time", "400 ExpiredToken", short, Call::new(Method::GET, DAILY)).await?;
        Ok(())
    }

    async fn strangers(&mut self) -> anyhow::Result<()> {
        let unknown = "vkt_unknown";
        let (status, _) = self.api(Method::POST, "/v1/datasets/credentials", unknown, None).await?;
        self.record("vend for an unauthenticated caller", "401", &status.to_string());
        let partner = caller(self.state, "partner")?.clone();
        let ask = json!({ "bucket": "flights-lake", "prefix": "flights/daily", "access": "read" });
        let (status, _) = self.api(Method::POST, "/api/v1/credentials", &partner.token, Some(ask)).await?;
        self.record("vend another account's data", "404", &status.to_string());
        Ok(())
    }

    async fn ledger(&mut self) -> anyhow::Result<()> {
        let admin = self.state.admin.token.clone();
        let mut known = 0;
        for access_key_id in self.leases.clone() {
            let (status, _) = self.api(Method::GET, &format!("/api/v1/whose/{access_key_id}"), &admin, None).await?;
            known += usize::from(status == 200);
        }
        self.record("every key is in the ledger", &self.leases.len().to_string(), &known.to_string());
        let verified = self.node.handles.registry.verify_ledger().await?;
        self.record("the ledger's chain fits", "true", &verified.broken_at.is_none().to_string());
        Ok(())
    }
}

fn text(option: &Value, name: &str) -> Option<String> {
    option.get(name).and_then(Value::as_str).map(str::to_owned)
}
