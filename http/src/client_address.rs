//! The client's address, by which requests and readers are counted.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::request::Parts;

/// The address of a client; of an IPv6 address its /64 network, because a customer has all addresses of one.
///
/// The default is the client of a server that does not give its handlers a [`ConnectInfo`]. All such clients count
/// as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ClientAddress(Option<IpAddr>);

impl ClientAddress {
    /// Returns the address, or `None` if the server does not know it.
    pub fn ip(self) -> Option<IpAddr> {
        self.0
    }

    /// Returns the address of the client that `peer` forwards for, if `peer` is a proxy on this machine. The header
    /// `X-Forwarded-For` of any other peer is not trusted.
    fn behind(peer: IpAddr, headers: &HeaderMap) -> Self {
        let peer = peer.to_canonical();
        Self::from(if peer.is_loopback() { forwarded_for(headers).unwrap_or(peer) } else { peer })
    }
}

impl From<IpAddr> for ClientAddress {
    fn from(address: IpAddr) -> Self {
        Self(Some(match address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
            address @ IpAddr::V4(_) => address,
        }))
    }
}

impl<S: Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        Ok(peer.map_or_else(Self::default, |ConnectInfo(peer)| Self::behind(peer.ip(), &parts.headers)))
    }
}

/// Returns the last entry of `X-Forwarded-For`. A proxy appends it; the client itself may have written the others.
fn forwarded_for(headers: &HeaderMap) -> Option<IpAddr> {
    let header = headers.get_all("x-forwarded-for").iter().next_back()?;
    header.to_str().ok()?.rsplit(',').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded_for: &str) -> ClientAddress {
        let headers =
            HeaderMap::from_iter([("x-forwarded-for".parse().unwrap(), forwarded_for.parse().unwrap())]);
        ClientAddress::behind(peer.parse().unwrap(), &headers)
    }

    fn address(text: &str) -> ClientAddress {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn only_a_proxy_on_this_machine_names_another_client() {
        assert_eq!(client("203.0.113.7", "198.51.100.1"), address("203.0.113.7"));
        assert_eq!(client("::ffff:127.0.0.1", "198.51.100.1"), address("198.51.100.1"));
        assert_eq!(client("::1", "198.51.100.9, 198.51.100.1"), address("198.51.100.1"));
        assert_eq!(client("127.0.0.1", "nobody"), address("127.0.0.1"));
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        assert_eq!(address("2001:db8:1:2::1"), address("2001:db8:1:2:ffff::9"));
        assert_ne!(address("2001:db8:1:2::1"), address("2001:db8:1:3::1"));
        assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
    }
}
