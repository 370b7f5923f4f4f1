//! The answers of the world: a short HTTP response to every connection, and one fixed address to every
//! question for a name.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use socket2::SockRef;

use super::packet::PATIENCE;

/// The port that all arriving packets are redirected to.
pub(super) const PORT: u16 = 9;

/// The address that every name resolves to.
const MEANING: [u8; 4] = [198, 51, 100, 53];
const PAGE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nthe world\n";
/// The deadline for a client to send something.
const GREETING: Duration = Duration::from_millis(200);

/// Creates sockets for the traffic that is redirected to [`PORT`].
pub(super) fn sockets() -> Result<(TcpListener, UdpSocket)> {
    let streams = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT))?;
    // For a listener, this is the longest wait for the next client.
    SockRef::from(&streams).set_read_timeout(Some(PATIENCE))?;
    let datagrams = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT))?;
    datagrams.set_read_timeout(Some(PATIENCE))?;
    Ok((streams, datagrams))
}

/// Answers connections until the world is stopped.
pub(super) fn streams(listener: &TcpListener, stopped: &AtomicBool) {
    while !stopped.load(Ordering::Relaxed) {
        if let Ok((stream, _)) = listener.accept() {
            // A client that closes the connection was counted already.
            let _ = greet(stream);
        }
    }
}

/// Answers questions for names until the world is stopped.
pub(super) fn datagrams(socket: &UdpSocket, stopped: &AtomicBool) {
    let mut datagram = [0; 2048];
    while !stopped.load(Ordering::Relaxed) {
        if let Ok((size, from)) = socket.recv_from(&mut datagram)
            && let Some(answer) = datagram.get(..size).and_then(answer)
        {
            let _ = socket.send_to(&answer, from);
        }
    }
}

/// Returns the name that a DNS message asks for, and the position after the question.
pub(super) fn question(message: &[u8]) -> Option<(String, usize)> {
    if message.get(2)? & 0x80 != 0 || message.get(4..6)? != [0, 1] {
        return None;
    }
    let mut labels = Vec::new();
    let mut at = 12;
    loop {
        let size = usize::from(*message.get(at)?);
        at += 1;
        if size == 0 {
            let name = labels.join(".");
            return message.get(at..at + 4).map(|_| (name, at + 4));
        }
        let label = message.get(at..at + size).filter(|_| size < 64)?;
        labels.push(label.escape_ascii().to_string());
        at += size;
    }
}

fn greet(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(GREETING))?;
    stream.set_write_timeout(Some(GREETING))?;
    // Some clients send first, and some wait for the server.
    let _ = stream.read(&mut [0; 1024]);
    stream.write_all(PAGE)
}

fn answer(asked: &[u8]) -> Option<Vec<u8>> {
    let (_, end) = question(asked)?;
    let mut answer = asked.get(..2)?.to_vec();
    // The header: a response with one question and one answer.
    answer.extend([0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    answer.extend(asked.get(12..end)?);
    // The record: the name at byte 12, type A, a lifetime of zero seconds, four bytes.
    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
    answer.extend(MEANING);
    Some(answer)
}
