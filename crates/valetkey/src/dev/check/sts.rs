//! The check of the STS API: a role assumed with a parent access key, narrowed again, and ended with what it was narrowed from.

use anyhow::{Context as _, ensure};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqsign_aws_v4::{Credential, RequestSigner};
use reqsign_core::{Context, SignRequest};
use valetkey_core::Secret;
use valetkey_core::keyring::parse_access_key_id;

use super::s3::{Call, Keys};
use super::{Check, caller};

const INSIDE: &str = "/uploads-lake/uploads/user-123/hello.txt";
const BESIDE: &str = "/uploads-lake/uploads/user-124/secret.txt";
const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::uploads-lake/uploads/user-123/*"}]}"#;

/// A field of a form.
type Field<'a> = (&'a str, &'a str);

impl Check<'_> {
    pub(super) async fn sts(&mut self) -> anyhow::Result<()> {
        let state = self.state.r2.clone().context("the demo has no parent access key")?;
        let parent = Credential {
            access_key_id: state.parent_access_key_id,
            secret_access_key: state.parent_secret_access_key,
            ..Credential::default()
        };
        let api = format!("{}{}", self.node.api_url, valetkey_dialects::sts::PATH);
        let role = ("RoleArn", "arn:aws:iam:::role/valetkey");
        let assume = [("Action", "AssumeRole"), role, ("RoleSessionName", "check")];
        let keys = self.assumed("STS: assume a role", &api, &parent, &assume).await?;
        self.expect("STS: read with it", "200", &keys, Call::new(Method::GET, BESIDE)).await?;
        let root = format!("{}/", self.node.s3_url);
        let of = |keys: &Keys| Credential {
            access_key_id: keys.access_key_id.clone(),
            secret_access_key: keys.secret_access_key.reveal().clone(),
            session_token: Some(keys.session_token.reveal().clone()),
            ..Credential::default()
        };
        let narrow = [("Action", "GetScopedCredentials"), ("Policy", POLICY)];
        let narrowed = self.assumed("STS: narrow it, at the S3 endpoint", &root, &of(&keys), &narrow).await?;
        self.expect("STS: read inside", "200", &narrowed, Call::new(Method::GET, INSIDE)).await?;
        self.expect("STS: read beside it", "403 AccessDenied", &narrowed, Call::new(Method::GET, BESIDE)).await?;
        self.expect("STS: write with it", "403 AccessDenied", &narrowed, Call::new(Method::PUT, INSIDE).body(b"x"))
            .await?;
        let other =
            [("Action", "AssumeRole"), ("RoleArn", "arn:aws:iam:::role/flights-daily"), ("RoleSessionName", "check")];
        self.refused("STS: assume another's role", "403 AccessDenied", &api, Some(&parent), &other).await?;
        self.refused("STS: assume it unsigned", "403 MissingAuthenticationToken", &api, None, &assume).await?;
        let token = caller(self.state, "analyst")?.token.clone();
        let jwt = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlIn0.c2ln";
        for (what, expected, token) in [
            ("STS: assume a role with a token", "200 ", token.as_str()),
            ("STS: assume it with a token of nobody's", "400 InvalidIdentityToken", jwt),
        ] {
            let form = [("Action", "AssumeRoleWithWebIdentity"), role, ("WebIdentityToken", token)];
            self.refused(what, expected, &api, None, &form).await?;
        }
        let lease = parse_access_key_id(&keys.access_key_id).context("the key names no lease")?.1;
        let admin = self.state.admin.token.clone();
        let (status, _) = self.api(Method::DELETE, &format!("/api/v1/leases/{lease}"), &admin, None).await?;
        self.record("STS: end the first key", "200", &status.to_string());
        let expired = "400 ExpiredToken";
        self.expect("STS: read with it after that", expired, &keys, Call::new(Method::GET, INSIDE)).await?;
        self.expect("STS: read with the narrowed one", expired, &narrowed, Call::new(Method::GET, INSIDE)).await?;
        Ok(())
    }

    /// Sends a form and takes the credential of its answer.
    async fn assumed(&mut self, what: &str, url: &str, who: &Credential, form: &[Field<'_>]) -> anyhow::Result<Keys> {
        let (status, text) = self.form(url, Some(who), form).await?;
        self.record(what, "200", &status.to_string());
        ensure!(status == 200, "{what}: {status} {text}");
        let part = |name: &str| between(&text, name).map(str::to_owned).with_context(|| format!("no `{name}`"));
        let keys = Keys {
            access_key_id: part("AccessKeyId")?,
            secret_access_key: Secret::new(part("SecretAccessKey")?),
            session_token: Secret::new(part("SessionToken")?),
        };
        self.leases.push(keys.access_key_id.clone());
        Ok(keys)
    }

    async fn refused(
        &mut self,
        what: &str,
        expected: &str,
        url: &str,
        who: Option<&Credential>,
        form: &[Field<'_>],
    ) -> anyhow::Result<()> {
        let (status, text) = self.form(url, who, form).await?;
        self.record(what, expected, &format!("{status} {}", between(&text, "Code").unwrap_or_default()));
        Ok(())
    }

    /// Signs a form by another's code than ours, if somebody is to have signed it, and sends it.
    async fn form(&self, url: &str, who: Option<&Credential>, form: &[Field<'_>]) -> anyhow::Result<(u16, String)> {
        let field = |(name, value): &Field<'_>| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
        let body = form.iter().map(field).collect::<Vec<_>>().join("&");
        let (mut parts, ()) = Request::post(url).body(())?.into_parts();
        parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        if let Some(who) = who {
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body.as_bytes());
            let digest = HeaderValue::from_str(&data_encoding::HEXLOWER.encode(digest.as_ref()))?;
            parts.headers.insert("x-amz-content-sha256", digest);
            let signer = RequestSigner::new("sts", "auto");
            signer
                .sign_request(&Context::new(), &mut parts, Some(who), None)
                .await
                .context("a form could not be signed")?;
        }
        let response = self.http.post(url).headers(parts.headers).body(body).send().await?;
        Ok((response.status().as_u16(), response.text().await?))
    }
}

pub(super) fn between<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.split_once(&format!("<{name}>"))?.1.split_once(&format!("</{name}>")).map(|(inside, _)| inside)
}
