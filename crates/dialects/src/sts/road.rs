//! The road of all vends, and a refusal on it in this API's words.

use valetkey_core::ask::{Ask, Asked, Target, Wanted};
use valetkey_core::scope::Actions;
use valetkey_core::storage::Shape;
use valetkey_core::vending::Vended;
use valetkey_core::{Error, Kind};

use super::message::{self, About};
use super::state::{NAME, Sts, facts};
use crate::edge::Call;

/// Vends.
pub(super) async fn vend(
    sts: &Sts,
    call: &Call,
    about: &About<'_>,
    target: Target,
    wanted: Actions,
    lifetime: Asked,
) -> Result<Vended, Error> {
    if wanted.is_empty() {
        let nothing = Error::new(Kind::Forbidden, "the session policy allows nothing of what is granted");
        return Err(message::refused(sts, call, about, Some(&target), nothing));
    }
    let ask = Ask { dialect: NAME, target, wanted: Wanted::at_most(wanted), lifetime, carries: Shape::S3_ONLY };
    let vended = sts.shared.vending.vend_knowing(&call.caller, &ask, &facts(call)).await;
    vended.map_err(|error| message::refused(sts, call, about, Some(&ask.target), error))
}
