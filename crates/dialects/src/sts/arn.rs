//! Names as AWS writes them: of accounts, roles and sessions.

use valetkey_core::ask::GrantRef;
use valetkey_core::id::{AccountId, GrantId};
use valetkey_core::{Error, Kind};

use crate::edge::{Call, account_number};

/// The role that stands for whichever grants open what the policy names.
pub(super) const ANY: &str = "valetkey";

/// What a request may mean by a role.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// One grant.
    Grant(GrantRef),
    /// Whichever fit.
    Any,
}

/// The role that an ARN names, as far as it may be of the caller's account; nothing else is told from a grant that there is not.
pub(super) fn role(arn: &str, account: AccountId) -> Option<Role> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", partition, "iam", "", number_given, resource] = *parts else { return None };
    let known = ["aws", "aws-cn", "aws-us-gov"].contains(&partition);
    // Some servers, and so their clients, leave the account out: it is the caller's.
    let own = number_given.is_empty() || number_given == account_number(account);
    let name = resource.strip_prefix("role/").filter(|_| known && own)?.rsplit('/').next()?;
    if name == ANY { Some(Role::Any) } else { GrantRef::parse(name).ok().map(Role::Grant) }
}

/// A session of a role.
pub(super) fn session(account: AccountId, role: &str, session: &str) -> String {
    format!("arn:aws:sts::{}:assumed-role/{role}/{session}", account_number(account))
}

/// A role's own id, in AWS' form.
pub(super) fn role_id(grant: Option<GrantId>) -> String {
    let digits = grant.map_or_else(|| "VALETKEY".to_owned(), |id| id.as_hex().to_uppercase());
    // Twenty-one characters in all: the last ones of an id are the random ones.
    let tail = digits.get(digits.len().saturating_sub(17)..).unwrap_or_default();
    format!("AROA{tail:0>17}")
}

/// A parameter of at least `least` and at most `most` characters of `\w` and some others; nothing if it is not there.
pub(super) fn word<'c>(
    call: &'c Call,
    name: &'static str,
    (least, most): (usize, usize),
    others: &str,
) -> Result<Option<&'c str>, Error> {
    let Some(text) = call.query.get(name) else { return Ok(None) };
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || others.contains(c);
    if (least..=most).contains(&text.len()) && text.chars().all(fits) {
        return Ok(Some(text));
    }
    let said = format!("`{name}` has {least} to {most} characters of a-z, A-Z, 0-9 and `_{others}`");
    Err(Error::new(Kind::Invalid, said).at(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_a_grant_of_the_callers_own_account() {
        let account = AccountId::from_bytes([1; 16]);
        let own = account_number(account);
        assert_eq!((own.len(), own.bytes().all(|byte| byte.is_ascii_digit())), (12, true));
        let grant = |name: &str| Some(Role::Grant(GrantRef::parse(name).unwrap()));
        for (arn, expected) in [
            (format!("arn:aws:iam::{own}:role/daily"), grant("daily")),
            (format!("arn:aws-cn:iam::{own}:role/team/a/daily"), grant("daily")),
            ("arn:aws:iam:::role/daily".to_owned(), grant("daily")),
            (format!("arn:aws:iam::{own}:role/valetkey"), Some(Role::Any)),
            (format!("arn:aws:iam::{}:role/daily", account_number(AccountId::from_bytes([2; 16]))), None),
            (format!("arn:aws:iam::{own}:user/daily"), None),
            (format!("arn:aws:sts::{own}:role/daily"), None),
            (format!("arn:other:iam::{own}:role/daily"), None),
            (format!("arn:aws:iam::{own}:role/"), None),
            (format!("arn:aws:iam::{own}:role/Not A Name"), None),
            ("daily".to_owned(), None),
        ] {
            assert_eq!(role(&arn, account), expected, "{arn}");
        }
        assert_eq!(role_id(None).len(), 21);
        assert_eq!(role_id(Some(GrantId::from_bytes([7; 16]))).len(), 21);
    }
}
