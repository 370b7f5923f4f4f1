//! The client's address, by which requests and readers are counted.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap};

use crate::TrustedProxies;

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

    /// Takes the peer's address, or the address that a trusted proxy names. A server without [`TrustedProxies`] among its
    /// extensions trusts the proxies of its own machine.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let sender = Sender::of(&parts.extensions);
        Ok(sender.map(|sender| sender.client(&parts.headers).into()).unwrap_or_default())
    }
}

/// The machine that a request came from, which may be a proxy.
pub(crate) struct Sender {
    peer: IpAddr,
    proxies: TrustedProxies,
}

impl Sender {
    /// Returns the sender, or `None` if the server does not give its handlers a [`ConnectInfo`].
    pub(crate) fn of(request: &Extensions) -> Option<Self> {
        let ConnectInfo(peer) = request.get::<ConnectInfo<SocketAddr>>()?;
        Some(Self { peer: peer.ip(), proxies: request.get().cloned().unwrap_or_default() })
    }

    pub(crate) fn is_trusted_proxy(&self) -> bool {
        self.proxies.contains(self.peer)
    }

    /// Returns the address of the client: the sender's own, or the one that a trusted proxy names.
    pub(crate) fn client(&self, headers: &HeaderMap) -> IpAddr {
        self.proxies.client_of(self.peer, headers)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn address(text: &str) -> ClientAddress {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[tokio::test]
    async fn an_address_is_the_peers_or_what_a_trusted_proxy_names() {
        let client = async |peer: Option<&str>, proxies: Option<&str>| {
            let mut request = Request::new(());
            request.headers_mut().insert("x-forwarded-for", "198.51.100.1".parse().unwrap());
            if let Some(peer) = peer {
                let peer = SocketAddr::new(peer.parse().unwrap(), 1234);
                request.extensions_mut().insert(ConnectInfo(peer));
            }
            if let Some(proxies) = proxies {
                request.extensions_mut().insert(proxies.parse::<TrustedProxies>().unwrap());
            }
            let Ok(client) = ClientAddress::from_request_parts(&mut request.into_parts().0, &()).await;
            client
        };
        assert_eq!(client(Some("203.0.113.7"), None).await, address("203.0.113.7"));
        assert_eq!(client(Some("203.0.113.7"), Some("203.0.113.0/24")).await, address("198.51.100.1"));
        assert_eq!(client(Some("127.0.0.1"), None).await, address("198.51.100.1"));
        assert_eq!(client(None, Some("203.0.113.0/24")).await, ClientAddress::default());
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        assert_eq!(address("2001:db8:1:2::1"), address("2001:db8:1:2:ffff::9"));
        assert_ne!(address("2001:db8:1:2::1"), address("2001:db8:1:3::1"));
        assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
    }
}
