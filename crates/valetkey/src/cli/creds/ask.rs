//! Which credential is wanted: from flags, or from the query of an agent's URL, to what is asked of the API.

use std::borrow::Cow;

use clap::ValueEnum as _;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::Serialize;

use crate::cli::failure::Failure;
use crate::cli::output::{self, Out};
use crate::cli::place;
use crate::cli::ttl;
use crate::cli::word::Access;

/// What credentials are wanted for.
#[derive(Clone, Default, Debug, clap::Args)]
pub(crate) struct Wanted {
    /// A grant by name or id, or a place: `s3://bucket/directory`. Without it: your grant, if you have one only
    #[arg(value_name = "GRANT|s3://BUCKET/DIR")]
    pub(crate) target: Option<String>,
    /// Only this object; the whole key. May be repeated
    #[arg(long = "object", value_name = "KEY")]
    pub(crate) objects: Vec<String>,
    /// Only this directory; from the bucket's root. May be repeated
    #[arg(long = "prefix", value_name = "DIR")]
    pub(crate) prefixes: Vec<String>,
    /// A directory with what may be done in it, such as `write=a/tmp`; from the bucket's root. May be repeated: one credential for all of them
    #[arg(long = "part", value_name = "ACCESS=DIR", conflicts_with_all = ["objects", "prefixes", "access"])]
    pub(crate) parts: Vec<String>,
    /// The same for one object, such as `read=a/b.csv`; the whole key. May be repeated
    #[arg(long = "part-object", value_name = "ACCESS=KEY", conflicts_with_all = ["objects", "prefixes", "access"])]
    pub(crate) part_objects: Vec<String>,
    /// The whole bucket of `s3://bucket`
    #[arg(long, conflicts_with_all = ["objects", "prefixes", "parts", "part_objects"])]
    pub(crate) whole_bucket: bool,
    /// Narrow one of your own leases: they open nothing that it does not, are no longer and end with it. Without a place: all of it
    #[arg(long, value_name = "LEASE")]
    pub(crate) from_lease: Option<String>,
    /// What the credentials may do; read, unless given
    #[arg(long, value_enum, value_name = "ACCESS")]
    pub(crate) access: Option<Access>,
    /// How long they live: `90s`, `15m`, `1h30m`, `7d`
    #[arg(long, value_name = "TIME", value_parser = ttl::parse, conflicts_with = "ttl_secs")]
    pub(crate) ttl: Option<u32>,
    /// How long they live, in seconds. Cut to what the grant, your token and the storage allow
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) ttl_secs: Option<u32>,
}

/// What is asked of the API.
#[derive(Serialize, Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Ask {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) grant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bucket: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) prefixes: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) objects: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access: Option<Access>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_secs: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    whole_bucket: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parts: Vec<Part>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_lease: Option<String>,
}

/// Some places, and what is to be done there.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
struct Part {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    prefixes: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    objects: Vec<String>,
    access: Access,
}

