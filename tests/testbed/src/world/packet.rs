//! Reads the source, the destination and the kind of every IP packet that arrives, before any rule of the
//! host.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use socket2::{Domain, Protocol, Socket, Type};

use super::answer::question;

/// The kinds of packets that are watched, as in the Ethernet header.
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

const TCP: u8 = 6;
const UDP: u8 = 17;
const DNS: u16 = 53;

/// The period at which a watcher checks whether it must stop.
pub(super) const PATIENCE: Duration = Duration::from_millis(100);

/// The source, the destination and the kind of a packet.
pub(super) type Sight = (IpAddr, IpAddr, String);

/// Creates sockets that receive all packets of the network in which they are made.
pub(super) fn sockets() -> Result<Vec<Socket>> {
    let socket = |kind: u16| {
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(i32::from(kind.to_be()))))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(socket)
    };
    [IPV4, IPV6].into_iter().map(socket).collect()
}

/// Calls `tell` for each packet until the watcher is stopped.
pub(super) fn watch(mut socket: Socket, stopped: &AtomicBool, tell: impl Fn(Sight)) {
    let mut packet = [0; 2048];
    while !stopped.load(Ordering::Relaxed) {
        if let Ok(size) = socket.read(&mut packet)
            && let Some(sight) = packet.get(..size).and_then(sight)
        {
            tell(sight);
        }
    }
}

/// Reads a packet. Returns `None` for a packet that is addressed to every host of the network.
fn sight(packet: &[u8]) -> Option<Sight> {
    let (from, to, protocol, payload): (IpAddr, IpAddr, u8, &[u8]) = match packet.first()? >> 4 {
        4 => {
            let header = usize::from(packet[0] & 0xf) * 4;
            let address =
                |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?));
            (address(12)?.into(), address(16)?.into(), *packet.get(9)?, packet.get(header..)?)
        }
        6 => {
            let address =
                |at: usize| Some(Ipv6Addr::from(<[u8; 16]>::try_from(packet.get(at..at + 16)?).ok()?));
            (address(8)?.into(), address(24)?.into(), *packet.get(6)?, packet.get(40..)?)
        }
        _ => return None,
    };
    let is_for_everybody = match to {
        IpAddr::V4(to) => to.is_multicast() || to.is_broadcast(),
        // Neighbour discovery.
        IpAddr::V6(to) => to.is_multicast() || to.is_unicast_link_local() || protocol == 58,
    };
    (!is_for_everybody).then(|| (from, to, what(protocol, payload)))
}

fn what(protocol: u8, payload: &[u8]) -> String {
    let port = payload.get(2..4).map_or(0, |port| u16::from_be_bytes([port[0], port[1]]));
    match (protocol, port) {
        (UDP, DNS) => match payload.get(8..).and_then(question) {
            Some((name, _)) => format!("dns {name}"),
            None => "udp 53".to_owned(),
        },
        (UDP, port) => format!("udp {port}"),
        (TCP, port) => format!("tcp {port}"),
        (1, _) => "icmp".to_owned(),
        (other, _) => format!("protocol {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns an IPv4 packet from 10.0.0.1.
    fn packet(to: [u8; 4], protocol: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1];
        packet.extend(to);
        packet.extend(payload);
        packet
    }

    #[test]
    fn a_packet_is_told_by_where_it_goes() {
        let what =
            |protocol, payload: &[u8]| sight(&packet([192, 0, 2, 7], protocol, payload)).map(|seen| seen.2);
        assert_eq!(what(TCP, &[0, 9, 0, 80, 0, 0]).as_deref(), Some("tcp 80"));
        assert_eq!(what(UDP, &[0, 9, 0x12, 0xb5]).as_deref(), Some("udp 4789"));
        assert_eq!(what(UDP, &[0, 9, 0, 53, 0, 0, 0, 0, 1]).as_deref(), Some("udp 53"));
        let mut asked = vec![0, 9, 0, 53, 0, 0, 0, 0, 1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        asked.extend(b"\x06secret\x04leak\0\0\x01\0\x01");
        assert_eq!(what(UDP, &asked).as_deref(), Some("dns secret.leak"));
        assert_eq!(what(1, &[8, 0]).as_deref(), Some("icmp"));
        assert_eq!(sight(&packet([224, 0, 0, 22], 2, &[])), None);
    }

    #[test]
    fn no_bytes_make_it_stumble() {
        let whole = packet([192, 0, 2, 7], UDP, &[0, 9, 0, 53, 0, 0, 0, 0, 1, 2, 1, 0, 0, 1]);
        for end in 0..whole.len() {
            let _ = sight(&whole[..end]);
        }
        assert_eq!(sight(&[0x4f; 20]), None);
        assert_eq!(sight(&[0x60; 39]), None);
    }
}
