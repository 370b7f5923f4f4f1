//! The networks of a venue.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

/// The longest prefix of an IPv6 network: Muster counts a /64 as one client.
const IPV6_PREFIX_MAX: u8 = 64;

/// A network of a venue: `203.0.113.0/24`, `2001:db8::/32`, or one IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VenueNetwork {
    first: IpAddr,
    prefix: u8,
}

impl VenueNetwork {
    /// Returns true if the address is in the network.
    pub fn contains(self, address: IpAddr) -> bool {
        masked(address.to_canonical(), self.prefix) == Some(self.first)
    }

    /// Returns true if an address is in both networks.
    pub(super) fn overlaps(self, other: Self) -> bool {
        let (wide, narrow) = if self.prefix <= other.prefix { (self, other) } else { (other, self) };
        wide.contains(narrow.first)
    }
}

impl FromStr for VenueNetwork {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a network, such as 203.0.113.0/24 or 2001:db8::/32");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u8>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let bits: u8 = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(bits);
        let first = masked(address, prefix).ok_or_else(wrong)?;
        if first != address {
            return Err(format!("{text:?} is not the beginning of a network; write {first}/{prefix}"));
        }
        if address.is_ipv6() && prefix > IPV6_PREFIX_MAX {
            return Err(format!("{text:?} is too small; an IPv6 network is at least a /{IPV6_PREFIX_MAX}"));
        }
        if prefix == 0 {
            return Err(format!("{text:?} is the whole Internet"));
        }
        Ok(Self { first, prefix })
    }
}

impl fmt::Display for VenueNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

impl<'de> Deserialize<'de> for VenueNetwork {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Returns the first address of the network with this prefix, or `None` if no address has so many bits.
fn masked(address: IpAddr, prefix: u8) -> Option<IpAddr> {
    Some(match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.checked_sub(prefix.into())?).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128_u32.checked_sub(prefix.into())?).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    })
}
