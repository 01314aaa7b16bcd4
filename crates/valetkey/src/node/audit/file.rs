//! A file that is put aside when it is large enough.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use async_trait::async_trait;

use super::destination::{Destination, Line, Taken, joined};
use crate::config::Audit;

/// A file, and those that were put aside.
pub(super) struct Rotated {
    path: PathBuf,
    max_bytes: u64,
    keep: u32,
}

impl Rotated {
    pub(super) fn new(path: &Path, config: &Audit) -> Self {
        Self { path: path.to_owned(), max_bytes: config.file_max_bytes, keep: config.file_keep }
    }
}

#[async_trait]
impl Destination for Rotated {
    fn name(&self) -> &'static str {
        "file"
    }

    async fn send(&mut self, lines: &[Line]) -> anyhow::Result<Taken> {
        let (path, max_bytes, keep, text) = (self.path.clone(), self.max_bytes, self.keep, joined(lines));
        let shown = path.display().to_string();
        let written = tokio::task::spawn_blocking(move || write(&path, max_bytes, keep, &text)).await?;
        written.with_context(|| format!("{shown} cannot be written")).map(|()| Taken::All)
    }
}

/// Adds text to the file, durably. It is opened each time: who moves it away gets a new one. With 0 for the size it is never put aside.
fn write(path: &Path, max_bytes: u64, keep: u32, text: &str) -> std::io::Result<()> {
    let size = std::fs::metadata(path).ok().map(|about| about.len());
    let full = size.is_some_and(|size| size > 0 && max_bytes > 0 && size >= max_bytes);
    if full {
        put_aside(path, keep)?;
    }
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    let before = file.metadata()?.len();
    // Half a line would spoil the next one.
    let text = if is_torn(&file, before)? { format!("\n{text}") } else { text.to_owned() };
    file.write_all(text.as_bytes()).and_then(|()| file.sync_data()).inspect_err(|_| {
        let _ = file.set_len(before);
    })?;
    if full || size.is_none() {
        let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(above)?.sync_all()?;
    }
    Ok(())
}

/// Whether the last line has no end: a process died while it wrote it.
fn is_torn(file: &File, size: u64) -> std::io::Result<bool> {
    let Some(last) = size.checked_sub(1) else { return Ok(false) };
    let mut byte = [0];
    file.read_exact_at(&mut byte, last)?;
    Ok(byte != [b'\n'])
}

fn put_aside(path: &Path, keep: u32) -> std::io::Result<()> {
    let numbered = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    if keep == 0 {
        return std::fs::remove_file(path);
    }
    for number in (1..keep).rev() {
        match std::fs::rename(numbered(number), numbered(number + 1)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    std::fs::rename(path, numbered(1))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn files_are_put_aside_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.ndjson");
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).ok();
        for text in ["a\n", "b\n", "c\n", "d\n"] {
            write(&path, 2, 2, text).unwrap();
        }
        let kept = ["events.ndjson", "events.ndjson.1", "events.ndjson.2", "events.ndjson.3"].map(read);
        assert_eq!(kept, [Some("d\n".to_owned()), Some("c\n".to_owned()), Some("b\n".to_owned()), None]);
        write(&path, 100, 2, "e\n").unwrap();
        assert_eq!(read("events.ndjson").unwrap(), "d\ne\n");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        write(&path, 2, 0, "f\n").unwrap();
        assert_eq!(
            (read("events.ndjson").unwrap(), read("events.ndjson.1").unwrap()),
            ("f\n".to_owned(), "c\n".to_owned())
        );
        assert!(write(&dir.path().join("none/events"), 2, 2, "x\n").is_err());
    }

    #[test]
    fn half_a_line_spoils_no_other_and_a_size_of_0_puts_nothing_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.ndjson");
        std::fs::write(&path, "a\n{\"hal").unwrap();
        write(&path, 0, 2, "b\n").unwrap();
        write(&path, 0, 0, "c\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a\n{\"hal\nb\nc\n");
        assert!(!dir.path().join("events.ndjson.1").exists());
    }
}
