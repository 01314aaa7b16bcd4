//! Accounts and callers, as AWS names them.

use sha2::{Digest as _, Sha256};
use valetkey_core::caller::Caller;
use valetkey_core::id::AccountId;

/// An account's number: twelve digits that its id stands behind. Two accounts may share one; nothing is found by it.
pub fn account_number(account: AccountId) -> String {
    let digest = Sha256::digest([&b"valetkey aws account number"[..], &account.to_bytes()].concat());
    let number = digest.iter().take(8).fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte));
    format!("{:012}", number % 1_000_000_000_000)
}

/// The caller as AWS would name it.
pub fn user_arn(caller: &Caller) -> String {
    format!("arn:aws:iam::{}:user/{}", account_number(caller.account), caller.name)
}
