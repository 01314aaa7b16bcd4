//! The command line: a thin client of the native API, and the door to the server and the demo.
//!
//! Standard output carries data, standard error everything said about it; how a command ends is a number of
//! [`failure::Exit`].

mod account;
pub(crate) mod agent;
mod ago;
mod caller;
mod catalog;
pub(crate) mod check;
pub(crate) mod client;
mod conditions;
mod configure;
pub(crate) mod connection;
mod cors;
mod creds;
mod dialect;
mod doctor;
mod exec;
mod explain;
pub(crate) mod failure;
mod fit;
mod grant;
mod group;
pub(crate) mod help;
mod identity;
mod incident;
mod instant;
mod lease;
mod ledger;
mod list;
mod login;
mod me;
mod named;
pub(crate) mod output;
mod parent_key;
mod place;
mod policy;
mod private;
mod reach;
pub(crate) mod remove;
mod request;
mod scrub;
mod share;
pub(crate) mod show;
mod storage;
mod token;
mod trust;
mod ttl;
mod usage;
mod word;
mod workspace;

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser};
use valetkey_core::time::Clock as _;

use client::Client;
use connection::Connection;
pub(crate) use failure::{Exit, Failure};
use output::{Color, Format, Out, Shape, Talk};

use crate::node::system::SystemClock;

const ABOUT: &str = "Valet keys for object storage: short-lived, least-privilege S3 credentials";

const AFTER_HELP: &str = "\
Examples:
  valetkey dev                                          # all of it here, with demo data
  eval \"$(valetkey creds flights-daily)\"                # keys for this shell
  valetkey explain read s3://flights-lake/flights/x     # why not?

`valetkey help exit-codes`, `help environment` and `help formats` say more.";

/// Valet keys for object storage: short-lived, least-privilege S3 credentials
#[derive(Debug, Parser)]
#[command(name = "valetkey", version, about = ABOUT, after_help = AFTER_HELP, disable_help_subcommand = true)]
#[command(subcommand_required = true, arg_required_else_help = true, infer_long_args = false)]
struct Cli {
    #[command(flatten)]
    look: Look,
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

/// How things are written.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "Output")]
struct Look {
    /// How data is written: `table` for people, `wide` with every column whole, `json` for scripts
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        env = "VALETKEY_OUTPUT",
        hide_env_values = true,
        hide_possible_values = true,
        default_value = "table"
    )]
    output: Shape,
    /// When to use colours: `auto` (on a terminal, unless `NO_COLOR` is set), `always` or `never`
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        env = "VALETKEY_COLOR",
        hide_env_values = true,
        hide_possible_values = true,
        default_value = "auto"
    )]
    color: Color,
    /// Say nothing but data and failures
    #[arg(short, long, global = true)]
    quiet: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Start everything on this machine with demo accounts, tokens and data; nothing needs configuring
    Dev(Box<crate::dev::Args>),
    /// Run and set up a server
    Server(Box<crate::server::Args>),
    /// Get short-lived S3 credentials for a grant or a place
    #[command(visible_alias = "vend")]
    Creds(Box<creds::Args>),
    /// Run a command whose tools find credentials that renew for as long as it runs
    Exec(Box<exec::Args>),
    /// Hold the login and serve credentials to SDKs, renewed, in every form they ask for
    Agent(Box<agent::Args>),
    /// Write what makes a tool renew credentials by itself
    Configure(Box<configure::Args>),
    /// Find out why a tool gets no credential, or is refused
    Doctor(Box<doctor::Args>),
    /// List what you can reach
    Ls,
    /// Log in at an identity provider: later commands ask as you, and renew by themselves
    Login(login::LoginArgs),
    /// Forget the login, here and at the identity provider
    Logout(login::LogoutArgs),
    /// Show who you are to the server
    Whoami,
    /// Say why an action is allowed or not, naming the grant
    Explain(explain::Args),
    /// Manage accounts, callers, grants and datasets as reviewed files with tests
    Policy(Box<policy::Args>),
    /// List who can do something to an object or a directory, with the grant that lets them
    WhoCan(reach::WhoCan),
    /// List all that a caller can reach, with the grants that let it
    Access(reach::Access),
    /// Make, list, change and end tokens
    Token(token::Args),
    /// Make, list, change and remove grants
    Grant(grant::Args),
    /// Make, list, change, disable and remove parent access keys: long-lived S3 keys in R2's form
    ParentKey(parent_key::Args),
    /// Make, list, change, suspend, credit and remove accounts
    Account(account::Args),
    /// List, change, suspend, activate and remove callers
    Caller(caller::Args),
    /// Make, change, check, list and remove storages
    Storage(Box<storage::Storage>),
    /// Make, list and remove buckets
    Bucket(catalog::Bucket),
    /// Make, list, change and remove datasets
    Dataset(catalog::Dataset),
    /// Make, list, change and remove workspaces: the places Dreadnode's SDK works in
    Workspace(workspace::Args),
    /// Put callers into groups, and grant to `group:NAME`
    Group(group::Args),
    /// Ask for access for a time, and approve or deny what others ask for
    Request(Box<request::Args>),
    /// Say who may ask for what, and who approves it
    RequestRule(request::Rules),
    /// Take other issuers' tokens: GitHub's, GitLab's, Kubernetes', Google's, Entra's, Okta's, Keycloak's
    Identity(Box<identity::Args>),
    /// Look at, check and try APIs of your own, which files describe
    Dialect(Box<dialect::Args>),
    /// Share tables by Delta Sharing: shares, recipients, profiles
    Share(Box<share::Args>),
    /// List, show and end leases: the records of vended credentials
    Lease(lease::Args),
    /// End many credentials at once; later ones are not touched
    Revoke(lease::Revoke),
    /// Something leaked: say whose it is and what it opens, end it with what it made, and say what still works
    Incident(incident::Args),
    /// Find out whose an access key id is: the lease behind it
    Whose(lease::Whose),
    /// Check that the record of leases, revocations, tokens and changes is whole
    Ledger(ledger::Args),
    /// List who changed what, the newest first
    Audit(ledger::Audit),
    /// Show what an account used, by day or by caller: requests, credits, bytes in and out
    Usage(usage::Args),
    /// Print a script that completes commands in your shell
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Show help for a command, or for a topic: exit-codes, environment, formats
    Help {
        /// A command or a topic
        #[arg(value_name = "COMMAND|TOPIC")]
        words: Vec<String>,
    },
}

