//! Tells addresses of the open Internet from addresses inside: of this machine, of its networks, and for special uses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// Networks of version 4 that are not the open Internet.
const INSIDE_V4: [Ipv4Net; 16] = [
    v4([0, 0, 0, 0], 8),
    v4([10, 0, 0, 0], 8),
    // Between a provider and its customers; one cloud has its metadata here.
    v4([100, 64, 0, 0], 10),
    v4([127, 0, 0, 0], 8),
    // Link-local; most clouds have their metadata here.
    v4([169, 254, 0, 0], 16),
    // The metadata of another cloud, among public addresses.
    v4([168, 63, 129, 16], 32),
    v4([172, 16, 0, 0], 12),
    v4([192, 0, 0, 0], 24),
    v4([192, 0, 2, 0], 24),
    // Relays between the versions.
    v4([192, 88, 99, 0], 24),
    v4([192, 168, 0, 0], 16),
    v4([198, 18, 0, 0], 15),
    v4([198, 51, 100, 0], 24),
    v4([203, 0, 113, 0], 24),
    v4([224, 0, 0, 0], 4),
    v4([240, 0, 0, 0], 4),
];

/// The network of version 6 whose addresses are given to the open Internet.
const OPEN_V6: Ipv6Net = v6([0x2000, 0], 3);

/// Networks within it that are for special uses.
const INSIDE_V6: [Ipv6Net; 4] = [
    // Protocols, among them Teredo.
    v6([0x2001, 0], 23),
    v6([0x2001, 0xdb8], 32),
    // Tunnels to an address of version 4.
    v6([0x2002, 0], 16),
    v6([0x3fff, 0], 20),
];

/// The prefix that a translator between the versions puts before an address of version 4.
const TRANSLATED: Ipv6Net = v6([0x64, 0xff9b], 96);

/// Returns whether an address is inside. An address of version 4 in the clothes of version 6 counts as that address.
pub(super) fn is_inside(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => INSIDE_V4.iter().any(|network| network.contains(&address)),
        IpAddr::V6(address) => match carried(address) {
            Some(carried) => is_inside(IpAddr::V4(carried)),
            None => {
                !OPEN_V6.contains(&address)
                    || INSIDE_V6.iter().any(|network| network.contains(&address))
                    || tunnelled(address).is_some_and(|end| is_inside(IpAddr::V4(end)))
            }
        },
    }
}

/// Returns the address of version 4 to which packets for this address go.
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let last = u32::try_from(u128::from(address) & u128::from(u32::MAX)).ok()?;
    let translated = TRANSLATED.contains(&address).then(|| Ipv4Addr::from_bits(last));
    address.to_ipv4_mapped().or(translated)
}

/// Returns the end of a tunnel within an organisation (ISATAP), which the last half of the address names.
fn tunnelled(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [.., kind, marker, high, low] = address.segments();
    let bits = (u32::from(high) << 16) | u32::from(low);
    (marker == 0x5efe && kind & !0x0200 == 0).then(|| Ipv4Addr::from_bits(bits))
}

const fn v4(octets: [u8; 4], prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::from_octets(octets), prefix)
}

const fn v6(start: [u16; 2], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(start[0], start[1], 0, 0, 0, 0, 0, 0), prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_inside_are_told_from_those_outside() {
        for inside in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.168.1.1",
            "198.19.0.1",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::8.8.8.8",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2a00:1450::5efe:10.0.0.1",
            "2a00:1450::200:5efe:127.0.0.1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(is_inside(inside.parse().unwrap()), "{inside}");
        }
        for outside in [
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.1",
            "168.63.129.17",
            "172.15.0.1",
            "172.32.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
            "2001:4860:4860::8888",
            "2606:4700::1111",
            "2a00:1450::5efe:1.1.1.1",
        ] {
            assert!(!is_inside(outside.parse().unwrap()), "{outside}");
        }
    }
}
