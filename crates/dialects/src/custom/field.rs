//! The fields of a request: typed, each at most once, and no others.

use std::collections::BTreeMap;
use std::fmt;

use http::HeaderName;
use minijinja::Value;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use valetkey_core::name::shortened;
use valetkey_core::{Error, Kind};

use super::path::is_name;
use super::template::NASTY;
use super::text::{Opens, kept};
use super::written::{self, Means, Place};
use crate::edge::{Call, json};

/// The longest value of a field, in bytes.
const LONGEST: usize = 1024;
/// The bounds of a lifetime in seconds where a file has none: the grant's and the storage's count in any case.
const LEAST_SECS: u32 = 1;
const MOST_SECS: u32 = 604_800;

/// A field, as its route knows it.
pub(super) struct Field {
    /// Its name in the file, for templates and placeholders.
    pub(super) key: &'static str,
    /// Its name in requests.
    name: &'static str,
    /// Where it is, as a refusal says it.
    told_as: &'static str,
    place: Place,
    required: bool,
    default: Option<String>,
    one_of: Option<Vec<String>>,
    pub(super) means: Option<Means>,
    bounds: (u32, u32),
}

/// One value of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Given {
    Word(String),
    Number(u32),
}

impl From<&Given> for Value {
    fn from(given: &Given) -> Self {
        match given {
            Given::Word(text) => Self::from(text.as_str()),
            Given::Number(number) => Self::from(*number),
        }
    }
}

impl Field {
    pub(super) fn read(key: &str, written: written::Field) -> Result<Self, String> {
        let written::Field { place, name, required, default, one_of, means, least, most } = written;
        let at = |said: &str| format!("field `{key}`: {said}");
        if !is_name(key) {
            return Err(at("its name has letters, digits and `_`"));
        }
        let name = name.unwrap_or_else(|| key.to_owned());
        if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
            return Err(at("`name` has 1 to 64 characters"));
        }
        let told_as = match place {
            Place::Body | Place::Query => name.clone(),
            Place::Header => {
                let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| at("`name` is not a header's"))?;
                if ["authorization", "cookie", "host"].contains(&header.as_str()) {
                    return Err(at("this header has a meaning of its own"));
                }
                format!("header.{header}")
            }
        };
        let number = means == Some(Means::Ttl);
        if !number && (least.is_some() || most.is_some()) {
            return Err(at("`least` and `most` go with `means = \"ttl\"`"));
        }
        let bounds = (least.unwrap_or(LEAST_SECS), most.unwrap_or(MOST_SECS));
        if bounds.0 > bounds.1 {
            return Err(at("`least` is more than `most`"));
        }
        if means == Some(Means::Access) && one_of.is_some() {
            return Err(at("an access is `read`, `write` or `read-write`"));
        }
        if number && (one_of.is_some() || default.is_some()) {
            return Err(at("a lifetime has no `one_of` and no `default`: say `ttl_secs` of the route"));
        }
        let one_of = if means == Some(Means::Access) {
            Some(["read", "write", "read-write"].map(str::to_owned).to_vec())
        } else {
            one_of
        };
        let fits = |word: &String| one_of.as_ref().is_none_or(|words| words.contains(word));
        if one_of.as_ref().is_some_and(Vec::is_empty) || default.as_ref().is_some_and(|word| !fits(word)) {
            return Err(at("`default` is one of `one_of`, which is not empty"));
        }
        if required && default.is_some() {
            return Err(at("what is required has no default"));
        }
        let (key, name, told_as) = (kept(key), kept(name), kept(told_as));
        Ok(Self { key, name, told_as, place, required, default, one_of, means, bounds })
    }

    /// What fields together may not be.
    pub(super) fn check_all(fields: &[Self], opens: &Opens) -> Result<(), String> {
        for (number, field) in fields.iter().enumerate() {
            let before = fields.get(..number).unwrap_or_default();
            let same = |other: &Self| {
                let same_name = other.place == field.place && other.told_as == field.told_as;
                same_name || (other.means.is_some() && other.means == field.means)
            };
            if before.iter().any(same) {
                return Err(format!("field `{}`: another has its name or its meaning", field.key));
            }
            let fits = match field.means {
                Some(Means::Bucket) => matches!(opens, Opens::Datasets),
                Some(Means::Prefix) => matches!(opens, Opens::Place(..) | Opens::Grant(_)),
                Some(Means::Access) => !matches!(opens, Opens::Workspace(_)),
                Some(Means::Ttl) | None => true,
            };
            if !fits {
                return Err(format!("field `{}`: it has no meaning for what this route opens", field.key));
            }
        }
        Ok(())
    }

    pub(super) fn is_in_body(&self) -> bool {
        self.place == Place::Body
    }

    /// Whether it is a word without a meaning of its own, and so may stand in a text.
    pub(super) fn is_word(&self) -> bool {
        self.means.is_none()
    }

    /// The parameter of the query that it is.
    pub(super) fn in_query(&self) -> Option<&'static str> {
        (self.place == Place::Query).then_some(self.name)
    }

    /// What it is called, whether it must be there and what it may be: for the description of the API.
    pub(super) fn described(&self) -> (&'static str, &'static str, bool, serde_json::Value) {
        let place = match self.place {
            Place::Body => "body",
            Place::Query => "query",
            Place::Header => "header",
        };
        let schema = match (&self.one_of, self.means) {
            (Some(words), _) => serde_json::json!({"type": "string", "enum": words}),
            (None, Some(Means::Ttl)) => {
                serde_json::json!({"type": "integer", "minimum": self.bounds.0, "maximum": self.bounds.1})
            }
            (None, Some(Means::Prefix | Means::Bucket | Means::Access) | None) => {
                serde_json::json!({"type": "string", "maxLength": LONGEST})
            }
        };
        (place, self.name, self.required, schema)
    }

    /// What refusals call it.
    pub(super) fn told_as(&self) -> &'static str {
        self.told_as
    }

    /// A value for the check of templates.
    pub(super) fn sample(&self, full: bool) -> Value {
        match (&self.one_of, self.means) {
            (Some(words), _) => words.first().map_or_else(|| Value::from(()), |word| Value::from(word.as_str())),
            (None, Some(Means::Ttl)) if full => Value::from(self.bounds.0),
            (None, _) if full || self.required => Value::from(NASTY),
            (None, _) => self.default.as_deref().map_or_else(|| Value::from(()), Value::from),
        }
    }

    /// Takes its value out of a request; nothing where it was not given and has no default.
    fn of(&self, call: &Call, body: &mut Object) -> Result<Option<Given>, Error> {
        let bad = |said: String| Error::new(Kind::Invalid, said).at(self.told_as);
        let given = match self.place {
            Place::Body => body.take(self.name),
            Place::Query => call.query.get(self.name).map(|text| serde_json::Value::from(text.to_owned())),
            Place::Header => {
                let mut all = call.headers.get_all(self.name).iter();
                let (value, more) = (all.next(), all.next());
                if more.is_some() {
                    return Err(bad(format!("the header `{}` is given twice", self.name)));
                }
                let text = value.map(|value| value.to_str().map(str::to_ascii_lowercase));
                text.transpose()
                    .map_err(|_| bad(self.words().unwrap_or_else(|| format!("`{}` is not text", self.name))))?
                    .map(serde_json::Value::from)
            }
        };
        let given = match given {
            None | Some(serde_json::Value::Null) => match &self.default {
                Some(word) => return Ok(Some(Given::Word(word.clone()))),
                None if self.required => return Err(bad(format!("the field `{}` is missing", self.name))),
                None => return Ok(None),
            },
            Some(given) => given,
        };
        match self.means {
            Some(Means::Ttl) => {
                let number = match given.as_str().filter(|_| self.place != Place::Body) {
                    Some(text) => text.parse().ok(),
                    None => given.as_u64().and_then(|number| u32::try_from(number).ok()),
                };
                let (least, most) = self.bounds;
                let number = number.filter(|number| (least..=most).contains(number));
                number
                    .map(|number| Some(Given::Number(number)))
                    .ok_or_else(|| bad(format!("`{}` is a number of seconds from {least} to {most}", self.name)))
            }
            Some(Means::Prefix | Means::Bucket | Means::Access) | None => {
                let text = given.as_str().filter(|text| text.len() <= LONGEST);
                let text =
                    text.ok_or_else(|| bad(format!("`{}` is a string of at most {LONGEST} bytes", self.name)))?;
                match &self.one_of {
                    Some(words) if !words.iter().any(|word| word == text) => Err(bad(self.words().unwrap_or_default())),
                    Some(_) | None => Ok(Some(Given::Word(text.to_owned()))),
                }
            }
        }
    }

    /// Which words there are.
    fn words(&self) -> Option<String> {
        self.one_of.as_ref().map(|words| format!("`{}` is `{}`", self.name, words.join("` or `")))
    }
}

