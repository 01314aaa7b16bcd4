//! What the benchmarks compare with: how fast the same bytes leave when nothing is decided, signed or recorded.
//!
//! * `valetkey-bench-server axum ADDRESS ANSWER` answers `POST /v1/datasets/credentials` with the head and body kept in the
//!   file `ANSWER`: what Valetkey itself answered, byte for byte.
//! * `valetkey-bench-server files ADDRESS DIRECTORY` serves the directory's files to GET, streamed, asking nobody.
//!
//! Both run on Tokio's multi-thread runtime, which takes as many workers as the process may use cores: one when it is pinned
//! to one. The first line on standard output is the URL.

mod answer;
mod files;

use std::error::Error;
use std::io::Write as _;
use std::path::Path;

use tokio::net::TcpListener;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (mode, address, path) = match arguments.as_slice() {
        [mode @ ("axum" | "files"), address, path] => (*mode, *address, Path::new(*path)),
        _ => return Err("usage: valetkey-bench-server axum ADDRESS ANSWER | files ADDRESS DIRECTORY".into()),
    };
    let socket = TcpListener::bind(address).await?;
    writeln!(std::io::stdout(), "http://{}", socket.local_addr()?)?;
    match mode {
        "axum" => answer::serve(socket, path).await,
        _ => files::serve(socket, path.to_owned()).await,
    }
}
