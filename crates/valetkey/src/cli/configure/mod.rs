//! `valetkey configure`: writes what makes a tool renew by itself into the file that it reads, or takes it out again.

mod edit;
mod tools;

use std::path::Path;

use crate::cli::client::Client;
use crate::cli::connection::Connection;
use crate::cli::creds::ask::{Ask, Wanted};
use crate::cli::creds::key::{Key, Material};
use crate::cli::creds::{end, quote, vend};
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::Out;
use edit::{Block, Change};
use tools::{Files, Opened, Tool};

const EXAMPLES: &str = "\
Examples:
  valetkey configure aws flights-daily --profile flights --dry-run
  valetkey configure rclone s3://flights-lake/flights/daily --profile flights
  valetkey configure duckdb --profile flights --remove

What is written stands between two marks, and nothing else of a file is touched. It is shown first; --dry-run only shows it.
No secret is written: tools get credentials from `valetkey creds`, with the file of --token-file or VALETKEY_TOKEN_FILE,
or from the running `valetkey agent` if the token is in no file.";

/// Write what makes a tool renew credentials by itself
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The tool
    #[arg(value_enum)]
    tool: Tool,
    #[command(flatten)]
    wanted: Wanted,
    /// The name of the profile, remote or secret
    #[arg(long, value_name = "NAME", default_value = "valetkey", value_parser = name)]
    profile: String,
    /// Only show what would be written
    #[arg(long)]
    dry_run: bool,
    /// Take it out again
    #[arg(long)]
    remove: bool,
    #[command(flatten)]
    files: Files,
}

/// SECURITY: it is written into files of several syntaxes.
fn name(text: &str) -> Result<String, String> {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_');
    let is_name = !text.is_empty() && text.len() <= 64 && text.chars().all(is_plain) && !text.starts_with('-');
    if is_name { Ok(text.to_owned()) } else { Err("it is letters, digits, `-` and `_`, at most 64".to_owned()) }
}

impl Args {
    /// Whether the server is asked for what to write.
    pub(crate) fn asks(&self) -> bool {
        !self.remove
    }

    /// Takes out what was written.
    pub(crate) fn remove(&self, out: &Out) -> Result<(), Failure> {
        self.apply(&self.tool.blocks(&self.profile, &self.files, None)?, out)
    }

    /// Writes it.
    pub(crate) async fn run(&self, connection: &Connection, client: &Client<'_>, out: &Out) -> Result<(), Failure> {
        let ask = self.wanted.ask(out)?;
        let (key, _) = vend(client, &ask).await?;
        if !key.lease.is_empty() {
            // It was vended to learn what it opens, and it ends by itself, too.
            let _ = end(client, &key.lease).await;
        }
        if !self.tool.renews(&key.material) {
            let why =
                format!("the storage gives {}, which {} does not renew", key.material.as_str(), self.tool.named());
            return Err(Failure::new(Exit::Usage, why).hint(self.tool.instead(&key)));
        }
        plain(&key)?;
        let process = Self::process(connection, &ask)?;
        let blocks = self.tool.blocks(&self.profile, &self.files, Some(&Opened { key: &key, process: &process }))?;
        self.apply(&blocks, out)?;
        let files: Vec<&Path> = blocks.iter().map(|block| block.file.as_path()).collect();
        if !self.dry_run {
            out.note(&format!("to use it: {}", self.tool.usage(&self.profile, &key, &files)));
        }
        if process.contains(" agent process ") && matches!(key.material, Material::S3(_)) {
            out.note("the token is in no file, so the running agent is asked: `valetkey agent` starts it");
        }
        Ok(())
    }

    fn apply(&self, blocks: &[Block], out: &Out) -> Result<(), Failure> {
        // All are checked before one is written.
        let changes = blocks.iter().map(Block::change).collect::<Result<Vec<_>, _>>()?;
        let changes: Vec<Change> = changes.into_iter().flatten().collect();
        if changes.is_empty() {
            out.note("nothing is to be changed");
        }
        for change in &changes {
            out.data(&change.diff())?;
        }
        if !self.dry_run {
            changes.iter().try_for_each(Change::write)?;
        }
        Ok(())
    }

    /// The line that prints credentials: the same to a shell and to who splits it as one would.
    fn process(connection: &Connection, ask: &Ask) -> Result<String, Failure> {
        let own =
            std::env::current_exe().map_err(|error| Failure::local(format!("where this is, is unknown: {error}")))?;
        let mut words = vec![own.display().to_string()];
        match connection.words(&crate::config::environment()) {
            Some(flags) => words.extend(["creds", "--format", "process"].map(str::to_owned).into_iter().chain(flags)),
            None => words.extend(["agent", "process"].map(str::to_owned)),
        }
        words.extend(ask.words());
        Ok(words.iter().map(|word| quote::word(word)).collect::<Result<Vec<_>, _>>()?.join(" "))
    }
}

/// What a server says is written into files of several syntaxes.
fn plain(key: &Key) -> Result<(), Failure> {
    let is_plain = |text: &str| text.chars().all(|char| char.is_ascii_alphanumeric() || "-._~:/[]%".contains(char));
    if [&key.endpoint_url, &key.region, &key.bucket].into_iter().all(|text| is_plain(text)) {
        return Ok(());
    }
    Err(Failure::local("the server's endpoint, region or bucket cannot be written into a configuration file"))
}
