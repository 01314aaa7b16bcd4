//! Percent-decoding, exactly once.

use std::borrow::Cow;

use percent_encoding::percent_decode;
use valetkey_core::{Error, Kind};

/// Decodes a name or a value of a query or a form.
pub(super) fn decoded(text: &str) -> Result<String, Error> {
    let spaced = if text.contains('+') { Cow::Owned(text.replace('+', " ")) } else { Cow::Borrowed(text) };
    percent(&spaced, "query")
}

/// Percent-decodes once. What a lenient decoder would let through as it is (`%zz`) is refused.
pub(super) fn percent(text: &str, what: &str) -> Result<String, Error> {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        let (_, after) = rest.split_at(at + 1);
        if !after.get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            return Err(Error::new(Kind::Malformed, format!("the {what} has a `%` without two hexadecimal digits")));
        }
        rest = after;
    }
    percent_decode(text.as_bytes())
        .decode_utf8()
        .map(Cow::into_owned)
        .map_err(|_| Error::new(Kind::Malformed, format!("the {what} is not UTF-8")))
}
