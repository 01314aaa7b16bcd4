//! Which pages of other origins may use a bucket, or a route, from a browser (Fetch Standard, section 3.2; Amazon S3 User Guide,
//! "Using cross-origin resource sharing"). A rule opens nothing: whoever asks needs a credential all the same.

use std::borrow::Cow;

use async_trait::async_trait;

use crate::error::{Error, Kind};
use crate::field::Attribute;
use crate::id::StorageId;
use crate::name::BucketName;

/// The most rules of a bucket, as S3 has it.
pub const MOST_RULES: usize = 100;
/// The most names in one list of a rule, and the longest of them in bytes.
const MOST_NAMES: usize = 100;
const LONGEST_NAME: usize = 256;
/// The longest that a browser may be told to remember, in seconds.
const LONGEST_AGE: u32 = 86_400;
/// The methods that a rule may have.
const METHODS: [&str; 5] = ["GET", "HEAD", "PUT", "POST", "DELETE"];

/// What a rule consists of.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rule {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Origins; one `*` in each stands for any text.
    pub origins: Vec<String>,
    /// Methods.
    pub methods: Vec<String>,
    /// Headers that a page may send; one `*` in each stands for any text.
    pub headers: Vec<String>,
    /// Headers of an answer that a page may read.
    pub exposed: Vec<String>,
    /// For how many seconds a browser may remember.
    pub max_age_secs: Option<u32>,
}

/// A bucket's rules: each can be written into headers as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules(Box<[Rule]>);

/// What a page is allowed.
#[derive(Clone, Copy, Debug)]
pub struct Allowed<'r> {
    rule: &'r Rule,
    /// What the page's origin was answered with: itself, or `*`.
    pub origin: &'r str,
}

impl Allowed<'_> {
    /// The methods, as a header has them.
    pub fn methods(&self) -> String {
        self.rule.methods.join(", ")
    }

    /// The headers that may be read, as a header has them; nothing if there are none.
    pub fn exposed(&self) -> Option<String> {
        Some(self.rule.exposed.join(", ")).filter(|names| !names.is_empty())
    }

    /// How long a browser may remember.
    pub fn max_age_secs(&self) -> Option<u32> {
        self.rule.max_age_secs
    }
}

/// Whether a text is what a pattern with at most one `*` means.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((front, back)) => text.strip_prefix(front).is_some_and(|rest| rest.ends_with(back)),
    }
}

fn invalid(at: Attribute, said: impl Into<Cow<'static, str>>) -> Error {
    Error::new(Kind::Invalid, said).at(at)
}

/// Refuses a list of names that are not what headers can have.
fn names(at: Attribute, names: &[String], wildcard: bool) -> Result<(), Error> {
    if names.len() > MOST_NAMES {
        return Err(invalid(at, format!("a rule has at most {MOST_NAMES} of them")));
    }
    for name in names {
        let shown = crate::name::shortened(name);
        let good = !name.is_empty()
            && name.len() <= LONGEST_NAME
            && name.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b',' | b'"'));
        if !good {
            return Err(invalid(
                at,
                format!("`{shown}` is not 1 to {LONGEST_NAME} visible ASCII characters without commas"),
            ));
        }
        match name.matches('*').count() {
            0 => {}
            1 if wildcard => {}
            1 => return Err(invalid(at, format!("`{shown}` has a `*`; here each name is written out"))),
            _ => return Err(invalid(at, format!("`{shown}` has more than one `*`"))),
        }
    }
    Ok(())
}

