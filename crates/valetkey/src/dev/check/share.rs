//! Delta Sharing, checked as a recipient: listings, files by URL, keys to the directory, and what neither opens.

use anyhow::Context as _;
use http::Method;
use serde_json::{Value, json};
use valetkey_core::Secret;

use super::s3::{Call, Keys};
use super::{Check, caller};
use crate::dev::share::{path, place};

impl Check<'_> {
    async fn asked(
        &self,
        method: Method,
        tail: &str,
        token: &str,
        body: Option<Value>,
    ) -> anyhow::Result<(u16, String)> {
        let url = format!("{}/delta-sharing{tail}", self.node.api_url);
        let mut request = self.http.request(method, url).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await?;
        Ok((response.status().as_u16(), response.text().await?))
    }

    pub(super) async fn sharing(&mut self) -> anyhow::Result<()> {
        let token = self.state.delta_sharing.as_ref().context("the demo has no share")?.token.clone();
        let (status, body) = self.asked(Method::GET, "/shares", &token, None).await?;
        self.record("list shares", "200 true", &format!("{status} {}", body.contains("\"flights\"")));
        self.directory(&token).await?;
        #[cfg(feature = "delta")]
        self.urls(&token).await?;
        // Another caller of the same account was not given the share.
        let stranger = caller(self.state, "partner")?.token.clone();
        let (status, _) = self.asked(Method::GET, &format!("{}/metadata", path()), &stranger, None).await?;
        self.record("read a share that was not given", "404", &status.to_string());
        Ok(())
    }

    async fn directory(&mut self, token: &str) -> anyhow::Result<()> {
        let tail = format!("{}/temporary-table-credentials", path());
        let (status, body) = self.asked(Method::POST, &tail, token, None).await?;
        self.record("credentials for a shared table", "200", &status.to_string());
        let answer: Value = serde_json::from_str(&body)?;
        let text = |name: &str| {
            let found = answer.pointer(&format!("/credentials/awsTempCredentials/{name}")).and_then(Value::as_str);
            found.map(str::to_owned).with_context(|| format!("the answer has no `{name}`"))
        };
        let keys = Keys {
            access_key_id: text("accessKeyId")?,
            secret_access_key: Secret::new(text("secretAccessKey")?),
            session_token: Secret::new(text("sessionToken")?),
        };
        self.leases.push(keys.access_key_id.clone());
        let (bucket, root) = place();
        let at = |key: &str| format!("/{bucket}/{key}");
        let log = at(&format!("{root}/_delta_log/00000000000000000000.json"));
        self.expect("read the shared table's log", "200", &keys, Call::new(Method::GET, log.clone())).await?;
        self.expect(
            "a checkpoint that is not there is missing",
            "404 NoSuchKey",
            &keys,
            Call::new(Method::GET, at(&format!("{root}/_delta_log/_last_checkpoint"))),
        )
        .await?;
        self.expect("write to the shared table", "403 AccessDenied", &keys, Call::new(Method::PUT, log).body(b"x"))
            .await?;
        self.expect("read beside it", "403 AccessDenied", &keys, Call::new(Method::GET, super::DAILY)).await?;
        let foreign = json!({ "location": format!("s3://{bucket}/{root}2") });
        let (status, _) = self.asked(Method::POST, &tail, token, Some(foreign)).await?;
        self.record("credentials for a place beside it", "400", &status.to_string());
        Ok(())
    }

    #[cfg(feature = "delta")]
    async fn urls(&mut self, token: &str) -> anyhow::Result<()> {
        let (status, _) = self.asked(Method::GET, &format!("{}/version", path()), token, None).await?;
        self.record("ask a shared table's version", "200", &status.to_string());
        let (status, body) = self.asked(Method::POST, &format!("{}/query", path()), token, Some(json!({}))).await?;
        self.record("ask for the shared table's files", "200", &status.to_string());
        let files = body.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let urls: Vec<String> =
            files.filter_map(|line| Some(line.pointer("/file/url")?.as_str()?.to_owned())).collect();
        let [first, second, ..] = &urls[..] else {
            self.record("files of the shared table", "several", &urls.len().to_string());
            return Ok(());
        };
        let bytes = self.http.get(first).send().await?.bytes().await?;
        self.record("a file by its URL is a Parquet file", "true", &bytes.starts_with(b"PAR1").to_string());
        let (path_of_other, query_of_first) = (second.split('?').next(), first.split_once('?').map(|(_, query)| query));
        let mixed = format!("{}?{}", path_of_other.unwrap_or_default(), query_of_first.unwrap_or_default());
        let status = self.http.get(mixed).send().await?.status().as_u16();
        self.record("a file by another one's URL", "403", &status.to_string());
        Ok(())
    }
}
