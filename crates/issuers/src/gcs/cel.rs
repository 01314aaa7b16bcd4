//! Text as a literal of the Common Expression Language: the one place where a name is escaped into a condition.

use std::fmt::Write as _;

/// The text in single quotes ("CEL language definition", "String and Bytes Values").
///
/// SECURITY: a quote, a backslash or a line break that came through would end the literal and write a condition of its own.
pub(super) fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('\'');
    for c in text.chars() {
        match c {
            '\\' | '\'' | '"' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Other control characters and the line separators of Unicode.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('\'');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_a_literal_but_its_end() {
        assert_eq!(literal("a/b"), "'a/b'");
        assert_eq!(literal("') || true || ('"), r"'\') || true || (\''");
        assert_eq!(literal("\\"), r"'\\'");
        assert_eq!(literal("\"${x}\"\n\r\t\0é\u{7f}\u{2028}"), r#"'\"${x}\"\n\r\t\u0000é\u007f\u2028'"#);
    }
}
