//! The networks of a venue.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

/// The longest prefix of an IPv6 network: Muster counts a /64 as one client.
const IPV6_PREFIX_MAX: u8 = 64;

/// A network of a venue: `203.0.113.0/24`, `2001:db8::/32`, or one IPv4 address. Networks sort by their first address, and a wide
/// one before those in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct VenueNetwork(IpNet);

impl VenueNetwork {
    /// Returns true if the address is in the network.
    pub fn contains(self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    /// Returns true if an address is in both networks.
    pub(super) fn overlaps(self, other: Self) -> bool {
        self.0.contains(&other.0) || other.0.contains(&self.0)
    }
}

impl FromStr for VenueNetwork {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let network: IpNet = text
            .parse()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
            .map_err(|_| format!("{text:?} is not a network, such as 203.0.113.0/24 or 2001:db8::/32"))?;
        let prefix = network.prefix_len();
        if network != network.trunc() {
            return Err(format!("{text:?} is not the beginning of a network; write {}", network.trunc()));
        }
        if matches!(network, IpNet::V6(_)) && prefix > IPV6_PREFIX_MAX {
            return Err(format!("{text:?} is too small; an IPv6 network is at least a /{IPV6_PREFIX_MAX}"));
        }
        if prefix == 0 {
            return Err(format!("{text:?} is the whole Internet"));
        }
        Ok(Self(network))
    }
}

impl fmt::Display for VenueNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for VenueNetwork {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