/// A JSON object, each of whose fields is there once.
#[derive(Default)]
struct Object(Vec<(String, serde_json::Value)>);

impl Object {
    fn take(&mut self, name: &str) -> Option<serde_json::Value> {
        let at = self.0.iter().position(|(own, _)| own == name)?;
        Some(self.0.remove(at).1)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut all: Vec<(String, serde_json::Value)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, serde_json::Value>()? {
                    if all.iter().any(|(own, _)| *own == name) {
                        return Err(A::Error::custom(format!("the field `{}` is given twice", shortened(&name))));
                    }
                    all.push((name, value));
                }
                Ok(Object(all))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// What a request says, by the keys of its fields. What no field is, is refused.
pub(super) fn read(fields: &[Field], call: &Call) -> Result<BTreeMap<&'static str, Given>, Error> {
    let mut body = body(fields, call)?;
    let mut all = BTreeMap::new();
    for field in fields {
        if let Some(given) = field.of(call, &mut body)? {
            all.insert(field.key, given);
        }
    }
    match body.0.first() {
        None => Ok(all),
        Some((name, _)) => {
            let known: Vec<&str> = fields.iter().filter(|field| field.is_in_body()).map(|field| field.name).collect();
            let said = format!("unknown field `{}`; there are `{}`", shortened(name), known.join("`, `"));
            Err(Error::new(Kind::Invalid, said).at(name.clone()))
        }
    }
}

/// The object of a body. A route without fields in it takes none, and none that says anything.
fn body(fields: &[Field], call: &Call) -> Result<Object, Error> {
    let blank = call.body.iter().all(u8::is_ascii_whitespace);
    if fields.iter().any(Field::is_in_body) {
        return if blank { Ok(Object::default()) } else { json(&call.body) };
    }
    if call.method != http::Method::POST {
        let none = Error::new(Kind::Invalid, "this route takes no body").at("body");
        return if call.body.is_empty() { Ok(Object::default()) } else { Err(none) };
    }
    if blank {
        return Ok(Object::default());
    }
    let value: serde_json::Value = serde_json::from_slice(&call.body)
        .map_err(|error| Error::new(Kind::Malformed, "the body is not JSON; this route needs none").caused_by(error))?;
    let says_nothing = value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
    if says_nothing {
        return Ok(Object::default());
    }
    Err(Error::new(Kind::Invalid, "this route takes no fields; send no body or `{}`").at("body"))
}
