//! Names of what is in an account: `ACCOUNT/NAME` says both, wherever a name is taken.

/// The account and the name; the account only where one is said.
pub(crate) fn in_account(account: Option<String>, text: &str) -> (Option<String>, String) {
    match (account, text.split_once('/')) {
        (None, Some((account, name))) => (Some(account.to_owned()), name.to_owned()),
        (account, _) => (account, text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_say_its_account() {
        let own = |account: Option<&str>, text: &str| in_account(account.map(str::to_owned), text);
        assert_eq!(own(None, "acme/ann"), (Some("acme".to_owned()), "ann".to_owned()));
        assert_eq!(own(None, "ann"), (None, "ann".to_owned()));
        assert_eq!(own(Some("acme"), "ann"), (Some("acme".to_owned()), "ann".to_owned()));
    }
}
