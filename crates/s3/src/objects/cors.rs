//! Buckets' CORS rules: kept in the index, and all in memory: every answer to a page is asked about.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use valetkey_core::cors::{Rule, Rules};

use crate::error::Result;
use crate::gate::session::Live;
use crate::objects::cache::Table;
use crate::objects::writer::{After, Change, WhenFull};
use crate::objects::{BucketId, Index, Objects};

/// Reads the rules that the index has.
pub(super) async fn read(table: &Table, index: &mut Index) -> sqlx::Result<()> {
    let rows = sqlx::query(
        "SELECT bucket, name, origins, methods, headers, exposed, max_age_secs FROM cors ORDER BY bucket, at",
    );
    let mut all: HashMap<BucketId, Vec<Rule>> = HashMap::new();
    for row in rows.fetch_all(index).await? {
        all.entry(row.try_get(0)?).or_default().push(read_rule(&row)?);
    }
    for (bucket, rules) in all {
        let rules = Rules::new(rules).map_err(|error| sqlx::Error::Decode(error.into()))?;
        table.set(bucket, Some(Arc::new(rules)));
    }
    Ok(())
}
fn read_rule(row: &SqliteRow) -> sqlx::Result<Rule> {
    let lines = |at: usize| -> sqlx::Result<Vec<String>> {
        Ok(row.try_get::<&str, _>(at)?.lines().map(str::to_owned).collect())
    };
    let age: Option<i64> = row.try_get(6)?;
    Ok(Rule {
        name: row.try_get(1)?,
        origins: lines(2)?,
        methods: lines(3)?,
        headers: lines(4)?,
        exposed: lines(5)?,
        max_age_secs: age.and_then(|secs| u32::try_from(secs).ok()),
    })
}

impl Objects {
    /// The rules of all buckets.
    pub(crate) fn cors(&self) -> &Table {
        self.cache.cors()
    }

    /// Gives a bucket rules in place of those it has; when this returns, that is durable.
    pub(crate) async fn set_cors(&self, _: Live, bucket: BucketId, rules: Option<Rules>) -> Result<()> {
        self.writer.apply(SetCors { bucket, rules: rules.map(Arc::new) }).await
    }
}

struct SetCors {
    bucket: BucketId,
    rules: Option<Arc<Rules>>,
}

#[async_trait]
impl Change for SetCors {
    type Answer = ();

    fn when_full(&self) -> WhenFull {
        if self.rules.is_some() { WhenFull::Refused } else { WhenFull::Made }
    }

    async fn apply(self, index: &mut Index, after: &mut After) -> sqlx::Result<()> {
        let Self { bucket, rules } = self;
        sqlx::query("DELETE FROM cors WHERE bucket = ?").bind(bucket).execute(&mut *index).await?;
        for (at, rule) in rules.iter().flat_map(|rules| rules.iter()).enumerate() {
            let Rule { name, origins, methods, headers, exposed, max_age_secs } = rule;
            sqlx::query(
                "INSERT INTO cors (bucket, at, name, origins, methods, headers, exposed, max_age_secs) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            )
            .bind(bucket)
            .bind(i64::try_from(at).unwrap_or(i64::MAX))
            .bind(name)
            .bind(origins.join("\n"))
            .bind(methods.join("\n"))
            .bind(headers.join("\n"))
            .bind(exposed.join("\n"))
            .bind(max_age_secs.map(i64::from))
            .execute(&mut *index)
            .await?;
        }
        after.cors.push((bucket, rules));
        Ok(())
    }
}
