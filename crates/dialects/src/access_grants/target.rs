//! Places as this API writes them: `s3://bucket/start*`, or one object without a `*`.

use valetkey_core::Error;
use valetkey_core::name::{BucketName, shortened};
use valetkey_core::scope::{Path, Paths};

use super::error::invalid;

/// Amazon S3 Control API Reference, `GetDataAccess`: `target`.
const MOST_CHARS: usize = 2000;

/// A place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) bucket: BucketName,
    /// The paths: all of the bucket, or one.
    pub(super) paths: Paths,
    /// As it was written.
    pub(super) text: String,
}

impl Place {
    /// Reads a place. `object` says that it is one object whatever stands in it.
    pub(super) fn read(name: &'static str, text: &str, object: bool) -> Result<Self, Error> {
        let bad = |said: String| invalid(said).at(name);
        let shown = shortened(text);
        if !(1..=MOST_CHARS).contains(&text.chars().count()) {
            return Err(bad(format!("`{name}` has 1 to {MOST_CHARS} characters")));
        }
        if !writable(text) {
            return Err(bad(format!("`{name}` has a character that XML cannot write")));
        }
        let rest = text.strip_prefix("s3://").ok_or_else(|| bad(format!("`{shown}` does not start with `s3://`")))?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let bucket = BucketName::parse(bucket).map_err(|error| error.at(name))?;
        let start = key.strip_suffix('*');
        if object && (key.is_empty() || start.is_some()) {
            return Err(bad(format!("`{shown}` is not one object, as `targetType` says")));
        }
        let path = match (key, start) {
            ("" | "*", _) => None,
            (_, Some(start)) => Some(Path::prefix(start.as_bytes())),
            (key, None) => Some(Path::object(key.as_bytes())),
        };
        let paths = match path {
            None => Paths::Whole,
            Some(path) => Paths::only([path.map_err(|error| error.at(name))?])?,
        };
        Ok(Self { bucket, paths, text: text.to_owned() })
    }

    /// Whether it is all that starts so: then clients keep a credential of it for everything below.
    pub(super) fn is_open(&self) -> bool {
        self.text.ends_with('*')
    }
}

/// A path as this API writes it: all that it opens, but for the key of a directory itself. Nothing where it cannot be written so that it
/// means the same.
pub(super) fn written(bucket: &BucketName, path: Option<&Path>) -> Option<String> {
    let Some(path) = path else { return Some(format!("s3://{bucket}/*")) };
    let text = std::str::from_utf8(path.bytes()).ok().filter(|text| writable(text))?;
    Some(match path {
        // It would be read as all that starts so.
        Path::Object(_) if text.ends_with('*') => return None,
        Path::Object(_) => format!("s3://{bucket}/{text}"),
        Path::Directory(_) => format!("s3://{bucket}/{text}/*"),
        Path::Prefix(_) => format!("s3://{bucket}/{text}*"),
    })
}

/// Whether XML has a way to write it that is read as the same.
fn writable(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(path: Result<Path, Error>) -> Paths {
        Paths::only([path.unwrap()]).unwrap()
    }

    #[test]
    fn a_star_at_the_end_is_all_that_starts_so_and_without_it_one_object_is_meant() {
        for (text, paths) in [
            ("s3://lake", Paths::Whole),
            ("s3://lake/", Paths::Whole),
            ("s3://lake/*", Paths::Whole),
            ("s3://lake/p*", one(Path::prefix(b"p"))),
            ("s3://lake/p/*", one(Path::prefix(b"p/"))),
            ("s3://lake/p", one(Path::object(b"p"))),
            ("s3://lake/p/", one(Path::object(b"p/"))),
            ("s3://lake//p", one(Path::object(b"/p"))),
            ("s3://lake/a*b", one(Path::object(b"a*b"))),
            ("s3://lake/a/../b%2F", one(Path::object(b"a/../b%2F"))),
        ] {
            let place = Place::read("target", text, false).unwrap();
            assert_eq!((place.bucket.as_str(), place.paths, &*place.text), ("lake", paths, text));
        }
        assert!(Place::read("target", "s3://lake/p", true).is_ok());
        for text in ["s3://lake/p*", "s3://lake", "s3://lake/", "s3://lake/*"] {
            assert!(Place::read("target", text, true).is_err(), "{text}");
        }
        let (long, longest) = (format!("s3://lake/{}", "k".repeat(1025)), format!("s3://lake/{}", "é".repeat(512)));
        for text in ["", "lake/p", "s3:/lake", "s3://", "s3:///p", "s3://lake*", "s3://La/p", "s3://lake/a\nb", &long] {
            assert!(Place::read("target", text, false).is_err(), "{text}");
        }
        assert!(Place::read("target", &longest, false).is_ok());
    }

    #[test]
    fn what_is_written_is_read_as_the_same_or_as_less() {
        let bucket = BucketName::parse("lake").unwrap();
        for path in [Path::directory(b"p"), Path::prefix(b"p*"), Path::prefix("é/".as_bytes()), Path::object(b"a*b")] {
            let path = path.unwrap();
            let text = written(&bucket, Some(&path)).unwrap();
            let read = Place::read("target", &text, false).unwrap().paths;
            assert!(one(Ok(path)).cover_paths(&read), "{text}");
        }
        for path in [Path::object(b"a*"), Path::prefix(b"\xff"), Path::directory(b"a\rb")] {
            assert_eq!(written(&bucket, Some(&path.unwrap())), None);
        }
    }
}
