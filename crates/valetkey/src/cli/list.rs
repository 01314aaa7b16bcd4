//! Lists: the server pages them, and the client goes on to the end when it is told to.

use serde_json::Value;

use crate::cli::client::{Client, Route};
use crate::cli::failure::Failure;
use crate::cli::output::Out;
use crate::cli::{show, ttl};

/// How much of a list
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Pages {
    /// All of it, page by page
    #[arg(long, conflicts_with = "after")]
    pub(crate) all: bool,
    /// Only what comes after this: the next page
    #[arg(long, value_name = "PLACE")]
    after: Option<String>,
    /// At most this many on a page
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: Option<u32>,
}

impl Pages {
    /// Adds what was said to a route.
    pub(crate) fn on(&self, route: Route) -> Route {
        route.with_some("after", self.after.clone()).with_some("limit", self.limit)
    }
}

/// Since when
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Since {
    /// Only those since then: a timestamp (2026-01-31T12:00:00Z) or a length of time (24h, 7d)
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
}

impl Since {
    /// Adds what was said to a route.
    pub(crate) fn on(self, route: Route) -> Result<Route, Failure> {
        // What begins as a length of time does not have a date's dashes.
        Ok(match self.since {
            Some(text) if text.contains('-') => route.with("since", text),
            Some(text) => route.with("since_secs", ttl::parse(&text).map_err(Failure::usage)?.to_string()),
            None => route,
        })
    }
}

/// Shows a list: a page of it, or all.
pub(crate) async fn run(
    route: Route,
    all: bool,
    columns: &[show::Column],
    none: &str,
    client: &Client<'_>,
    out: &Out,
) -> Result<(), Failure> {
    let mut answer = client.ask(route.clone()).await?;
    while all && let Some((word, next)) = show::next(&answer) {
        let more = client.ask(route.clone().with(word, next)).await?;
        join(&mut answer, more);
    }
    show::list(out, &answer, columns, none)
}

/// Puts a page behind those before it.
fn join(answer: &mut Value, page: Value) {
    let (Value::Object(fields), Value::Object(page)) = (answer, page) else { return };
    for (name, value) in page {
        match (fields.get_mut(&name), value) {
            (Some(Value::Array(known)), Value::Array(more)) => known.extend(more),
            (_, value) => {
                fields.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pages_are_one_list_that_ends_where_the_last_does() {
        let mut answer = json!({"tokens": [1, 2], "next_after": "b"});
        join(&mut answer, json!({"tokens": [3], "next_after": null}));
        assert_eq!(answer, json!({"tokens": [1, 2, 3], "next_after": null}));
    }
}
