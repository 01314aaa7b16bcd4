//! What the demo tells of the STS API: its address, and its parent access key as the key to sign with.

use std::path::Path;

use serde::Serialize;

use crate::dev::making::token;
use crate::dev::r2::{R2State, TOKEN};

/// What stands for the parent's only grant.
const ROLE: &str = "arn:aws:iam:::role/valetkey";

/// What scripts are told.
#[derive(Serialize)]
pub(crate) struct StsReady<'a> {
    /// For `AWS_ENDPOINT_URL_STS`. The S3 endpoint takes the same requests at its root.
    url: String,
    role_arn: &'static str,
    access_key_id: &'a str,
    secret_access_key: &'a str,
}

impl<'a> StsReady<'a> {
    /// Of a demo that listens there.
    pub(crate) fn new(api: &str, state: &'a R2State) -> Self {
        Self {
            url: format!("{api}{}", valetkey_dialects::sts::PATH),
            role_arn: ROLE,
            access_key_id: &state.parent_access_key_id,
            secret_access_key: &state.parent_secret_access_key,
        }
    }

    /// How to ask for a credential with the AWS command line, and with a token.
    pub(crate) fn examples(&self, data_dir: &Path, reader: &str) -> [String; 2] {
        let Self { url, role_arn, access_key_id, secret_access_key: _ } = self;
        let secret = format!("$(printf %s \"{}\" | sha256sum | cut -c1-64)", token(data_dir, TOKEN));
        [
            format!(
                "  AWS_ACCESS_KEY_ID={access_key_id} AWS_SECRET_ACCESS_KEY={secret} aws sts assume-role --endpoint-url {url} \
                 --region auto --role-arn {role_arn} --role-session-name demo --duration-seconds 900"
            ),
            format!(
                "  curl -s {url} -d Action=AssumeRoleWithWebIdentity -d RoleArn={role_arn} -d WebIdentityToken=\"{}\"",
                token(data_dir, reader)
            ),
        ]
    }
}
