//! Blocks of ours in other programs' files: written whole, found again by their marks, and nothing else of the file touched.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::cli::failure::{Exit, Failure};
use crate::cli::private::replace;

/// A file larger than this is not one that people configure a tool with.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// A block in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Block {
    pub(super) file: PathBuf,
    /// What starts a comment there.
    pub(super) comment: &'static str,
    /// What it is found by, beside the product's name.
    pub(super) name: String,
    /// A line that may not be in the file twice: the head of a section.
    pub(super) head: Option<String>,
    /// Its lines; nothing to have it removed.
    pub(super) lines: Option<Vec<String>>,
}

/// A file as it is and as it will be.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) file: PathBuf,
    old: String,
    new: String,
}

impl Block {
    fn marks(&self) -> [String; 2] {
        let Self { comment, name, .. } = self;
        [format!("{comment} >>> valetkey {name} >>>"), format!("{comment} <<< valetkey {name} <<<")]
    }

    /// What it changes; nothing if the file is so already.
    ///
    /// # Errors
    /// When the file has such a section that is not ours, or our block is not whole in it.
    pub(super) fn change(&self) -> Result<Option<Change>, Failure> {
        // What a link leads to is written, so that the link stays.
        let file = std::fs::canonicalize(&self.file).unwrap_or_else(|_| self.file.clone());
        // A new file takes the place of the old one. What is no file, as the device that `valetkey agent env` names for one that is
        // to be left aside, must not be replaced.
        if std::fs::metadata(&file).is_ok_and(|about| !about.is_file()) {
            return Err(Failure::local(format!("`{}` is not a file", self.file.display()))
                .hint("a variable such as AWS_CONFIG_FILE names it; --file takes another"));
        }
        let old = read(&file)?;
        let new = self.put(&old)?;
        Ok((new != old).then_some(Change { file, old, new }))
    }

    fn put(&self, old: &str) -> Result<String, Failure> {
        let shown = self.file.display();
        let [begin, end] = self.marks();
        let lines: Vec<&str> = old.lines().collect();
        let of = |mark: &str| lines.iter().position(|line| line.trim() == mark);
        let span = match (of(&begin), of(&end)) {
            (None, None) => None,
            (Some(first), Some(last)) if first < last => Some(first..=last),
            _ => {
                return Err(Failure::new(Exit::Conflict, format!("`{shown}` has only a part of the block `{begin}`"))
                    .hint("put its other mark back, or remove what is left of it"));
            }
        };
        let is_ours = |at: usize| span.as_ref().is_some_and(|span| span.contains(&at));
        let others: Vec<&str> =
            lines.iter().enumerate().filter(|(at, _)| !is_ours(*at)).map(|(_, line)| *line).collect();
        if let (Some(head), Some(_)) = (&self.head, &self.lines)
            && others.iter().any(|line| line.trim() == head)
        {
            return Err(Failure::new(
                Exit::Conflict,
                format!("`{shown}` has `{head}` already, and it was not written by this"),
            )
            .hint("--profile NAME takes another name"));
        }
        let before = span.as_ref().map_or(others.len(), |span| *span.start());
        let (head, tail) = others.split_at_checked(before).unwrap_or((&others, &[]));
        let mut new: Vec<String> = head.iter().map(|line| (*line).to_owned()).collect();
        match &self.lines {
            Some(lines) => {
                if new.last().is_some_and(|line| !line.trim().is_empty()) {
                    new.push(String::new());
                }
                new.push(begin);
                new.extend(lines.iter().cloned());
                new.push(end);
            }
            // The empty line that was put before it goes, too.
            None if span.is_some() => {
                new.pop_if(|line| line.trim().is_empty());
            }
            None => return Ok(old.to_owned()),
        }
        new.extend(tail.iter().map(|line| (*line).to_owned()));
        Ok(if new.is_empty() { String::new() } else { new.join("\n") + "\n" })
    }
}

impl Change {
    /// What is added and what goes, a line each; of the rest, nothing: it may hold others' secrets.
    pub(super) fn diff(&self) -> String {
        let (old, new): (Vec<&str>, Vec<&str>) = (self.old.lines().collect(), self.new.lines().collect());
        let same = old.iter().zip(&new).take_while(|(one, other)| one == other).count();
        let (old, new) = (old.get(same..).unwrap_or_default(), new.get(same..).unwrap_or_default());
        let tail = old.iter().rev().zip(new.iter().rev()).take_while(|(one, other)| one == other).count();
        let cut = |lines: &[&str], sign: &str| -> Vec<String> {
            let kept = lines.get(..lines.len() - tail).unwrap_or_default();
            kept.iter().map(|line| format!("{sign} {line}")).collect()
        };
        let lines = [vec![format!("--- {}", self.file.display())], cut(old, "-"), cut(new, "+")].concat();
        lines.join("\n")
    }

