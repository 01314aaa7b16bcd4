//! The registry, as handlers have it: all may look, and who changes something shows its authority.

use std::ops::Deref;
use std::sync::Arc;

use valetkey_core::nouns::registry::{Catalog, Registry};

use super::route::Authority;

/// What there is, and the way to change it.
#[derive(Clone)]
pub struct Registrar(Arc<dyn Registry>);

impl Registrar {
    /// Of a registry.
    pub fn new(registry: Arc<dyn Registry>) -> Self {
        Self(registry)
    }

    /// The registry, to change it. INVARIANT: there is no other way to it here, and only the edge makes an authority.
    pub fn by(&self, _: Authority) -> &dyn Registry {
        &*self.0
    }
}

impl Deref for Registrar {
    type Target = dyn Catalog;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}
