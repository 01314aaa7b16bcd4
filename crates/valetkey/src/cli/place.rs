//! `s3://bucket/key`: read exactly, nothing decoded or normalised.

use crate::cli::failure::Failure;
use crate::cli::output::clean;

/// A bucket, and perhaps a key in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// The bucket.
    pub(crate) bucket: String,
    /// What follows the slash after it, if anything does.
    pub(crate) key: Option<String>,
}

impl Place {
    /// Reads a place.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let refused = |hint: String| {
            // SECURITY: a URL may carry a signature or a password.
            let shown = text.split(['?', '#']).next().unwrap_or_default();
            let shown = if shown.contains("://") && shown.contains('@') && !is_azure(shown) { "it" } else { shown };
            Err(Failure::usage(format!("`{}` is not a place in a bucket", clean(shown))).hint(hint))
        };
        let Some(rest) = text.strip_prefix("s3://") else { return refused(meant(text)) };
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return refused("a place is written s3://bucket/key".to_owned());
        }
        Ok(Self { bucket: bucket.to_owned(), key: (!key.is_empty()).then(|| key.to_owned()) })
    }

    /// Reads a place that a rule is made of: with a pattern in it is refused, because a rule is about what it says.
    pub(crate) fn of_rule(text: &str) -> Result<Self, Failure> {
        let place = Self::parse(text)?;
        match place.key.as_deref().map(parent_of_pattern) {
            Some(Pattern::Below(directory)) => Err(Failure::usage(format!("`{}` is a pattern", clean(text)))
                .hint(format!("a directory is all that is below it: s3://{}/{directory}", place.bucket))),
            Some(Pattern::AtRoot) => {
                Err(Failure::usage(format!("`{}` is a pattern at the bucket's root", clean(text)))
                    .hint("name a directory, or the bucket with --whole-bucket"))
            }
            Some(Pattern::No) | None => Ok(place),
        }
    }
}

fn is_azure(text: &str) -> bool {
    ["abfs://", "abfss://", "wasb://", "wasbs://"].iter().any(|scheme| text.starts_with(scheme))
}

/// How a place is written that was written otherwise: as other tools write it, or without its beginning.
pub(crate) fn meant(text: &str) -> String {
    let plain = "a place is written s3://bucket/key";
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let text = text.strip_prefix("s3:").filter(|rest| !rest.starts_with('/')).unwrap_or(text);
    let Some((scheme, rest)) = text.split_once(":/").map(|(scheme, rest)| (scheme, rest.trim_start_matches('/')))
    else {
        let path = text.trim_start_matches(['/', '.']);
        return if text.starts_with(['/', '.']) || path.is_empty() {
            format!("a place begins with its bucket, as in s3://BUCKET/{path}; `valetkey ls` shows yours")
        } else {
            format!("a place is written s3://{path}, with its bucket first; `valetkey ls` shows yours")
        };
    };
    match scheme.to_ascii_lowercase().as_str() {
        "s3" | "s3a" | "s3n" | "r2" | "gs" | "gcs" | "az" | "azure" | "adl" => {
            format!("whichever storage a bucket is in, its place is written s3://{rest}")
        }
        "abfs" | "abfss" | "wasb" | "wasbs" => match rest.split_once('@') {
            Some((container, below)) => {
                let key = below.split_once('/').map_or("", |(_, key)| key);
                format!("whichever storage a bucket is in, its place is written s3://{container}/{key}")
            }
            None => plain.to_owned(),
        },
        "http" | "https" => format!("that is a URL; {plain}"),
        _ => plain.to_owned(),
    }
}

/// What a pattern is below of.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Pattern {
    /// It is none.
    No,
    /// This directory.
    Below(String),
    /// Nothing but the bucket.
    AtRoot,
}

/// The directory that holds everything a shell's pattern could mean: what is before the first part with a wildcard.
pub(crate) fn parent_of_pattern(key: &str) -> Pattern {
    let wild = |part: &str| {
        part.contains(['*', '?'])
            || part.split_once('[').is_some_and(|(_, rest)| rest.contains(']'))
            || part
                .split_once('{')
                .is_some_and(|(_, rest)| rest.split('}').next().is_some_and(|list| list.contains(',')))
    };
    let parts: Vec<&str> = key.split('/').collect();
    match parts.iter().position(|part| wild(part)) {
        None => Pattern::No,
        Some(0) => Pattern::AtRoot,
        Some(at) => Pattern::Below(parts.get(..at).unwrap_or_default().join("/")),
    }
}

/// A directory as the API writes it: without its last slash, which shells and people add.
pub(crate) fn directory(text: &str) -> String {
    text.strip_suffix('/').unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_other_tools_write_is_told_as_it_is_written_here() {
        for (text, hint) in [
            ("s3a://lake/a/b", "s3://lake/a/b"),
            ("S3://lake/a", "s3://lake/a"),
            ("s3:/lake/a", "s3://lake/a"),
            ("s3:lake/a", "s3://lake/a"),
            ("gs://lake/a", "s3://lake/a"),
            ("az://lake/a", "s3://lake/a"),
            ("abfss://lake@acct.dfs.core.windows.net/a/b", "s3://lake/a/b"),
            ("https://lake.s3.amazonaws.com/a?X-Amz-Signature=s3cret", "that is a URL"),
            ("lake/a", "s3://lake/a, with its bucket first"),
            ("/a/b", "s3://BUCKET/a/b"),
        ] {
            let failure = Place::parse(text).unwrap_err();
            assert!(failure.hint.as_deref().unwrap().contains(hint), "{text}: {failure:?}");
            assert!(!format!("{failure:?}").contains("s3cret"), "{failure:?}");
        }
        assert!(!format!("{:?}", Place::parse("https://u:s3cret@h/x").unwrap_err()).contains("s3cret"));
    }

    #[test]
    fn a_pattern_is_below_what_is_before_it() {
        for (key, parent) in
            [("a/b/*.parquet", "a/b"), ("a/**/x", "a"), ("a/b[0-9]/c", "a"), ("a/{x,y}", "a"), ("a/?", "a")]
        {
            assert_eq!(parent_of_pattern(key), Pattern::Below(parent.to_owned()), "{key}");
        }
        assert_eq!([parent_of_pattern("*"), parent_of_pattern("a*/b")], [Pattern::AtRoot, Pattern::AtRoot]);
        for key in ["a/b", "a/{id}/x", "a[/b", ""] {
            assert_eq!(parent_of_pattern(key), Pattern::No, "{key}");
        }
    }
}
