//! What looks like a secret, in texts that are repeated.

use std::borrow::Cow;

/// What a token starts with.
const TOKEN_START: &str = "vkt_";
/// Words of so many characters in both cases are taken for secrets: secret access keys have 43, session tokens more. Names and
/// ids have no capitals.
const SECRET_CHARS: usize = 40;
/// So many digits in hexadecimal, or characters that look drawn by chance, are taken for a secret of somebody else.
const FOREIGN_CHARS: usize = 32;
/// In front of a digest, which is nobody's secret.
const DIGEST: &str = "sha256:";

/// Where the secret part of a word of letters, digits, `_` and `-` begins, if it looks like one.
fn secret_from(word: &str) -> Option<usize> {
    if let Some(at) = word.find(TOKEN_START) {
        return Some(at + TOKEN_START.len()).filter(|end| *end < word.len());
    }
    let both = word.bytes().any(|b| b.is_ascii_uppercase()) && word.bytes().any(|b| b.is_ascii_lowercase());
    ((word.len() >= SECRET_CHARS && both) || is_hex(word) || is_by_chance(word)).then_some(4)
}

fn is_hex(word: &str) -> bool {
    word.len() >= FOREIGN_CHARS && word.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Whether a word is long and mixes capitals, small letters and digits as base64 does, and no name or path.
fn is_by_chance(word: &str) -> bool {
    #[derive(Clone, Copy, PartialEq)]
    enum Class {
        Upper,
        Lower,
        Digit,
    }
    let class = |byte: u8| match byte {
        b'A'..=b'Z' => Some(Class::Upper),
        b'a'..=b'z' => Some(Class::Lower),
        b'0'..=b'9' => Some(Class::Digit),
        _ => None,
    };
    let count = |wanted: Class| word.bytes().filter(|byte| class(*byte) == Some(wanted)).count();
    let (upper, lower) = (count(Class::Upper), count(Class::Lower));
    let pairs = word.bytes().zip(word.bytes().skip(1)).filter_map(|(one, next)| Some((class(one)?, class(next)?)));
    let (mut all, mut changes) = (0usize, 0usize);
    for (one, next) in pairs {
        all += 1;
        changes += usize::from(one != next);
    }
    // By chance some six of ten change; in words and dates two do.
    word.len() >= FOREIGN_CHARS && upper * 6 >= lower && lower * 6 >= upper && changes * 10 > all * 3
}

/// The text without what looks like a secret: whoever puts one where a name belongs must not find it in a log.
pub fn redacted(text: &str) -> Cow<'_, str> {
    let of_run = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '/');
    let of_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let mut out = String::new();
    let mut is_changed = false;
    let mut rest = text;
    while !rest.is_empty() {
        let (run, behind) = rest.split_at(rest.find(|c| !of_run(c)).unwrap_or(rest.len()));
        let is_digest = out.ends_with(DIGEST) && run.len() == 64 && is_hex(run);
        if is_digest {
            out.push_str(run);
        } else if run.contains(['+', '/']) && is_by_chance(run) {
            // Base64 has both within a word.
            out.extend([run.get(..4).unwrap_or_default(), "…"]);
            is_changed = true;
        } else {
            for part in run.split_inclusive(|c| !of_word(c)) {
                let word = part.trim_end_matches(|c| !of_word(c));
                match secret_from(word).and_then(|from| word.get(..from)) {
                    Some(start) => {
                        out.extend([start, "…", part.get(word.len()..).unwrap_or_default()]);
                        is_changed = true;
                    }
                    None => out.push_str(part),
                }
            }
        }
        let (between, next) = behind.split_at(behind.find(of_run).unwrap_or(behind.len()));
        out.push_str(between);
        rest = next;
    }
    if is_changed { Cow::Owned(out) } else { Cow::Borrowed(text) }
}

/// Whether a text that somebody else chose, and that is repeated to be found again, holds a secret. Many such are 32 digits in
/// hexadecimal, and are none.
pub fn holds_secret(text: &str) -> bool {
    let of_run = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '/');
    text.split(|c| !of_run(c)).any(|run| {
        is_by_chance(run)
            || run
                .split(['+', '/'])
                .any(|word| secret_from(word).is_some() && !word.bytes().all(|b| b.is_ascii_hexdigit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_repeated() {
        let token = format!("vkt_{}_0aB9cD", "x9Y".repeat(15));
        let said = format!("name {token}, session vks1.{}-_ key `{}`!", "aA".repeat(90), "Zz9_-".repeat(9));
        let said = redacted(&said);
        assert_eq!(said, "name vkt_…, session vks1.aAaA… key `Zz9_…`!");
        assert_eq!(redacted(&said), said);
        for plain in ["nothing of ours", "vkt_", "", "ä", "lea_01m80nwetjeeksgqhr7b73p86p", &"long-name".repeat(6)] {
            assert_eq!(redacted(plain), plain);
        }
        assert_eq!(redacted("vkt_avkt_b"), "vkt_…");
    }

    #[test]
    fn secrets_of_others_are_no_words_to_repeat() {
        let wrong_field = |secret: &str| {
            let said = redacted(&format!("`{secret}` is not a region")).into_owned();
            assert!(!said.contains(secret.split_at(5).1), "{said}");
            assert!(said.ends_with("` is not a region"), "{said}");
        };
        // A parent's secret, AWS's and Azure's of their documents' examples, R2's, a key in hexadecimal.
        for secret in [
            "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "9F86D081884C7D659A2FEAA0C55AD015",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
            "AIzaSyD3v9Qx7LmN2pR8tW4yZ6bK1cJ5hG0fE7u",
            "u8X2kQ9vB4mZ7pL1wR6tY3nC5jH0sD8f",
        ] {
            wrong_field(secret);
        }
        for plain in [
            "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "Sales/Europe/2024/01/02/Part-00001-c000.snappy.parquet",
            "Users/BobTheBuilder/Documents/QuarterlyReport2024/final",
            "data/part-00000-2a89a5de-c7dd-4bc4-b52e-2d2db90b57c6-c000",
            "AWSReservedSSO_AdministratorAccess",
            "arn:aws:iam::123456789012:role/data-lake-production-reader",
            "2a89a5de-c7dd-4bc4-b52e-2d2db90b57c6",
            "X-Amz-Content-Sha256 and UNSIGNED-PAYLOAD-TRAILER",
        ] {
            assert_eq!(redacted(plain), plain);
        }
        assert!(holds_secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY") && holds_secret("id:vkt_x"));
        assert!(
            !holds_secret("4bf92f3577b34da6a3ce929d0e0e4736")
                && !holds_secret("Root=1-67891233-abcdef012345678912345678")
        );
    }
}
