//! Iceberg's REST catalog, checked as a recipient: its lists, a table with credentials, what they do not open, and their end.

use anyhow::Context as _;
use http::{Method, header};
use serde_json::{Value, json};
use valetkey_core::Secret;
use valetkey_core::keyring::parse_access_key_id;

use super::s3::{Call, Keys};
use super::{Check, caller};
use crate::dev::iceberg::{path, place};

impl Check<'_> {
    /// Loads the table: the status, the entity tag and the answer.
    async fn loaded(&self, token: &str, tag: &str) -> anyhow::Result<(u16, String, Value)> {
        let request = self.http.get(format!("{}{}", self.node.api_url, path())).bearer_auth(token);
        let response = request.header(header::IF_NONE_MATCH, tag).send().await?;
        let status = response.status().as_u16();
        let tag = response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok()).unwrap_or_default().to_owned();
        Ok((status, tag, serde_json::from_str(&response.text().await?).unwrap_or_default()))
    }

    pub(super) async fn iceberg(&mut self) -> anyhow::Result<()> {
        let token = self.state.delta_sharing.as_ref().context("the demo has no share")?.token.clone();
        let stranger = caller(self.state, "partner")?.token.clone();
        let list = path().rsplit_once('/').map(|(list, _)| list.to_owned()).unwrap_or_default();
        let (_, told) = self.api(Method::GET, &list, &token, None).await?;
        let names: Vec<&str> =
            told.pointer("/identifiers").and_then(Value::as_array).into_iter().flatten().filter_map(named).collect();
        self.record("Iceberg: the list has the Iceberg table alone", "arrivals", &names.join(" "));
        let (status, _, _) = self.loaded(&stranger, "").await?;
        self.record("Iceberg: a table that was not given", "404", &status.to_string());
        let (status, tag, answer) = self.loaded(&token, "").await?;
        self.record("Iceberg: load the table", "200", &status.to_string());
        let text = |at: &str| answer.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
        let keys = Keys {
            access_key_id: text("/config/s3.access-key-id"),
            secret_access_key: Secret::new(text("/config/s3.secret-access-key")),
            session_token: Secret::new(text("/config/s3.session-token")),
        };
        self.leases.push(keys.access_key_id.clone());
        let (bucket, root) = place();
        let location = text("/metadata-location");
        let metadata = location.strip_prefix("s3:/").context("the metadata is nowhere")?.to_owned();
        self.expect("Iceberg: read its metadata", "200", &keys, Call::new(Method::GET, metadata.clone())).await?;
        let denied = "403 AccessDenied";
        let beside = format!("/{bucket}/{root}2/x");
        self.expect("Iceberg: read beside it", denied, &keys, Call::new(Method::GET, beside)).await?;
        self.expect("Iceberg: write to it", denied, &keys, Call::new(Method::PUT, metadata.clone()).body(b"x")).await?;
        let (status, _, _) = self.loaded(&token, &tag).await?;
        self.record("Iceberg: load it again, unchanged", "304", &status.to_string());
        let (status, _, _) = self.loaded(&stranger, &tag).await?;
        self.record("Iceberg: the same by who was not given it", "404", &status.to_string());
        let (status, answer) = self.api(Method::POST, &path(), &token, Some(json!({}))).await?;
        let kind = answer.pointer("/error/type").and_then(Value::as_str).unwrap_or_default();
        self.record("Iceberg: commit to it", "406 UnsupportedOperationException", &format!("{status} {kind}"));
        let lease = parse_access_key_id(&keys.access_key_id).context("the key names no lease")?.1;
        let admin = self.state.admin.token.clone();
        let (status, _) = self.api(Method::DELETE, &format!("/api/v1/leases/{lease}"), &admin, None).await?;
        self.record("Iceberg: end the credential", "200", &status.to_string());
        self.expect("Iceberg: read with it after that", "400 ExpiredToken", &keys, Call::new(Method::GET, metadata))
            .await?;
        let (status, _, answer) = self.loaded(&token, &tag).await?;
        let other = answer.pointer("/config/s3.access-key-id").and_then(Value::as_str).unwrap_or_default();
        self.leases.push(other.to_owned());
        let found = format!("{status} {}", !other.is_empty() && other != keys.access_key_id);
        self.record("Iceberg: load it again, for another credential", "200 true", &found);
        Ok(())
    }
}

fn named(identifier: &Value) -> Option<&str> {
    identifier.pointer("/name")?.as_str()
}
