//! The inspector's program: runs in place of a participant's app and serves its
//! report on port 80.
//!
//! `GET /` returns the [`inspector::InspectionReport`]. `GET /reach/ADDRESS:PORT` tries to
//! connect and returns `connected`, `refused` or `no way`. `GET /fill/BYTES/DIRECTORY` tries to
//! write so much there and returns what [`inspector::fill::bound_of`] does. The program ends
//! after a minute.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use inspector::{attempts, fill, gather};

/// The time after which the program ends. An inspection takes less.
const LIFETIME: Duration = Duration::from_secs(60);
/// The time for each read of a request, and for each write of its response.
const IO_TIMEOUT: Duration = Duration::from_secs(2);
/// The time within which a reachable node answers.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
const REQUEST_MAX: usize = 4096;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [argument, directory, bytes] = arguments.as_slice()
        && argument == fill::ARGUMENT
    {
        return fill::run(directory, bytes);
    }
    if arguments == [attempts::ARGUMENT] {
        println!("{}", attempts::try_all());
        return ExitCode::SUCCESS;
    }
    thread::spawn(|| {
        thread::sleep(LIFETIME);
        std::process::exit(0);
    });
    let listener = match TcpListener::bind("0.0.0.0:80") {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("muster-inspector: cannot listen on port 80: {error}");
            return ExitCode::FAILURE;
        }
    };
    for stream in listener.incoming().flatten() {
        // The verifier asks again after a failed request.
        let _ = serve(stream);
    }
    ExitCode::SUCCESS
}

fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(IO_TIMEOUT))?;
    stream.set_write_timeout(Some(IO_TIMEOUT))?;
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
    let body = if let Some(address) = path.strip_prefix("/reach/").and_then(|address| address.parse().ok()) {
        reach(address).to_owned()
    } else if let Some((bytes, directory)) = path.strip_prefix("/fill/").and_then(fill_target) {
        fill::bound_of(&directory, bytes)
    } else {
        gather::report().to_string()
    };
    write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Parses `BYTES/DIRECTORY`. The directory is absolute.
fn fill_target(text: &str) -> Option<(u64, String)> {
    let (bytes, directory) = text.split_once('/')?;
    Some((bytes.parse().ok()?, format!("/{directory}")))
}

/// Tries to connect. A refusal shows, too, that packets reach the address and return.
fn reach(address: SocketAddr) -> &'static str {
    match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
        Ok(_) => "connected",
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => "refused",
        Err(_) => "no way",
    }
}
