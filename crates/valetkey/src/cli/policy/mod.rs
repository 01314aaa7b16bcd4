//! `valetkey policy`: accounts, callers, groups, grants, datasets and identity providers as reviewed files, with tests and exact plans.

mod emit;
mod files;
mod node;
pub(in crate::cli) mod show;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use valetkey_dialects::native;
use valetkey_dialects::native::api::operations as op;
use valetkey_dialects::native::api::policy::{
    PolicyApplyRequest, PolicyDocument, PolicyOwnerRequest, PolicyPlanRequest,
};

use crate::cli::client::{Client, Route};
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{Format, Out, clean};
use crate::cli::private;
use crate::cli::show::{done, find, rows_of, text};

/// Manage accounts, callers, groups, grants, datasets and identity providers as files: validate, test, plan, apply
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Write files in their canonical form; comments are kept
    Fmt {
        /// Files, or directories of them
        #[arg(value_name = "PATH", required = true)]
        paths: Vec<PathBuf>,
        /// Change nothing; end with 1 if a file is not in its canonical form
        #[arg(long)]
        check: bool,
    },
    /// Check files without a server: what they say, what they refer to, and whether they agree
    Validate {
        /// A file, or a directory of them
        #[arg(value_name = "PATH")]
        path: PathBuf,
    },
    /// Run the tests in files against what there would be
    Test {
        /// A file, or a directory of them
        #[arg(value_name = "PATH")]
        path: PathBuf,
        /// Against the files alone, without a server; every bucket is taken to exist
        #[arg(long)]
        offline: bool,
        /// Also name the grants that no test is about: by which none says that someone can do something
        #[arg(long)]
        coverage: bool,
    },
    /// Show what applying would change: things, who gains and loses access, leases that end
    Plan {
        /// A file, or a directory of them
        #[arg(value_name = "PATH")]
        path: PathBuf,
        /// Write the plan, for `apply --plan`
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// End with 0 if nothing would change, and with 2 if something would
        #[arg(long)]
        detailed_exitcode: bool,
    },
    /// Apply files: all of it or nothing, and only what was planned for what there is
    Apply(Apply),
    /// Write what a set owns as a file
    Export {
        /// The set
        #[arg(long, value_name = "SET")]
        owner: String,
        /// Also what nobody owns of this account, as if the set owned it: to adopt it
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
    },
    /// Show what of a set was changed behind the files' back; end with 2 if anything was
    Drift {
        /// The set
        #[arg(long, value_name = "SET")]
        owner: String,
    },
    /// Put things that were made by hand into a set, as they are
    Adopt {
        /// `account/ACME`, `caller/ACME/NAME`, `group/ACME/NAME`, `grant/ACME/NAME`, `dataset/NAME`, `identity_provider/NAME`;
        /// `account/ACME/*` is all of an account
        #[arg(value_name = "THING", required = true)]
        things: Vec<String>,
        /// The set
        #[arg(long, value_name = "SET")]
        owner: String,
    },
    /// Take things out of any set, as they are
    Release {
        /// `account/ACME`, `caller/ACME/NAME`, `group/ACME/NAME`, `grant/ACME/NAME`, `dataset/NAME`, `identity_provider/NAME`
        #[arg(value_name = "THING", required = true)]
        things: Vec<String>,
    },
    /// Print the JSON Schema of policy files, for editors
    Schema,
}

#[derive(Debug, clap::Args)]
struct Apply {
    /// A file, or a directory of them
    #[arg(value_name = "PATH", required_unless_present = "plan", conflicts_with = "plan")]
    path: Option<PathBuf>,
    /// What `plan --out` wrote: applied as it is, if nothing has changed since
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// How many things may be removed
    #[arg(long, value_name = "N", default_value_t = 0)]
    confirm_deletes: u32,
    /// Let what was vended live on that has more than is left, where it may
    #[arg(long)]
    keep_leases: bool,
    /// What the ledger says of it: a commit, a reason
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
}

/// A plan that was written to a file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    document: PolicyDocument,
    sources: BTreeMap<String, String>,
    revision: String,
}

impl Args {
    /// Whether a server is asked.
    pub(crate) fn asks(&self) -> bool {
        !matches!(
            self.command,
            Command::Fmt { .. } | Command::Validate { .. } | Command::Test { offline: true, .. } | Command::Schema
        )
    }