/// An access word as flags and queries have it.
fn word(access: Access) -> String {
    access.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

impl Part {
    /// As flags and queries have it.
    fn texts(of: &[Self], list: fn(&Self) -> &Vec<String>) -> Vec<String> {
        let each =
            |part: &Self| list(part).iter().map(|path| format!("{}={path}", word(part.access))).collect::<Vec<_>>();
        of.iter().flat_map(each).collect()
    }

    /// Takes one apart.
    fn split(text: &str) -> Result<(Access, &str), Failure> {
        let known = || {
            Failure::usage(format!("`{}` is not a part: those are like `write=a/tmp`", output::clean(text)))
                .hint("before the `=` is `read`, `write` or `read-write`")
        };
        let (access, path) = text.split_once('=').ok_or_else(known)?;
        let access = Access::from_str(access, false).map_err(|_| known())?;
        if path.is_empty() { Err(known()) } else { Ok((access, path)) }
    }

    /// The part of that access, which what is asked for has one of.
    fn of(parts: &mut Vec<Self>, access: Access) -> Option<&mut Self> {
        if !parts.iter().any(|part| part.access == access) {
            parts.push(Self { prefixes: Vec::new(), objects: Vec::new(), access });
        }
        parts.iter_mut().find(|part| part.access == access)
    }
}

/// What an ask is made of in the query of a URL.
const FIELDS: [&str; 10] =
    ["grant", "bucket", "prefix", "object", "access", "ttl_secs", "whole_bucket", "part", "part_object", "from_lease"];

impl Ask {
    /// As the query of a URL: of equal asks the same.
    pub(crate) fn query(&self) -> String {
        let Self { grant, bucket, prefixes, objects, access, ttl_secs, whole_bucket, parts, from_lease } = self;
        let access = access.map(word);
        let one = |name: &'static str, value: Option<String>| value.map(|value| (name, value));
        let many = |name: &'static str, values: &[String]| -> Vec<_> {
            values.iter().map(|value| (name, value.clone())).collect()
        };
        let pairs = one("grant", grant.clone())
            .into_iter()
            .chain(one("bucket", bucket.clone()))
            .chain(many("prefix", prefixes))
            .chain(many("object", objects))
            .chain(one("access", access))
            .chain(one("ttl_secs", ttl_secs.map(|secs| secs.to_string())))
            .chain(one("whole_bucket", whole_bucket.map(|whole| whole.to_string())))
            .chain(many("part", &Part::texts(parts, |part| &part.prefixes)))
            .chain(many("part_object", &Part::texts(parts, |part| &part.objects)))
            .chain(one("from_lease", from_lease.clone()));
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        pairs.map(|(name, value)| format!("{name}={}", encode(&value))).collect::<Vec<_>>().join("&")
    }

    /// As words of a command line.
    pub(crate) fn words(&self) -> Vec<String> {
        let Self { grant, bucket, prefixes, objects, access, ttl_secs, whole_bucket, parts, from_lease } = self;
        let target = grant.clone().or_else(|| bucket.as_ref().map(|bucket| format!("s3://{bucket}")));
        let flag = |name: &str, value: String| [format!("--{name}"), value];
        let mut words: Vec<String> = target.into_iter().collect();
        words.extend(prefixes.iter().flat_map(|prefix| flag("prefix", prefix.clone())));
        words.extend(objects.iter().flat_map(|object| flag("object", object.clone())));
        words.extend(Part::texts(parts, |part| &part.prefixes).into_iter().flat_map(|part| flag("part", part)));
        words.extend(Part::texts(parts, |part| &part.objects).into_iter().flat_map(|part| flag("part-object", part)));
        words.extend(access.iter().flat_map(|access| flag("access", word(*access))));
        words.extend(ttl_secs.iter().flat_map(|secs| flag("ttl-secs", secs.to_string())));
        words.extend(from_lease.iter().flat_map(|lease| flag("from-lease", lease.clone())));
        words.extend(whole_bucket.filter(|whole| *whole).map(|_| "--whole-bucket".to_owned()));
        words
    }

    /// Reads one; nothing where the query has none of its fields. Others are refused where it is to have none.
    pub(crate) fn from_query(query: &str, is_strict: bool) -> Result<Option<Self>, Failure> {
        let mut ask = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !is_strict && !FIELDS.contains(&name) {
                continue;
            }
            let decoded = percent_decode_str(&value.replace('+', "%20")).decode_utf8().map(Cow::into_owned);
            let value = decoded.map_err(|_| Failure::usage(format!("`{}` is not UTF-8", output::clean(name))))?;
            let odd = || Failure::usage(format!("`{name}` is twice in the query, or has no such value"));
            let once = |known: &Option<String>| if known.is_none() && !value.is_empty() { Ok(()) } else { Err(odd()) };
            match name {
                "grant" => {
                    once(&ask.grant)?;
                    ask.grant = Some(value);
                }
                "bucket" => {
                    once(&ask.bucket)?;
                    ask.bucket = Some(value);
                }
                "from_lease" => {
                    once(&ask.from_lease)?;
                    ask.from_lease = Some(value);
                }
                "prefix" => ask.prefixes.push(value),
                "object" => ask.objects.push(value),
                "part" | "part_object" => {
                    let (access, path) = Part::split(&value)?;
                    if let Some(part) = Part::of(&mut ask.parts, access) {
                        let list = if name == "part" { &mut part.prefixes } else { &mut part.objects };
                        list.push(path.to_owned());
                    }
                }
                "access" if ask.access.is_none() => {
                    ask.access = Some(Access::from_str(&value, false).map_err(|_| odd())?);
                }
                "ttl_secs" if ask.ttl_secs.is_none() => ask.ttl_secs = Some(value.parse().map_err(|_| odd())?),
                "whole_bucket" if value == "true" => ask.whole_bucket = Some(true),
                "access" | "ttl_secs" | "whole_bucket" => return Err(odd()),
                other => {
                    return Err(Failure::usage(format!(
                        "the query has `{}`, which is not known",
                        output::clean(other)
                    ))
                    .hint(format!("known are {}", FIELDS.join(", "))));
                }
            }
        }
        Ok((ask != Self::default()).then_some(ask))
    }
}

impl Wanted {
    /// What is asked of the API for it.
    ///
    /// # Errors
    /// When it could mean more than was meant.
    pub(crate) fn ask(&self, out: &Out) -> Result<Ask, Failure> {
        ask(self, out)
    }
}

