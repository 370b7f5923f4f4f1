//! Attempts to reach addresses that a participant's app must not reach: the world, the node, other slots,
//! and the caller.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

use crate::serve::{answer_config, serve};
use crate::{escaped, fail};

/// The deadline for a connection. Every connection within the testbed takes less.
const PATIENCE: Duration = Duration::from_millis(400);
const AT_ONCE: usize = 16;

/// The bounds of a flood.
const FLOOD: Duration = Duration::from_millis(1500);
const FLOOD_PACKETS: usize = 20_000;
const FLOOD_CONNECTIONS: usize = 200;

/// The largest number of neighbours in a slot of sixteen addresses.
const NEIGHBOURS: usize = 14;
/// The number of neighbours that it looks for over IPv6.
const NEIGHBOURS_6: u16 = 2000;

/// Tries each target: `tcp/…` connects, `udp/…` sends a packet, `dns/…` asks for a name with a secret in
/// it. Then it sends the right response.
pub(crate) fn targets(arguments: &[String]) -> ! {
    each(arguments.to_vec(), |target| {
        let (protocol, address) = target.split_once('/').unwrap_or(("", ""));
        let address = address.parse().unwrap_or_else(|error| fail(&format!("{target}: {error}")));
        match protocol {
            "tcp" => connect(address),
            "udp" => send(address),
            "dns" => ask(address),
            other => fail(&format!("no protocol is called {other:?}")),
        }
    });
    serve(80, answer_config)
}

/// Tries all neighbours, in its own network and in the networks of others.
pub(crate) fn neighbours(_: &[String]) -> ! {
    let own = own_addresses();
    let mut near = Vec::new();
    for address in &own {
        let [a, b, c, _] = address.octets();
        for host in (1..=12).map(|last| Ipv4Addr::new(a, b, c, last)).filter(|host| !own.contains(host)) {
            near.extend([80, 2375, 2377, 4789, 5000, 7946].map(|port| SocketAddr::from((host, port))));
        }
    }
    if near.is_empty() {
        fail("it finds no network of its own");
    }
    for network in 0..=60 {
        near.extend((1..=5).map(|host| SocketAddr::from(([10, 0, network, host], 80))));
    }
    near.retain(|address| !own.iter().any(|own| address.ip() == *own));
    each(near, |address| connect(*address));
    serve(80, answer_config)
}

/// Floods the caller from within their common network, and then sends the right response.
pub(crate) fn flood_caller(_: &[String]) -> ! {
    serve(80, |stream, head| {
        let caller = stream.peer_addr()?.ip();
        let began = Instant::now();
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        let connections: Vec<_> = (0..4)
            .map(|worker| {
                thread::spawn(move || {
                    for port in (0..FLOOD_CONNECTIONS / 4).map(|n| (worker * 1000 + n + 1) as u16) {
                        let address = SocketAddr::new(caller, port);
                        if began.elapsed() < FLOOD && TcpStream::connect_timeout(&address, PATIENCE).is_ok() {
                            escaped(&format!("it connected to {address}, who asked"));
                        }
                    }
                })
            })
            .collect();
        for packet in 0..FLOOD_PACKETS {
            if began.elapsed() > FLOOD {
                break;
            }
            // A full queue is part of a flood.
            let _ = socket.send_to(&[0x5a; 1024], SocketAddr::new(caller, (packet % 65_535 + 1) as u16));
        }
        for connection in connections {
            let _ = connection.join();
        }
        answer_config(stream, head)
    })
}

/// Sends a packet to thousands of addresses, so that the kernel looks for as many neighbours. It may find no more than a
/// network of sixteen addresses has, and the ones of its loopback.
pub(crate) fn fill_neighbours(_: &[String]) -> ! {
    let own = own_addresses();
    let Some(first) = own.first() else { fail("it finds no network of its own") };
    let [a, b, ..] = first.octets();
    if let Ok(socket) = UdpSocket::bind("0.0.0.0:0") {
        for host in 0..=u16::MAX {
            let [c, d] = host.to_be_bytes();
            let _ = socket.send_to(b"?", (Ipv4Addr::new(a, b, c, d), 9));
        }
    }
    let known = fs::read_to_string("/proc/net/arp").unwrap_or_default().lines().skip(1).count();
    if known > NEIGHBOURS {
        escaped(&format!("the kernel looks for {known} neighbours of it"));
    }
    let interfaces = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let indexes = interfaces.filter_map(|interface| {
        let index = fs::read_to_string(interface.path().join("ifindex")).ok()?;
        index.trim().parse::<u32>().ok().filter(|_| interface.file_name() != "lo")
    });
    if let Ok(socket) = UdpSocket::bind("[::]:0") {
        for index in indexes {
            // Every interface with IPv6 has a network of 2^64 addresses.
            let sent = (1..=NEIGHBOURS_6).filter(|host| {
                let address = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, *host);
                socket.send_to(b"?", SocketAddrV6::new(address, 9, 0, index)).is_ok()
            });
            let sent = sent.count();
            if sent > NEIGHBOURS {
                escaped(&format!("the kernel looks for {sent} neighbours of it over IPv6"));
            }
        }
    }
    serve(80, answer_config)
}

/// Calls `attempt` with all values, several at once.
fn each<T: Send + Sync + 'static>(all: Vec<T>, attempt: impl Fn(&T) + Send + Sync + Copy + 'static) {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let all: &'static [T] = all.leak();
    let workers = (0..AT_ONCE).map(|_| {
        thread::spawn(move || {
            while let Some(one) = all.get(NEXT.fetch_add(1, Ordering::Relaxed)) {
                attempt(one);
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        let _ = worker.join();
    }
}

fn connect(address: SocketAddr) {
    if TcpStream::connect_timeout(&address, PATIENCE).is_ok() {
        escaped(&format!("it connected to {address}"));
    }
}

/// Sends a packet. Only the receiver knows whether the packet arrived.
fn send(address: SocketAddr) {
    let to_all = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    if let Ok(socket) = UdpSocket::bind(to_all) {
        let _ = socket.send_to(b"a secret", address);
    }
}

fn ask(server: SocketAddr) {
    let answered = || -> io::Result<bool> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        // A question that any server can answer.
        let mut question = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        question.extend(b"\x08a-secret\x04leak\x07example\0\0\x01\0\x01");
        socket.send_to(&question, server)?;
        let mut answer = [0; 512];
        let size = socket.recv(&mut answer)?;
        // Checks that the reply has answers.
        Ok(size > 8 && answer[6..8] != [0, 0])
    };
    if answered().unwrap_or(false) {
        escaped(&format!("{server} answered a question for a name of the world"));
    }
}

/// Returns the addresses in the kernel's routing table. Each local address is a leaf there.
fn own_addresses() -> Vec<Ipv4Addr> {
    let tree = fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let lines: Vec<&str> = tree.lines().collect();
    let local = lines.windows(2).filter(|pair| pair[1].contains("/32 host LOCAL"));
    let mut own: Vec<Ipv4Addr> = local
        .filter_map(|pair| pair[0].rsplit(' ').next()?.parse().ok())
        .filter(|address: &Ipv4Addr| !address.is_loopback())
        .collect();
    own.sort();
    own.dedup();
    own
}
