//! A credential as each tool wants it.

use clap::ValueEnum as _;

use crate::cli::creds::formats::Format;
use crate::cli::creds::key::{Key, Material};
use crate::cli::creds::{azure, google, s3};
use crate::cli::failure::Failure;

/// Writes a credential. No newline at its end.
///
/// # Errors
/// When nobody reads a credential of this kind in that form.
pub(crate) fn render(format: Format, key: &Key) -> Result<String, Failure> {
    written(format, key).ok_or_else(|| {
        let name = |format: Format| format.to_possible_value().map(|value| value.get_name().to_owned());
        let fitting = Format::ALL.into_iter().filter(|format| written(*format, key).is_some()).filter_map(name);
        Failure::usage(format!(
            "`--format {}` is not for {}, which is what the storage of `{}` gives",
            name(format).unwrap_or_default(),
            key.material.as_str(),
            key.bucket
        ))
        .hint(format!("formats for it are {}", fitting.collect::<Vec<_>>().join(", ")))
    })
}

/// The variables that the storage's tools read it from, once; and those that would win over them.
pub(crate) fn variables(key: &Key) -> (&'static [&'static str], Vec<(&'static str, String)>) {
    match &key.material {
        Material::S3(keys) => (&s3::UNSET, s3::variables(key, keys)),
        Material::Azure(sas) => (&azure::UNSET, azure::variables(key, sas.reveal())),
        Material::Google(token) => (&google::UNSET, google::variables(token.reveal())),
    }
}

/// A credential in that form; nothing where nobody reads it so.
fn written(format: Format, key: &Key) -> Option<String> {
    match &key.material {
        Material::S3(keys) => s3::render(format, key, keys),
        Material::Azure(sas) => azure::render(format, key, sas),
        Material::Google(token) => google::render(format, key, token),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key() -> Key {
        Key::read(&json!({
            "lease_id": "lse_1",
            "access_key_id": "VKAKID",
            "secret_access_key": "se'cr\\et$x",
            "session_token": "to/ken+=",
            "expiration": "2026-01-02T03:04:05.999Z",
            "endpoint_url": "http://127.0.0.1:7071/",
            "region": "auto",
            "bucket": "lake",
            "prefixes": ["flights/daily"],
            "access": "read",
        }))
        .unwrap()
    }

    #[test]
    fn every_format_is_listed_once() {
        assert_eq!(Format::ALL.as_slice(), Format::value_variants());
    }

    /// A credential of a storage of Azure, in a directory.
    fn azure() -> Key {
        Key::read(&json!({
            "lease_id": "lse_1",
            "type": "azure",
            "sas_token": "sv=2024&sig=a%2Bb'c%3D",
            "expiration": "2026-01-02T03:04:05Z",
            "endpoint_url": "https://acct.blob.core.windows.net",
            "region": "auto",
            "bucket": "lake",
            "prefixes": ["flights/day 1"],
            "access": "read",
            "narrowed": ["get-bucket-info: a signature for blobs does not reach the container itself"],
        }))
        .unwrap()
    }

    fn google() -> Key {
        Key::read(&json!({
            "lease_id": "lse_1",
            "type": "google",
            "access_token": "ya29.to'ken",
            "expiration": "2026-01-02T03:04:05Z",
            "endpoint_url": "https://storage.googleapis.com",
            "bucket": "lake",
            "prefixes": ["flights/daily"],
        }))
        .unwrap()
    }

    fn page(key: &Key) -> String {
        let shown = |format: Format| {
            let name = format.to_possible_value().unwrap().get_name().to_owned();
            let text = render(format, key).unwrap_or_else(|failure| format!("! {failure}"));
            format!("--- {name}\n{text}")
        };
        Format::ALL.into_iter().map(shown).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn every_format_carries_the_whole_credential() {
        insta::assert_snapshot!(page(&key()));
    }

    #[test]
    fn azures_signatures_are_written_where_somebody_reads_them() {
        insta::assert_snapshot!(page(&azure()));
        let mut emulated = azure();
        emulated.endpoint_url = "http://127.0.0.1:10000/devstoreaccount1".to_owned();
        insta::assert_snapshot!(page(&emulated));
    }

    #[test]
    fn googles_tokens_are_written_where_somebody_reads_them() {
        insta::assert_snapshot!(page(&google()));
    }

    #[test]
    fn a_refused_format_names_those_that_fit_and_no_secret() {
        let refused = render(Format::Process, &google()).unwrap_err();
        let hint = refused.hint.clone().unwrap();
        assert!(
            hint.ends_with("env, fish, powershell, dotenv, json, polars, pyarrow, obstore, rclone, gcsfs"),
            "{hint}"
        );
        assert!(!format!("{refused} {hint}").contains("ya29"));
    }

    #[test]
    fn a_credential_without_a_part_of_its_kind_is_none() {
        for (kind, field) in [("s3", "access_key_id"), ("azure", "sas_token"), ("google", "access_token")] {
            let mut answer = json!({
                "type": kind, "access_key_id": "a", "secret_access_key": "b", "session_token": "c", "sas_token": "d",
                "access_token": "e", "expiration": "2026-01-02T03:04:05Z", "endpoint_url": "http://x", "bucket": "b",
            });
            assert!(Key::read(&answer).is_ok());
            answer[field] = "e\nvil".into();
            assert!(Key::read(&answer).is_err(), "{field}");
            answer.as_object_mut().unwrap().remove(field);
            assert!(Key::read(&answer).unwrap_err().to_string().contains(field));
        }
        assert!(Key::read(&json!({"type": "other"})).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_posix_shell_that_evaluates_env_holds_the_credential() {
        let script = format!("{}\nprintf %s \"$AWS_SECRET_ACCESS_KEY\"", render(Format::Env, &key()).unwrap());
        let read = std::process::Command::new("sh").args(["-eu", "-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8(read.stdout).unwrap(), "se'cr\\et$x");
    }

    #[test]
    fn a_key_with_a_line_break_cannot_add_a_line() {
        for mut key in [key(), azure(), google()] {
            key.prefixes = vec![];
            key.objects = vec!["a\nimport os".to_owned()];
            for text in Format::ALL.into_iter().filter_map(|format| render(format, &key).ok()) {
                assert!(!text.lines().any(|line| line.starts_with("import os")), "{text}");
            }
            assert!(!key.summary().is_empty());
        }
    }
}
