//! Answers as this API writes them.

use http::{HeaderName, HeaderValue};
use valetkey_core::Error;

use crate::edge::{Call, Reply, Xml};

/// Some clients ask for it, of answers and of refusals.
pub(super) const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// The answer to an action: what is in its result, and the request's id.
#[expect(clippy::unnecessary_wraps, reason = "what handlers end with")]
pub(super) fn answer(call: &Call, action: &str, result: impl FnOnce(Xml) -> Xml) -> Result<Reply, Error> {
    let id = call.request_id.to_str().unwrap_or_default();
    let document = Xml::document(&format!("{action}Response xmlns=\"{NAMESPACE}\""), |xml| {
        let xml = xml.within(&format!("{action}Result"), result);
        xml.within("ResponseMetadata", |xml| xml.text("RequestId", id))
    });
    let id: HeaderValue = call.request_id.clone();
    Ok(Reply::written(document, "text/xml").header(REQUEST_ID, id))
}
