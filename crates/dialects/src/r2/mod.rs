//! Cloudflare's API as far as R2's temporary access credentials need it: making them, and telling whether a token works. What the
//! holder of a parent access key signs itself is the endpoint's matter. Where we differ is told in `docs/dialects/r2.md`.

mod accounts;
mod credentials;
mod error;
mod tokens;

use std::borrow::Cow;
use std::sync::Arc;

use futures::future::BoxFuture;
use http::{HeaderMap, Method};
use serde::Serialize;
use valetkey_core::caller::{Caller, Role};
use valetkey_core::error::{Noun, Stranger};
use valetkey_core::id::AccountId;
use valetkey_core::{Error, Kind};

use crate::edge::{Call, Class, Dialect, Proof, Reply, Route, Shared, bearer, usual_headers};

/// The dialect's name in the ledger, logs and metrics.
pub const NAME: &str = "r2";

/// Makes the dialect.
pub fn dialect(shared: &Arc<Shared>) -> Dialect {
    let vend = |path: &'static str| {
        let shared = Arc::clone(shared);
        Route::token(Method::POST, path, Class::Credentials, move |call| credentials::vend(Arc::clone(&shared), call))
            .vending_query(&[])
    };
    let get = |path: &'static str, handler: fn(Arc<Shared>, Call) -> BoxFuture<'static, Result<Reply, Error>>| {
        let shared = Arc::clone(shared);
        Route::token(Method::GET, path, Class::Common, move |call| handler(Arc::clone(&shared), call))
            .passing_query(&[])
    };
    let own = |path: &'static str| Route::token(Method::GET, path, Class::Common, tokens::verify).passing_query(&[]);
    let of_account = |path: &'static str| {
        Route::token(Method::GET, path, Class::Common, tokens::verify_of_account).passing_query(&[])
    };
    Dialect {
        name: NAME,
        alias: None,
        base: String::new(),
        // Clients are given a base URL that ends in `/client/v4`; some leave it out.
        claims: &["/client/v4", "/accounts", "/user"],
        proof: Proof::Token(token),
        actions: None,
        row: Arc::new(error::row),
        codes: error::CODES,
        refused: error::headers,
        quota: usual_headers,
        body: Arc::new(error::body),
        body_type: "application/json",
        routes: vec![
            vend("/client/v4/accounts/{account_id}/r2/temp-access-credentials"),
            vend("/accounts/{account_id}/r2/temp-access-credentials"),
            own("/client/v4/user/tokens/verify"),
            own("/user/tokens/verify"),
            of_account("/client/v4/accounts/{account_id}/tokens/verify"),
            of_account("/accounts/{account_id}/tokens/verify"),
            get("/client/v4/user", accounts::user),
            get("/user", accounts::user),
            get("/client/v4/accounts", accounts::list).passing_query(accounts::LIST),
            get("/accounts", accounts::list).passing_query(accounts::LIST),
            get("/client/v4/accounts/{account_id}", accounts::get),
            get("/accounts/{account_id}", accounts::get),
            get("/client/v4/accounts/{account_id}/r2/buckets", accounts::buckets).passing_query(accounts::BUCKETS),
            get("/accounts/{account_id}/r2/buckets", accounts::buckets).passing_query(accounts::BUCKETS),
            get("/client/v4/accounts/{account_id}/r2/buckets/{bucket}", accounts::bucket),
            get("/accounts/{account_id}/r2/buckets/{bucket}", accounts::bucket),
        ],
    }
}

/// The token: `Authorization: Bearer`, or the pair `X-Auth-Key` and `X-Auth-Email`. Clients that have both send both.
fn token(headers: &HeaderMap) -> Result<Cow<'_, str>, Error> {
    if headers.contains_key(http::header::AUTHORIZATION) {
        return bearer(headers);
    }
    let stranger = |why: Stranger, said: &'static str| Error::new(Kind::Unauthenticated(why), said);
    let one = |name: &'static str| {
        let mut all = headers.get_all(name).iter();
        match (all.next(), all.next()) {
            (_, Some(_)) => Err(Error::new(Kind::Malformed, format!("the header `{name}` is given twice"))),
            (None, None) => Ok(None),
            (Some(value), None) => {
                let text = value.to_str().map_err(|_| stranger(Stranger::Unknown, "a header is not text"))?;
                Ok(Some(text))
            }
        }
    };
    let missing = "no token was sent; send `Authorization: Bearer <token>`, or `X-Auth-Key` and `X-Auth-Email`";
    let (Some(key), Some(email)) = (one("x-auth-key")?, one("x-auth-email")?) else {
        return Err(stranger(Stranger::Missing, missing));
    };
    let formed = email.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains('.'));
    if !formed {
        return Err(stranger(Stranger::Unknown, "the header `X-Auth-Email` is not an email address"));
    }
    Ok(Cow::Borrowed(key))
}

#[derive(Serialize)]
struct Envelope<'a, T, I> {
    result: &'a T,
    success: bool,
    errors: [(); 0],
    messages: [(); 0],
    #[serde(skip_serializing_if = "Option::is_none")]
    result_info: Option<I>,
}

/// A successful answer.
fn answer(result: &impl Serialize) -> Result<Reply, Error> {
    page(result, None::<()>)
}

/// A successful answer, and what page of how much it is.
fn page(result: &impl Serialize, result_info: Option<impl Serialize>) -> Result<Reply, Error> {
    Reply::json(&Envelope { result, success: true, errors: [], messages: [], result_info })
}

/// The account in the path, as far as the caller may know of it: its own; for an operator any.
fn account(call: &Call) -> Result<AccountId, Error> {
    let named = AccountId::from_hex(&call.params.get("account_id")?.to_ascii_lowercase());
    named
        .filter(|account| knows(&call.caller, *account))
        .ok_or_else(|| Error::not_found(Noun::Account).at("account_id"))
}

fn knows(caller: &Caller, account: AccountId) -> bool {
    match caller.role {
        Role::Operator | Role::Planner => true,
        Role::Admin | Role::Member | Role::Auditor => caller.account == account,
    }
}
