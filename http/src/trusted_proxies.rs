//! The proxies that are believed when they name the client that they forward for.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use axum::http::{HeaderMap, header};
use ipnet::IpNet;

const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// The networks of proxies that are believed. Proxies on this machine always are. Clones share the networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Arc<[IpNet]>);

/// A text that is not a list of networks.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownNetworkError {
    /// The part of the text that is no network.
    pub network: String,
}

impl TrustedProxies {
    /// Returns the address of the client whose request came from `peer`.
    ///
    /// Each proxy appends the address that it saw, so the list is read from its end: the client is the first address that is
    /// not a trusted proxy's. Everything before it was written by the client. If an entry is no address, the client is the
    /// proxy that wrote the entry.
    ///
    /// Proxies write `X-Forwarded-For` or `Forwarded`, and pass on the other one as they got it. So if the two name different
    /// clients, the client may have written one of them, and the request counts as the peer's.
    pub fn client_of(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.contains(peer) {
            return peer;
        }
        let x_forwarded_for = self.first_stranger(peer, listed(headers, X_FORWARDED_FOR, whole));
        let forwarded = self.first_stranger(peer, listed(headers, header::FORWARDED.as_str(), for_parameter));
        match (x_forwarded_for, forwarded) {
            (Some(client), None) | (None, Some(client)) => client,
            (Some(client), Some(same)) if client == same => client,
            (Some(_), Some(_)) | (None, None) => peer,
        }
    }

    /// Returns the last address in the list that is not a trusted proxy's, or the first one if all are. `None` if there is no
    /// list.
    fn first_stranger(
        &self,
        peer: IpAddr,
        addresses: impl DoubleEndedIterator<Item = Option<IpAddr>>,
    ) -> Option<IpAddr> {
        let mut client = None;
        for address in addresses.rev() {
            let Some(address) = address else { return Some(client.unwrap_or(peer)) };
            client = Some(address);
            if !self.contains(address) {
                break;
            }
        }
        client
    }

    /// Returns whether a network is named, so that clients come through a proxy elsewhere.
    pub fn names_any(&self) -> bool {
        !self.0.is_empty()
    }

    /// Returns whether the address is a proxy's that is believed.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_loopback() || self.0.iter().any(|network| network.contains(&address))
    }
}

impl FromStr for TrustedProxies {
    type Err = UnknownNetworkError;

    /// Reads networks and addresses with commas between them, such as `10.0.0.0/8, 2001:db8::7`.
    fn from_str(text: &str) -> Result<Self, UnknownNetworkError> {
        let networks = text.split(',').map(str::trim).filter(|network| !network.is_empty()).map(|network| {
            let address = || network.parse::<IpAddr>().map(IpNet::from);
            network
                .parse()
                .or_else(|_| address())
                .map_err(|_| UnknownNetworkError { network: network.to_owned() })
        });
        networks.collect::<Result<_, _>>().map(Self)
    }
}

/// Returns the elements of all headers of this name, from the first to the last: the address that `read` finds in each, or
/// `None` if it finds none.
fn listed<'a>(
    headers: &'a HeaderMap,
    name: &str,
    read: fn(&str) -> Option<&str>,
) -> impl DoubleEndedIterator<Item = Option<IpAddr>> + use<'a> {
    let values: Vec<&'a str> =
        headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("")).collect();
    // A comma within quotation marks belongs to the element.
    let elements: Vec<_> = values.into_iter().flat_map(|value| split_outside_quotes(value, ',')).collect();
    elements.into_iter().map(move |element| read(element).and_then(address))
}

fn split_outside_quotes(text: &str, separator: char) -> Vec<&str> {
    let mut is_quoted = false;
    text.split(move |character| {
        is_quoted ^= character == '"';
        character == separator && !is_quoted
    })
    .map(str::trim)
    .collect()
}

fn whole(element: &str) -> Option<&str> {
    Some(element)
}

/// Returns the value of `for` in an element of `Forwarded` (RFC 7239), without its quotation marks.
fn for_parameter(element: &str) -> Option<&str> {
    split_outside_quotes(element, ';').into_iter().find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim().trim_matches('"'))
    })
}

