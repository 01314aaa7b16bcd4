//! `valetkey help`: of a command, or of a topic that is none.

use std::fmt::Write as _;

use clap::ValueEnum as _;

use crate::cli::creds;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{Out, Shape};

/// A topic of help that is no command.
struct Topic {
    name: &'static str,
    text: fn() -> String,
}

const TOPICS: &[Topic] = &[
    Topic { name: "exit-codes", text: exit_codes },
    Topic { name: "environment", text: environment },
    Topic { name: "formats", text: formats },
];

/// Environment variables the command line reads, and what they mean.
pub(crate) const VARIABLES: &[(&str, &str)] = &[
    ("VALETKEY_SERVER", "URL of the server's API; --server goes before it"),
    ("VALETKEY_TOKEN", "the token that proves who you are; --token-file goes before it"),
    ("VALETKEY_TOKEN_FILE", "a file with the token; VALETKEY_TOKEN goes before it"),
    ("VALETKEY_CA_CERT_FILE", "PEM file of further certificate authorities to trust, as --ca-cert-file"),
    ("VALETKEY_TIMEOUT_SECS", "longest time a request may take, as --timeout-secs"),
    ("VALETKEY_OUTPUT", "table or json, as --output"),
    ("VALETKEY_COLOR", "auto, always or never, as --color"),
    ("VALETKEY_CACHE_DIR", "where `creds --format process` keeps credentials, as --cache-dir"),
    ("VALETKEY_AGENT_DIR", "where the agent's socket is, as --agent-dir"),
];

const FOREIGN_VARIABLES: &[(&str, &str)] = &[
    ("XDG_CACHE_HOME", "where caches are; valetkey/creds in it is ours (otherwise in ~/.cache)"),
    ("XDG_RUNTIME_DIR", "where sockets are; valetkey in it is the agent's (otherwise ~/.cache/valetkey/agent)"),
    ("NO_COLOR", "no colours, if it is set; CLICOLOR=0 too, CLICOLOR_FORCE=1 the reverse"),
    ("HTTPS_PROXY, NO_PROXY", "proxy for servers that are not on this machine"),
    ("SSL_CERT_FILE", "certificate authorities to trust instead of the system's"),
];

/// Shows help.
pub(super) fn run(mut command: clap::Command, words: &[String], out: &Out) -> Result<(), Failure> {
    if let [word] = words
        && let Some(topic) = TOPICS.iter().find(|topic| topic.name == word)
    {
        return out.data((topic.text)().trim_end());
    }
    // Built, so that global flags and full names are there.
    command.build();
    let mut at = &mut command;
    for word in words {
        let known: Vec<String> = at.get_subcommands().map(|inner| inner.get_name().to_owned()).collect();
        let topics = TOPICS.iter().map(|topic| topic.name.to_owned());
        let Some(inner) = at.find_subcommand_mut(word) else {
            return Err(unknown(word, known.into_iter().chain(topics)));
        };
        at = inner;
    }
    let help = at.render_long_help();
    let text = if out.colors() { help.ansi().to_string() } else { help.to_string() };
    out.data(text.trim_end())
}

fn unknown(word: &str, known: impl Iterator<Item = String>) -> Failure {
    let likeliest = known
        .map(|name| (strsim::jaro_winkler(&name, word), name))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|one, two| one.0.total_cmp(&two.0));
    let failure = Failure::usage(format!("there is no command or topic `{word}`"));
    match likeliest {
        Some((_, name)) => failure.hint(format!("did you mean `{name}`?")),
        None => failure.hint("`valetkey help` lists them"),
    }
}

fn exit_codes() -> String {
    let rows = Exit::ALL.map(|exit| (exit.code().to_string(), exit.meaning().to_owned()));
    format!(
        "How commands end\n\n{}\n\
         With --output json a failure is one JSON object on standard error: its `code` names the kind, `exit_code` is the\n\
         number, `detail` the words, `request_id` what to look for in the server's log.\n",
        columns(&rows)
    )
}

fn environment() -> String {
    let rows = |table: &[(&str, &str)]| {
        table.iter().map(|(name, about)| ((*name).to_owned(), (*about).to_owned())).collect::<Vec<_>>()
    };
    format!(
        "Environment variables the command line reads\n\n{}\nand of others\n\n{}\n\
         Flags go before variables. The server's settings have variables too: `valetkey server check-config` lists them.\n",
        columns(&rows(VARIABLES)),
        columns(&rows(FOREIGN_VARIABLES))
    )
}

fn formats() -> String {
    let about = |value: clap::builder::PossibleValue| {
        (value.get_name().to_owned(), value.get_help().map(ToString::to_string).unwrap_or_default())
    };
    let creds: Vec<_> = creds::Format::ALL.iter().filter_map(clap::ValueEnum::to_possible_value).map(about).collect();
    let output: Vec<_> =
        Shape::value_variants().iter().filter_map(clap::ValueEnum::to_possible_value).map(about).collect();
    format!(
        "How `valetkey creds --format` writes credentials\n\n{}\n\
         `process` keeps credentials in a file of yours between calls, and renews them 20 minutes or half their life\n\
         before their end, whichever is earlier; --no-cache does not keep them.\n\n\
         How every command's --output writes data\n\n{}",
        columns(&creds),
        columns(&output)
    )
}

fn columns(rows: &[(String, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    rows.iter().fold(String::new(), |mut text, (name, about)| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {name:width$}  {about}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_says_something() {
        for topic in TOPICS {
            assert!((topic.text)().lines().count() > 5, "{}", topic.name);
        }
    }

    #[test]
    fn a_word_that_is_nearly_a_command_is_suggested() {
        let failure = unknown("exit-code", TOPICS.iter().map(|topic| topic.name.to_owned()));
        assert_eq!(failure.hint.as_deref(), Some("did you mean `exit-codes`?"));
    }
}
