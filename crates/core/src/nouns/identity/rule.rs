//! What a trust rule is made of: the claims it wants, the subject they make, and the name of the caller that a token becomes.

use std::fmt;

use aws_lc_rs::digest;

use crate::claims::ClaimName;
use crate::error::{Error, Kind};
use crate::json::Json;
use crate::name::{Name, shortened};

/// A claim of which a subject is made; `?` behind it in writing: it may be missing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SubjectClaim {
    /// Which.
    pub claim: ClaimName,
    /// Whether a token without it has a subject.
    pub optional: bool,
}

impl SubjectClaim {
    /// Reads one.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (name, optional) = text.strip_suffix('?').map_or((text, false), |name| (name, true));
        Ok(Self { claim: ClaimName::parse(name)?, optional })
    }
}

impl fmt::Display for SubjectClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.claim.as_str(), if self.optional { "?" } else { "" })
    }
}

/// Who a token stands for at its issuer: its claims with slashes between them. A slash inside of one is escaped, so that no two
/// tokens of different claims have the same.
///
/// # Errors
/// The claim that is missing.
pub(super) fn subject(parts: &[SubjectClaim], claims: &Json) -> Result<String, ClaimName> {
    let mut whole = Vec::with_capacity(parts.len());
    for part in parts {
        match part.claim.text(claims) {
            Some(text) if parts.len() > 1 => whole.push(text.replace('%', "%25").replace('/', "%2F")),
            Some(text) => whole.push(text),
            None if part.optional => whole.push(String::new()),
            None => return Err(part.claim.clone()),
        }
    }
    Ok(whole.join("/"))
}

/// The name of the caller that a token becomes: a fixed one, or one with `{claim}` or `{subject}` in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallerTemplate {
    before: Box<str>,
    claim: Option<Filling>,
    after: Box<str>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Filling {
    Subject,
    Claim(ClaimName),
}

impl CallerTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// `Invalid` for one with more than one placeholder (two callers could get one name), or that could be no caller's name.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let refused = |why: &str| {
            let said = format!(
                "`{}` is not the name of a caller, nor one like `ci-{{repository_id}}`: {why}",
                shortened(text)
            );
            Err(Error::new(Kind::Invalid, said))
        };
        let Some((before, rest)) = text.split_once('{') else {
            Name::parse(text)?;
            return Ok(Self { before: text.into(), claim: None, after: "".into() });
        };
        let Some((claim, after)) = rest.split_once('}') else { return refused("a brace is not closed") };
        if after.contains(['{', '}']) || before.contains('}') {
            return refused("it has more than one placeholder");
        }
        let claim = if claim == "subject" { Filling::Subject } else { Filling::Claim(ClaimName::parse(claim)?) };
        // What is filled in has up to 41 characters, and a name 63.
        if before.len() + after.len() > 22 || Name::parse(&format!("{before}x{after}")).is_err() {
            return refused("around the placeholder it has at most 22 of a-z, 0-9, `-`, `_` and `.`");
        }
        Ok(Self { before: before.into(), claim: Some(claim), after: after.into() })
    }

    /// Whether it names one caller, whatever the token.
    pub const fn is_fixed(&self) -> bool {
        self.claim.is_none()
    }

    /// The caller's name for a token.
    ///
    /// # Errors
    /// The claim that is missing.
    pub fn fill(&self, subject: &str, claims: &Json) -> Result<Name, ClaimName> {
        let Self { before, claim, after } = self;
        let (value, named) = match claim {
            None => return Name::parse(before).map_err(|_| ClaimName::caller()),
            Some(Filling::Subject) => (subject.to_owned(), ClaimName::sub()),
            Some(Filling::Claim(claim)) => (claim.text(claims).ok_or_else(|| claim.clone())?, claim.clone()),
        };
        Name::parse(&format!("{before}{}{after}", as_name(&value))).map_err(|_| named)
    }
}