/// Reads an address as proxies write it: with a port or without, and of IPv6 with brackets or without.
fn address(text: &str) -> Option<IpAddr> {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let address = match bracketed {
        Some((address, "")) => address,
        Some((address, port)) => {
            port.strip_prefix(':')?.parse::<u16>().ok()?;
            address
        }
        None => match text.split_once(':') {
            // One colon is before a port, more are an IPv6 address's.
            Some((address, port)) if !port.contains(':') => {
                port.parse::<u16>().ok()?;
                address
            }
            _ => text,
        },
    };
    Some(address.parse::<IpAddr>().ok()?.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn client(peer: &str, headers: &[(&str, &str)]) -> String {
        let proxies: TrustedProxies = "10.0.0.0/8, 2001:db8:ed6e::/48,203.0.113.9".parse().unwrap();
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect();
        proxies.client_of(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_a_trusted_proxy_names_another_client() {
        let named = [("x-forwarded-for", "198.51.100.1")];
        assert_eq!(client("203.0.113.7", &named), "203.0.113.7");
        for peer in ["::ffff:127.0.0.1", "::1", "10.1.2.3", "203.0.113.9", "2001:db8:ed6e:1::5"] {
            assert_eq!(client(peer, &named), "198.51.100.1", "{peer}");
        }
    }

    #[test]
    fn the_client_is_the_last_address_that_is_not_a_proxys() {
        for (value, found) in [
            ("198.51.100.9, 198.51.100.1", "198.51.100.1"),
            ("198.51.100.9, 198.51.100.1, 10.9.9.9", "198.51.100.1"),
            ("10.5.5.5, 10.9.9.9", "10.5.5.5"),
            ("198.51.100.1:61234", "198.51.100.1"),
            ("[2001:db8::7]:61234,10.0.0.2", "2001:db8::7"),
            ("2001:db8::7", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("::ffff:198.51.100.1", "198.51.100.1"),
            // The entries that the client wrote itself are never reached.
            ("127.0.0.1, 198.51.100.1", "198.51.100.1"),
            // An entry that is no address ends the list.
            ("198.51.100.1, unknown", "10.0.0.1"),
            ("198.51.100.1, unknown, 10.9.9.9", "10.9.9.9"),
            ("", "10.0.0.1"),
            ("198.51.100.1:port", "10.0.0.1"),
            ("[2001:db8::7", "10.0.0.1"),
            ("198.51.100.1,", "10.0.0.1"),
        ] {
            assert_eq!(client("10.0.0.1", &[("x-forwarded-for", value)]), found, "{value}");
        }
        let twice = [("x-forwarded-for", "192.0.2.66"), ("x-forwarded-for", "198.51.100.1, 10.9.9.9")];
        assert_eq!(client("10.0.0.1", &twice), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn the_standard_header_is_read_as_well() {
        for (value, found) in [
            ("for=198.51.100.1", "198.51.100.1"),
            ("For=\"[2001:db8::7]:4711\";proto=https;by=10.0.0.1", "2001:db8::7"),
            ("for=192.0.2.66, for=198.51.100.1;proto=http, for=10.9.9.9", "198.51.100.1"),
            ("by=\"a,b;c\";for=198.51.100.1", "198.51.100.1"),
            ("for=_hidden", "10.0.0.1"),
            ("for=unknown, for=10.9.9.9", "10.9.9.9"),
            ("proto=https", "10.0.0.1"),
        ] {
            assert_eq!(client("10.0.0.1", &[("forwarded", value)]), found, "{value}");
        }
    }

    #[test]
    fn a_client_gains_nothing_from_the_header_that_its_proxy_passes_on() {
        let both = |forwarded| [("x-forwarded-for", "198.51.100.1"), ("forwarded", forwarded)];
        assert_eq!(client("10.0.0.1", &both("for=198.51.100.1")), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &both("for=192.0.2.66")), "10.0.0.1");
    }

    #[test]
    fn a_network_that_is_none_is_named() {
        let error = "10.0.0.0/8,10.0.0.0/33".parse::<TrustedProxies>().unwrap_err();
        assert_eq!(error.network, "10.0.0.0/33");
        assert_eq!("".parse(), Ok(TrustedProxies::default()));
    }
}