impl Rule {
    fn check(&self) -> Result<(), Error> {
        let Self { name, origins, methods, headers, exposed, max_age_secs } = self;
        if name.as_ref().is_some_and(|name| name.len() > 255 || name.contains(char::is_control)) {
            return Err(invalid(Attribute::Id, "a rule's name has at most 255 bytes and no control characters"));
        }
        if origins.is_empty() {
            return Err(invalid(Attribute::AllowedOrigins, "a rule has at least one origin"));
        }
        names(Attribute::AllowedOrigins, origins, true)?;
        for origin in origins {
            let host = origin.split_once("://").map_or("", |(_, host)| host);
            if *origin != "*" && (host.is_empty() || host.contains('/')) {
                let said = format!(
                    "`{}` is not an origin: a scheme, a host and perhaps a port, as in https://app.example.com, without a \
                     slash at its end",
                    crate::name::shortened(origin)
                );
                return Err(invalid(Attribute::AllowedOrigins, said));
            }
        }
        if methods.is_empty() {
            return Err(invalid(Attribute::AllowedMethods, "a rule has at least one method"));
        }
        if let Some(method) = methods.iter().find(|method| !METHODS.contains(&method.as_str())) {
            let said = format!("`{}` is none of {}", crate::name::shortened(method), METHODS.join(", "));
            return Err(invalid(Attribute::AllowedMethods, said));
        }
        names(Attribute::AllowedHeaders, headers, true)?;
        names(Attribute::ExposedHeaders, exposed, false)?;
        if max_age_secs.is_some_and(|secs| secs > LONGEST_AGE) {
            return Err(invalid(Attribute::MaxAge, format!("the longest is {LONGEST_AGE} seconds")));
        }
        Ok(())
    }

    fn origin<'r>(&'r self, origin: &'r str) -> Option<&'r str> {
        if self.origins.iter().any(|own| own == "*") {
            return Some("*");
        }
        self.origins.iter().any(|own| fits(own, origin)).then_some(origin)
    }
}

impl Rules {
    /// Checks rules.
    ///
    /// # Errors
    /// `Invalid` with the field's name.
    pub fn new(rules: Vec<Rule>) -> Result<Self, Error> {
        if rules.is_empty() || rules.len() > MOST_RULES {
            return Err(invalid(Attribute::Rules, format!("there are 1 to {MOST_RULES} rules")));
        }
        rules.iter().try_for_each(Rule::check)?;
        Ok(Self(rules.into()))
    }

    /// One rule that allows pages of these origins everything that their credentials open; nothing if there are none.
    ///
    /// # Errors
    /// `Invalid` when one is not an origin.
    pub fn of_origins(origins: &[String], exposed: &[&str]) -> Result<Option<Self>, Error> {
        if origins.is_empty() {
            return Ok(None);
        }
        let rule = Rule {
            name: None,
            origins: origins.to_vec(),
            methods: METHODS.map(str::to_owned).to_vec(),
            headers: vec!["*".to_owned()],
            exposed: exposed.iter().map(|name| (*name).to_owned()).collect(),
            max_age_secs: Some(3600),
        };
        Self::new(vec![rule]).map(Some)
    }

    /// The rules.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter()
    }

    /// What a page of this origin is allowed that asks with this method.
    pub fn answer<'r>(&'r self, origin: &'r str, method: &str) -> Option<Allowed<'r>> {
        let allows = |rule: &&Rule| rule.methods.iter().any(|own| own == method);
        self.0.iter().filter(allows).find_map(|rule| Some(Allowed { rule, origin: rule.origin(origin)? }))
    }

    /// The same for a page that asks before: its headers have to be allowed too.
    pub fn preflight<'r>(&'r self, origin: &'r str, method: &str, headers: &[&str]) -> Option<Allowed<'r>> {
        let sends = |rule: &&Rule| {
            let allowed = |name: &&str| {
                let name = name.to_ascii_lowercase();
                rule.headers.iter().any(|own| fits(&own.to_ascii_lowercase(), &name))
            };
            rule.methods.iter().any(|own| own == method) && headers.iter().all(allowed)
        };
        self.0.iter().filter(sends).find_map(|rule| Some(Allowed { rule, origin: rule.origin(origin)? }))
    }
}

