//! The check of the demo's parent access key: what it makes, what is signed with it, and how both end.

use anyhow::{Context as _, ensure};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use http::Method;
use serde_json::{Value, json};
use valetkey_core::Secret;

use super::Check;
use super::s3::{Call, Keys};
use crate::dev::r2::R2State;

const INSIDE: &str = "/uploads-lake/uploads/user-123/hello.txt";
const BESIDE: &str = "/uploads-lake/uploads/user-124/secret.txt";

impl Check<'_> {
    pub(super) async fn r2(&mut self) -> anyhow::Result<()> {
        let state = self.state.r2.clone().context("the demo has no parent access key")?;
        let denied = "403 AccessDenied";
        let keys = self.minted(&state).await?;
        self.expect("R2: read inside with a key of the API", "200", &keys, Call::new(Method::GET, INSIDE)).await?;
        self.expect("R2: read beside it", denied, &keys, Call::new(Method::GET, BESIDE)).await?;
        self.expect("R2: write with it", denied, &keys, Call::new(Method::PUT, INSIDE).body(b"x")).await?;
        let signed = self.signed(&state, "object-read-only");
        self.expect("R2: read inside with a key signed here", "200", &signed, Call::new(Method::GET, INSIDE)).await?;
        self.expect("R2: read beside it", denied, &signed, Call::new(Method::GET, BESIDE)).await?;
        self.expect("R2: write with it", denied, &signed, Call::new(Method::PUT, INSIDE).body(b"x")).await?;
        let forged =
            self.signed(&R2State { parent_secret_access_key: "0".repeat(64), ..state.clone() }, "object-read-only");
        self.expect("R2: sign with a guessed parent", "403 InvalidToken", &forged, Call::new(Method::GET, INSIDE))
            .await?;
        let path = format!("/api/v1/parent-keys/{}/revocations", state.parent_access_key_id);
        let body = json!({ "session_token": signed.session_token.reveal() });
        let (status, _) = self.api(Method::POST, &path, &state.api_token, Some(body)).await?;
        self.record("R2: end one signed key", "200", &status.to_string());
        self.expect("R2: read after it was ended", "400 ExpiredToken", &signed, Call::new(Method::GET, INSIDE)).await?;
        let other = self.signed(&state, "object-read-write");
        self.expect("R2: its siblings live on", "200", &other, Call::new(Method::GET, INSIDE)).await?;
        // The check's demo goes away with it: so may its parent.
        let admin = self.state.admin.token.clone();
        let path = format!("/api/v1/parent-keys/{}", state.parent_access_key_id);
        let (status, _) = self.api(Method::DELETE, &path, &admin, None).await?;
        self.record("R2: disable the parent", "200", &status.to_string());
        self.expect("R2: what the API made is ended", "400 ExpiredToken", &keys, Call::new(Method::GET, INSIDE))
            .await?;
        self.expect("R2: what was signed is ended", "403 InvalidAccessKeyId", &other, Call::new(Method::GET, INSIDE))
            .await?;
        Ok(())
    }

    /// Asks for a credential as R2's clients do.
    async fn minted(&mut self, state: &R2State) -> anyhow::Result<Keys> {
        let path = format!("/client/v4/accounts/{}/r2/temp-access-credentials", state.account_id);
        let ask = json!({
            "bucket": state.bucket,
            "parentAccessKeyId": state.parent_access_key_id,
            "permission": "object-read-only",
            "ttlSeconds": 900,
            "prefixes": ["uploads/user-123/"],
        });
        let (status, answer) = self.api(Method::POST, &path, &state.api_token, Some(ask)).await?;
        self.record("vend (R2)", "200", &status.to_string());
        ensure!(status == 200, "R2's API answered {status}: {answer}");
        let text = |name: &str| {
            let found = answer.get("result").and_then(|result| result.get(name)).and_then(Value::as_str);
            found.map(str::to_owned).with_context(|| format!("the answer has no `{name}`"))
        };
        let keys = Keys {
            access_key_id: text("accessKeyId")?,
            secret_access_key: Secret::new(text("secretAccessKey")?),
            session_token: Secret::new(text("sessionToken")?),
        };
        self.leases.push(keys.access_key_id.clone());
        Ok(keys)
    }

    /// Signs a credential here, as the holder of the parent does.
    fn signed(&self, state: &R2State, scope: &str) -> Keys {
        let host = self.node.s3_url.split_once("://").map_or("", |(_, host)| host);
        let now = self.node.handles.clock.now().as_second();
        let claims = json!({
            "bucket": state.bucket,
            "scope": scope,
            "paths": { "prefixPaths": ["uploads/user-123/"], "objectPaths": [] },
            "sub": state.account_id,
            "iss": state.parent_access_key_id,
            "aud": host,
            "iat": now,
            "exp": now + 900,
        });
        let part = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
        let signed = format!("{}.{}", part(r#"{"alg":"HS256","typ":"JWT"}"#), part(&claims.to_string()));
        let (tag, hash) = sums(state.parent_secret_access_key.as_bytes(), &signed);
        let jwt = format!("{signed}.{}", BASE64URL_NOPAD.encode(&tag));
        Keys {
            access_key_id: state.parent_access_key_id.clone(),
            secret_access_key: Secret::new(hash(&jwt)),
            session_token: Secret::new(BASE64.encode(format!("jwt/{jwt}").as_bytes())),
        }
    }
}

/// The HMAC-SHA256 of a text, and how to hash one.
fn sums(key: &[u8], text: &str) -> (Vec<u8>, fn(&str) -> String) {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key);
    let hash = |text: &str| {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        data_encoding::HEXLOWER.encode(hash.as_ref())
    };
    (aws_lc_rs::hmac::sign(&key, text.as_bytes()).as_ref().to_vec(), hash)
}
