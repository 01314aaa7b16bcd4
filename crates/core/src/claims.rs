//! What an identity token claims, and conditions on that.

use std::fmt;

use jiff::Timestamp;

use crate::error::{Error, Kind};
use crate::id::ProviderId;
use crate::json::Json;
use crate::name::shortened;

/// The claims of a token.
#[derive(Clone, PartialEq, Eq)]
pub struct Claims {
    json: Json,
    text: Box<str>,
}

/// Names and addresses of people are among them: they stay out of logs.
impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Claims({} bytes)", self.text.len())
    }
}

impl Claims {
    /// Reads claims; nothing if they are no object in JSON, or name one twice.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let json = Json::read(bytes)?;
        let text = std::str::from_utf8(bytes).ok()?.into();
        matches!(json, Json::Object(_)).then_some(Self { json, text })
    }

    /// Who says that it issued the token.
    pub fn issuer(&self) -> Option<&str> {
        self.json.get("iss")?.text()
    }

    /// Which login it was issued for.
    pub fn nonce(&self) -> Option<&str> {
        self.json.get("nonce")?.text()
    }

    /// When the token ends.
    pub fn expires(&self) -> Option<Timestamp> {
        self.json.get("exp").and_then(instant)
    }

    /// A claim by its name.
    pub(crate) fn get(&self, name: &str) -> Option<&Json> {
        self.json.get(name)
    }

    /// All of them.
    pub(crate) const fn json(&self) -> &Json {
        &self.json
    }

    /// The claims as the token has them.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// What a caller's identity token claims, and whose word that is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The identity provider that signed the token.
    pub provider: ProviderId,
    /// What it claims.
    pub claims: Claims,
}

/// An instant in seconds since 1970, whole or not.
pub(crate) fn instant(value: &Json) -> Option<Timestamp> {
    match value {
        Json::Whole(secs) => Timestamp::from_second(*secs).ok(),
        Json::Number(text) => {
            let (whole, part) = text.split_once('.')?;
            let plain = part.bytes().all(|byte| byte.is_ascii_digit());
            whole.parse().ok().filter(|_| plain).and_then(|secs| Timestamp::from_second(secs).ok())
        }
        Json::Null | Json::Bool(_) | Json::Text(_) | Json::List(_) | Json::Object(_) => None,
    }
}

/// The longest name of a claim, value or template, in bytes.
const LONGEST: usize = 512;

fn plain(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// The name of a claim, or a JSON pointer to one inside another (RFC 6901; it starts with a slash).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClaimName(Box<str>);

impl ClaimName {
    /// The claim that says whom a token stands for.
    pub(crate) fn sub() -> Self {
        Self("sub".into())
    }

    /// What is missing where a fixed name is no caller's.
    pub(crate) fn caller() -> Self {
        Self("caller".into())
    }

    /// Reads a claim's name.
    ///
    /// # Errors
    /// `Invalid` for one that is empty, too long, or has `=`, `{`, `}` or a control character in it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if !plain(text) || text.contains(['=', '{', '}']) || text.ends_with('?') {
            let said =
                "is not the name of a claim (`repository_id`), nor a pointer to one (`/kubernetes.io/namespace`)";
            return Err(Error::new(Kind::Invalid, format!("`{}` {said}", shortened(text))));
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The claim's value.
    pub fn of<'j>(&self, claims: &'j Json) -> Option<&'j Json> {
        let Some(pointer) = self.0.strip_prefix('/') else { return claims.get(&self.0) };
        pointer.split('/').try_fold(claims, |value, part| value.get(&part.replace("~1", "/").replace("~0", "~")))
    }

    /// The claim as one text: nothing for lists, objects and what is not there or empty.
    pub fn text(&self, claims: &Json) -> Option<String> {
        scalar(self.of(claims)?).filter(|text| !text.is_empty())
    }
}

impl ClaimName {
    /// The values that a condition on the claim is held against, as texts: of a list, each.
    pub(crate) fn values(&self, claims: &Claims) -> Vec<String> {
        match self.of(&claims.json) {
            Some(Json::List(values)) => values.iter().filter_map(scalar).collect(),
            Some(value) => scalar(value).into_iter().collect(),
            None => Vec::new(),
        }
    }
}

fn scalar(value: &Json) -> Option<String> {
    match value {
        Json::Text(text) | Json::Number(text) => Some(text.clone()),
        Json::Whole(number) => Some(number.to_string()),
        Json::Bool(is) => Some(is.to_string()),
        Json::Null | Json::List(_) | Json::Object(_) => None,
    }
}

/// What a claim has to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// This value, byte for byte.
    Exact(Box<str>),
    /// A value of this form, where `*` is anything.
    Like(Box<str>),
}

