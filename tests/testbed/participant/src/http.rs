//! Responses that no honest server sends.

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, thread};

use crate::serve::{answer, answer_config, serve};
use crate::{fail, text};

/// The function that answers in one mode, after the request was read.
type Character = fn(TcpStream) -> io::Result<()>;

const CHARACTERS: &[(&str, Character)] = &[
    ("slow-head", |s| dripped(s, b"HTTP/1.1 200 OK\r\nX-Patience: ", b"a")),
    ("slow-body", |s| dripped(s, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b" ")),
    ("slow-chunks", |s| dripped(s, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n")),
    ("endless-head", |s| endless(s, b"HTTP/1.1 200 OK\r\n", b"X-More: and more and more and more\r\n")),
    ("huge-header", |s| endless(s, b"HTTP/1.1 200 OK\r\nX-Huge: ", b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")),
    ("endless-body", |s| endless(s, b"HTTP/1.1 200 OK\r\n\r\n", b"                                ")),
    ("endless-chunks", |s| {
        endless(s, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n")
    }),
    ("interim-storm", |s| endless(s, b"", b"HTTP/1.1 103 Early Hints\r\n\r\n")),
    ("many-headers", |mut s| {
        s.write_all(format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(1000)).as_bytes())
    }),
    ("huge-length", |mut s| s.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{}")),
    ("length-and-chunked", |mut s| {
        s.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        )
    }),
    ("two-lengths", |mut s| {
        s.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ")
    }),
    ("bare-line-feeds", |mut s| s.write_all(b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}")),
    ("upgrade", |mut s| {
        s.write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    }),
    // A SETTINGS frame, the first that an HTTP/2 server sends.
    ("http2", |mut s| s.write_all(&[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100])),
    ("http09", |mut s| s.write_all(b"<h1>It works!</h1>\n")),
    // A TLS alert: handshake failure.
    ("tls", |mut s| s.write_all(&[0x15, 3, 1, 0, 2, 2, 40])),
    ("hang-up", |_| Ok(())),
];

/// The seconds and bytes that endless modes send.
const DRIPS: usize = 60;
const ENDLESS_BYTES: usize = 32 << 20;

/// Sends the response of this name in the table.
pub(crate) fn answers(arguments: &[String]) -> ! {
    let name = text(arguments, 0);
    let Some((_, play)) = CHARACTERS.iter().find(|(known, _)| *known == name) else {
        fail(&format!("no character is called {name:?}"));
    };
    serve(80, move |stream, _head| play(stream))
}

/// Sends a file as it is, with a header that claims another format.
pub(crate) fn file(arguments: &[String]) -> ! {
    let (path, header) = (text(arguments, 0).to_owned(), text(arguments, 1).to_owned());
    serve(80, move |stream, _head| answer(stream, "200 OK", &header, &fs::read(&path)?))
}

/// Sends the right response to the first request only.
pub(crate) fn right_once(_: &[String]) -> ! {
    static ASKED: AtomicBool = AtomicBool::new(false);
    serve(80, |stream, head| {
        if ASKED.swap(true, Ordering::SeqCst) {
            answer(stream, "200 OK", "Content-Type: application/json", b"{}")
        } else {
            answer_config(stream, head)
        }
    })
}

/// Sends a beginning, and then a little every second.
fn dripped(mut stream: TcpStream, beginning: &[u8], drip: &[u8]) -> io::Result<()> {
    stream.write_all(beginning)?;
    for _ in 0..DRIPS {
        thread::sleep(Duration::from_secs(1));
        stream.write_all(drip)?;
    }
    Ok(())
}

/// Sends a beginning, and then the same bytes over and over.
fn endless(mut stream: TcpStream, beginning: &[u8], more: &[u8]) -> io::Result<()> {
    stream.write_all(beginning)?;
    let block = more.repeat((64 << 10) / more.len());
    for _ in 0..ENDLESS_BYTES / block.len() {
        stream.write_all(&block)?;
    }
    Ok(())
}
