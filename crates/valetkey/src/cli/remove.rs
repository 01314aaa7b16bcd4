//! Removing anything: what it would mean is asked first, shown, and asked about where it ends many. And changing it.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use serde_json::Value;

use crate::cli::client::{Client, Route};
use crate::cli::failure::Failure;
use crate::cli::output::{Format, Out};
use crate::cli::{policy, show};

/// More than this many leases, tokens and things are many: someone is asked first.
const MANY: u64 = 10;

/// How something is removed
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct How {
    /// Only say what it would mean
    #[arg(long)]
    dry_run: bool,
    /// Do not ask first, also where it ends many
    #[arg(short, long)]
    yes: bool,
}

/// Also what needs it
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Cascade {
    /// Also what needs it; without it such a thing is refused, and what needs it is named
    #[arg(long)]
    cascade: bool,
    #[command(flatten)]
    pub(crate) how: How,
}

impl Cascade {
    /// Adds what was said to a route.
    pub(crate) fn on(&self, route: Route) -> Route {
        route.with_some("cascade", self.cascade.then_some("true"))
    }
}

/// Whether something is only looked at
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct Look {
    /// Only say what it would mean
    #[arg(long)]
    dry_run: bool,
}

impl Look {
    /// Adds what was said to a route.
    pub(crate) fn on(self, route: Route) -> Route {
        route.with_some("dry_run", self.dry_run.then_some("true"))
    }

    /// Says who gains and loses access and what ends, if it was only looked at; what was done, if it was done.
    pub(crate) fn told(
        self,
        out: &Out,
        answer: &Value,
        done: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if !self.dry_run {
            return done();
        }
        if out.format() == Format::Table {
            policy::show::access(out, items(answer, "access_changes"))?;
        }
        show::done(out, answer, &format!("it would end {} live leases; nothing was done", count(answer, "ended")))
    }
}

/// How something is changed
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct Change {
    #[command(flatten)]
    look: Look,
    /// Let the credentials that have more than that live on to their end
    #[arg(long)]
    keep_credentials: bool,
}

impl Change {
    /// Adds what was said to a route.
    pub(crate) fn on(self, route: Route) -> Route {
        self.look.on(route.with_some("end_credentials", self.keep_credentials.then_some("false")))
    }

    /// Says what was done, or would be, and how many leases that ends.
    pub(crate) fn told(self, out: &Out, answer: &Value, done: &str) -> Result<(), Failure> {
        self.look.told(out, answer, || {
            let ended = count(answer, "ended");
            let also = if ended == 0 {
                String::new()
            } else {
                format!("; {ended} live leases had more than that, and are ended")
            };
            show::done(out, answer, &format!("{done}{also}"))
        })
    }
}

/// Removes what a route names. `done` says what was done, for people.
pub(crate) async fn run(route: Route, how: &How, done: &str, client: &Client<'_>, out: &Out) -> Result<Value, Failure> {
    let plan = client.ask(route.clone().with("dry_run", "true")).await?;
    if how.dry_run {
        return told(&plan, out).map(|()| plan);
    }
    // What would be refused is refused by the removal itself, in the server's words.
    if show::text(&plan, &["refused"]).is_none() && is_much(&plan) && !how.yes {
        confirm(&plan, out)?;
    }
    let answer = client.ask(route).await.map_err(hinted)?;
    show::done(out, &answer, &format!("{done}{}", also(&answer)))?;
    Ok(answer)
}

fn count(plan: &Value, name: &str) -> u64 {
    show::find(plan, &[name]).and_then(Value::as_u64).unwrap_or_default()
}

fn items<'a>(plan: &'a Value, name: &str) -> &'a [Value] {
    plan.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice)
}

fn length(plan: &Value, name: &str) -> u64 {
    u64::try_from(items(plan, name).len()).unwrap_or(u64::MAX)
}

/// Whether a plan ends many: things that stand on their own go with it, or more than a few.
fn is_much(plan: &Value) -> bool {
    let things = length(plan, "with") + length(plan, "needs") + count(plan, "unlisted");
    length(plan, "needs") > 0 || count(plan, "leases") + count(plan, "tokens") + things > MANY
}