/// A directory of a pattern, with a note; anything else as it is.
fn without_pattern(text: &str, out: &Out) -> Result<String, Failure> {
    match place::parent_of_pattern(text) {
        place::Pattern::No => Ok(text.to_owned()),
        place::Pattern::Below(directory) => {
            out.note(&format!(
                "`{text}` is a pattern, and credentials open directories: this is for all of `{directory}/`"
            ));
            Ok(directory)
        }
        place::Pattern::AtRoot => {
            Err(Failure::usage(format!("`{}` is a pattern, and no directory is before it", output::clean(text)))
                .hint("name a directory; for all of a bucket pass `s3://bucket` with --whole-bucket"))
        }
    }
}

fn ask(args: &Wanted, out: &Out) -> Result<Ask, Failure> {
    if let Some(odd) = args.objects.iter().find(|key| key.contains('*')) {
        return Err(Failure::usage(format!("--object takes one whole key, and `{}` is a pattern", output::clean(odd)))
            .hint("--prefix DIR opens all of a directory"));
    }
    let prefix = |prefix: &String| {
        if prefix.contains('*') { without_pattern(prefix, out) } else { Ok(place::directory(prefix)) }
    };
    let mut ask = Ask {
        prefixes: args.prefixes.iter().map(prefix).collect::<Result<_, _>>()?,
        objects: args.objects.clone(),
        access: args.access,
        ttl_secs: args.ttl.or(args.ttl_secs),
        whole_bucket: args.whole_bucket.then_some(true),
        from_lease: args.from_lease.clone(),
        ..Ask::default()
    };
    for text in &args.parts {
        let (access, directory) = Part::split(text)?;
        let directory = prefix(&directory.to_owned())?;
        if directory.is_empty() {
            return Err(Failure::usage("a part cannot be the whole bucket").hint("name a directory in it"));
        }
        if let Some(part) = Part::of(&mut ask.parts, access) {
            part.prefixes.push(directory.clone());
        }
    }
    for text in &args.part_objects {
        let (access, key) = Part::split(text)?;
        if key.contains('*') {
            return Err(Failure::usage(format!(
                "--part-object takes one whole key, and `{}` is a pattern",
                output::clean(key)
            ))
            .hint("--part opens all of a directory"));
        }
        if let Some(part) = Part::of(&mut ask.parts, access) {
            part.objects.push(key.to_owned());
        }
    }
    match args.target.as_deref() {
        None => {}
        Some(target) if target.contains(":/") || target.contains('/') => {
            let place = place::Place::parse(target)?;
            let narrowed =
                !ask.prefixes.is_empty() || !ask.objects.is_empty() || !ask.parts.is_empty() || args.whole_bucket;
            ask.bucket = Some(place.bucket);
            match place.key {
                Some(_) if narrowed => {
                    return Err(Failure::usage(
                        "the place names a directory, and flags name others or the whole bucket",
                    )
                    .hint("pass `s3://bucket` with --prefix and --object, each from the bucket's root"));
                }
                Some(directory) => ask.prefixes = vec![place::directory(&without_pattern(&directory, out)?)],
                None if !narrowed && args.from_lease.is_none() => {
                    return Err(Failure::usage(
                        "the place is a whole bucket, and nothing says that all of it is meant",
                    )
                    .hint("name a directory, `s3://bucket/directory`, or pass --whole-bucket"));
                }
                None => {}
            }
        }
        Some(_) if args.from_lease.is_some() => {
            return Err(Failure::usage("--from-lease opens what is inside the lease, not a grant")
                .hint("leave the grant out, or name a place: `s3://bucket/directory`"));
        }
        Some(_) if args.whole_bucket => {
            return Err(Failure::usage("--whole-bucket goes with `s3://bucket`, not with a grant")
                .hint("a grant without --prefix and --object is asked for whole"));
        }
        Some(grant) => ask.grant = Some(grant.to_owned()),
    }
    if ask.prefixes.iter().chain(&ask.objects).any(String::is_empty) {
        return Err(
            Failure::usage("--prefix and --object cannot be empty").hint("leave them out to ask for all of a grant")
        );
    }
    Ok(ask)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Wanted,
    }

    fn asked(line: &[&str]) -> Result<String, Failure> {
        let args =
            Line::try_parse_from([&["creds"], line].concat()).map_err(|error| Failure::usage(error.to_string()))?;
        let out = Out::new(output::Format::Table, output::Color::Never, output::Talk::Quiet);
        ask(&args.args, &out).map(|ask| serde_json::to_string(&ask).unwrap())
    }

    #[test]
    fn a_line_becomes_what_is_asked_of_the_api() {
        for (line, wanted) in [
            (vec![], "{}"),
            (vec!["daily"], r#"{"grant":"daily"}"#),
            (vec!["daily", "--ttl", "1h30m"], r#"{"grant":"daily","ttl_secs":5400}"#),
            (
                vec!["daily", "--ttl-secs", "60", "--access", "read-write"],
                r#"{"grant":"daily","access":"read-write","ttl_secs":60}"#,
            ),
            (
                vec!["daily", "--prefix", "a/b/", "--object", "c/"],
                r#"{"grant":"daily","prefixes":["a/b"],"objects":["c/"]}"#,
            ),
            (vec!["s3://lake/flights/daily/"], r#"{"bucket":"lake","prefixes":["flights/daily"]}"#),
            (vec!["s3://lake/a%2Fb/../c d"], r#"{"bucket":"lake","prefixes":["a%2Fb/../c d"]}"#),
            (vec!["s3://lake", "--object", "x"], r#"{"bucket":"lake","objects":["x"]}"#),
            (vec!["s3://lake/a/b/*.parquet"], r#"{"bucket":"lake","prefixes":["a/b"]}"#),
            (vec!["s3://lake/a/**/x[0-9].csv"], r#"{"bucket":"lake","prefixes":["a"]}"#),
            (vec!["daily", "--prefix", "a/*/b"], r#"{"grant":"daily","prefixes":["a"]}"#),
            (vec!["daily", "--prefix", "a/b[1]"], r#"{"grant":"daily","prefixes":["a/b[1]"]}"#),
            (vec!["s3://lake/", "--whole-bucket"], r#"{"bucket":"lake","whole_bucket":true}"#),
            (
                vec!["s3://lake", "--part", "read=a/", "--part", "write=a/tmp", "--part-object", "read=b=c"],
                r#"{"bucket":"lake","parts":[{"prefixes":["a"],"objects":["b=c"],"access":"read"},{"prefixes":["a/tmp"],"access":"write"}]}"#,
            ),
            (vec!["daily", "--part", "read=a"], r#"{"grant":"daily","parts":[{"prefixes":["a"],"access":"read"}]}"#),
        ] {
            assert_eq!(asked(&line).unwrap(), wanted, "{line:?}");
        }
    }

    #[test]
    fn a_line_that_could_mean_more_than_was_meant_is_refused() {
        for line in [
            vec!["s3://lake"],
            vec!["s3://lake/"],
            vec!["s3:///x"],
            vec!["s3:lake/x"],
            vec!["s3a://lake/x"],
            vec!["lake/x"],
            vec!["s3://lake/*.parquet"],
            vec!["daily", "--object", "a/*.parquet"],
            vec!["daily", "--prefix", "*"],
            vec!["s3://lake/x", "--whole-bucket"],
            vec!["s3://lake/x", "--object", "y"],
            vec!["daily", "--whole-bucket"],
            vec!["daily", "--prefix", ""],
            vec!["daily", "--prefix", "/"],
            vec!["daily", "--part", "a/tmp"],
            vec!["daily", "--part", "all=a"],
            vec!["daily", "--part", "read="],
            vec!["daily", "--part", "read=/"],
            vec!["daily", "--part-object", "read=a/*"],
            vec!["daily", "--part", "read=a", "--prefix", "b"],
            vec!["daily", "--part", "read=a", "--access", "write"],
            vec!["s3://lake", "--part", "read=a", "--whole-bucket"],
            vec!["s3://lake/x", "--part", "read=a"],
            vec!["daily", "--ttl", "1h", "--ttl-secs", "5"],
            vec!["daily", "--ttl", "0s"],
            vec!["daily", "--ttl-secs", "0"],
        ] {
            assert!(asked(&line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn an_ask_is_the_same_after_its_query() {
        for query in [
            "",
            "grant=daily",
            "bucket=lake&prefix=a%2Fb&prefix=c%20d&object=x%26y&access=read%2Dwrite&ttl_secs=60",
            "bucket=lake&part=read%3Da&part=write%3Da%2Ftmp&part_object=write%3Db%3Dc",
        ] {
            let ask = Ask::from_query(query, true).unwrap().unwrap_or_default();
            assert_eq!(ask.query(), query);
        }
        assert_eq!(Ask::from_query("api-version=1", false).unwrap(), None);
    }

    #[test]
    fn a_query_that_is_not_understood_whole_is_refused() {
        for odd in [
            "part=a",
            "part_object=all%3Da",
            "grnat=x",
            "grant=a&grant=b",
            "grant=",
            "access=all",
            "ttl_secs=-1",
            "whole_bucket=yes",
            "grant=%FF",
        ] {
            assert!(Ask::from_query(odd, true).is_err(), "{odd}");
        }
    }
}
