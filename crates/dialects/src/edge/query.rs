//! Query parameters: form-decoded exactly once, each at most once, only those a route knows.

use std::borrow::Cow;

use valetkey_core::name::shortened;
use valetkey_core::{Error, Kind};

use super::decode::decoded;
use super::form::Form;

/// The longest query that is read, in bytes: what most servers take of a whole request line.
const LONGEST: usize = 8 * 1024;

/// What becomes of parameters that a route does not know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Others {
    /// They are refused: they could mean anything.
    Refused,
    /// They are passed over, as the API's vendor does.
    Passed,
    /// They are passed over, but for what could only mean to narrow a credential.
    PassedUnlessNarrowing,
}

/// Which parameters a route knows, and what becomes of others.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    /// The ones it knows.
    pub known: &'static [&'static str],
    others: Others,
}

impl Words {
    /// These, and no others.
    pub(super) const fn only(known: &'static [&'static str]) -> Self {
        Self { known, others: Others::Refused }
    }

    /// These; others are passed over.
    pub(super) const fn passing(known: &'static [&'static str]) -> Self {
        Self { known, others: Others::Passed }
    }

    /// These; others are passed over, but for what could only mean to narrow a credential.
    pub(super) const fn vending(known: &'static [&'static str]) -> Self {
        Self { known, others: Others::PassedUnlessNarrowing }
    }

    /// What becomes of others, in a word.
    #[cfg(test)]
    pub(crate) const fn of_others(self) -> &'static str {
        match self.others {
            Others::Refused => "refused",
            Others::Passed => "ignored",
            Others::PassedUnlessNarrowing => "ignored, unless they narrow",
        }
    }

    /// Reads a query.
    ///
    /// # Errors
    /// `Malformed` when it is no UTF-8, badly encoded or too long, `Invalid` when a parameter comes twice or is refused.
    pub(super) fn read(self, raw: Option<&str>) -> Result<Query, Error> {
        let raw = raw.unwrap_or_default();
        if raw.len() > LONGEST {
            let said = format!("the query has {} bytes; the most is {LONGEST}", raw.len());
            return Err(Error::new(Kind::Malformed, said));
        }
        let mut found: Vec<(&'static str, String)> = Vec::new();
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = match decoded(name) {
                Ok(name) => name,
                Err(_) if self.others == Others::Passed => continue,
                Err(error) => return Err(error),
            };
            let Some(known) = self.known.iter().copied().find(|known| *known == name) else {
                if self.refuses(&name) {
                    return Err(unknown(&name, self.known));
                }
                continue;
            };
            if found.iter().any(|(taken, _)| *taken == known) {
                return Err(Error::new(Kind::Invalid, format!("the parameter `{known}` is given twice")).at(known));
            }
            found.push((known, decoded(value)?));
        }
        Ok(Query(found.into_iter().map(|(name, value)| (Cow::Borrowed(name), value)).collect()))
    }

    /// What a form says, of which everything must be known. A known name may have numbered parts: `Tags.member.N.Key`.
    ///
    /// # Errors
    /// `Invalid`.
    pub(super) fn of(self, form: &Form) -> Result<Query, Error> {
        let mut query = Query::default();
        for name in form.names() {
            if !self.known.contains(&&*numberless(name)) {
                return Err(unknown(name, self.known).at(name.to_owned()));
            }
            query.0.push((name.to_owned().into(), form.get(name).unwrap_or_default().to_owned()));
        }
        Ok(query)
    }

    fn refuses(self, name: &str) -> bool {
        match self.others {
            Others::Refused => true,
            Others::Passed => false,
            Others::PassedUnlessNarrowing => narrows(name),
        }
    }
}

/// The query parameters of a request.
#[derive(Clone, Default, Debug)]
pub struct Query(Vec<(Cow<'static, str>, String)>);

impl Query {
    /// The value of a parameter, if it is there.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// The parameters whose names start so, in the order they came.
    pub fn all<'q>(&'q self, start: &'q str) -> impl Iterator<Item = (&'q str, &'q str)> {
        let all = self.0.iter().map(|(name, value)| (&**name, value.as_str()));
        all.filter(move |(name, _)| name.starts_with(start))
    }

    /// The value of a yes-or-no parameter.
    ///
    /// # Errors
    /// `Invalid` when it is neither.
    pub fn flag(&self, name: &'static str) -> Result<Option<bool>, Error> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value {
            "true" | "True" | "1" => Ok(Some(true)),
            "false" | "False" | "0" => Ok(Some(false)),
            _ => Err(Error::new(Kind::Invalid, format!("`{}` is not `true` or `false`", shortened(value))).at(name)),
        }
    }
}

