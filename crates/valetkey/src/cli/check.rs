//! Checks of storages: what credentials of them open, tried by the server.

use serde_json::{Value, json};

use valetkey_dialects::native::api::checks::CheckRequest;
use valetkey_dialects::native::api::operations as op;

use crate::cli::client::{Client, Route};
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{Format, Out, clean};
use crate::cli::show;

pub(super) const COLUMNS: &[show::Column] = &[
    ("CHECK", &["check"]),
    ("STATUS", &["status"]),
    ("MS", &["took_ms"]),
    ("WHAT", &["what"]),
    ("REASON", &["reason"]),
];

/// What was found of several storages.
pub(crate) struct Checked {
    /// The answers of the API, in order of the storages' names.
    pub(crate) reports: Vec<Value>,
}

/// Checks one storage and shows what was found.
pub(crate) async fn one(
    storage: &str,
    bucket: Option<String>,
    client: &Client<'_>,
    out: &Out,
) -> Result<Exit, Failure> {
    let report = ask(storage, bucket, client).await?;
    match out.format() {
        Format::Json => out.json(&report)?,
        Format::Table => show(&report, out)?,
    }
    Ok(exit(&report))
}

/// Checks every storage that has a bucket.
pub(crate) async fn all(client: &Client<'_>) -> Result<Checked, Failure> {
    let storages = client.ask(Route::to(op::LIST_STORAGES, [])).await?;
    let buckets = client.ask(Route::to(op::LIST_BUCKETS, [])).await?;
    let mut reports = Vec::new();
    for storage in show::rows(&storages) {
        let name = show::text(storage, &["name"]).unwrap_or_default();
        let id = show::text(storage, &["id"]).unwrap_or_default();
        let of = |bucket: &Value| show::text(bucket, &["storage"]).is_some_and(|of| of == name || of == id);
        if show::rows(&buckets).iter().any(of) {
            reports.push(ask(name, None, client).await?);
        }
    }
    Ok(Checked { reports })
}

async fn ask(storage: &str, bucket: Option<String>, client: &Client<'_>) -> Result<Value, Failure> {
    client.send(Route::to(op::CHECK_STORAGE, [storage]), &CheckRequest { bucket }).await
}

impl Checked {
    /// Shows them one after the other.
    pub(crate) fn show(&self, out: &Out) -> Result<(), Failure> {
        if self.reports.is_empty() {
            out.note("no storage has a bucket to check it in");
        }
        self.reports.iter().try_for_each(|report| {
            out.data("")?;
            show(report, out)
        })
    }

    /// How the command ends.
    pub(crate) fn exit(&self) -> Exit {
        self.reports.iter().map(exit).find(|exit| *exit != Exit::Ok).unwrap_or(Exit::Ok)
    }
}

fn passed(report: &Value) -> bool {
    show::find(report, &["passed"]).and_then(Value::as_bool).unwrap_or(false)
}

fn exit(report: &Value) -> Exit {
    if passed(report) { Exit::Ok } else { Exit::Local }
}

fn show(report: &Value, out: &Out) -> Result<(), Failure> {
    let of = |name: &str| clean(show::text(report, &[name]).unwrap_or("?")).into_owned();
    let rows = show::find(report, &["checks"]).cloned().unwrap_or_else(|| json!([]));
    show::list(out, &rows, COLUMNS, "nothing was checked")?;
    let count =
        |status: &str| show::rows(&rows).iter().filter(|row| show::text(row, &["status"]) == Some(status)).count();
    let verdict = if passed(report) { out.good("passed") } else { out.bad("FAILED") };
    out.data(&format!(
        "{verdict}: {} ({}) in `{}` at {}: {} passed, {} failed, {} skipped",
        of("storage"),
        of("kind"),
        of("bucket"),
        of("endpoint"),
        count("passed"),
        count("failed"),
        count("skipped"),
    ))?;
    let left = show::find(report, &["left"]).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for place in left.iter().filter_map(Value::as_str) {
        out.warn(&format!("may be left there: {}", clean(place)));
    }
    Ok(())
}
