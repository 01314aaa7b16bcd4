//! Unity Catalog, checked as a recipient: the share as a catalog, a credential for its table, what that does not open, and its end.

use anyhow::Context as _;
use http::Method;
use serde_json::{Value, json};
use valetkey_core::Secret;
use valetkey_core::keyring::parse_access_key_id;
use valetkey_dialects::unity::PATH;

use super::s3::{Call, Keys};
use super::{Check, caller};
use crate::dev::share::{full_name, place};

impl Check<'_> {
    pub(super) async fn unity(&mut self) -> anyhow::Result<()> {
        let token = self.state.delta_sharing.as_ref().context("the demo has no share")?.token.clone();
        let stranger = caller(self.state, "partner")?.token.clone();
        let table = format!("{PATH}/tables/{}", full_name());
        let (status, told) = self.api(Method::GET, &table, &token, None).await?;
        self.record("Unity Catalog: the shared table", "200", &status.to_string());
        let text = |of: &Value, at: &str| of.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
        let id = text(&told, "/table_id");
        let (status, _) = self.api(Method::GET, &table, &stranger, None).await?;
        self.record("Unity Catalog: a table that was not given", "404", &status.to_string());
        let credentials = format!("{PATH}/temporary-table-credentials");
        let ask = |operation: &str| Some(json!({ "table_id": id, "operation": operation }));
        let (status, answer) = self.api(Method::POST, &credentials, &token, ask("READ")).await?;
        self.record("Unity Catalog: credentials to read it", "200", &status.to_string());
        let keys = Keys {
            access_key_id: text(&answer, "/aws_temp_credentials/access_key_id"),
            secret_access_key: Secret::new(text(&answer, "/aws_temp_credentials/secret_access_key")),
            session_token: Secret::new(text(&answer, "/aws_temp_credentials/session_token")),
        };
        self.leases.push(keys.access_key_id.clone());
        let (bucket, root) = place();
        let log = format!("/{bucket}/{root}/_delta_log/00000000000000000000.json");
        self.expect("Unity Catalog: read its log", "200", &keys, Call::new(Method::GET, log.clone())).await?;
        let denied = "403 AccessDenied";
        let beside = format!("/{bucket}/{root}2/x");
        self.expect("Unity Catalog: read beside it", denied, &keys, Call::new(Method::GET, beside)).await?;
        self.expect("Unity Catalog: write to it", denied, &keys, Call::new(Method::PUT, log.clone()).body(b"x"))
            .await?;
        for (what, who, operation, expected) in [
            ("Unity Catalog: credentials to write it", &token, "READ_WRITE", "403 PERMISSION_DENIED"),
            ("Unity Catalog: credentials of who was not given it", &stranger, "READ", "404 TABLE_NOT_FOUND"),
        ] {
            let (status, answer) = self.api(Method::POST, &credentials, who, ask(operation)).await?;
            self.record(what, expected, &format!("{status} {}", text(&answer, "/error_code")));
        }
        let lease = parse_access_key_id(&keys.access_key_id).context("the key names no lease")?.1;
        let admin = self.state.admin.token.clone();
        let (status, _) = self.api(Method::DELETE, &format!("/api/v1/leases/{lease}"), &admin, None).await?;
        self.record("Unity Catalog: end the credential", "200", &status.to_string());
        self.expect("Unity Catalog: read with it after that", "400 ExpiredToken", &keys, Call::new(Method::GET, log))
            .await?;
        Ok(())
    }
}
