//! A small HTTP server with a thread for each connection, and one response each.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::{fs, thread};

use crate::fail;

/// Accepts connections for ever. Calls `handle` with each connection and the head of its request, in a
/// thread of its own.
pub(crate) fn serve(
    port: u16,
    handle: impl Fn(TcpStream, &str) -> io::Result<()> + Clone + Send + 'static,
) -> ! {
    let listener = TcpListener::bind(("0.0.0.0", port))
        .unwrap_or_else(|error| fail(&format!("cannot listen on port {port}: {error}")));
    println!("listening on port {port}");
    loop {
        if let Ok((mut stream, _)) = listener.accept() {
            let handle = handle.clone();
            thread::spawn(move || {
                let head = read_head(&mut stream)?;
                handle(stream, &head)
            });
        }
    }
}

/// Sends the well-behaved response: the configuration, or 404 for any other path.
pub(crate) fn answer_config(stream: TcpStream, head: &str) -> io::Result<()> {
    if head.starts_with("GET /getconfig ") {
        let config = fs::read("/config.json")?;
        answer(stream, "200 OK", "Content-Type: application/json", &config)
    } else {
        answer(stream, "404 Not Found", "Content-Type: text/plain", b"no\n")
    }
}

/// Sends a complete response with one further header.
pub(crate) fn answer(mut stream: TcpStream, status: &str, header: &str, body: &[u8]) -> io::Result<()> {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\n{header}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)
}

/// Reads up to the empty line that ends a request's head, at most 8 KiB.
fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    while head.len() < 8192 && !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut chunk)? {
            0 => break,
            read => head.extend_from_slice(&chunk[..read]),
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}
