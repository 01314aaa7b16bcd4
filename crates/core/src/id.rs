//! Identifiers: 128 bits, ordered by the time they were made, with a prefix that says what they name.
//!
//! The layout is UUID version 7 (RFC 9562, section 5.7): 48 bits of milliseconds, then randomness.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use crate::error::{Error, Kind};

/// Crockford's base 32 in lower case: no `i`, `l`, `o` or `u` to misread.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const DIGITS: usize = 26;

fn write_digits(value: u128, out: &mut [u8; DIGITS]) {
    let mut rest = value;
    for slot in out.iter_mut().rev() {
        let digit = usize::try_from(rest & 31).unwrap_or(0);
        *slot = ALPHABET.get(digit).copied().unwrap_or(b'0');
        rest >>= 5;
    }
}

fn read_digits(text: &str) -> Option<u128> {
    if text.len() != DIGITS {
        return None;
    }
    let mut value: u128 = 0;
    for (index, byte) in text.bytes().enumerate() {
        let digit = ALPHABET.iter().position(|known| *known == byte)?;
        // 26 digits hold 130 bits: the first may only use three of its five.
        if index == 0 && digit > 7 {
            return None;
        }
        value = (value << 5) | u128::try_from(digit).ok()?;
    }
    Some(value)
}

/// Lays out a version 7 identifier from an instant and ten random bytes.
fn version_7(now: Timestamp, random: [u8; 10]) -> u128 {
    let millis = u128::try_from(now.as_millisecond().max(0)).unwrap_or(0) & 0xffff_ffff_ffff;
    let noise = random.iter().fold(0u128, |sum, byte| (sum << 8) | u128::from(*byte));
    let a = (noise >> 62) & 0xfff;
    let b = noise & 0x3fff_ffff_ffff_ffff;
    (millis << 80) | (0x7 << 76) | (a << 64) | (0b10 << 62) | b
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// What every identifier of this type starts with when written.
            pub const PREFIX: &'static str = $prefix;

            /// Makes an identifier of `now` and ten random bytes.
            pub fn new(now: Timestamp, random: [u8; 10]) -> Self {
                Self(version_7(now, random))
            }

            /// Takes the identifier's sixteen bytes, as stored.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(u128::from_be_bytes(bytes))
            }

            /// The identifier's sixteen bytes, to store.
            pub const fn to_bytes(self) -> [u8; 16] {
                self.0.to_be_bytes()
            }

            /// The identifier as 32 hexadecimal digits in lower case, for APIs that publish such ones.
            pub fn as_hex(self) -> String {
                format!("{:032x}", self.0)
            }

            /// Reads 32 hexadecimal digits in lower case.
            pub fn from_hex(text: &str) -> Option<Self> {
                let shape = text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'));
                if shape { u128::from_str_radix(text, 16).ok().map(Self) } else { None }
            }

            /// The identifier in the hyphenated form of a UUID, for APIs that publish one.
            pub fn as_uuid(self) -> String {
                let hex = format!("{:032x}", self.0);
                let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default().to_owned();
                [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
            }

            /// Reads the hyphenated form back.
            pub fn from_uuid(text: &str) -> Option<Self> {
                let shape = text.len() == 36
                    && text.bytes().enumerate().all(|(at, byte)| match at {
                        8 | 13 | 18 | 23 => byte == b'-',
                        _ => byte.is_ascii_hexdigit(),
                    });
                if !shape {
                    return None;
                }
                u128::from_str_radix(&text.replace('-', ""), 16).ok().map(Self)
            }

            /// The millisecond the identifier was made in.
            pub fn made_ms(self) -> i64 {
                i64::try_from(self.0 >> 80).unwrap_or(i64::MAX)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut digits = [0u8; DIGITS];
                write_digits(self.0, &mut digits);
                f.write_str($prefix)?;
                f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                text.strip_prefix($prefix).and_then(read_digits).map(Self).ok_or_else(|| {
                    Error::new(
                        Kind::Invalid,
                        format!("`{}` is not an id of this kind; one starts with `{}` and has 26 digits", crate::name::shortened(text), $prefix),
                    )
                })
            }
        }
    };
}

id!(/// Names an account.
    AccountId, "acc_");
id!(/// Names a caller.
    CallerId, "clr_");
id!(/// Names a caller's token (not the token itself).
    TokenId, "tok_");
id!(/// Names a configured object store.
    StorageId, "sto_");
id!(/// Names a dataset of the catalogue.
    DatasetId, "dat_");
id!(/// Names a grant.
    GrantId, "grt_");
id!(/// Names a lease, and so a vended credential.
    LeaseId, "lea_");
id!(/// Names a workspace of an account.
    WorkspaceId, "wsp_");
id!(/// Names a project of a workspace.
    ProjectId, "prj_");
id!(/// Names a share.
    ShareId, "shr_");
id!(/// Names a table of a share.
    TableId, "tbl_");
id!(/// Names a group of an account's callers.
    GroupId, "grp_");
id!(/// Names an identity provider.
    ProviderId, "idp_");
id!(/// Names a trust rule of one.
    RuleId, "rul_");
id!(/// Names a request for access.
    RequestId, "req_");
id!(/// Names a rule of who may ask for what.
    RequestRuleId, "rqr_");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ids_read_back_as_written(millis in 0i64..4_000_000_000_000, random: [u8; 10]) {
            let id = LeaseId::new(Timestamp::from_millisecond(millis).unwrap(), random);
            prop_assert_eq!(id.to_string().parse::<LeaseId>().unwrap(), id);
            prop_assert_eq!(LeaseId::from_bytes(id.to_bytes()), id);
            prop_assert_eq!(id.made_ms(), millis);
            let token = TokenId::from_bytes(id.to_bytes());
            prop_assert_eq!(TokenId::from_uuid(&token.as_uuid()), Some(token));
            prop_assert_eq!(TokenId::from_hex(&token.as_hex()), Some(token));
            prop_assert_eq!(token.as_hex(), token.as_uuid().replace('-', ""));
        }
    }

    #[test]
    fn an_id_of_another_kind_is_refused() {
        let lease = LeaseId::new(Timestamp::UNIX_EPOCH, [7; 10]).to_string();
        assert!(lease.parse::<GrantId>().is_err());
        assert!(lease.to_uppercase().parse::<LeaseId>().is_err());
        let hex = "0123456789abcdef0123456789abcdef";
        assert!(TokenId::from_hex(hex).is_some());
        assert!(
            TokenId::from_hex(&hex.to_uppercase()).is_none()
                && TokenId::from_hex("+123456789abcdef0123456789abcdef").is_none()
        );
        assert!("lea_zzzzzzzzzzzzzzzzzzzzzzzzzz".parse::<LeaseId>().is_err());
    }
}