    /// Runs what needs no server.
    pub(crate) fn alone(self, out: &Out) -> Result<Exit, Failure> {
        match self.command {
            Command::Fmt { paths, check } => fmt(&paths, check, out),
            Command::Validate { path } => {
                offline(&path)?;
                out.note("the files are valid");
                Ok(Exit::Ok)
            }
            Command::Test { path, coverage, .. } => {
                let (tests, native::Offline { failed, untested }) = offline(&path)?;
                let failed: Vec<Value> = failed
                    .into_iter()
                    .map(|(source, said)| serde_json::json!({"source": source, "said": said}))
                    .collect();
                let untested: Vec<Value> = untested
                    .into_iter()
                    .map(|(thing, source)| serde_json::json!({"thing": thing, "source": source}))
                    .collect();
                show::tests(out, tests, &failed, coverage.then_some(&untested[..]))
            }
            Command::Schema => out
                .data(native::policy_schema().map_err(|error| Failure::local(error.to_string()))?.trim_end())
                .map(|()| Exit::Ok),
            Command::Plan { .. }
            | Command::Apply(_)
            | Command::Export { .. }
            | Command::Drift { .. }
            | Command::Adopt { .. }
            | Command::Release { .. } => Ok(Exit::Ok),
        }
    }
}

/// Reads files and checks them without a server: how many tests there are, and which do not hold.
fn offline(path: &Path) -> Result<(usize, native::Offline), Failure> {
    let files::Read { document, sources } = files::read(path)?;
    let tests = document.tests.len();
    match native::offline_policy(&document, &sources, crate::cli::now()) {
        Ok(told) => Ok((tests, told)),
        Err(problems) => {
            let lines: Vec<String> = problems.iter().map(|(source, said)| format!("{source}: {said}")).collect();
            Err(Failure::usage(clean(&lines.join("; ")).into_owned()))
        }
    }
}

fn fmt(paths: &[PathBuf], check: bool, out: &Out) -> Result<Exit, Failure> {
    let mut other = 0;
    for path in paths {
        let found = files::find(path)?;
        for (at, file) in found.iter().enumerate() {
            let node = files::parse(file, at).map_err(|wrong| files::failed(&found, &wrong))?;
            let shown = clean(&file.path.display().to_string()).into_owned();
            let written = match file.path.extension().and_then(|text| text.to_str()) {
                Some("yaml" | "yml") => emit::format(&node, &file.text),
                Some("json") => {
                    let text = serde_json::to_string_pretty(&node.value());
                    text.map_err(|error| Failure::local(format!("{shown}: {error}")))? + "\n"
                }
                _ => {
                    out.note(&format!("{shown} is left as it is: TOML has formatters of its own"));
                    continue;
                }
            };
            if written == file.text {
                continue;
            }
            other += 1;
            out.data(&shown)?;
            if !check {
                // What is written must mean the same; and the old file is there until the new one is whole.
                let again = files::parse(&files::File { path: file.path.clone(), text: written.clone() }, at);
                if again.map_err(|wrong| files::failed(&found, &wrong))?.value() != node.value() {
                    return Err(Failure::local(format!("{shown}: its canonical form would mean something else")));
                }
                private::replace(&file.path, &written, ".new")
                    .map_err(|error| Failure::local(format!("{shown}: {error}")))?;
            }
        }
    }
    Ok(if check && other > 0 { Exit::Local } else { Exit::Ok })
}

