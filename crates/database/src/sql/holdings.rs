//! How much of each kind an account may hold. The database counts and refuses, by triggers; here stand the kinds and their usual
//! limits, and how the limits in force come to where the triggers find them.

use valetkey_core::{Error, Kind};

use crate::sql::db::{Db, query, query_scalar};
use crate::sql::failed;
use crate::sql::rows::signed;

/// A kind of thing that is held, and the most of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Holding {
    /// Its name, as in settings and in the database.
    pub what: &'static str,
    /// Who holds it.
    pub by: &'static str,
    /// The most of it, unless the operator says otherwise.
    pub most: u64,
}

const fn held(what: &'static str, by: &'static str, most: u64) -> Holding {
    Holding { what, by, most }
}

/// Every kind there is.
pub const HOLDINGS: &[Holding] = &[
    held("callers", "account", 10_000),
    held("tokens", "account", 20_000),
    held("parent-keys", "account", 10_000),
    held("grants", "account", 2_000_000),
    held("workspaces", "account", 10_000),
    held("projects", "workspace", 10_000),
    held("shares", "account", 10_000),
    held("shared-tables", "share", 100_000),
    held("recipients", "share", 10_000),
    held("profile-links", "account", 10_000),
    held("blobs", "account", 1_000_000),
    held("blob-bytes", "account", 1 << 40),
    held("manifests", "account", 100_000),
    held("tags", "account", 100_000),
    held("datasets", "server", 100_000),
];

/// The limits in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holdings(Vec<Holding>);

impl Default for Holdings {
    fn default() -> Self {
        Self(HOLDINGS.to_vec())
    }
}

impl Holdings {
    /// The usual limits with some changed, each written `what:most`.
    ///
    /// # Errors
    /// The words that say which is wrong and what is allowed.
    pub fn parse(changed: &[String]) -> Result<Self, String> {
        let mut own = Self::default();
        let mut seen: Vec<&str> = Vec::new();
        for text in changed {
            let wrong = || format!("`{text}` is not a limit; one is written what:most, as in `callers:500`");
            let (what, most) = text.split_once(':').ok_or_else(wrong)?;
            let most: u64 = most.parse().ok().filter(|most| i64::try_from(*most).is_ok()).ok_or_else(wrong)?;
            let Some(holding) = own.0.iter_mut().find(|holding| holding.what == what) else {
                let known: Vec<&str> = HOLDINGS.iter().map(|holding| holding.what).collect();
                return Err(format!("`{what}` is nothing that is limited; that are `{}`", known.join("`, `")));
            };
            if seen.contains(&what) {
                return Err(format!("`{what}` is limited twice"));
            }
            holding.most = most;
            seen.push(what);
        }
        Ok(own)
    }

    fn iter(&self) -> impl Iterator<Item = &Holding> {
        self.0.iter()
    }
}

/// Writes how much accounts may hold, and changes nothing where that is there already.
pub(crate) async fn write(db: &mut Db, holdings: &Holdings) -> Result<(), Error> {
    for holding in holdings.iter() {
        query(
            "INSERT INTO holding_limits (what, most) VALUES (?1, ?2)
             ON CONFLICT (what) DO UPDATE SET most = excluded.most WHERE holding_limits.most <> excluded.most",
        )
        .bind(holding.what)
        .bind(signed(holding.most))
        .execute(&mut *db)
        .await
        .map_err(failed)?;
    }
    if db.is_postgres() { Ok(()) } else { free_removed(db).await }
}

/// Has removed callers count no more. A later migration than the one with the other triggers made them removable, so this one is made
/// when both are there.
async fn free_removed(db: &mut Db) -> Result<(), Error> {
    let removable: Option<i64> = query_scalar("SELECT 1 FROM pragma_table_info('callers') WHERE name = 'standing'")
        .fetch_optional(&mut *db)
        .await
        .map_err(failed)?;
    if removable.is_none() {
        return Ok(());
    }
    query(
        "CREATE TRIGGER IF NOT EXISTS callers_removed AFTER UPDATE OF standing ON callers
         WHEN OLD.standing <> 2 AND NEW.standing = 2 BEGIN
             UPDATE holdings SET count = count - 1 WHERE holder = OLD.account AND what = 'callers';
         END",
    )
    .execute(db)
    .await
    .map_err(failed)?;
    Ok(())
}

/// What the database says when there is too much of something.
const REFUSED: &str = "holding: ";

/// The refusal that the database's words stand for, if they stand for one.
pub(crate) fn refused(error: &sqlx::Error) -> Option<Error> {
    let what = error.as_database_error()?.message().strip_prefix(REFUSED)?;
    let Holding { what, by, most: _ } = HOLDINGS.iter().find(|holding| holding.what == what)?;
    let said = format!("this {by} has as many {what} as it may have; remove some, or have `limits.holdings` raised");
    Some(Error::new(Kind::Forbidden, said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_and_what_is_wrong_is_said() {
        let read = |list: &[&str]| Holdings::parse(&list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        let own = read(&["callers:5", "blob-bytes:0"]).unwrap();
        let most = |what: &str| own.iter().find(|holding| holding.what == what).unwrap().most;
        assert_eq!((most("callers"), most("blob-bytes"), most("tokens")), (5, 0, 20_000));
        assert_eq!(read(&[]).unwrap(), Holdings::default());
        for (bad, words) in [
            ("callers", "what:most"),
            ("callers:", "what:most"),
            ("callers:-1", "what:most"),
            ("callers:9223372036854775808", "what:most"),
            ("caller:5", "`callers`"),
        ] {
            assert!(read(&[bad]).unwrap_err().contains(words), "{bad}");
        }
        assert!(read(&["tags:1", "tags:2"]).unwrap_err().contains("twice"));
    }
}
