//! Profiles: the file a recipient's client reads. Downloaded once by whoever has the link.

use std::sync::Arc;

use http::{HeaderValue, header};
use serde::Serialize;
use valetkey_core::error::Noun;
use valetkey_core::nouns::share::{LinkCode, ProfileKind};
use valetkey_core::token::PlainToken;
use valetkey_core::{Error, Kind};

use super::{Sharing, json_reply};
use crate::edge::{Plain, Reply};

/// A profile, in the version that fits what it proves its holder with: the Python client takes a bearer token from version 1 only.
#[derive(Serialize)]
#[serde(untagged)]
enum Profile<'a> {
    #[serde(rename_all = "camelCase")]
    Bearer {
        share_credentials_version: u32,
        endpoint: &'a str,
        bearer_token: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        expiration_time: Option<String>,
    },
    #[serde(rename_all = "camelCase")]
    Oauth {
        share_credentials_version: u32,
        #[serde(rename = "type")]
        kind: &'static str,
        endpoint: &'a str,
        token_endpoint: String,
        client_id: String,
        client_secret: &'a str,
    },
}

/// `GET /profile/{code}`: the token is made now, so that nothing that could be used is kept until then.
pub(super) async fn download(sharing: Arc<Sharing>, plain: Plain) -> Result<Reply, Error> {
    let gone = || {
        Error::new(
            Kind::NotFound(Noun::Route),
            "the link was used, is out of time, or never was; ask the provider for another",
        )
    };
    let code = LinkCode::parse(plain.params.get("code")?).ok_or_else(gone)?;
    let token = PlainToken::generate(&*sharing.shared.entropy);
    let redeemed = sharing.shared.shares.redeem_link(&code.digest(), &token, plain.now).await?;
    let (link, record) = redeemed.ok_or_else(gone)?;
    let endpoint = sharing.settings.endpoint();
    let profile = match link.kind {
        ProfileKind::Bearer => Profile::Bearer {
            share_credentials_version: 1,
            endpoint: &endpoint,
            bearer_token: token.reveal(),
            expiration_time: record.until.map(|until| format!("{until:.3}")),
        },
        ProfileKind::Oauth => Profile::Oauth {
            share_credentials_version: 2,
            kind: "oauth_client_credentials",
            endpoint: &endpoint,
            token_endpoint: format!("{endpoint}/oauth/token"),
            client_id: record.id.as_uuid(),
            client_secret: token.reveal(),
        },
    };
    Ok(json_reply(&profile)?
        .header(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"config.share\"")))
}

/// `HEAD /profile/{code}`: whoever looks at a link before it is opened does not use it up, and learns nothing.
pub(super) async fn look(_: Arc<Sharing>, _: Plain) -> Result<Reply, Error> {
    Ok(Reply::nothing())
}
