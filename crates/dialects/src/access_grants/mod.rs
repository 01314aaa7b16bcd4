//! The API of S3 Access Grants, which AWS has in S3 Control: a key of a caller's, for a credential that opens what a grant names, or a
//! part of it. Where we differ is told in `docs/dialects/access-grants.md`.

mod data_access;
mod error;
mod grants;
mod lists;
mod state;
mod target;

use std::sync::Arc;

use futures::future::BoxFuture;
use http::Method;
use valetkey_core::{Error, Kind};

pub use self::state::{ACCOUNT_ID, NAME, PATH, Settings};

use self::state::{AccessGrants, belongs};
use crate::edge::{Call, Class, Dialect, Proof, Reply, Route, Shared, Signature, usual_headers};

type Answers = fn(Arc<AccessGrants>, Call) -> BoxFuture<'static, Result<Reply, Error>>;

/// Makes the dialect.
pub fn dialect(shared: &Arc<Shared>, settings: Settings) -> Dialect {
    let own = Arc::new(AccessGrants::new(shared, settings));
    let row = |method: Method, path: &'static str, class: Class, known, answers: Answers| {
        let own = Arc::clone(&own);
        let answer = move |call: Call| {
            let own = Arc::clone(&own);
            async move {
                belongs(&call)?;
                answers(own, call).await
            }
        };
        Route::token(method, path, class, answer).query(known)
    };
    let get = |path, known, answers: Answers| row(Method::GET, path, Class::Common, known, answers);
    let lacks = |method, path| row(method, path, Class::Common, &[], |_, _| Box::pin(async { Err(read_only()) }));
    Dialect {
        name: NAME,
        base: String::new(),
        claims: &["/v20180820"],
        alias: None,
        proof: Proof::Signature(Signature { service: "s3", unsigned: true, worded: error::unproven }),
        actions: None,
        row: Arc::new(error::row),
        codes: error::CODES,
        body: Arc::new(error::body),
        body_type: "application/xml",
        refused: error::headers,
        quota: usual_headers,
        routes: vec![
            row(
                Method::GET,
                "/v20180820/accessgrantsinstance/dataaccess",
                Class::Credentials,
                data_access::KNOWN,
                |own, call| Box::pin(data_access::vend(own, call)),
            ),
            get("/v20180820/accessgrantsinstance/caller/grants", lists::OF_CALLER, |own, call| {
                Box::pin(lists::of_caller(own, call))
            }),
            get("/v20180820/accessgrantsinstance/prefix", &["s3prefix"], |own, call| {
                Box::pin(lists::for_prefix(own, call))
            }),
            get("/v20180820/accessgrantsinstance", &[], |own, call| {
                Box::pin(async move { lists::instance(&own, &call) })
            }),
            get("/v20180820/accessgrantsinstances", lists::PAGE, |own, call| {
                Box::pin(async move { lists::instances(&own, &call) })
            }),
            get("/v20180820/accessgrantsinstance/grants", lists::OF_GRANTS, |own, call| {
                Box::pin(lists::grants(own, call))
            }),
            get("/v20180820/accessgrantsinstance/grant/{id}", &[], |own, call| Box::pin(lists::grant(own, call))),
            get("/v20180820/accessgrantsinstance/locations", lists::OF_LOCATIONS, |own, call| {
                Box::pin(lists::locations(own, call))
            }),
            get("/v20180820/accessgrantsinstance/location/{id}", &[], |own, call| Box::pin(lists::location(own, call))),
            lacks(Method::POST, "/v20180820/accessgrantsinstance"),
            lacks(Method::DELETE, "/v20180820/accessgrantsinstance"),
            lacks(Method::POST, "/v20180820/accessgrantsinstance/location"),
            lacks(Method::PUT, "/v20180820/accessgrantsinstance/location/{id}"),
            lacks(Method::DELETE, "/v20180820/accessgrantsinstance/location/{id}"),
            lacks(Method::POST, "/v20180820/accessgrantsinstance/grant"),
            lacks(Method::DELETE, "/v20180820/accessgrantsinstance/grant/{id}"),
        ],
    }
}

fn read_only() -> Error {
    Error::new(Kind::Unsupported, "this API shows grants; create and remove them with `valetkey grant`")
}