/// Runs the command line.
pub(crate) fn run() -> ExitCode {
    let line: Vec<OsString> = std::env::args_os().collect();
    let parsed = command().try_get_matches_from(&line).and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            if error.use_stderr() {
                refuse_shell(&line);
            }
            return misunderstood(&error, &line);
        }
    };
    let Cli { look, connection, command } = cli;
    let out = Out::shaped(look.output, look.color, if look.quiet { Talk::Quiet } else { Talk::Normal });
    match execute(command, &connection, &out) {
        Ok(code) => code,
        Err(failure) => {
            refuse_shell(&line);
            out.fail(&failure);
            failure.exit.into()
        }
    }
}

/// Writes a command that fails where a shell was to read credentials: `eval "$(valetkey creds …)"` would succeed with nothing.
fn refuse_shell(line: &[OsString]) {
    let words: Vec<&str> = line.iter().skip(1).filter_map(|word| word.to_str()).collect();
    if !words.iter().any(|word| matches!(*word, "creds" | "vend"))
        || wants_json(line)
        || std::io::stdout().is_terminal()
    {
        return;
    }
    let after = |flag: &str| words.iter().skip_while(|word| **word != flag).nth(1).copied();
    let joined = words.iter().find_map(|word| word.strip_prefix("--format=").or_else(|| word.strip_prefix("-f")));
    let command = match after("--format").or_else(|| after("-f")).or(joined.filter(|rest| !rest.is_empty())) {
        None | Some("env" | "=env" | "fish" | "=fish") => "false",
        Some("powershell" | "=powershell") => "throw 'valetkey creds failed'",
        Some(_) => return,
    };
    // Whoever does not read it does not evaluate it.
    let _ = Out::new(Format::Table, Color::Never, Talk::Quiet).data(command);
}

/// The present time, for what is kept on this side.
fn now() -> jiff::Timestamp {
    SystemClock.now()
}

/// The whole command line. What connects to a server is hidden where there is none to connect to.
fn command() -> clap::Command {
    let connection = |command: clap::Command| {
        let hidden = <Connection as clap::Args>::augment_args(clap::Command::new(""));
        command.args(hidden.get_arguments().map(|arg| arg.clone().hide(true)).collect::<Vec<_>>())
    };
    ["dev", "server", "completions", "help"]
        .into_iter()
        .fold(Cli::command(), |command, name| command.mut_subcommand(name, connection))
}

