//! The check of S3 Access Grants: a part of a grant with a parent access key, what it does not open, and its end.

use anyhow::{Context as _, ensure};
use http::{HeaderValue, Method, Request};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqsign_aws_v4::{Credential, RequestSigner};
use reqsign_core::{Context, SignRequest};
use valetkey_core::Secret;
use valetkey_core::id::AccountId;
use valetkey_core::keyring::parse_access_key_id;
use valetkey_dialects::access_grants::{ACCOUNT_ID, PATH};
use valetkey_dialects::edge::account_number;

use super::Check;
use super::s3::{Call, Keys};
use super::sts::between;
use crate::dev::access_grants::TARGET;

const INSIDE: &str = "/uploads-lake/uploads/user-123/hello.txt";
const BESIDE: &str = "/uploads-lake/uploads/user-124/secret.txt";

/// What a signature's query is encoded with.
const IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl Check<'_> {
    pub(super) async fn access_grants(&mut self) -> anyhow::Result<()> {
        let state = self.state.r2.clone().context("the demo has no parent access key")?;
        let parent = Credential {
            access_key_id: state.parent_access_key_id,
            secret_access_key: state.parent_secret_access_key,
            ..Credential::default()
        };
        let own = account_number(AccountId::from_hex(&state.account_id).context("the demo's account has no id")?);
        let (api, s3) = (self.node.api_url.clone(), self.node.s3_url.clone());
        let (_, listed) = self.grants(&api, Some(&parent), &own, "caller/grants?").await?;
        let whole = between(&listed, "GrantScope").unwrap_or_default();
        self.record("Access Grants: what there is", "s3://uploads-lake/*", whole);
        let target = |text: &str| utf8_percent_encode(text, IN_QUERY).to_string();
        let read = format!("dataaccess?permission=READ&privilege=Minimal&target={}", target(TARGET));
        let (status, text) = self.grants(&api, Some(&parent), &own, &read).await?;
        self.record("Access Grants: a part of it", "200", &status.to_string());
        ensure!(status == 200, "a part of a grant: {status} {text}");
        self.record("Access Grants: it is no more", TARGET, between(&text, "MatchedGrantTarget").unwrap_or_default());
        let part = |name: &str| between(&text, name).map(str::to_owned).with_context(|| format!("no `{name}`"));
        let keys = Keys {
            access_key_id: part("AccessKeyId")?,
            secret_access_key: Secret::new(part("SecretAccessKey")?),
            session_token: Secret::new(part("SessionToken")?),
        };
        self.leases.push(keys.access_key_id.clone());
        let denied = "403 AccessDenied";
        self.expect("Access Grants: read with it", "200", &keys, Call::new(Method::GET, INSIDE)).await?;
        self.expect("Access Grants: read beside it", denied, &keys, Call::new(Method::GET, BESIDE)).await?;
        self.expect("Access Grants: write with it", denied, &keys, Call::new(Method::PUT, INSIDE).body(b"x")).await?;
        let flights = format!("dataaccess?permission=READ&target={}", target("s3://flights-lake/flights/daily/*"));
        for (what, expected, url, who, account, ask) in [
            ("Access Grants: at the S3 endpoint", "200 ", &s3, Some(&parent), &*own, &read),
            ("Access Grants: another's grant", denied, &api, Some(&parent), &*own, &flights),
            ("Access Grants: another account", denied, &api, Some(&parent), "123456789012", &read),
            ("Access Grants: unsigned", denied, &api, None, &*own, &read),
        ] {
            let (status, text) = self.grants(url, who, account, ask).await?;
            self.record(what, expected, &format!("{status} {}", between(&text, "Code").unwrap_or_default()));
        }
        let lease = parse_access_key_id(&keys.access_key_id).context("the key names no lease")?.1;
        let admin = self.state.admin.token.clone();
        let (status, _) = self.api(Method::DELETE, &format!("/api/v1/leases/{lease}"), &admin, None).await?;
        self.record("Access Grants: end the key", "200", &status.to_string());
        let expired = "400 ExpiredToken";
        self.expect("Access Grants: read with it after that", expired, &keys, Call::new(Method::GET, INSIDE)).await?;
        Ok(())
    }

    /// Sends a request that another's code than ours signed, if somebody is to have signed it.
    async fn grants(
        &self,
        url: &str,
        who: Option<&Credential>,
        account: &str,
        what: &str,
    ) -> anyhow::Result<(u16, String)> {
        let request = Request::get(format!("{url}{PATH}/{what}")).header(ACCOUNT_ID, account);
        let request = request.header("x-amz-content-sha256", HeaderValue::from_static("UNSIGNED-PAYLOAD"));
        let (mut parts, ()) = request.body(())?.into_parts();
        if let Some(who) = who {
            let signer = RequestSigner::new("s3", "us-east-1");
            let context = Context::new();
            let done = signer.sign_request(&context, &mut parts, Some(who), None).await;
            done.context("a request could not be signed")?;
        }
        let response = self.http.get(parts.uri.to_string()).headers(parts.headers).send().await?;
        Ok((response.status().as_u16(), response.text().await?))
    }
}
