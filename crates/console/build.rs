//! Puts what `console/dist` has into the crate: a table of names and bytes.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let missing = |name: &str| io::Error::new(io::ErrorKind::NotFound, format!("cargo sets no {name}"));
    #[expect(clippy::disallowed_methods, reason = "how cargo talks to a build script")]
    let set = |name: &str| env::var(name).map(PathBuf::from).map_err(|_| missing(name));
    let dist = set("CARGO_MANIFEST_DIR")?.join("../../console/dist").canonicalize()?;
    let mut files = Vec::new();
    walk(&dist, &mut files)?;
    files.sort();
    let mut table = String::from("&[\n");
    for file in &files {
        let name = file.strip_prefix(&dist).map_err(io::Error::other)?.display();
        let line = writeln!(table, "    ({:?}, include_bytes!({:?})),", name.to_string(), file.display().to_string());
        line.map_err(io::Error::other)?;
    }
    table.push_str("]\n");
    fs::write(set("OUT_DIR")?.join("files.rs"), table)
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    // Cargo looks into the folder itself: what is added or gone is noticed.
    let mut out = io::stdout();
    io::Write::write_all(&mut out, format!("cargo::rerun-if-changed={}\n", dir.display()).as_bytes())?;
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() { walk(&path, files)? } else { files.push(path) }
    }
    Ok(())
}
