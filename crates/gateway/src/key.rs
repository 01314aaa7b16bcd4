//! Keys as stores write them. SECURITY: the library below knows paths, not keys, and would make one key of several
//! (`a`, `/a`, `a/`); what it does not give back byte for byte is refused here, so that a name means the same to the scope that
//! allowed it and to the store that is asked.

use object_store::path::Path;

/// Amazon S3 User Guide, "Naming Amazon S3 objects".
const MAX_BYTES: usize = 1024;

/// What a store does with keys beyond what the library does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rules {
    /// Nothing.
    Plain,
    /// Azure takes `\` for `/`, and may drop dots at a segment's end.
    Azure,
    /// Names of files: shorter, those of unfinished ones (`name#1`) are taken, and the library knows drives (`C:`).
    Files,
}

/// A file's name is at most 255 bytes on most disks; unfinished ones have a few more.
const MAX_FILE_NAME: usize = 240;

/// Whether a file's name is one that unfinished files have. SECURITY: a name may have a `#` of its own, and what is unfinished of
/// `a#b` is called `a#b#1`: the last one counts. Taken for a key it would be read and written under another one's scope.
pub(crate) fn is_unfinished(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    name.rsplit_once('#').is_some_and(|(_, behind)| digits(behind))
}

/// A key as a path; if it cannot be one, why.
pub(crate) fn path(key: &str, rules: Rules) -> Result<Path, &'static str> {
    if key.is_empty() || key.len() > MAX_BYTES {
        return Err("keys have 1 to 1024 bytes");
    }
    if key.bytes().any(|byte| byte.is_ascii_control()) {
        return Err("it has control characters");
    }
    for segment in key.split('/') {
        if segment.is_empty() {
            return Err("it starts or ends with `/`, or has `//` in it");
        }
        if matches!(segment, "." | "..") {
            return Err("it has `.` or `..` between slashes");
        }
        if rules == Rules::Azure && (segment.ends_with('.') || segment.contains('\\')) {
            return Err("it has a `\\`, or a `.` before a `/` or at its end");
        }
        if rules == Rules::Files && segment.len() > MAX_FILE_NAME {
            return Err("between slashes it has more than 240 bytes");
        }
        if rules == Rules::Files && matches!(segment.as_bytes(), [letter, b':' | b'|'] if letter.is_ascii_alphabetic())
        {
            return Err("it has a drive's letter between slashes");
        }
    }
    if rules == Rules::Files && key.rsplit('/').next().is_some_and(is_unfinished) {
        return Err("it ends with `#` and digits");
    }
    let path = Path::parse(key).map_err(|_| "it is no path")?;
    if path.as_ref() == key { Ok(path) } else { Err("it is no path") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use valetkey_s3::before;

    use super::*;

    #[test]
    fn keys_that_would_become_others_are_refused() {
        for key in [
            "", "/", "/a", "a/", "a//b", "//", ".", "..", "a/.", "a/..", "../a", "a/./b", "a/../b", "a\0", "a\nb",
            "\x7f",
        ] {
            for rules in [Rules::Plain, Rules::Azure, Rules::Files] {
                assert!(path(key, rules).is_err(), "{key:?}");
            }
        }
        for key in [
            "a",
            "a/b",
            "a%2Fb",
            "%2e%2e/a",
            "a*",
            "a?b",
            "a#b",
            "é/日本",
            "...",
            " a ",
            "a b",
            "C:",
            "C|/x",
            "~",
            "a\\b.",
        ] {
            assert_eq!(path(key, Rules::Plain).unwrap().as_ref(), key);
        }
        for key in ["a\\b", "a./b", "a."] {
            assert!(path(key, Rules::Azure).is_err(), "{key}");
        }
        for key in ["a#1", "h#b#1", "#1", "a#1#2", "##7", "a/h#b#10", "C:", "a/C|/b"] {
            assert!(path(key, Rules::Files).is_err(), "{key}");
        }
        for key in ["a#1#b", "a#", "a#1#", "a#1x", "#", "a#1/b", "a1"] {
            assert!(path(key, Rules::Files).is_ok(), "{key}");
        }
        assert!(path("a#1/b#x", Rules::Files).is_ok());
        assert!(path(&"x".repeat(241), Rules::Files).is_err());
        assert!(path(&"x".repeat(1025), Rules::Plain).is_err());
    }

    #[test]
    fn a_listing_starts_before_what_it_is_asked_for() {
        assert_eq!(before(b"", ""), None);
        assert_eq!(before(b"a/", "a/"), None);
        assert_eq!(before(b"a/b\0", "a/"), Some("a/b".to_owned()));
        assert_eq!(before(b"a0", ""), Some("a/\u{10fffd}".to_owned()));
        assert_eq!(before(b"\xc3\xaa", ""), None);
        assert_eq!(before(b"a\xc3\xaa", ""), Some("a".to_owned()));
    }

    proptest! {
        #[test]
        fn a_path_is_its_key(key in "[ -~é/.%#*?\\\\]{0,12}|\\PC{0,8}") {
            for rules in [Rules::Plain, Rules::Azure, Rules::Files] {
                if let Ok(path) = path(&key, rules) {
                    prop_assert_eq!(path.as_ref(), key.as_str());
                    prop_assert_eq!(path.parts().map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/"), key.clone());
                }
            }
        }

        #[test]
        fn no_key_is_passed_over(from in proptest::collection::vec(any::<u8>(), 0..6), prefix in "[a-c/]{0,2}") {
            if let Some(start) = before(&from, &prefix) {
                prop_assert!(start.as_bytes() < &from[..]);
            }
        }
    }
}
