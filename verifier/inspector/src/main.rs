//! The inspector: runs where a participant's app would, and answers on port 80
//! what it sees there.
//!
//! `GET /` gives the [`inspector::Report`]; `GET /reach/ADDRESS:PORT` tries to
//! connect and says `connected`, `refused` or `no way`. It ends by itself.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use inspector::gather;

/// Nobody needs it for longer.
const LIFE: Duration = Duration::from_secs(60);
/// For one request to arrive, and for its answer to leave.
const PATIENCE: Duration = Duration::from_secs(2);
/// A node that can be reached at all answers within this.
const CONNECT: Duration = Duration::from_millis(500);
const REQUEST_MAX: usize = 4096;

fn main() -> ExitCode {
    thread::spawn(|| {
        thread::sleep(LIFE);
        std::process::exit(0);
    });
    let listener = match TcpListener::bind("0.0.0.0:80") {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("muster-inspector: port 80: {error}");
            return ExitCode::FAILURE;
        }
    };
    for stream in listener.incoming().flatten() {
        // Whoever hangs up asks again.
        let _ = serve(stream);
    }
    ExitCode::SUCCESS
}

fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") && request.len() < REQUEST_MAX {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            size => request.extend_from_slice(buffer.get(..size).unwrap_or_default()),
        }
    }
    let request = String::from_utf8_lossy(&request);
    let path = request.split(' ').nth(1).unwrap_or_default();
    let body = match path.strip_prefix("/reach/").and_then(|address| address.parse().ok()) {
        Some(address) => reach(address).to_owned(),
        None => gather::report().to_string(),
    };
    write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Whether packets come to an address and back: also a refusal is an answer.
fn reach(address: SocketAddr) -> &'static str {
    match TcpStream::connect_timeout(&address, CONNECT) {
        Ok(_) => "connected",
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => "refused",
        Err(_) => "no way",
    }
}
