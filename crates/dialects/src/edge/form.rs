//! Forms: fields that are decoded exactly once and given at most once. What stands in one may be a secret.

use valetkey_core::name::shortened;
use valetkey_core::{Error, Kind, Secret};

use super::decode::decoded;

/// The most fields of one form: the longest request there is (ten policies, fifty tags) has some 130.
const MOST_FIELDS: usize = 200;

/// The fields of a form, in the order they came.
#[derive(Debug, Default)]
pub struct Form(Vec<(String, Secret<String>)>);

impl Form {
    /// Reads a form, as a body or a query has it.
    ///
    /// # Errors
    /// `Malformed` when it cannot be read, `Invalid` when a field is given twice or there are too many.
    pub fn read(raw: &[u8]) -> Result<Self, Error> {
        let unread = || Error::new(Kind::Malformed, "the form is not made of `name=value` fields");
        let text = std::str::from_utf8(raw).map_err(|_| unread())?;
        let mut form = Self::default();
        for pair in text.trim().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(unread)?;
            form.add(decoded(name)?, Secret::new(decoded(value)?))?;
        }
        Ok(form)
    }

    /// The fields of both.
    ///
    /// # Errors
    /// `Invalid` when a field is in both.
    pub(super) fn and(mut self, other: Self) -> Result<Self, Error> {
        other.0.into_iter().try_for_each(|(name, value)| self.add(name, value))?;
        Ok(self)
    }

    /// Without what proves who sent it.
    pub(super) fn unsigned(self) -> Self {
        self.without(|name| valetkey_sigv4::is_proof(&name.to_ascii_lowercase()))
    }

    /// Without the fields of these names.
    pub(super) fn without(mut self, out: impl Fn(&str) -> bool) -> Self {
        self.0.retain(|(name, _)| !out(name));
        self
    }

    fn add(&mut self, name: String, value: Secret<String>) -> Result<(), Error> {
        if self.get(&name).is_some() {
            let said = format!("the parameter `{}` is given twice", shortened(&name));
            return Err(Error::new(Kind::Invalid, said).at(name));
        }
        if self.0.len() >= MOST_FIELDS {
            return Err(Error::new(Kind::Invalid, format!("the form has more than {MOST_FIELDS} fields")));
        }
        self.0.push((name, value));
        Ok(())
    }

    /// A field's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.reveal().as_str())
    }

    /// Takes a field out.
    pub(super) fn take(&mut self, name: &str) -> Option<Secret<String>> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.remove(at).1)
    }

    /// Every field's name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_decoded_once_and_given_once() {
        let form = Form::read(b" a=x+y%2B&b=%2561&c=\n").unwrap();
        assert_eq!(["a", "b", "c", "d"].map(|name| form.get(name)), [Some("x y+"), Some("%61"), Some(""), None]);
        let kind = |raw: &[u8]| Form::read(raw).map(drop).map_err(|error| error.kind());
        assert_eq!(kind(b""), Ok(()));
        for (raw, expected) in [
            (&b"a=1&a=2"[..], Kind::Invalid),
            (b"a=1&%61=2", Kind::Invalid),
            (b"a", Kind::Malformed),
            (b"a=%zz", Kind::Malformed),
            (b"a=%ff", Kind::Malformed),
            (b"a=\xff", Kind::Malformed),
        ] {
            assert_eq!(kind(raw), Err(expected), "{}", raw.escape_ascii());
        }
        let many = (0..201).map(|at| format!("f{at}=")).collect::<Vec<_>>().join("&");
        assert_eq!(kind(many.as_bytes()), Err(Kind::Invalid));
        let both = Form::read(b"a=1").unwrap().and(Form::read(b"b=2").unwrap()).unwrap();
        assert_eq!((both.get("a"), both.get("b")), (Some("1"), Some("2")));
        assert!(both.and(Form::read(b"b=3").unwrap()).is_err());
        assert!(!format!("{:?}", Form::read(b"token=vkt_abc").unwrap()).contains("vkt_abc"));
    }
}
