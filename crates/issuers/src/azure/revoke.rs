//! Revoking an account's user delegation keys, by Azure's management (Storage Resource Provider REST API, "Storage Accounts - Revoke
//! User Delegation Keys").

use reqwest::Method;
use reqwest::header::CONTENT_LENGTH;
use valetkey_core::hosts::Hosts;
use valetkey_core::nouns::storage_admin::Ended;
use valetkey_core::{Error, Kind};

use crate::azure::RevokeSettings;
use crate::azure::token::{Tokens, Who};
use crate::web::{Transport, Web, origin_of, url};

/// Where Azure's management is.
const MANAGEMENT: &str = "https://management.azure.com";

/// What revokes the keys.
pub(super) struct Lever {
    account: String,
    url: String,
    tokens: Tokens,
}

impl Lever {
    /// Takes the settings.
    pub(super) fn new(
        settings: &RevokeSettings,
        account: &str,
        who: Who<'_>,
        hosts: &mut Hosts,
    ) -> Result<Self, Error> {
        let RevokeSettings { subscription, resource_group, management_endpoint } = settings;
        let invalid = |said: &'static str, field: &'static str| Error::new(Kind::Invalid, said).at(field);
        // SECURITY: they become parts of a URL.
        let plain = |text: &str, more: &[u8], most: usize| {
            (1..=most).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || more.contains(&b))
                && !text.starts_with('.')
        };
        if !plain(subscription, b"", 36) {
            return Err(invalid("a subscription's id has letters, digits and `-`", "revoke.subscription"));
        }
        if !plain(resource_group, b"_.()", 90) {
            let said = "a resource group's name has at most 90 letters, digits and `-_.()`";
            return Err(invalid(said, "revoke.resource_group"));
        }
        let endpoint = management_endpoint.as_deref().unwrap_or(MANAGEMENT);
        let endpoint = url(endpoint, Transport::Private, "revoke.management_endpoint")?;
        hosts.send("revoke.management_endpoint", origin_of(&endpoint)?);
        // Each of Azure's clouds names its management by its address.
        let tokens = Tokens::new(who, &format!("{endpoint}/"), hosts)?.ok_or_else(|| {
            invalid(
                "what the account's own key signed ends with that key alone; this identity has no delegation keys",
                "revoke",
            )
        })?;
        Ok(Self {
            account: account.to_owned(),
            url: format!(
                "{endpoint}/subscriptions/{subscription}/resourceGroups/{resource_group}/providers/Microsoft.Storage\
                 /storageAccounts/{account}/revokeUserDelegationKeys?api-version=2023-05-01"
            ),
            tokens,
        })
    }

    /// Revokes the account's delegation keys.
    pub(super) async fn revoke(&self, web: &Web) -> Result<Ended, Error> {
        let token = self.tokens.get(web).await?;
        // Without a length Azure's management refuses a `POST`, and an empty body alone sends none.
        let request = web.request(Method::POST, &self.url).header(CONTENT_LENGTH, 0).bearer_auth(token.value.reveal());
        let answer = web.ask("Azure's management", request).await?;
        if matches!(answer.status.as_u16(), 401 | 403) {
            self.tokens.forget();
        }
        let answer = answer.success()?;
        // Nothing more is due: a page that wants a login is a success, too.
        let said = answer.body.reveal().trim_ascii();
        if !said.is_empty() && serde_json::from_slice::<serde::de::IgnoredAny>(said).is_err() {
            return Err(answer.malformed("something that is no answer of Azure's management"));
        }
        let Self { account, .. } = self;
        Ok(Ended {
            done: format!("the user delegation keys of the account `{account}` are revoked"),
            notes: vec![
                "every signature that was made of such a key is ended, also those that others made".to_owned(),
                "signatures made of the account's own keys live on".to_owned(),
                "Azure says that its servers keep keys for a while, so that it may take some minutes".to_owned(),
            ],
        })
    }
}