fn execute(command: Command, connection: &Connection, out: &Out) -> Result<ExitCode, Failure> {
    if let Command::Storage(args) = &command
        && let Some(args) = args.scrub()
    {
        let scrubbed = scrub::run(args, out);
        return runtime(&mut tokio::runtime::Builder::new_current_thread())?.block_on(scrubbed).map(ExitCode::from);
    }
    match command {
        Command::Dev(args) => {
            runtime(&mut tokio::runtime::Builder::new_multi_thread())?.block_on(crate::dev::run(*args, out))
        }
        Command::Server(args) => runtime(&mut tokio::runtime::Builder::new_multi_thread())?
            .block_on(crate::server::run(*args, connection, out)),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut self::command(), "valetkey", &mut script);
            out.data(String::from_utf8_lossy(&script).trim_end()).map(|()| ExitCode::SUCCESS)
        }
        Command::Dialect(args) if !args.asks() => args.look(out).map(|()| ExitCode::SUCCESS),
        Command::Help { words } => help::run(self::command(), &words, out).map(|()| ExitCode::SUCCESS),
        Command::Doctor(args) => {
            let client = connected(connection, out);
            let run = doctor::run(*args, client, out);
            runtime(&mut tokio::runtime::Builder::new_current_thread())?.block_on(run).map(ExitCode::from)
        }
        Command::Policy(args) if !args.asks() => args.alone(out).map(ExitCode::from),
        Command::Configure(args) if !args.asks() => args.remove(out).map(|()| ExitCode::SUCCESS),
        Command::Configure(args) => {
            let client = connected(connection, out)?;
            let run = args.run(connection, &client, out);
            runtime(&mut tokio::runtime::Builder::new_current_thread())?.block_on(run).map(|()| ExitCode::SUCCESS)
        }
        Command::Exec(args) => {
            // What goes on beside the command says nothing: the terminal is the command's.
            let quiet = Out::new(Format::Table, Color::Never, Talk::Quiet);
            let login = renewed(connection, &quiet)
                .and_then(|()| agent::login::Login::new(connection, crate::config::environment(), &quiet));
            let ran = exec::run(*args, login, &quiet, out);
            runtime(&mut tokio::runtime::Builder::new_current_thread())?.block_on(ran)
        }
        Command::Agent(args) if !args.starts() => {
            let asked = agent::ask(*args, out);
            runtime(&mut tokio::runtime::Builder::new_current_thread())?.block_on(asked).map(|()| ExitCode::SUCCESS)
        }
        Command::Agent(args) => {
            renewed(connection, out)?;
            let login = agent::login::Login::new(connection, crate::config::environment(), out)?;
            crate::node::system::keep_memory_private();
            let run = agent::run(*args, &login, out);
            runtime(&mut tokio::runtime::Builder::new_current_thread())?.block_on(run).map(|()| ExitCode::SUCCESS)
        }
        Command::Login(args) => {
            let environment = crate::config::environment();
            let run = login::login(args, connection, &environment, out);
            runtime(&mut tokio::runtime::Builder::new_current_thread())?.block_on(run).map(|()| ExitCode::SUCCESS)
        }
        Command::Logout(args) => {
            let environment = crate::config::environment();
            let run = login::logout(args, connection, &environment, out);
            runtime(&mut tokio::runtime::Builder::new_current_thread())?.block_on(run).map(|()| ExitCode::SUCCESS)
        }
        command => {
            let client = connected(connection, out)?;
            let asked = ask(command, &client, out);
            runtime(&mut tokio::runtime::Builder::new_current_thread())?.block_on(asked).map(ExitCode::from)
        }
    }
}

/// Renews the login that would be used, if it is time.
fn renewed(connection: &Connection, out: &Out) -> Result<(), Failure> {
    let environment = crate::config::environment();
    let renew = login::renew(connection, &environment, out);
    runtime(&mut tokio::runtime::Builder::new_current_thread())?.block_on(renew)
}

/// A client that asks as the caller that the settings or a login say.
fn connected<'a>(connection: &Connection, out: &'a Out) -> Result<Client<'a>, Failure> {
    renewed(connection, out)?;
    Client::new(connection.target(&crate::config::environment(), out)?, out)
}

