//! XML as it comes and goes, where the S3 library knows less of it than its senders and readers do.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use s3s::Body;

const OPEN: &str = "<![CDATA[";
const CLOSE: &str = "]]>";

/// Writes text as XML has it between tags.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A request's document with its CDATA sections as plain text: the library passes over them, and a key would be another.
pub(super) fn without_cdata(document: Bytes) -> Bytes {
    let Ok(mut rest) = std::str::from_utf8(&document) else { return document };
    if !rest.contains(OPEN) {
        return document;
    }
    let mut plain = String::with_capacity(rest.len());
    while let Some((before, section)) = rest.split_once(OPEN) {
        // A section that does not end is left for the library to refuse.
        let Some((text, behind)) = section.split_once(CLOSE) else { break };
        plain.push_str(before);
        plain.push_str(&escape(text));
        rest = behind;
    }
    plain.push_str(rest);
    plain.into()
}

/// How a character goes out that XML cannot carry as it is, or that its readers change: S3 gives its number.
fn reference(byte: u8) -> Option<String> {
    (byte < b' ' || byte == 0x7F).then(|| format!("&#{byte};"))
}

fn with_references(text: Bytes) -> Bytes {
    // U+FFFE and U+FFFF; no other character is written with these bytes.
    let is_none = |at: usize| matches!(text.get(at..at + 3), Some([0xEF, 0xBF, 0xBE | 0xBF]));
    let strange = |at: usize, byte: u8| reference(byte).is_some() || (byte == 0xEF && is_none(at));
    if !text.iter().enumerate().any(|(at, byte)| strange(at, *byte)) {
        return text;
    }
    let mut out = Vec::with_capacity(text.len() + 64);
    let mut skip = 0;
    for (at, byte) in text.iter().enumerate() {
        if skip > 0 {
            skip -= 1;
        } else if let Some(reference) = reference(*byte) {
            out.extend_from_slice(reference.as_bytes());
        } else if *byte == 0xEF && is_none(at) {
            let last = text.get(at + 2).copied().unwrap_or_default();
            out.extend_from_slice(if last == 0xBE { b"&#xFFFE;" } else { b"&#xFFFF;" });
            skip = 2;
        } else {
            out.push(*byte);
        }
    }
    out.into()
}

/// An answer's document with every character in it that XML cannot carry as a numeric reference. INVARIANT: the library writes
/// no white space of its own but spaces.
pub(super) fn plain(body: Body) -> Body {
    Body::http_body_unsync(body.map_frame(|frame| frame.map_data(with_references)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_become_text() {
        for (document, plain) in [
            ("<Key>a</Key>", "<Key>a</Key>"),
            ("<Key><![CDATA[a<b&c]]></Key>", "<Key>a&lt;b&amp;c</Key>"),
            ("<Key>a<![CDATA[]]>b<![CDATA[]]]]>c</Key>", "<Key>ab]]c</Key>"),
            ("<Key>a<![CDATA[b</Key>", "<Key>a<![CDATA[b</Key>"),
        ] {
            assert_eq!(without_cdata(Bytes::from(document)), plain, "{document}");
        }
        let no_text = Bytes::from_static(b"<![CDATA[\xFF]]>");
        assert_eq!(without_cdata(no_text.clone()), no_text);
    }

    #[test]
    fn what_xml_cannot_carry_goes_as_a_number() {
        for (text, out) in [
            ("<Key>a b</Key>", "<Key>a b</Key>"),
            ("a\r\n\tb\u{1}\u{7f}", "a&#13;&#10;&#9;b&#1;&#127;"),
            ("\u{FFFE}é\u{FFFF}\u{FFFD}", "&#xFFFE;é&#xFFFF;\u{FFFD}"),
        ] {
            assert_eq!(with_references(Bytes::from(text)), out, "{text:?}");
        }
    }
}
