//! The API of AWS Security Token Service, as S3 clients call it: a key that is long-lived, a credential that is to be narrowed, or an
//! identity token, for a credential of a grant. Where we differ is told in `docs/dialects/sts.md`.

mod arn;
mod error;
mod message;
mod policy;
mod read;
mod road;
mod scoped;
mod state;
mod vend;
mod who;
mod xml;

use std::sync::Arc;

use futures::future::BoxFuture;
use http::Method;
use valetkey_core::Error;

pub use self::state::{NAME, Settings};

use self::state::Sts;
use crate::edge::{self, Call, Class, Dialect, Proof, Reply, Route, Shared, Signature, usual_headers};

/// Where it is on the API's address. On the S3 endpoint's, where some clients ask, it is at `/`.
pub const PATH: &str = "/sts";

type Answers = fn(Arc<Sts>, Call) -> BoxFuture<'static, Result<Reply, Error>>;

/// Makes the dialect.
pub fn dialect(shared: &Arc<Shared>, settings: Settings) -> Dialect {
    let sts = Arc::new(Sts::new(shared, settings));
    let row = |method: Method, action: &'static str, class: Class, known, answers: Answers| {
        let sts = Arc::clone(&sts);
        Route::token(method, PATH, class, move |call| answers(Arc::clone(&sts), call)).action(action).query(known)
    };
    let vends = |action, known, answers: Answers| row(Method::POST, action, Class::Credentials, known, answers);
    let tells = |method, action, known, answers: Answers| row(method, action, Class::Common, known, answers);
    Dialect {
        name: NAME,
        base: String::new(),
        claims: &[PATH],
        alias: None,
        proof: Proof::Signature(Signature { service: "sts", unsigned: false, worded: error::unproven }),
        actions: Some(edge::Actions { version: "2011-06-15", unknown: error::unknown_action }),
        row: Arc::new(error::row),
        codes: error::CODES,
        body: Arc::new(error::body),
        body_type: "text/xml",
        refused: error::headers,
        quota: usual_headers,
        routes: vec![
            vends("AssumeRole", vend::ASSUME_ROLE, |sts, call| Box::pin(vend::assume_role(sts, call))),
            vends("AssumeRoleWithWebIdentity", vend::WEB_IDENTITY, |sts, call| Box::pin(vend::web_identity(sts, call)))
                .proven(Proof::Field("WebIdentityToken", error::identity_token)),
            vends("GetSessionToken", vend::SESSION_TOKEN, |sts, call| Box::pin(vend::session_token(sts, call))),
            vends("GetFederationToken", vend::FEDERATION, |sts, call| Box::pin(vend::federation_token(sts, call))),
            vends("GetScopedCredentials", scoped::KNOWN, |sts, call| Box::pin(scoped::vend(sts, call))),
            tells(Method::POST, "GetCallerIdentity", &[], |sts, call| Box::pin(who::caller_identity(sts, call))),
            tells(Method::GET, "GetCallerIdentity", &[], |sts, call| Box::pin(who::caller_identity(sts, call))),
            tells(Method::POST, "GetAccessKeyInfo", &["AccessKeyId"], |sts, call| Box::pin(who::key_info(sts, call))),
            tells(Method::POST, "DecodeAuthorizationMessage", &["EncodedMessage"], |sts, call| {
                Box::pin(message::decode(sts, call))
            }),
        ],
    }
}