async fn ask(command: Command, client: &Client<'_>, out: &Out) -> Result<Exit, Failure> {
    match command {
        Command::Creds(args) => creds::run(*args, client, out).await?,
        Command::Ls => me::ls(client, out).await?,
        Command::Whoami => me::whoami(client, out).await?,
        Command::Explain(args) => return explain::run(args, client, out).await,
        Command::Policy(args) => return policy::run(*args, client, out).await,
        Command::WhoCan(args) => reach::who_can(args, client, out).await?,
        Command::Access(args) => reach::access(args, client, out).await?,
        Command::Token(args) => token::run(args, client, out).await?,
        Command::Grant(args) => grant::run(args, client, out).await?,
        Command::ParentKey(args) => parent_key::run(args, client, out).await?,
        Command::Account(args) => account::run(args, client, out).await?,
        Command::Caller(args) => caller::run(args, client, out).await?,
        Command::Incident(args) => incident::run(args, client, out).await?,
        Command::Storage(args) => return storage::run(*args, client, out).await,
        Command::Bucket(args) => catalog::bucket(args, client, out).await?,
        Command::Dataset(args) => catalog::dataset(args, client, out).await?,
        Command::Workspace(args) => workspace::run(args, client, out).await?,
        Command::Group(args) => group::run(args, client, out).await?,
        Command::Request(args) => request::run(*args, client, out).await?,
        Command::RequestRule(args) => request::rules(args, client, out).await?,
        Command::Identity(args) => identity::run(*args, client, out).await?,
        Command::Share(args) => share::run(*args, client, out).await?,
        Command::Dialect(args) => return dialect::run(*args, client, out).await,
        Command::Lease(args) => lease::run(args, client, out).await?,
        Command::Revoke(args) => lease::revoke(args, client, out).await?,
        Command::Whose(args) => lease::whose(args, client, out).await?,
        Command::Usage(args) => usage::run(args, client, out).await?,
        Command::Ledger(args) => return ledger::run(args, client, out).await,
        Command::Audit(args) => ledger::audit(args, client, out).await?,
        Command::Agent(_)
        | Command::Configure(_)
        | Command::Doctor(_)
        | Command::Exec(_)
        | Command::Login(_)
        | Command::Logout(_)
        | Command::Dev(_)
        | Command::Server(_)
        | Command::Completions { .. }
        | Command::Help { .. } => {}
    }
    Ok(Exit::Ok)
}

fn runtime(builder: &mut tokio::runtime::Builder) -> Result<tokio::runtime::Runtime, Failure> {
    builder.enable_all().build().map_err(|error| Failure::local(format!("cannot start threads: {error}")))
}

/// Says why a line was not understood, or shows the help that was asked for.
fn misunderstood(error: &clap::Error, line: &[OsString]) -> ExitCode {
    if error.use_stderr() && wants_json(line) {
        let text = error.render().to_string();
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let message = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        let hint = text.lines().map(str::trim).find_map(|line| line.strip_prefix("tip: ")).map(str::to_owned);
        let failure = Failure { hint, ..Failure::usage(message) };
        Out::new(Format::Json, Color::Never, Talk::Normal).fail(&failure);
        return failure.exit.into();
    }
    // There is nowhere to say that saying failed.
    let _ = error.print();
    if error.use_stderr() { Exit::Usage.into() } else { Exit::Ok.into() }
}

/// Whether a line that was not understood asks for JSON.
fn wants_json(line: &[OsString]) -> bool {
    let words: Vec<&str> = line.iter().filter_map(|word| word.to_str()).collect();
    words.iter().any(|word| matches!(*word, "-ojson" | "-o=json" | "--output=json"))
        || words.windows(2).any(|pair| matches!(pair, ["-o" | "--output", "json"]))
}

#[cfg(test)]
mod drift_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_tree_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn no_flag_takes_a_secret() {
        fn flags(command: &clap::Command, found: &mut Vec<String>) {
            for arg in command.get_arguments() {
                found.extend(arg.get_long().map(str::to_owned));
            }
            for inner in command.get_subcommands() {
                flags(inner, found);
            }
        }
        let mut found = Vec::new();
        flags(&Cli::command(), &mut found);
        // `--token` is a token's id, for what it vended to be revoked; what ends in `-from` is a file's name.
        let secret = |flag: &String| ["secret", "password", "session-token"].iter().any(|word| flag.contains(word));
        let odd = found.iter().find(|flag| secret(flag) && !flag.ends_with("-from"));
        assert_eq!(odd, None);
    }

    #[test]
    fn a_line_that_asks_for_json_is_seen_though_it_is_not_understood() {
        let wants = |line: &[&str]| wants_json(&line.iter().map(OsString::from).collect::<Vec<_>>());
        assert!(wants(&["valetkey", "-o", "json", "nope"]));
        assert!(wants(&["valetkey", "--output=json"]));
        assert!(!wants(&["valetkey", "-o", "table", "json"]));
    }
}
