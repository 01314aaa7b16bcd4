//! The registry, as handlers have it: all may look, and who changes something shows its authority.

use std::ops::Deref;
use std::sync::Arc;

use valetkey_core::nouns::administration::Administration;
use valetkey_core::nouns::parent::ParentAdmin;
use valetkey_core::nouns::registry::Catalog;

use super::route::Authority;

/// What there is, and the way to change it.
#[derive(Clone)]
pub struct Registrar {
    all: Arc<dyn Administration>,
    parents: Arc<dyn ParentAdmin>,
}

impl Registrar {
    /// Of a registry, and of the parent access keys beside it.
    pub fn new(all: Arc<dyn Administration>, parents: Arc<dyn ParentAdmin>) -> Self {
        Self { all, parents }
    }

    /// What there is, for who keeps it.
    pub fn catalog(&self) -> Arc<dyn Catalog> {
        Arc::clone(&self.all) as Arc<dyn Catalog>
    }

    /// The registry, to change it. INVARIANT: there is no other way to it here, and only the edge makes an authority.
    pub fn by(&self, _: Authority) -> &dyn Administration {
        &*self.all
    }

    /// The parent access keys, in the same way.
    pub fn parents_by(&self, _: Authority) -> &dyn ParentAdmin {
        &*self.parents
    }
}

impl Deref for Registrar {
    type Target = dyn Catalog;

    fn deref(&self) -> &Self::Target {
        &*self.all
    }
}
