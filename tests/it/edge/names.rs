//! A name server that answers for `tasks.NAME` as a Swarm's does: with the addresses of the tasks that run.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The addresses of each name.
type Table = Arc<Mutex<BTreeMap<String, Vec<Ipv4Addr>>>>;

/// The type of a question for IPv4 addresses.
const A: [u8; 2] = [0, 1];

/// A name server on the loopback. It ends when it is dropped.
pub(super) struct Names {
    address: SocketAddr,
    table: Table,
}

impl Names {
    pub(super) fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let (address, table) = (socket.local_addr().unwrap(), Table::default());
        let known = Arc::downgrade(&table);
        std::thread::spawn(move || {
            let mut question = [0; 512];
            while let Some(table) = known.upgrade() {
                if let Ok((size, from)) = socket.recv_from(&mut question) {
                    let answer = answer(&question[..size], &table.lock().unwrap());
                    socket.send_to(&answer, from).unwrap();
                }
            }
        });
        Self { address, table }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says which tasks of a service run.
    pub(super) fn set(&self, service: &str, tasks: &[Ipv4Addr]) {
        self.table.lock().unwrap().insert(format!("tasks.{service}"), tasks.to_vec());
    }
}

/// Returns the answer to a question. A name without a task does not exist.
fn answer(question: &[u8], table: &BTreeMap<String, Vec<Ipv4Addr>>) -> Vec<u8> {
    let (mut labels, mut at) = (Vec::new(), 12);
    while question[at] != 0 {
        let end = at + 1 + usize::from(question[at]);
        labels.push(String::from_utf8_lossy(&question[at + 1..end]).to_lowercase());
        at = end;
    }
    // After the name come its type and its class.
    let end = at + 5;
    let found = table.get(&labels.join(".")).filter(|tasks| !tasks.is_empty());
    let tasks = found.filter(|_| question[at + 1..at + 3] == A).map_or(&[][..], Vec::as_slice);
    let code = if found.is_some() { 0x80 } else { 0x83 };
    let count = u8::try_from(tasks.len()).unwrap();
    let head = [question[0], question[1], 0x81, code, 0, 1, 0, count, 0, 0, 0, 0];
    let records = tasks.iter().flat_map(|task| {
        // The name at byte 12, type A, class IN, a lifetime of no time, and the four bytes.
        [&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4], &task.octets()[..]].concat()
    });
    [&head, &question[12..end]].concat().into_iter().chain(records).collect()
}
