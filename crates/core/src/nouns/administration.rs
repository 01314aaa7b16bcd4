//! All that administration changes of what one database keeps.

use crate::nouns::registry::Registry;
use crate::nouns::share::ShareAdmin;
use crate::nouns::workspace::WorkspaceAdmin;

/// The writing half of every noun: nobody comes to it without an authority.
pub trait Administration: Registry + ShareAdmin + WorkspaceAdmin {}

impl<T: Registry + ShareAdmin + WorkspaceAdmin> Administration for T {}
