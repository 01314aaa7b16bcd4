//! Help, completions, and the page that says it all.

use std::collections::BTreeMap;
use std::path::Path;

use crate::fake::run;

#[test]
fn a_word_that_is_nearly_a_command_is_suggested_in_both_forms() {
    let ran = run(&["tokn"], &[]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("a similar subcommand exists: 'token'"), "{}", ran.stderr);
    let ran = run(&["-o", "json", "tokn"], &[]);
    let problem: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(problem["exit_code"], 2);
    assert!(problem["hint"].as_str().unwrap().contains("'token'"), "{problem}");
}

#[test]
fn help_says_what_there_is() {
    let texts: BTreeMap<&str, String> = [
        ("1 help", vec!["--help"]),
        ("2 creds", vec!["creds", "--help"]),
        ("3 exit-codes", vec!["help", "exit-codes"]),
        ("4 environment", vec!["help", "environment"]),
        ("5 formats", vec!["help", "formats"]),
    ]
    .into_iter()
    .map(|(name, line)| {
        let ran = run(&line, &[]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        (name, ran.stdout)
    })
    .collect();
    let all: Vec<String> = texts.iter().map(|(name, text)| format!("--- {name}\n{text}")).collect();
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn help_of_a_command_is_the_same_however_it_is_asked_for() {
    assert_eq!(run(&["help", "token", "create"], &[]).stdout, run(&["token", "create", "--help"], &[]).stdout);
    assert_eq!(run(&["help", "nothing"], &[]).code, 2);
}

#[test]
fn every_shell_gets_completions() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let ran = run(&["completions", shell], &[]);
        assert_eq!(ran.code, 0);
        assert!(ran.stdout.contains("valetkey"), "{shell}");
    }
}

#[test]
fn the_documentation_names_every_command_variable_format_and_exit_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let page = std::fs::read_to_string(path).unwrap();
    let first_words = |text: &str| -> Vec<String> {
        let rows = text.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with([' ', '-']));
        rows.filter_map(|line| line.split("  ").next()).map(|word| word.trim().to_owned()).collect()
    };
    let of = |line: &[&str]| first_words(&run(line, &[]).stdout);
    let commands = run(&["-h"], &[]).stdout;
    let commands = first_words(commands.split("Options:").next().unwrap());
    assert!(commands.len() > 15, "{commands:?}");
    for command in commands {
        assert!(page.contains(&format!("`valetkey {command}")), "{command}");
    }
    for variable in of(&["help", "environment"]).iter().flat_map(|names| names.split(", ")) {
        assert!(page.contains(&format!("`{variable}`")), "{variable}");
    }
    for format in of(&["help", "formats"]) {
        assert!(format == "table" || page.contains(&format!("`{format}`")), "{format}");
    }
    for code in of(&["help", "exit-codes"]) {
        assert!(page.contains(&format!("\n| {code} | ")), "{code}");
    }
}
