//! A participant's app: it answers `GET /getconfig` on port 80 with `config.json`.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

const CONFIG: &str = include_str!("config.json");

fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:80")?;
    println!("listening on port 80");
    for stream in listener.incoming() {
        if let Err(error) = stream.and_then(answer) {
            eprintln!("a request was lost: {error}");
        }
    }
    Ok(())
}

/// Reads one request and answers it.
fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(&stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    // The rest of the request's head, up to its empty line, says nothing we need.
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let (status, body) =
        if request.starts_with("GET /getconfig ") { ("200 OK", CONFIG) } else { ("404 Not Found", "{}") };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len(),
    )
}
