//! What the benchmarks compare with: how fast the same bytes leave when nothing is decided, signed or recorded.
//!
//! * `valetkey-bench-server axum ADDRESS ANSWER` answers `POST /v1/datasets/credentials` with the head and body kept in the
//!   file `ANSWER`: what Valetkey itself answered, byte for byte.
//! * `valetkey-bench-server files ADDRESS DIRECTORY` serves the directory's files to GET, streamed, asking nobody.
//!
//! And what a store's credentials are fetched from:
//! * `valetkey-bench-server sts ADDRESS MILLISECONDS CALLS_PER_SEC` answers `AssumeRole` after that long, and refuses more
//!   calls than that.
//!
//! All run on Tokio's multi-thread runtime, which takes as many workers as the process may use cores: one when it is pinned
//! to one. The first line on standard output is the URL.

mod answer;
mod files;
mod sts;

use std::error::Error;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use tokio::net::TcpListener;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const USAGE: &str = "usage: valetkey-bench-server axum ADDRESS ANSWER | files ADDRESS DIRECTORY | sts ADDRESS MILLISECONDS CALLS_PER_SEC";

enum Mode<'a> {
    Axum(&'a Path),
    Files(&'a Path),
    Sts { latency: Duration, calls_per_sec: u32 },
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (address, mode) = match arguments.as_slice() {
        ["axum", address, path] => (*address, Mode::Axum(Path::new(*path))),
        ["files", address, path] => (*address, Mode::Files(Path::new(*path))),
        ["sts", address, latency, calls] => {
            (*address, Mode::Sts { latency: Duration::from_millis(latency.parse()?), calls_per_sec: calls.parse()? })
        }
        _ => return Err(USAGE.into()),
    };
    let socket = TcpListener::bind(address).await?;
    writeln!(std::io::stdout(), "http://{}", socket.local_addr()?)?;
    match mode {
        Mode::Axum(path) => answer::serve(socket, path).await,
        Mode::Files(path) => files::serve(socket, path.to_owned()).await,
        Mode::Sts { latency, calls_per_sec } => sts::serve(socket, latency, calls_per_sec).await,
    }
}
