//! A policy as JSON: every key known and said once.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use valetkey_core::Error;
use valetkey_core::name::shortened;

use crate::sts::error::malformed_policy;

/// The versions of the language. In the older one, which is meant where none is said, there are no variables.
const WITH_VARIABLES: &str = "2012-10-17";
const WITHOUT: &str = "2008-10-17";

/// A policy.
pub(super) struct Document {
    pub(super) has_variables: bool,
    pub(super) statements: Vec<Statement>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Written {
    #[serde(default)]
    version: Option<String>,
    #[serde(default, rename = "Id")]
    _id: Option<String>,
    statement: OneOrMany<Statement>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Effect {
    Allow,
    Deny,
}

/// A statement. What is not listed here (`NotAction`, `NotResource`, `Principal`) is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub(super) struct Statement {
    #[serde(default, rename = "Sid")]
    _sid: Option<String>,
    pub(super) effect: Effect,
    pub(super) action: OneOrMany<String>,
    pub(super) resource: OneOrMany<String>,
    #[serde(default)]
    condition: Conditions,
}

impl Document {
    pub(super) fn read(text: &str) -> Result<Self, Error> {
        let unread = |why: &str| malformed_policy(format!("the policy cannot be read: {}", shortened(why)));
        let Written { version, _id, statement } =
            serde_json::from_str(text).map_err(|error| unread(&error.to_string()))?;
        let has_variables = match version.as_deref() {
            Some(WITH_VARIABLES) => true,
            Some(WITHOUT) | None => false,
            Some(_) => return Err(unread("`Version` is `2012-10-17` or `2008-10-17`")),
        };
        let statements = statement.0;
        let empty = |statement: &Statement| statement.action.0.is_empty() || statement.resource.0.is_empty();
        if statements.is_empty() || statements.iter().any(empty) {
            return Err(unread("a statement, its actions or its resources are missing"));
        }
        Ok(Self { has_variables, statements })
    }
}

impl Statement {
    /// Whether it denies everything there is.
    pub(super) fn denies_all(&self) -> bool {
        let all = |list: &OneOrMany<String>| list.0.iter().any(|one| one == "*");
        all(&self.action) && all(&self.resource) && self.condition().is_empty()
    }

    /// The conditions: operator, key and values.
    pub(super) fn condition(&self) -> &[(String, String, Vec<String>)] {
        &self.condition.0
    }
}

/// One value, or an array of some.
pub(super) struct OneOrMany<T>(Vec<T>);

impl<T> OneOrMany<T> {
    pub(super) fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }
}

impl<'a, T> IntoIterator for &'a OneOrMany<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either<T> {
            Many(Vec<T>),
            One(T),
        }
        Ok(Self(match Either::deserialize(deserializer)? {
            Either::Many(all) => all,
            Either::One(one) => vec![one],
        }))
    }
}

/// Conditions as they are written: a map would forget what is said twice.
#[derive(Default)]
struct Conditions(Vec<(String, String, Vec<String>)>);

struct Pairs<T>(Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Reading<T> {
            type Value = Pairs<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<T>, A::Error> {
                let mut pairs: Vec<(String, T)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, T>()? {
                    if pairs.iter().any(|(known, _)| *known == name) {
                        return Err(serde::de::Error::custom("a condition is given twice"));
                    }
                    pairs.push((name, value));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Reading(std::marker::PhantomData))
    }
}

impl<'de> Deserialize<'de> for Conditions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // What other services' conditions compare with may be numbers and truth values too.
        let operators = Pairs::<Pairs<OneOrMany<Scalar>>>::deserialize(deserializer)?;
        let mut all = Vec::new();
        for (operator, keys) in operators.0 {
            // An operator without a key asks nothing of a request, and so nobody means it.
            if keys.0.is_empty() {
                return Err(serde::de::Error::custom("a condition has no key"));
            }
            for (key, values) in keys.0 {
                all.push((operator.clone(), key, values.0.into_iter().map(|value| value.0).collect()));
            }
        }
        Ok(Self(all))
    }
}

/// A text, or what JSON writes without quotes.
struct Scalar(String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Ok(Self(text)),
            value @ (serde_json::Value::Bool(_) | serde_json::Value::Number(_)) => Ok(Self(value.to_string())),
            serde_json::Value::Null | serde_json::Value::Array(_) | serde_json::Value::Object(_) => {
                Err(serde::de::Error::custom("a condition compares with something that is not a value"))
            }
        }
    }
}
