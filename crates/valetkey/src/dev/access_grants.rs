//! What the demo tells of S3 Access Grants: its address, and its parent access key as the key to sign with.

use std::path::Path;

use serde::Serialize;
use valetkey_core::id::AccountId;
use valetkey_dialects::edge::account_number;

use crate::dev::making::token;
use crate::dev::r2::{R2State, TOKEN};

/// A part of the parent's grant, as large as a customer's.
pub(super) const TARGET: &str = "s3://uploads-lake/uploads/user-123/*";

/// What scripts are told.
#[derive(Serialize)]
pub(crate) struct AccessGrantsReady<'a> {
    /// Clients put the account's number in front of the host. The S3 endpoint takes the same requests.
    url: &'a str,
    /// The same for clients on botocore, which need no name for it: there the number becomes a user name that is not sent.
    botocore_url: String,
    account_id: String,
    target: &'static str,
    access_key_id: &'a str,
    secret_access_key: &'a str,
}

impl<'a> AccessGrantsReady<'a> {
    /// Of a demo that listens there.
    pub(crate) fn new(api: &'a str, state: &'a R2State) -> Option<Self> {
        Some(Self {
            url: api,
            botocore_url: api.replacen("://", "://x@", 1),
            account_id: account_number(AccountId::from_hex(&state.account_id)?),
            target: TARGET,
            access_key_id: &state.parent_access_key_id,
            secret_access_key: &state.parent_secret_access_key,
        })
    }

    /// How to ask for a credential with the AWS command line.
    pub(crate) fn example(&self, data_dir: &Path) -> String {
        let Self { url: _, botocore_url, account_id, target, access_key_id, secret_access_key: _ } = self;
        let secret = format!("$(printf %s \"{}\" | sha256sum | cut -c1-64)", token(data_dir, TOKEN));
        format!(
            "  AWS_ACCESS_KEY_ID={access_key_id} AWS_SECRET_ACCESS_KEY={secret} aws s3control get-data-access --endpoint-url \
             {botocore_url} --region us-east-1 --account-id {account_id} --target '{target}' --permission READ --privilege Minimal"
        )
    }
}