/// Runs what asks a server.
pub(crate) async fn run(args: Args, client: &Client<'_>, out: &Out) -> Result<Exit, Failure> {
    match args.command {
        Command::Test { path, coverage, .. } => {
            let (answer, _) = plan(&path, coverage, client).await?;
            let tests = find(&answer, &["tests"]).and_then(Value::as_u64).unwrap_or_default();
            let untested = coverage.then(|| rows_of(&answer, "untested"));
            show::tests(out, usize::try_from(tests).unwrap_or(usize::MAX), rows_of(&answer, "failed"), untested)
        }
        Command::Plan { path, out: file, detailed_exitcode } => {
            let (answer, saved) = plan(&path, false, client).await?;
            if let Some(file) = file {
                let text = serde_json::to_string_pretty(&saved).map_err(|error| Failure::local(error.to_string()))?;
                std::fs::write(&file, text + "\n")
                    .map_err(|error| Failure::local(format!("`{}`: {error}", file.display())))?;
            }
            match out.format() {
                Format::Json => out.json(&answer)?,
                Format::Table => show::plan(out, &answer)?,
            }
            let changes = !rows_of(&answer, "objects").is_empty();
            Ok(if detailed_exitcode && changes { Exit::Usage } else { Exit::Ok })
        }
        Command::Apply(args) => apply(args, client, out).await,
        Command::Export { owner, account } => {
            let route = Route::to(op::GET_POLICY, []).with("owner", owner).with_some("account", account);
            let answer = client.ask(route).await?;
            let document = find(&answer, &["document"]).cloned().unwrap_or_default();
            match out.format() {
                Format::Json => out.json(&document)?,
                Format::Table => out.data(emit::write(&emit::node(&document)).trim_end())?,
            }
            Ok(Exit::Ok)
        }
        Command::Drift { owner } => {
            let answer = client.ask(Route::to(op::GET_POLICY, []).with("owner", owner)).await?;
            show::drift(out, &answer)
        }
        Command::Adopt { things, owner } => {
            let sentence = format!("they belong to the set {owner}");
            own(PolicyOwnerRequest { owner: Some(owner), things }, &sentence, client, out).await
        }
        Command::Release { things } => {
            own(PolicyOwnerRequest { owner: None, things }, "they belong to no set", client, out).await
        }
        Command::Fmt { .. } | Command::Validate { .. } | Command::Schema => Ok(Exit::Ok),
    }
}

async fn own(body: PolicyOwnerRequest, sentence: &str, client: &Client<'_>, out: &Out) -> Result<Exit, Failure> {
    let answer = client.send(Route::to(op::OWN_POLICY, []), &body).await?;
    done(out, &answer, sentence)?;
    Ok(Exit::Ok)
}

/// Plans what is in files, and keeps what is needed to apply it.
async fn plan(path: &Path, coverage: bool, client: &Client<'_>) -> Result<(Value, Saved), Failure> {
    let files::Read { document, sources } = files::read(path)?;
    let body = PolicyPlanRequest { document, sources, coverage };
    let answer = client.send(Route::to(op::PLAN_POLICY, []), &body).await?;
    let revision = text(&answer, &["revision"]).unwrap_or_default().to_owned();
    Ok((answer, Saved { document: body.document, sources: body.sources, revision }))
}

async fn apply(args: Apply, client: &Client<'_>, out: &Out) -> Result<Exit, Failure> {
    let Apply { path, plan: file, confirm_deletes, keep_leases, message } = args;
    let saved = match (path, file) {
        (Some(path), _) => {
            let (answer, saved) = plan(&path, false, client).await?;
            if out.format() == Format::Table {
                show::plan(out, &answer)?;
            }
            if !rows_of(&answer, "failed").is_empty() {
                return Ok(Exit::Diverged);
            }
            saved
        }
        (None, Some(file)) => {
            let text = std::fs::read(&file)
                .map_err(|error| Failure::usage(format!("`{}` cannot be read: {error}", file.display())))?;
            serde_json::from_slice(&text)
                .map_err(|error| Failure::usage(format!("`{}` is not a plan: {error}", file.display())))?
        }
        (None, None) => return Err(Failure::usage("name files, or a plan")),
    };
    let Saved { document, sources, revision } = saved;
    let body = PolicyApplyRequest { document, sources, revision, confirm_deletes, keep_leases, message };
    let answer = client.send(Route::to(op::APPLY_POLICY, []), &body).await.map_err(|mut failure| {
        let field = failure.said.as_ref().and_then(|said| said.field.as_deref());
        if field == Some("tests") {
            failure.exit = Exit::Diverged;
        }
        if field == Some("confirm_deletes") {
            failure.hint = Some("pass --confirm-deletes N if they are meant".to_owned());
        }
        failure
    })?;
    let count = |name: &str| find(&answer, &[name]).and_then(Value::as_u64).unwrap_or_default();
    let sentence = format!(
        "applied: {} made, {} changed, {} removed; {} live leases ended",
        count("created"),
        count("changed"),
        count("removed"),
        count("leases_ended")
    );
    done(out, &answer, &sentence)?;
    Ok(Exit::Ok)
}
