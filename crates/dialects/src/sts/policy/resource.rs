//! Patterns of a policy: of actions, of what is to be opened, and of prefixes that may be listed.

use valetkey_core::Error;
use valetkey_core::name::shortened;
use valetkey_core::scope::{Path, Paths};

use crate::sts::error::malformed_policy;

/// Which keys, byte by byte.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Pattern {
    /// This one.
    Exactly(Vec<u8>),
    /// Those that start so; all of them where it is empty.
    Below(Vec<u8>),
}

impl Pattern {
    pub(super) const fn everything() -> Self {
        Self::Below(Vec::new())
    }

    pub(super) fn is_everything(&self) -> bool {
        matches!(self, Self::Below(start) if start.is_empty())
    }
}

/// Something a statement is about.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// Every bucket, and everything in it.
    All,
    /// A bucket itself.
    Bucket(String),
    /// Keys in a bucket.
    Keys(String, Pattern),
}

impl Place {
    /// The bucket, if it is one.
    pub(super) fn bucket(&self) -> Option<&str> {
        match self {
            Self::All => None,
            Self::Bucket(bucket) | Self::Keys(bucket, _) => Some(bucket),
        }
    }

    pub(super) const fn is_bucket(&self) -> bool {
        matches!(self, Self::All | Self::Bucket(_))
    }

    pub(super) const fn has_objects(&self) -> bool {
        matches!(self, Self::All | Self::Keys(..))
    }
}

/// Whether an action's pattern could mean anything of S3's.
pub(super) fn touches(action: &str) -> bool {
    match action.split_once(':') {
        Some((service, _)) if is_plain(service) => glob(service, "s3"),
        // `*`, or something that no service has: whether it means S3 is not for us to guess.
        Some(_) | None => true,
    }
}

/// Whether a service's name, or its pattern, has only what those have.
fn is_plain(service: &str) -> bool {
    !service.is_empty()
        && service.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'*' | b'?'))
}

/// Whether a pattern of an action matches a name: `*` is any run, `?` one character, and case does not count.
pub(super) fn glob(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut from, mut star) = (0, 0, None);
    while let Some(byte) = name.get(from) {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(own) if *own == b'?' || own.eq_ignore_ascii_case(byte) => (at, from) = (at + 1, from + 1),
            _ => {
                // Let the last star take one character more.
                let Some((back, taken)) = star else { return false };
                (at, from) = (back + 1, taken + 1);
                star = Some((back, taken + 1));
            }
        }
    }
    pattern.iter().skip(at).all(|byte| *byte == b'*')
}

/// Reads a resource; nothing where it is not S3's, which an action of S3 is never on.
pub(super) fn read(text: &str, has_variables: bool) -> Result<Option<Place>, Error> {
    let unread = || {
        malformed_policy(format!(
            "the resource `{}` is not understood: only `arn:aws:s3:::bucket`, `arn:aws:s3:::bucket/key`, and a `*` at the end of a key are",
            shortened(text)
        ))
    };
    if text == "*" {
        return Ok(Some(Place::All));
    }
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let ["arn", partition, service, region, account, rest] = *parts else { return Err(unread()) };
    let literal = |part: &str| !part.contains(['*', '?', '$']);
    if !literal(partition) || !literal(service) || !literal(region) || !literal(account) {
        return Err(unread());
    }
    // An access point, or a region's: not a bucket here.
    if service != "s3" || !region.is_empty() || !account.is_empty() {
        return Ok(None);
    }
    if !["aws", "aws-cn", "aws-us-gov"].contains(&partition) {
        return Err(unread());
    }
    if rest == "*" {
        return Ok(Some(Place::All));
    }
    let (bucket, key) = match rest.split_once('/') {
        Some((bucket, key)) => (bucket, Some(key)),
        None => (rest, None),
    };
    if bucket.is_empty() || !literal(bucket) {
        return Err(unread());
    }
    let bucket = bucket.to_owned();
    Ok(Some(match key {
        None => Place::Bucket(bucket),
        // No key is empty.
        Some("") => return Err(unread()),
        Some(key) => Place::Keys(bucket, pattern(key, has_variables).ok_or_else(unread)?),
    }))
}

