//! Ranges of addresses.

use std::fmt;
use std::net::IpAddr;

use crate::name::shortened;

/// A range of addresses, as in `10.0.0.0/8`; a single address is one, too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Reads a range.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{}` is not a range of addresses; one is written address/bits, as in `10.0.0.0/8`, or is one address",
                shortened(text)
            )
        };
        let (address, bits) = text.split_once('/').map_or((text, None), |(own, bits)| (own, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => all,
            Some(bits) if !bits.is_empty() && bits.bytes().all(|digit| digit.is_ascii_digit()) => {
                bits.parse().ok().filter(|bits| *bits <= all).ok_or_else(wrong)?
            }
            Some(_) => return Err(wrong()),
        };
        let network = Self { address, bits };
        if matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some()) {
            return Err(format!("`{text}` is a range of version 4 written as version 6; write it as version 4"));
        }
        if network.masked(address) != Self::number(address) {
            return Err(format!("`{text}` has bits beside its range; write the range's first address"));
        }
        Ok(network)
    }

    fn number(address: IpAddr) -> u128 {
        match address {
            IpAddr::V4(address) => u128::from(u32::from(address)) << 96,
            IpAddr::V6(address) => u128::from(address),
        }
    }

    fn masked(self, address: IpAddr) -> u128 {
        let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
        Self::number(address) & mask
    }

    /// Whether an address is in it. One of version 4 that is written as version 6 is what it stands for.
    pub fn holds(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.address.is_ipv4() == address.is_ipv4() && self.masked(address) == self.masked(self.address)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}
