//! Chooses the ports of servers that a test starts as processes.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// The ports to choose from. They are below those that the kernel gives to clients: otherwise a connection of
/// another test, or the test's own attempt to connect, could take a port before its server does.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// Returns an address of the loopback on which nothing listens. No other call in this process returns it,
/// until all ports have been used.
pub(crate) fn free_address() -> SocketAddr {
    static CHOSEN: AtomicU16 = AtomicU16::new(0);
    // Two processes at a time begin at different ports.
    let begin = std::process::id() % u32::from(COUNT);
    for _ in 0..COUNT {
        let number = u32::from(CHOSEN.fetch_add(1, Ordering::Relaxed));
        let port = (begin + number) % u32::from(COUNT) + u32::from(FIRST);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(port).expect("a port")));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("none of {COUNT} ports is free")
}
