//! The body of a request: the fields that were given, and no others.

use serde::Serialize;
use serde_json::{Map, Value};

/// A JSON object in the making.
#[derive(Clone, Default, Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Body(Map<String, Value>);

impl Body {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Sets a field.
    #[must_use]
    pub(crate) fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// Sets a field, if there is a value.
    #[must_use]
    pub(crate) fn some(self, name: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.set(name, value),
            None => self,
        }
    }

    /// Sets a field to a list, if it has an item.
    #[must_use]
    pub(crate) fn list(self, name: &str, items: Vec<String>) -> Self {
        if items.is_empty() { self } else { self.set(name, items) }
    }
}