impl Wanted {
    /// Reads a value, or `glob:` and a pattern; nothing for one that is empty, too long or has a control character.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("glob:") {
            Some(pattern) => plain(pattern).then(|| Self::Like(pattern.into())),
            None => plain(text).then(|| Self::Exact(text.into())),
        }
    }

    /// Whether a text is what is wanted.
    pub fn is(&self, text: &str) -> bool {
        match self {
            Self::Exact(wanted) => *text == **wanted,
            Self::Like(pattern) => is_like(text, pattern),
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(value) => f.write_str(value),
            Self::Like(pattern) => write!(f, "glob:{pattern}"),
        }
    }
}

/// A claim that a rule wants, written `claim=value` or `claim=glob:pattern`. Of a list, any value is enough.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Condition {
    /// Which claim.
    pub claim: ClaimName,
    /// What it has to be.
    pub wanted: Wanted,
}

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let refused = || {
            let said = "is not a condition: write `claim=value`, or `claim=glob:refs/tags/*`";
            Error::new(Kind::Invalid, format!("`{}` {said}", shortened(text)))
        };
        let (claim, value) = text.split_once('=').ok_or_else(refused)?;
        Ok(Self { claim: ClaimName::parse(claim)?, wanted: Wanted::parse(value).ok_or_else(refused)? })
    }

    /// Whether a token's claims hold it: numbers, `true` and `false` by their text in JSON.
    pub fn holds(&self, claims: &Json) -> bool {
        let one = |value: &Json| scalar(value).is_some_and(|text| self.wanted.is(&text));
        match self.claim.of(claims) {
            Some(Json::List(values)) => values.iter().any(one),
            Some(value) => one(value),
            None => false,
        }
    }
}

impl Condition {
    /// Whether claims hold every condition: of those on one claim, any is enough.
    pub fn all_hold(conditions: &[Self], claims: &Claims) -> bool {
        conditions.iter().all(|one| {
            let same = conditions.iter().filter(|other| other.claim == one.claim);
            same.into_iter().any(|other| other.holds(&claims.json))
        })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.claim.as_str(), self.wanted)
    }
}

/// Whether a text has a form in which `*` is anything, also nothing. In time of both lengths multiplied at most.
fn is_like(text: &str, pattern: &str) -> bool {
    let (text, pattern) = (text.as_bytes(), pattern.as_bytes());
    let (mut at, mut of, mut back) = (0, 0, None);
    while at < text.len() {
        match pattern.get(of) {
            Some(b'*') => {
                back = Some((at, of));
                of += 1;
            }
            Some(own) if text.get(at) == Some(own) => {
                at += 1;
                of += 1;
            }
            _ => {
                let Some((from, star)) = back else { return false };
                back = Some((from + 1, star));
                at = from + 1;
                of = star + 1;
            }
        }
    }
    pattern.get(of..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(text: &str) -> Json {
        Json::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_condition_is_read_back_and_compares_values_by_their_text() {
        let claims = json(
            r#"{"a":"x","n":12,"b":true,"l":["p","q",3],"o":{"k.io/x":{"ns":"prod"}},"e":"","z":null,"f":1.50,"r":"refs/heads/main"}"#,
        );
        for (text, holds) in [
            ("a=x", true),
            ("a=X", false),
            ("a=x ", false),
            ("n=12", true),
            ("b=true", true),
            ("b=True", false),
            ("l=q", true),
            ("l=3", true),
            ("l=pq", false),
            ("f=1.50", true),
            ("f=1.5", false),
            ("/o/k.io~1x/ns=prod", true),
            ("/o/k.io/x/ns=prod", false),
            ("o=prod", false),
            ("z=null", false),
            ("missing=x", false),
            ("missing=glob:*", false),
            ("e=glob:*", true),
            ("r=glob:refs/heads/*", true),
            ("r=glob:refs/*/main", true),
            ("r=glob:refs/tags/*", false),
            ("r=glob:*main", true),
            ("r=glob:*mai", false),
            ("r=refs/heads/*", false),
        ] {
            let condition = Condition::parse(text).unwrap();
            assert_eq!(condition.to_string(), text);
            assert_eq!(condition.holds(&claims), holds, "{text}");
        }
        for bad in ["", "a", "=x", "a=", "a=glob:", "a=x\n", "{a}=x", "a?=x"] {
            assert!(Condition::parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_is_like_what_it_was_made_of(parts in prop::collection::vec("[ab]{0,4}", 1..5), fill in "[ab]{0,6}") {
            prop_assert!(is_like(&parts.join(&fill), &parts.join("*")));
        }
    }
}
