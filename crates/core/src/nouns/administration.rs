//! All that administration changes of what one database keeps.

use crate::nouns::identity::IdentityAdmin;
use crate::nouns::policy_set::PolicySetAdmin;
use crate::nouns::registry::Registry;
use crate::nouns::request::RequestAdmin;
use crate::nouns::share::ShareAdmin;
use crate::nouns::signing::SigningAdmin;
use crate::nouns::workspace::WorkspaceAdmin;

/// The writing half of every noun: nobody comes to it without an authority.
pub trait Administration:
    Registry + ShareAdmin + WorkspaceAdmin + IdentityAdmin + RequestAdmin + SigningAdmin + PolicySetAdmin
{
}

impl<T: Registry + ShareAdmin + WorkspaceAdmin + IdentityAdmin + RequestAdmin + SigningAdmin + PolicySetAdmin>
    Administration for T
{
}
