//! The conditions of grants, as fields say them and back.

use std::net::IpAddr;

use valetkey_core::claims::{Condition, Wanted};
use valetkey_core::conditions::{Conditions, Hours};
use valetkey_core::group::ByClaim;
use valetkey_core::id::ProviderId;
use valetkey_core::name::shortened;
use valetkey_core::network::Network;
use valetkey_core::{Error, Kind};

use super::api::grants::GrantConditions;

fn invalid(said: impl Into<String>, field: &'static str) -> Error {
    Error::new(Kind::Invalid, said.into()).at(field)
}

/// Reads conditions. `provider` finds an identity provider by its name or id.
///
/// # Errors
/// `Invalid`; whatever `provider` refuses with.
pub(super) fn read(
    given: &GrantConditions,
    provider: impl Fn(&str) -> Result<ProviderId, Error>,
) -> Result<Conditions, Error> {
    let GrantConditions { networks, hours, provider: of, claims, session_names, external_ids } = given;
    let lists = [
        ("networks", networks),
        ("hours", hours),
        ("claims", claims),
        ("session_names", session_names),
        ("external_ids", external_ids),
    ];
    // A list that came out empty would open the grant to everybody.
    if let Some((field, _)) = lists.into_iter().find(|(_, list)| list.as_ref().is_some_and(Vec::is_empty)) {
        return Err(invalid(format!("`{field}` is empty; leave it out where nothing is asked for"), field));
    }
    let claims = match (of, claims) {
        (None, None) => None,
        (Some(of), Some(claims)) => {
            let conditions = claims.iter().map(|text| Condition::parse(text).map_err(|error| error.at("claims")));
            Some(ByClaim { provider: provider(of)?, conditions: conditions.collect::<Result<_, _>>()? })
        }
        (Some(_), None) | (None, Some(_)) => {
            let said = "a condition on claims needs an identity provider (`provider`) and what its tokens have to claim (`claims`)";
            return Err(invalid(said, "claims"));
        }
    };
    let network = |text: &String| Network::parse(text).map_err(|said| invalid(said, "networks"));
    let session = |text: &String| {
        let said = || format!("`{}` is not the name of a session; `glob:ci-*` is a pattern", shortened(text));
        Wanted::parse(text).ok_or_else(|| invalid(said(), "session_names"))
    };
    let own = Conditions {
        networks: networks.iter().flatten().map(network).collect::<Result<_, _>>()?,
        hours: hours
            .iter()
            .flatten()
            .map(|text| Hours::parse(text).map_err(|error| error.at("hours")))
            .collect::<Result<_, _>>()?,
        claims,
        session_names: session_names.iter().flatten().map(session).collect::<Result<_, _>>()?,
        external_ids: external_ids.iter().flatten().map(|text| text.as_str().into()).collect(),
    };
    own.check()?;
    Ok(own)
}

/// Conditions as fields say them. What clients have to show is told only to who sees everything: whoever knows it holds the condition.
pub(super) fn shown(own: &Conditions, provider: impl Fn(ProviderId) -> String, whole: bool) -> GrantConditions {
    fn texts<T: ToString>(all: &[T]) -> Option<Vec<String>> {
        (!all.is_empty()).then(|| all.iter().map(ToString::to_string).collect())
    }
    let Conditions { networks, hours, claims, session_names, external_ids } = own;
    let ids =
        if whole { texts(external_ids) } else { texts(external_ids).map(|ids| vec!["…".to_owned(); ids.len()]) };
    GrantConditions {
        networks: texts(networks),
        hours: texts(hours),
        provider: claims.as_ref().map(|by| provider(by.provider)),
        claims: claims.as_ref().and_then(|by| texts(&by.conditions)),
        session_names: texts(session_names),
        external_ids: ids,
    }
}

/// Reads the address that a question is about.
///
/// # Errors
/// `Invalid`.
pub(super) fn address(text: &str, field: &'static str) -> Result<IpAddr, Error> {
    text.parse().map_err(|_| invalid(format!("`{}` is not an address", shortened(text)), field))
}