/// Where buckets' rules are kept.
#[async_trait]
pub trait CorsRules: Send + Sync {
    /// A bucket's own rules, if it has some.
    ///
    /// # Errors
    /// `NotFound` when the bucket is not served here.
    async fn cors(&self, storage: StorageId, bucket: &BucketName) -> Result<Option<Rules>, Error>;

    /// Gives a bucket rules in place of those it has; none take them away.
    ///
    /// # Errors
    /// `NotFound` when the bucket is not served here, `Unavailable` when it cannot be written.
    async fn set_cors(&self, storage: StorageId, bucket: &BucketName, rules: Option<Rules>) -> Result<(), Error>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(origins: &[&str], methods: &[&str], headers: &[&str]) -> Rule {
        let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Rule { origins: all(origins), methods: all(methods), headers: all(headers), ..Rule::default() }
    }

    #[test]
    fn the_first_rule_that_fits_answers() {
        let rules = Rules::new(vec![
            rule(&["https://one.example", "http://*.two.example:8080"], &["GET", "PUT"], &["x-amz-*", "Content-Type"]),
            rule(&["*"], &["GET"], &[]),
        ])
        .unwrap();
        let answer = |origin: &str, method: &str| rules.answer(origin, method).map(|allowed| allowed.origin.to_owned());
        for (origin, method, answered) in [
            ("https://one.example", "GET", Some("https://one.example")),
            ("https://one.example", "PUT", Some("https://one.example")),
            ("http://a.two.example:8080", "PUT", Some("http://a.two.example:8080")),
            ("http://a.two.example", "PUT", None),
            ("https://a.two.example:8080", "PUT", None),
            ("https://one.example.evil", "PUT", None),
            ("https://one.examplee", "GET", Some("*")),
            ("null", "GET", Some("*")),
            ("https://one.example", "DELETE", None),
        ] {
            assert_eq!(answer(origin, method).as_deref(), answered, "{origin} {method}");
        }
        let asked = |headers: &[&str]| rules.preflight("https://one.example", "PUT", headers).is_some();
        assert!(asked(&[]) && asked(&["X-Amz-Date", "content-type"]));
        assert!(!asked(&["x-amz-date", "authorization"]));
        // Without headers the second rule answers what the first does not.
        assert!(rules.preflight("https://one.example", "GET", &["authorization"]).is_none());
        assert_eq!(rules.preflight("https://other.example", "GET", &[]).unwrap().origin, "*");
    }

    #[test]
    fn rules_that_no_header_could_say_are_refused() {
        let refused = |rule: Rule| Rules::new(vec![rule]).unwrap_err().field().map(str::to_owned);
        for origins in
            [&[][..], &["example.com"], &["https://a.example/"], &["https://*.*.example"], &["https://a,b"], &[""]]
        {
            assert_eq!(refused(rule(origins, &["GET"], &[])).as_deref(), Some("allowed_origins"), "{origins:?}");
        }
        for methods in [&[][..], &["get"], &["PATCH"], &["OPTIONS"], &["*"]] {
            assert_eq!(refused(rule(&["*"], methods, &[])).as_deref(), Some("allowed_methods"), "{methods:?}");
        }
        assert_eq!(refused(rule(&["*"], &["GET"], &["a\r\nb"])).as_deref(), Some("allowed_headers"));
        let exposing = Rule { exposed: vec!["*".to_owned()], ..rule(&["*"], &["GET"], &[]) };
        assert_eq!(refused(exposing).as_deref(), Some("exposed_headers"));
        let long = Rule { max_age_secs: Some(86_401), ..rule(&["*"], &["GET"], &[]) };
        assert_eq!(refused(long).as_deref(), Some("max_age_secs"));
        assert!(Rules::new(vec![]).is_err());
        assert!(Rules::new(vec![rule(&["*"], &["GET"], &[]); MOST_RULES + 1]).is_err());
    }
}