    /// Writes the file: a new one in the place of the old, which keeps its mode; one that was not there is its user's alone.
    pub(super) fn write(&self) -> Result<(), Failure> {
        let failed =
            |error: std::io::Error| Failure::local(format!("`{}` cannot be written: {error}", self.file.display()));
        if let Some(directory) = self.file.parent() {
            std::fs::create_dir_all(directory).map_err(failed)?;
        }
        if read(&self.file)? != self.old {
            return Err(Failure::new(Exit::Conflict, format!("`{}` was changed meanwhile", self.file.display())));
        }
        replace(&self.file, &self.new, ".valetkey-new").map_err(failed)
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    let failed = |error: std::io::Error| Failure::local(format!("`{}` cannot be read: {error}", path.display()));
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut text = String::new();
    let read = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if read as u64 > MAX_FILE_BYTES {
        return Err(Failure::local(format!("`{}` is too large for such a file", path.display())));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(lines: Option<&[&str]>) -> Block {
        Block {
            file: PathBuf::from("config"),
            comment: "#",
            name: "flights".to_owned(),
            head: Some("[profile flights]".to_owned()),
            lines: lines.map(|lines| lines.iter().map(|line| (*line).to_owned()).collect()),
        }
    }

    const OURS: &[&str] = &["[profile flights]", "region = auto"];

    #[test]
    fn what_was_there_stays_and_what_was_put_goes_without_a_trace() {
        for old in ["", "[default]\nregion = x\n", "[default]\n\n[profile other]\na = b\n"] {
            let put = block(Some(OURS)).put(old).unwrap();
            assert!(put.starts_with(old) && put.contains("\n[profile flights]\nregion = auto\n"), "{put}");
            assert_eq!(block(Some(OURS)).put(&put).unwrap(), put, "twice is once");
            assert_eq!(block(None).put(&put).unwrap(), old);
        }
        assert_eq!(block(None).put("x\n").unwrap(), "x\n");
    }

    #[test]
    fn a_block_is_replaced_in_its_place() {
        let put = block(Some(OURS)).put("a\n").unwrap() + "z\n";
        let again = block(Some(&["[profile flights]", "region = b"])).put(&put).unwrap();
        assert_eq!(again, put.replace("region = auto", "region = b"));
    }

    #[test]
    fn what_a_user_wrote_is_not_overwritten() {
        let refused = block(Some(OURS)).put("[profile flights]\nregion = mine\n").unwrap_err();
        assert_eq!(refused.exit, Exit::Conflict);
        assert!(block(Some(OURS)).put("# >>> valetkey flights >>>\nx\n").is_err(), "half a block");
    }

    #[test]
    fn a_diff_shows_what_changes_and_nothing_else() {
        let old = "aws_secret_access_key = s3cret\n";
        let new = block(Some(OURS)).put(old).unwrap();
        let diff = Change { file: PathBuf::from("f"), old: old.to_owned(), new }.diff();
        assert!(diff.contains("+ region = auto") && !diff.contains("s3cret"), "{diff}");
    }

    #[cfg(unix)]
    #[test]
    fn what_is_not_a_file_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (socket, link) = (dir.path().join("socket"), dir.path().join("config"));
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        std::os::unix::fs::symlink(&socket, &link).unwrap();
        for file in [Path::new("/dev/null"), &socket, &link, dir.path()] {
            let refused = Block { file: file.to_owned(), ..block(Some(OURS)) }.change().unwrap_err();
            assert!(refused.to_string().contains("is not a file"), "{refused}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_keeps_its_mode_and_its_link_and_a_new_one_is_the_users_alone() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("config"));
        std::fs::write(&real, "a\n").unwrap();
        std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&real, &link).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let at = |file: &Path| Block { file: file.to_owned(), ..block(Some(OURS)) };
        at(&link).change().unwrap().unwrap().write().unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(mode(&real), 0o640);
        assert!(std::fs::read_to_string(&real).unwrap().contains("region = auto"));
        assert!(at(&link).change().unwrap().is_none());
        let fresh = dir.path().join("deep/new");
        at(&fresh).change().unwrap().unwrap().write().unwrap();
        assert_eq!(mode(&fresh), 0o600);
    }
}