impl fmt::Display for CallerTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { before, claim, after } = self;
        match claim {
            None => f.write_str(before),
            Some(Filling::Subject) => write!(f, "{before}{{subject}}{after}"),
            Some(Filling::Claim(claim)) => write!(f, "{before}{{{}}}{after}", claim.as_str()),
        }
    }
}

/// A value as a part of a name. SECURITY: no two values give the same: one that is not taken as it is gets a digest behind a dot, and
/// one that has a dot is never taken as it is.
fn as_name(value: &str) -> String {
    if value.len() <= 41 && !value.contains('.') && Name::parse(value).is_ok() {
        return value.to_owned();
    }
    let own = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let lower = value.to_ascii_lowercase();
    let readable: String = lower.chars().map(|c| if own(c) { c } else { '-' }).take(24).collect();
    let hash = digest::digest(&digest::SHA256, value.as_bytes());
    let hash = data_encoding::HEXLOWER.encode(hash.as_ref().get(..8).unwrap_or_default());
    match readable.trim_matches('-') {
        "" => format!("x.{hash}"),
        readable => format!("{readable}.{hash}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(text: &str) -> Json {
        Json::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_subject_tells_claims_apart() {
        let parts = |texts: &[&str]| texts.iter().map(|text| SubjectClaim::parse(text).unwrap()).collect::<Vec<_>>();
        let of = |texts: &[&str], claims: &str| subject(&parts(texts), &json(claims));
        assert_eq!(of(&["sub"], r#"{"sub":"a/b"}"#).unwrap(), "a/b");
        assert_eq!(of(&["r", "e?"], r#"{"r":1,"e":"x/y"}"#).unwrap(), "1/x%2Fy");
        assert_eq!(of(&["r", "e?"], r#"{"r":"1/x"}"#).unwrap(), "1%2Fx/");
        assert_eq!(of(&["sub"], r#"{"sub":""}"#).unwrap_err().as_str(), "sub");
        assert!(of(&["sub"], r#"{"sub":["a"]}"#).is_err());
    }

    #[test]
    fn a_template_names_one_caller_for_each_value() {
        let fill = |text: &str, value: &str| {
            let claims = Json::Object(vec![("id".to_owned(), Json::Text(value.to_owned()))]);
            CallerTemplate::parse(text).unwrap().fill("sub", &claims).map(|name| name.to_string())
        };
        assert_eq!(fill("ci-{id}", "123").unwrap(), "ci-123");
        assert_eq!(fill("fixed", "123").unwrap(), "fixed");
        assert_eq!(fill("{subject}", "123").unwrap(), "sub");
        assert!(fill("ci-{id}", "").is_err());
        let (one, two) = (fill("ci-{id}", "Org/Repo").unwrap(), fill("ci-{id}", "org/repo").unwrap());
        assert_ne!(one, two);
        assert!(one.starts_with("ci-org-repo."), "{one}");
        // Whoever chooses the readable form of another's value does not get its name.
        assert_ne!(fill("ci-{id}", one.strip_prefix("ci-").unwrap()).unwrap(), one);
        for bad in
            ["", "A", "{a", "a}", "{a}{b}", "{a}-{b}", "-{a}", "{a}-", "aaaaaaaaaaaaaaaaaaaaaaa{a}", "{}", "{a=b}"]
        {
            assert!(CallerTemplate::parse(bad).is_err(), "{bad}");
        }
        for good in ["ci-{repository_id}", "{/kubernetes.io/namespace}", "x", "{subject}.k8s"] {
            assert_eq!(CallerTemplate::parse(good).unwrap().to_string(), good);
        }
    }

    proptest! {
        #[test]
        fn different_values_never_get_one_name(one in "[a-cA-C./-]{0,30}", two in "[a-cA-C./-]{0,30}") {
            prop_assert_eq!(as_name(&one) == as_name(&two), one == two);
        }

        #[test]
        fn any_value_can_be_named(value in ".{1,200}") {
            let name = format!("x-{}", as_name(&value));
            prop_assert!(Name::parse(&name).is_ok(), "{}", name);
        }
    }
}
