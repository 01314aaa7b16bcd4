//! What `valetkey dev` prints for people: a summary that fits a console, and the examples behind `--examples`.
//!
//! A token is printed once, in the summary; commands take it from its file.

use std::path::Path;

use crate::cli::output::Out;
use crate::dev::making::{token, token_file};
use crate::dev::world::State;
use crate::dev::{Ready, dreadnode, share};

/// How to call this very program, from where the user stands.
fn program() -> String {
    let here = std::env::current_dir().ok();
    let own = std::env::current_exe().ok();
    let near = own.as_ref().zip(here.as_ref()).and_then(|(own, here)| own.strip_prefix(here).ok());
    match (near, own.as_ref()) {
        (Some(near), _) => format!("./{}", near.display()),
        (None, Some(own)) => own.display().to_string(),
        (None, None) => "valetkey".to_owned(),
    }
}

/// What is there, and the first thing to try.
pub(super) fn summary(ready: &Ready<'_>, data_dir: &Path, out: &Out) -> String {
    let (program, dir) = (program(), data_dir.display());
    let mut lines = vec![
        out.bold("Valetkey, as a demo: loopback only, made-up accounts, real data."),
        format!("State is in {dir}; delete it to start over. Ctrl-C ends."),
        String::new(),
        format!("API  {}", ready.api),
        format!("S3   {}", ready.s3),
    ];
    lines.extend(ready.console.iter().map(|link| format!("Console (signs in once, within a minute)  {link}")));
    lines.push(String::new());
    for caller in ready.callers {
        lines.push(format!(
            "{:8} of {:7} may {:10} s3://{}/{}/\n  {}",
            caller.name, caller.account, caller.access, caller.bucket, caller.prefix, caller.token
        ));
    }
    lines.push(format!("admin    runs the server\n  {}", ready.admin.token));
    if let Some(reader) = ready.callers.first() {
        lines.extend([
            String::new(),
            out.bold("Take a key into a shell, use it, and ask why it opens no more (pip install awscli):"),
            format!("  export VALETKEY_SERVER={}", ready.api),
            format!("  export VALETKEY_TOKEN_FILE={}", token_file(data_dir, &reader.name).display()),
            format!("  eval \"$({program} creds --format env)\""),
            format!("  aws s3 ls s3://{}/{}/", reader.bucket, reader.prefix),
            format!("  {program} explain read s3://{}/{}-secret/2013-01-01.parquet", reader.bucket, reader.prefix),
        ]);
    }
    lines.push(format!("\nMore to paste, for curl, DuckDB, Polars and the other APIs: {program} dev --examples"));
    lines.join("\n")
}

/// Everything there is to copy and paste.
pub(super) fn examples(ready: &Ready<'_>, state: &State, data_dir: &Path, out: &Out) -> String {
    let program = program();
    let Some(reader) = ready.callers.first() else { return String::new() };
    let (bucket, prefix) = (&reader.bucket, &reader.prefix);
    let mut lines = vec![
        out.bold("Ask for a key, as TheirStack's API does it:"),
        format!(
            "  curl -sX POST {}/v1/datasets/credentials -H \"Authorization: Bearer {}\"",
            ready.api,
            token(data_dir, &reader.name)
        ),
    ];
    lines.extend([
        out.bold("\nAsk for a key by our own API:"),
        format!(
            "  curl -s {}/api/v1/credentials -H \"Authorization: Bearer {}\" -d '{{\"bucket\": \"{bucket}\", \"prefix\": \"{prefix}\"}}'",
            ready.api,
            token(data_dir, &reader.name)
        ),
    ]);
    if let Some(r2) = &ready.r2 {
        lines.extend([out.bold("\nAsk for a key, as Cloudflare's R2 API does it:"), r2.example(data_dir)]);
    }
    if let Some(sts) = &ready.sts {
        lines.push(out.bold("\nAsk for a key, as AWS's STS does it:"));
        lines.extend(sts.examples(data_dir, &reader.name));
    }
    if let Some(grants) = &ready.access_grants {
        lines.extend([out.bold("\nAsk for a key, as S3 Access Grants does it:"), grants.example(data_dir)]);
    }
    lines.extend([
        out.bold("\nTake a key into this shell, then use it:"),
        format!("  {}", out.dim("(the tools: pip install awscli polars duckdb; offline also duckdb-extension-httpfs)")),
        format!(
            "  export VALETKEY_SERVER={} VALETKEY_TOKEN_FILE={}",
            ready.api,
            token_file(data_dir, &reader.name).display()
        ),
        format!("  eval \"$({program} creds --format env)\""),
        format!("  aws s3 ls s3://{bucket}/{prefix}/"),
        format!(
            "  python3 -c 'import polars as pl; print(pl.read_parquet(\"s3://{bucket}/{prefix}/*.parquet\").head())'"
        ),
        format!(
            "  python3 -c 'import duckdb, glob, subprocess, sysconfig; [duckdb.load_extension(file) for file in glob.glob(sysconfig.get_path(\"purelib\") + \"/duckdb_extension_httpfs/**/*.duckdb_extension\", recursive=True)]; duckdb.sql(subprocess.check_output([\"{program}\", \"creds\", \"--format\", \"duckdb\"], text=True)); print(duckdb.sql(\"select count(*) from \\\"s3://{bucket}/{prefix}/*.parquet\\\"\"))'"
        ),
    ]);
    if ready.delta_sharing.is_some() {
        lines.push(out.bold("\nRead a table that was shared, by Delta Sharing:"));
        lines.extend(share::lines(ready.api, data_dir));
    }
    if let Some(unity) = &ready.unity {
        lines.extend([out.bold("\nRead it as a table of Unity Catalog:"), unity.example(ready.s3, data_dir)]);
    }
    if let Some(iceberg) = &ready.iceberg {
        lines.push(out.bold("\nRead a table of an Iceberg REST catalog:"));
        lines.extend(iceberg.examples(data_dir));
    }
    lines.extend([
        out.bold("\nTry to get further with it (both are refused):"),
        format!("  aws s3 ls s3://{bucket}/{prefix}-secret/"),
        format!("  aws s3 cp /etc/hostname s3://{bucket}/{prefix}/"),
        out.bold("\nAsk why, whose key it is, and end it:"),
        format!("  {program} explain get-object s3://{bucket}/{prefix}-secret/2013-01-01.parquet"),
        format!("  {program} whose \"$AWS_ACCESS_KEY_ID\""),
        format!("  {program} lease ls"),
        format!("  {program} revoke --caller {}", reader.name),
    ]);
    if let Some(own) = &state.dreadnode {
        lines.push(out.bold("\nWork in a workspace, as Dreadnode's SDK does it (uv pip install dreadnode):"));
        lines.extend(dreadnode::lines(ready.api, own, data_dir));
    }
    lines.push(String::new());
    for forbidden in &ready.forbidden {
        lines.push(format!("There, and in no one's reach: s3://{}/{}", forbidden.bucket, forbidden.key));
    }
    lines.join("\n")
}
