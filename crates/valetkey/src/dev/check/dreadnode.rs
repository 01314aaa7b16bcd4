//! Checks Dreadnode's API: a workspace's key opens its two parts and nothing beside them, and deletes nothing.

use anyhow::Context as _;
use http::Method;

use super::Check;
use super::s3::Call;

impl Check<'_> {
    pub(super) async fn dreadnode(&mut self) -> anyhow::Result<()> {
        let state = self.state.dreadnode.clone().context("the demo has no workspace")?;
        let org = format!("/api/v1/org/{}", state.organization);
        let vend = format!("{org}/ws/{}/storage/credentials", state.workspace);
        let (status, answer) = self.api(Method::GET, &vend, &state.token, None).await?;
        self.record("vend (Dreadnode)", "200", &status.to_string());
        let keys = Self::keys(&answer)?;
        self.leases.push(keys.access_key_id.clone());
        let text = |name: &str| answer.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        let (bucket, prefix) = (text("bucket"), text("prefix"));
        let inside = format!("/{bucket}/{prefix}/artifacts/sha256/check");
        let denied = "403 AccessDenied";
        for (what, expected, method, target) in [
            ("store an artifact", "200", Method::PUT, inside.clone()),
            ("read it back", "200", Method::GET, inside.clone()),
            ("delete an artifact", denied, Method::DELETE, inside),
            ("write beside the workspace's parts", denied, Method::PUT, format!("/{bucket}/{prefix}/check")),
            (
                "list the workspace's root",
                denied,
                Method::GET,
                format!("/{bucket}?list-type=2&prefix={}%2F", prefix.replace('/', "%2F")),
            ),
            ("write in another workspace", denied, Method::PUT, format!("/{bucket}/another/artifacts/check")),
        ] {
            let body: &[u8] = if method == Method::PUT { b"stored" } else { b"" };
            self.expect(what, expected, &keys, Call::new(method, target).body(body)).await?;
        }
        for (what, caller) in
            [("vend a workspace of another caller", "analyst"), ("vend another organization's", "partner")]
        {
            let token = super::caller(self.state, caller)?.token.clone();
            let (status, _) = self.api(Method::GET, &vend, &token, None).await?;
            self.record(what, "404", &status.to_string());
        }
        Ok(())
    }
}
