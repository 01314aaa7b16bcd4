//! URLs of single blobs: each has a signature of its own (`sr=b`, to read), of the same key as the credential that was vended, under the
//! same id in the account's logs.

use jiff::Timestamp;
use valetkey_core::credential::Credential;
use valetkey_core::port::SignedUrls;
use valetkey_core::scope::Rights;
use valetkey_core::{Error, Secret};
use valetkey_sigv4::{Slash, encode};

use crate::azure::Namespace;
use crate::azure::sas::{self, DelegationKey, Protocol, Signer};
use crate::azure::scope::compile;
use crate::presign::alone;

/// What signs.
pub(super) enum Key {
    Delegated(DelegationKey),
    Account(Secret<Vec<u8>>),
}

/// The account.
#[derive(Clone, Copy)]
pub(super) struct Of<'a> {
    pub(super) account: &'a str,
    pub(super) namespace: Namespace,
    pub(super) protocol: Protocol,
}

/// Signs URLs of blobs.
pub(super) struct Urls {
    account: Box<str>,
    namespace: Namespace,
    protocol: Protocol,
    /// The container's address, with a slash at its end.
    before: String,
    rights: Rights,
    key: Key,
    /// The id of the credential in the account's logs; empty where it has none.
    correlation: String,
    until: Timestamp,
}

/// The id in a signature that was made for the logs.
fn correlation(credential: &Credential) -> String {
    let Credential::Azure(sas) = credential else { return String::new() };
    let found = sas.sas_token.reveal().split('&').find_map(|pair| pair.strip_prefix("scid="));
    found.unwrap_or_default().to_owned()
}

impl Urls {
    pub(super) fn new(
        of: Of<'_>,
        (endpoint, rights): (&str, &Rights),
        credential: &Credential,
        key: Key,
        until: Timestamp,
    ) -> Self {
        let Of { account, namespace, protocol } = of;
        Self {
            account: account.into(),
            namespace,
            protocol,
            before: format!("{}/{}/", endpoint.trim_end_matches('/'), rights.bucket()),
            rights: rights.clone(),
            key,
            correlation: correlation(credential),
            until,
        }
    }
}

impl SignedUrls for Urls {
    fn url(&self, key: &[u8]) -> Result<Secret<String>, Error> {
        let compiled = compile(&alone(&self.rights, key)?, self.namespace)?;
        let signer = match &self.key {
            Key::Delegated(key) => Signer::Delegated(key, &self.correlation),
            Key::Account(key) => Signer::Account(key),
        };
        let query = sas::sign(&self.account, &compiled, self.protocol, self.until, &signer);
        let mut url = self.before.clone();
        encode(key, Slash::Kept, &mut url);
        url.push('?');
        url.push_str(query.reveal());
        Ok(Secret::new(url))
    }
}