/// The prefixes that a condition on `s3:prefix` allows to list.
pub(super) fn prefix_patterns(operator: &str, values: &[String], has_variables: bool) -> Result<Vec<Pattern>, Error> {
    let unread = || {
        let said = "of conditions on `s3:prefix` only `StringLike` and `StringEquals` are understood, with a `*` at the end of a value";
        malformed_policy(said)
    };
    let like = match operator {
        "StringLike" | "ForAnyValue:StringLike" => true,
        "StringEquals" | "ForAnyValue:StringEquals" => false,
        _ => return Err(unread()),
    };
    let read = |value: &String| {
        if like {
            return pattern(value, has_variables).ok_or_else(unread);
        }
        // Here a star is a star; a variable is one still.
        let plain = !has_variables || !value.contains("${");
        if plain { Ok(Pattern::Exactly(value.clone().into_bytes())) } else { Err(unread()) }
    };
    values.iter().map(read).collect()
}

/// Reads a pattern; nothing if it has a wildcard but at its end, or a variable.
fn pattern(text: &str, has_variables: bool) -> Option<Pattern> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if has_variables && let Some(inside) = rest.strip_prefix("${") {
            let (special, behind) = ["*}", "?}", "$}"].iter().find_map(|one| Some((one, inside.strip_prefix(one)?)))?;
            bytes.extend(special.bytes().take(1));
            rest = behind;
            continue;
        }
        match c {
            '*' if rest == "*" => return Some(Pattern::Below(bytes)),
            '*' | '?' => return None,
            c => {
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                rest = rest.get(c.len_utf8()..)?;
            }
        }
    }
    Some(Pattern::Exactly(bytes))
}

/// The paths of some keys: of `a/b` and `a/b/*` together the directory that they are.
pub(super) fn paths(places: &[Place]) -> Result<Paths, Error> {
    let keys: Vec<&Pattern> = places
        .iter()
        .filter_map(|place| match place {
            Place::Keys(_, keys) => Some(keys),
            Place::All | Place::Bucket(_) => None,
        })
        .collect();
    let is_whole =
        places.iter().any(|place| matches!(place, Place::All)) || keys.iter().any(|keys| keys.is_everything());
    if is_whole { Ok(Paths::Whole) } else { joined(&keys) }
}

/// The paths that may be listed; nothing where nothing may be listed below anything. `read` is what may be read: what lies below a directory
/// of that may be listed as the directory, and a single object as itself. SECURITY: of others that would tell of a key with the directory's
/// own name, which is not below it.
pub(super) fn listable(patterns: &[&Pattern], read: Option<&Paths>) -> Result<Option<Paths>, Error> {
    if patterns.iter().any(|pattern| pattern.is_everything()) {
        return Ok(Some(Paths::Whole));
    }
    let read: Vec<Path> = match read {
        Some(Paths::Only(set)) => set.iter().collect(),
        Some(Paths::Whole) | None => Vec::new(),
    };
    let is_read = |path: &Path| read.contains(path);
    let mut all = Vec::new();
    for pattern in patterns {
        let path = match pattern {
            Pattern::Exactly(key) => match Path::object(key) {
                Ok(path) if is_read(&path) => path,
                // A listing of one prefix that is no object's shows what is below it, too; no path means just that.
                Ok(_) | Err(_) => continue,
            },
            Pattern::Below(start) => match start.strip_suffix(b"/").map(Path::directory) {
                Some(Ok(directory)) if is_read(&directory) => directory,
                Some(_) | None => Path::prefix(start).map_err(|error| malformed_policy(error.to_string()))?,
            },
        };
        all.push(path);
    }
    if all.is_empty() { Ok(None) } else { Paths::only(&all).map(Some) }
}

fn joined(keys: &[&Pattern]) -> Result<Paths, Error> {
    let is_there = |one: &Pattern| keys.contains(&one);
    let mut all = Vec::with_capacity(keys.len());
    for keys in keys {
        let path = match keys {
            Pattern::Exactly(key)
                if key.last() != Some(&b'/') && is_there(&Pattern::Below([key, &b"/"[..]].concat())) =>
            {
                Path::directory(key)
            }
            Pattern::Exactly(key) => Path::object(key),
            Pattern::Below(start) => Path::prefix(start),
        };
        all.push(path.map_err(|error| malformed_policy(error.to_string()))?);
    }
    Paths::only(&all)
}
