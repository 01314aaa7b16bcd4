//! Who signed, and whose a key is.

use std::sync::Arc;

use valetkey_core::ask::GrantRef;
use valetkey_core::id::{GrantId, TokenId};
use valetkey_core::keyring::parse_access_key_id;
use valetkey_core::{Error, Kind};

use super::error::missing;
use super::state::Sts;
use super::{arn, xml};
use crate::edge::{Call, Reply, account_number, user_arn};

/// `GetCallerIdentity`.
pub(super) async fn caller_identity(sts: Arc<Sts>, call: Call) -> Result<Reply, Error> {
    let account = call.caller.account;
    let lease = call.caller.held.as_ref().and_then(|held| held.leases.last());
    let (arn, id) = match lease {
        Some(lease) => {
            let (role, grant) = role(&sts, &call).await?;
            (arn::session(account, &role, &lease.to_string()), format!("{}:{lease}", arn::role_id(grant)))
        }
        None => (user_arn(&call.caller), call.caller.id.to_string()),
    };
    xml::answer(&call, "GetCallerIdentity", |xml| {
        xml.text("Arn", &arn).text("UserId", &id).text("Account", &account_number(account))
    })
}

/// The role that a temporary credential came of: its grant, where it was one and is there still.
pub(super) async fn role(sts: &Sts, call: &Call) -> Result<(String, Option<GrantId>), Error> {
    let any = || (arn::ANY.to_owned(), None);
    let Some(lease) = call.caller.held.as_ref().and_then(|held| held.leases.last()) else { return Ok(any()) };
    let Some(record) = sts.shared.registry.lease(*lease).await? else { return Ok(any()) };
    let [grant] = &*record.lease.grants else { return Ok(any()) };
    let snapshot = sts.shared.vending.directory.account(call.caller.account, call.now).await?;
    let found = snapshot.grant(&call.caller, &GrantRef::Id(*grant));
    Ok(found.map_or_else(any, |found| (found.name.to_string(), Some(found.id))))
}

/// `GetAccessKeyInfo`: of a key of the caller's own account. AWS tells the account of every key there is.
pub(super) async fn key_info(sts: Arc<Sts>, call: Call) -> Result<Reply, Error> {
    let id = arn::word(&call, "AccessKeyId", (16, 128), "")?.ok_or_else(|| missing("AccessKeyId"))?;
    let account = match (TokenId::from_hex(id), parse_access_key_id(id)) {
        (Some(token), _) => {
            let found = sts.shared.parents.parent(token, call.now).await?;
            found.map(|parent| parent.caller.account)
        }
        (None, Some((_, lease))) => sts.shared.registry.lease(lease).await?.map(|record| record.lease.account),
        (None, None) => None,
    };
    if account != Some(call.caller.account) {
        return Err(Error::new(Kind::Forbidden, "there is no such access key in this account").at("AccessKeyId"));
    }
    xml::answer(&call, "GetAccessKeyInfo", |xml| xml.text("Account", &account_number(call.caller.account)))
}