/// What people call the parts of a credential, in any case and with any dashes: where one is made, such a parameter means to
/// narrow it.
const NARROWING: [&str; 32] = [
    "access",
    "action",
    "actions",
    "bucket",
    "bucketname",
    "buckets",
    "dataset",
    "datasets",
    "duration",
    "durationseconds",
    "expiration",
    "expires",
    "expiresin",
    "expiry",
    "key",
    "keys",
    "lifetime",
    "maxttl",
    "object",
    "objects",
    "path",
    "paths",
    "permission",
    "permissions",
    "policy",
    "prefix",
    "prefixes",
    "readonly",
    "scope",
    "scopes",
    "ttl",
    "until",
];

/// Whether a parameter could only mean to narrow what is made.
pub(super) fn narrows(name: &str) -> bool {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    let unit = ["seconds", "secs", "s", "minutes", "hours"].iter().find_map(|unit| plain.strip_suffix(unit));
    NARROWING.contains(&&*plain) || unit.is_some_and(|stem| NARROWING.contains(&stem))
}

fn unknown(name: &str, allowed: &[&str]) -> Error {
    let known = match allowed {
        [] => "this route takes none".to_owned(),
        names => format!("this route takes `{}`", names.join("`, `")),
    };
    Error::new(Kind::Invalid, format!("unknown parameter `{}`; {known}", shortened(name)))
}

/// A name with `N` for each number in it that is written as numbers are.
fn numberless(name: &str) -> String {
    let is_number = |part: &&str| {
        part.len() <= 3 && !part.starts_with('0') && !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    let parts: Vec<&str> = name.split('.').map(|part| if is_number(&part) { "N" } else { part }).collect();
    parts.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(raw: &str) -> Result<Vec<(&'static str, String)>, (Kind, String)> {
        Words::only(&["a", "b"])
            .read(Some(raw))
            .map(|query| query.0.into_iter().map(|(name, value)| (&*name.into_owned().leak(), value)).collect())
            .map_err(|error| (error.kind(), error.to_string()))
    }

    #[test]
    fn parameters_are_decoded_exactly_once() {
        assert_eq!(read("a=%2561&b=x+y%2B").unwrap(), [("a", "%61".to_owned()), ("b", "x y+".to_owned())]);
        assert_eq!(read("").unwrap(), []);
        assert_eq!(read("&&a&").unwrap(), [("a", String::new())]);
    }

    #[test]
    fn what_is_not_known_is_passed_over_unless_it_means_to_narrow() {
        let read = |raw: &str| Words::vending(&["a"]).read(Some(raw)).map(|query| query.0.len()).ok();
        for (raw, known) in [("x=1&a=2", 1), ("utm_source=mail", 0), ("_=17&pretty", 0), ("api_version=2&A=1", 0)] {
            assert_eq!(read(raw), Some(known), "{raw}");
        }
        for raw in [
            "prefix=x",
            "Prefix=x",
            "ttl=1",
            "ttl_seconds=1",
            "ttlSecs=1",
            "duration-seconds=9",
            "READ_ONLY=1",
            "expires_in=1",
        ] {
            assert_eq!(read(raw), None, "{raw}");
        }
        assert_eq!(read("a=1&a=2"), None);
    }

    #[test]
    fn what_is_not_clear_is_refused() {
        for (raw, kind, words) in [
            ("a=1&a=2", Kind::Invalid, "the parameter `a` is given twice"),
            ("a=1&%61=2", Kind::Invalid, "the parameter `a` is given twice"),
            ("A=1", Kind::Invalid, "unknown parameter `A`; this route takes `a`, `b`"),
            ("a=%ff", Kind::Malformed, "the query is not UTF-8"),
            ("a=%zz", Kind::Malformed, "the query has a `%` without two hexadecimal digits"),
            ("a=%4", Kind::Malformed, "the query has a `%` without two hexadecimal digits"),
        ] {
            assert_eq!(read(raw), Err((kind, words.to_owned())), "{raw}");
        }
        assert_eq!(read(&"a".repeat(9000)).unwrap_err().0, Kind::Malformed);
    }
}
