//! The keys that sign identity tokens of this server.

use valetkey_core::Error;
use valetkey_core::nouns::signing::{SigningAlgorithm, SigningKey};

use crate::sql::db::{Db, query, query_as};
use crate::sql::{failed, rows};

type Row = (String, String, String, Vec<u8>, i64, i64);

pub(crate) async fn all(db: &mut Db) -> Result<Vec<SigningKey>, Error> {
    let sql = "SELECT kid, algorithm, public, sealed, made_ms, signs_from_ms FROM signing_keys ORDER BY made_ms, kid";
    let found: Vec<Row> = query_as(sql).fetch_all(db).await.map_err(failed)?;
    let read = |(kid, algorithm, public, sealed, made, signs_from): Row| {
        Ok(SigningKey {
            kid: kid.into(),
            algorithm: SigningAlgorithm::parse(&algorithm).ok_or_else(|| rows::damaged("a signing key"))?,
            public: public.into(),
            sealed: sealed.into(),
            made: rows::at_ms(made)?,
            signs_from: rows::at_ms(signs_from)?,
        })
    };
    found.into_iter().map(read).collect()
}

pub(crate) async fn add(db: &mut Db, key: &SigningKey) -> Result<(), Error> {
    query("INSERT INTO signing_keys (kid, algorithm, public, sealed, made_ms, signs_from_ms) VALUES (?, ?, ?, ?, ?, ?)")
        .bind(key.kid.to_string())
        .bind(key.algorithm.as_str())
        .bind(key.public.to_string())
        .bind(key.sealed.to_vec())
        .bind(key.made.as_millisecond())
        .bind(key.signs_from.as_millisecond())
        .execute(db)
        .await
        .map(drop)
        .map_err(failed)
}

pub(crate) async fn remove(db: &mut Db, kid: &str) -> Result<(), Error> {
    query("DELETE FROM signing_keys WHERE kid = ?").bind(kid.to_owned()).execute(db).await.map(drop).map_err(failed)
}

pub(crate) async fn reseal(db: &mut Db, kid: &str, sealed: &[u8]) -> Result<(), Error> {
    query("UPDATE signing_keys SET sealed = ? WHERE kid = ?")
        .bind(sealed.to_vec())
        .bind(kid.to_owned())
        .execute(db)
        .await
        .map(drop)
        .map_err(failed)
}
