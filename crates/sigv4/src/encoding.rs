//! Percent-encoding as Signature Version 4 has it: each text once, and nothing normalised.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use crate::refused::Refused;

/// What stays as it is: letters, digits, `-`, `.`, `_` and `~`.
const UNRESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// The same, in paths.
const IN_PATH: AsciiSet = UNRESERVED.remove(b'/');

/// What becomes of a slash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slash {
    /// It stays: the text is a path.
    Kept,
    /// It is encoded: the text is a query's name or value.
    Encoded,
}

/// Encodes bytes to the end of a text.
pub fn encode(bytes: &[u8], slash: Slash, out: &mut String) {
    let set = match slash {
        Slash::Kept => &IN_PATH,
        Slash::Encoded => &UNRESERVED,
    };
    out.extend(percent_encode(bytes, set));
}

/// Encodes a name or value of a query.
pub(crate) fn encode_value(text: &str) -> String {
    percent_encode(text.as_bytes(), &UNRESERVED).to_string()
}

/// Encodes a path as S3 has it: once.
pub fn encode_path(text: &str) -> String {
    percent_encode(text.as_bytes(), &IN_PATH).to_string()
}

/// Decodes once.
///
/// # Errors
/// [`Refused::Encoding`] when a percent sign starts nothing, or the bytes are not UTF-8.
pub fn decode(text: &str) -> Result<String, Refused> {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        match rest.get(at + 1..at + 3) {
            Some([a, b]) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {}
            _ => return Err(Refused::Encoding),
        }
        rest = rest.get(at + 3..).unwrap_or_default();
    }
    percent_decode_str(text).decode_utf8().map(std::borrow::Cow::into_owned).map_err(|_| Refused::Encoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_decoded_is_refused() {
        for bad in ["%", "%4", "%zz", "a%", "%C3", "%ff", "%E2%82"] {
            assert!(decode(bad).is_err(), "{bad}");
        }
        assert_eq!(decode("a%2Fb%252F+").unwrap(), "a/b%2F+");
        assert_eq!(decode("%C3%A9").unwrap(), "é");
    }

    #[test]
    fn a_slash_stays_in_paths_alone() {
        let both = [Slash::Kept, Slash::Encoded].map(|slash| {
            let mut out = String::from("=");
            encode("a/b +~é".as_bytes(), slash, &mut out);
            out
        });
        assert_eq!(both, ["=a/b%20%2B~%C3%A9", "=a%2Fb%20%2B~%C3%A9"]);
        assert_eq!(encode_path("a/b +~é"), "a/b%20%2B~%C3%A9");
    }
}
