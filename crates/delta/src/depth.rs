//! How deep what a log holds is nested. The readers behind the kernel call themselves for every level, and a thread whose
//! stack ends takes the server with it; so what is nested deeper than any log is refused before they see it.

/// Levels that a log may have.
const MOST: usize = 100;

/// Whether no text of JSON in these bytes is nested too deep. Bytes that are no JSON are not judged.
pub(crate) fn is_shallow(json: &[u8]) -> bool {
    let (mut depth, mut in_text, mut is_escaped) = (0usize, false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_text => is_escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MOST {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_nested_deep_is_refused() {
        let nested = |levels: usize| format!("{}{}", "[{\"a\":".repeat(levels / 2), "}]".repeat(levels / 2));
        assert!(is_shallow(nested(100).as_bytes()));
        assert!(!is_shallow(nested(102).as_bytes()));
        assert!(!is_shallow("{".repeat(101).as_bytes()));
        assert!(is_shallow("{}\n".repeat(1000).as_bytes()), "lines stand beside each other");
        assert!(is_shallow(format!("\"\\\"{}\\\\\"", "[".repeat(1000)).as_bytes()), "a text is no nesting");
        assert!(!is_shallow(format!("\"\\\\\"{}", "[".repeat(1000)).as_bytes()));
    }
}