/// What goes with it, in a clause.
fn also(plan: &Value) -> String {
    let mut parts = Vec::new();
    let gone: Vec<String> = items(plan, "with").iter().chain(items(plan, "needs")).map(named).collect();
    match gone.len() {
        0 => {}
        few if few <= 5 => parts.push(gone.join(", ")),
        many => parts.push(format!("{many} things that were in it or for it")),
    }
    for (field, noun) in [("tokens", "live tokens"), ("leases", "live leases")] {
        match count(plan, field) {
            0 => {}
            count => parts.push(format!("{count} {noun}")),
        }
    }
    if parts.is_empty() { String::new() } else { format!("; with it: {}", parts.join(", ")) }
}

fn named(item: &Value) -> String {
    let text = |name: &str| show::text(item, &[name]).unwrap_or_default().to_owned();
    format!("{} {}", text("kind"), text("name"))
}

/// Shows a plan.
fn told(plan: &Value, out: &Out) -> Result<(), Failure> {
    if out.format() == Format::Json {
        return out.json(plan);
    }
    let mut rows = vec![("itself", plan.get("what").map(named).unwrap_or_default())];
    rows.extend(items(plan, "with").iter().map(|item| ("goes with it", named(item))));
    rows.extend(items(plan, "needs").iter().map(|item| ("needs it", named(item))));
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(tie, name)| vec![tie.to_owned(), name]).collect();
    out.table(&["", "WHAT"], &rows)?;
    policy::show::access(out, items(plan, "access_changes"))?;
    let (leases, tokens, more) = (count(plan, "leases"), count(plan, "tokens"), count(plan, "unlisted"));
    if more > 0 {
        out.note(&format!("and {more} more"));
    }
    out.note(&format!("it would end {leases} live leases and {tokens} live tokens; nothing was done"));
    if let Some(refused) = show::text(plan, &["refused"]) {
        out.note(&format!("as it was asked for it would be refused: {refused}"));
    }
    Ok(())
}

/// Asks about a removal.
fn confirm(plan: &Value, out: &Out) -> Result<(), Failure> {
    let what = plan.get("what").map(named).unwrap_or_default();
    asked(
        &format!("removing {what} ends many{}", also(plan)),
        "--dry-run shows it all, and --yes says that it is meant",
        out,
    )
}

/// Asks the user at the terminal. Refuses where nobody does.
pub(crate) fn asked(much: &str, hint: &str, out: &Out) -> Result<(), Failure> {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Err(Failure::usage(format!("{much}; nobody is here to be asked")).hint(hint));
    }
    out.note(much);
    let mut terminal = std::io::stderr();
    let _ = write!(terminal, "go on? [y/N] ");
    let _ = terminal.flush();
    let mut answer = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|error| Failure::local(format!("the answer cannot be read: {error}")))?;
    if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(Failure::usage("nothing was done")) }
}

/// Says which flag a refusal means.
fn hinted(failure: Failure) -> Failure {
    let field = failure.said.as_deref().and_then(|said| said.field.clone());
    match field.as_deref() {
        Some("cascade") => failure.hint("--cascade takes them with it; --dry-run shows all of it first"),
        Some("with_objects") => failure.hint("--with-objects takes them with it"),
        Some("last_operator") => failure.hint("--last-operator ends it all the same"),
        Some(_) | None => failure,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_ends_many_is_asked_about() {
        let item = json!({"kind": "grant", "name": "acme/daily"});
        let plan = |leases: u64, with: usize, needs: usize| json!({"leases": leases, "tokens": 0, "unlisted": 0, "with": vec![item.clone(); with], "needs": vec![item.clone(); needs]});
        assert!(!is_much(&plan(0, 0, 0)) && !is_much(&plan(10, 0, 0)) && !is_much(&plan(5, 5, 0)));
        assert!(is_much(&plan(11, 0, 0)) && is_much(&plan(0, 11, 0)) && is_much(&plan(0, 0, 1)));
        assert_eq!(also(&plan(3, 1, 0)), "; with it: grant acme/daily, 3 live leases");
        assert_eq!(also(&plan(0, 0, 0)), "");
    }
}
