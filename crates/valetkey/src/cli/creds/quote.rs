//! Quoting: a value as one word of a shell, a file or a language, whatever is in it.
//!
//! INVARIANT: values hold no control characters ([`super::key::Key`] promises it), so no rule here has to carry a line
//! break.

use crate::cli::failure::Failure;
use crate::cli::output;

/// A word of POSIX shells.
pub(super) fn posix(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// A word that a shell reads, and a program that splits a line as a shell would: the same in both.
///
/// # Errors
/// When there is no such word for it.
pub(crate) fn word(value: &str) -> Result<String, Failure> {
    let is_bare = |char: char| char.is_ascii_alphanumeric() || "-._/:=@+,".contains(char);
    if !value.is_empty() && value.chars().all(is_bare) {
        return Ok(value.to_owned());
    }
    if value.chars().any(|char| char.is_control() || "\"\\$`!".contains(char)) {
        return Err(Failure::usage(format!("`{}` cannot be written into a configuration file", output::clean(value))));
    }
    Ok(format!("\"{value}\""))
}

/// A word of fish: in its single quotes a backslash still escapes.
pub(super) fn fish(value: &str) -> String {
    format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
}

/// A word of PowerShell, which takes typographic quotes for quotes.
pub(super) fn powershell(value: &str) -> String {
    let mut quoted = String::from("'");
    for char in value.chars() {
        if matches!(char, '\'' | '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}') {
            quoted.push(char);
        }
        quoted.push(char);
    }
    quoted.push('\'');
    quoted
}

/// A value of a `.env` file. Bare where that is the same everywhere (`docker --env-file` takes quotes for content).
pub(super) fn dotenv(value: &str) -> String {
    let bare =
        !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./:+=@%,".contains(&byte));
    if bare {
        value.to_owned()
    } else if !value.contains('\'') {
        format!("'{value}'")
    } else {
        let mut quoted = String::from("\"");
        for char in value.chars() {
            if matches!(char, '"' | '\\' | '$' | '`') {
                quoted.push('\\');
            }
            quoted.push(char);
        }
        quoted.push('"');
        quoted
    }
}

/// A string of SQL.
pub(super) fn sql(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// A string of Python: JSON's escapes are also Python's.
pub(super) fn python(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}

/// A value of a query string.
pub(super) fn query(value: &str) -> String {
    percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NASTY: &str = r#"a'b"c\d$e`f g;h|i&j%k#l!m’n"#;

    #[test]
    fn every_quoting_keeps_every_character() {
        insta::assert_snapshot!(
            [posix(NASTY), fish(NASTY), powershell(NASTY), dotenv(NASTY), sql(NASTY), python(NASTY), query(NASTY)].join("\n"),
            @r##"
        'a'\''b"c\d$e`f g;h|i&j%k#l!m’n'
        'a\'b"c\\d$e`f g;h|i&j%k#l!m’n'
        'a''b"c\d$e`f g;h|i&j%k#l!m’’n'
        "a'b\"c\\d\$e\`f g;h|i&j%k#l!m’n"
        'a''b"c\d$e`f g;h|i&j%k#l!m’n'
        "a'b\"c\\d$e`f g;h|i&j%k#l!m’n"
        a%27b%22c%5Cd%24e%60f%20g%3Bh%7Ci%26j%25k%23l%21m%E2%80%99n
        "##
        );
    }

    #[test]
    fn a_plain_value_is_bare_in_a_file_of_variables() {
        assert_eq!(dotenv("http://127.0.0.1:7071"), "http://127.0.0.1:7071");
        assert_eq!(dotenv("a b"), "'a b'");
        assert_eq!(dotenv(""), "''");
    }

    #[cfg(unix)]
    #[test]
    fn a_posix_shell_reads_back_what_was_quoted() {
        let script = format!("printf %s {}", posix(NASTY));
        let read = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8(read.stdout).unwrap(), NASTY);
    }
}
