//! What the handlers of this API share: whose request it is, and how they answer.

use std::sync::Arc;

use data_encoding::BASE64;
use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue};
use valetkey_core::name::shortened;
use valetkey_core::snapshot::Snapshot;
use valetkey_core::{Error, Kind};

use super::error::{REQUEST_ID, invalid};
use crate::edge::{Call, Reply, Shared, Xml, account_number};

/// The dialect's name in the ledger, logs and metrics.
pub const NAME: &str = "access-grants";
/// What every path of it starts with, on the API's address and on the S3 endpoint's.
pub const PATH: &str = "/v20180820/accessgrantsinstance";
/// Says whose instance is meant. No request of S3 has it.
pub const ACCOUNT_ID: &str = "x-amz-account-id";
const NAMESPACE: &str = "http://awss3control.amazonaws.com/doc/2018-08-20/";
/// The digests that a client may send of a body, which is always empty here: headers and values.
const OF_NOTHING: [(&str, &str); 6] = [
    ("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="),
    ("x-amz-checksum-crc32", "AAAAAA=="),
    ("x-amz-checksum-crc32c", "AAAAAA=="),
    ("x-amz-checksum-crc64nvme", "AAAAAAAAAAA="),
    ("x-amz-checksum-sha1", "2jmj7l5rSw0yVb/vlWAYkK/YBwk="),
    ("x-amz-checksum-sha256", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
];

/// What can be set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The region in the instance's ARN.
    pub region: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { region: "us-east-1".to_owned() }
    }
}

/// What the handlers work with.
pub(super) struct AccessGrants {
    pub(super) shared: Arc<Shared>,
    settings: Settings,
}

impl AccessGrants {
    pub(super) fn new(shared: &Arc<Shared>, settings: Settings) -> Self {
        Self { shared: Arc::clone(shared), settings }
    }

    /// The account's instance.
    pub(super) fn arn(&self, call: &Call, of: &str) -> String {
        format!("arn:aws:s3:{}:{}:access-grants/{of}", self.settings.region, account_number(call.caller.account))
    }

    pub(super) async fn snapshot(&self, call: &Call) -> Result<Arc<Snapshot>, Error> {
        self.shared.vending.directory.account(call.caller.account, call.now).await
    }

    /// What comes of looking at all of the account's grants; where they are many, beside the runtime.
    pub(super) async fn over<T: Send + 'static>(
        &self,
        call: &Call,
        look: impl FnOnce(&Snapshot, &Call) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (snapshot, asked) = (self.snapshot(call).await?, call.clone());
        let size = snapshot.size();
        self.shared.heavy.weigh(call.caller.account, size, move || Ok(look(&snapshot, &asked))).await
    }
}

/// Refuses a request that is about another account than the caller's, or that carries what no operation here reads.
pub(super) fn belongs(call: &Call) -> Result<(), Error> {
    let header = one(&call.headers, ACCOUNT_ID)?;
    let host = one(&call.headers, HOST.as_str())?.and_then(|host| host.split_once('.')).map(|(label, _)| label);
    let host = host.filter(|label| label.len() == 12 && label.bytes().all(|byte| byte.is_ascii_digit()));
    let named = match (header, host) {
        (Some(header), Some(host)) if header != host => {
            return Err(invalid(format!("`{ACCOUNT_ID}` and the host name different accounts")).at(ACCOUNT_ID));
        }
        (Some(named), _) | (None, Some(named)) => named,
        (None, None) => return Err(invalid(format!("the header `{ACCOUNT_ID}` is missing")).at(ACCOUNT_ID)),
    };
    if named != account_number(call.caller.account) {
        let said = format!("the account `{}` is not the caller's", shortened(named));
        return Err(Error::new(Kind::Forbidden, said).at(ACCOUNT_ID));
    }
    if !call.body.is_empty() && call.method == http::Method::GET {
        return Err(invalid("this operation takes no body"));
    }
    digests(&call.headers, call.body.is_empty())
}

/// A header that is there once, or not at all.
fn one<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Error> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            value.to_str().map(Some).map_err(|_| invalid(format!("the header `{name}` is not text")))
        }
        (Some(_), Some(_)) => Err(invalid(format!("the header `{name}` is given twice"))),
    }
}

/// Refuses a digest that is not the body's. The signature covers the body in any case.
fn digests(headers: &HeaderMap, empty: bool) -> Result<(), Error> {
    for (name, of_nothing) in OF_NOTHING {
        let Some(sent) = one(headers, name)? else { continue };
        let whole = BASE64.decode(sent.as_bytes()).is_ok();
        if !whole || (empty && sent != of_nothing) {
            return Err(invalid(format!("`{name}` is not the digest of the body")).coded("BadDigest"));
        }
    }
    Ok(())
}

/// The answer of an operation.
#[expect(clippy::unnecessary_wraps, reason = "what handlers end with")]
pub(super) fn answer(call: &Call, operation: &str, inner: impl FnOnce(Xml) -> Xml) -> Result<Reply, Error> {
    let document = Xml::document(&format!("{operation}Result xmlns=\"{NAMESPACE}\""), inner);
    let id: HeaderValue = call.request_id.clone();
    Ok(Reply::written(document, "application/xml").header(HeaderName::from_static(REQUEST_ID), id))
}
