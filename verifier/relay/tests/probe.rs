//! Requests over real sockets on the loopback, with a server for each kind of failure.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use relay::{
    AppRequest, AppResponse, AwaitedPart, HttpViolation, RequestFailure, RequestLimits, RequestResult, http,
};

const TOTAL: Duration = Duration::from_millis(400);

/// Starts a server that accepts one connection, reads the request and calls `behave`.
fn server(behave: impl FnOnce(&mut TcpStream) -> std::io::Result<()> + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_request(&mut stream);
        // The server ends when the client closes the connection, so its errors mean nothing.
        let _ = behave(&mut stream);
    });
    address
}

/// Starts a server that sends this response and closes the connection.
fn saying(response: &'static str) -> SocketAddr {
    server(move |stream| stream.write_all(response.as_bytes()))
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        request.extend_from_slice(&byte);
    }
    String::from_utf8(request).unwrap()
}

/// Waits until the client closes the connection, at most ten seconds.
fn wait_for_the_end(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.read(&mut [0]).map(|_| ())
}

fn request(address: SocketAddr) -> AppRequest {
    let limits =
        RequestLimits { connect: Duration::from_millis(200), total: TOTAL, max_head: 4096, max_body: 8192 };
    AppRequest::new(address, "/getconfig", "app:80", limits).unwrap()
}

/// Sends a request, and checks that it took no longer than its limit.
fn probe(address: SocketAddr) -> RequestResult {
    let began = Instant::now();
    let response = http::probe(&request(address));
    let took = began.elapsed();
    // The extra time is for a busy machine, not for the relay.
    assert!(took < TOTAL + Duration::from_secs(2), "took {took:?}");
    response
}

fn answer(address: SocketAddr) -> AppResponse {
    probe(address).unwrap()
}

#[test]
fn a_good_answer_comes_back_whole_with_what_was_sent() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        sender.send(read_request(&mut stream)).unwrap();
        thread::sleep(Duration::from_millis(20));
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
        stream.write_all(head.as_bytes()).unwrap();
        // The connection stays open, as with real servers: the response is complete without its end.
        wait_for_the_end(&mut stream).unwrap();
    });
    let answer = answer(address);
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"{}"[..]));
    assert_eq!(answer.content_type.as_deref(), Some("application/json"));
    assert!(answer.latency >= Duration::from_millis(20) && answer.latency < TOTAL);
    assert_eq!(
        receiver.recv().unwrap(),
        "GET /getconfig HTTP/1.1\r\nHost: app:80\r\nUser-Agent: muster\r\nAccept: */*\r\n\
         Accept-Encoding: identity\r\nConnection: close\r\n\r\n"
    );
}

#[test]
fn a_chunked_answer_and_one_until_the_end_come_back_whole() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n";
    assert_eq!(answer(saying(chunked)).body, b"{}");
    assert_eq!(answer(saying("HTTP/1.0 500 Oh\r\n\r\n{}")).status, 500);
}

#[test]
fn a_redirect_is_reported_and_not_followed() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    target.set_nonblocking(true).unwrap();
    let port = target.local_addr().unwrap().port();
    let answer = answer(server(move |stream| {
        write!(
            stream,
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{port}/\r\nContent-Length: 0\r\n\r\n"
        )
    }));
    assert_eq!(answer.status, 302);
    assert_eq!(answer.location, Some(format!("http://127.0.0.1:{port}/")));
    let untouched = target.accept().unwrap_err().kind();
    assert_eq!(untouched, std::io::ErrorKind::WouldBlock);
}

#[test]
fn nobody_there_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    assert_eq!(probe(address), Err(RequestFailure::Refused));
}

#[test]
fn a_host_that_swallows_packets_is_a_connection_timeout() {
    // A listener whose queue is full drops further connections.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let short = Duration::from_millis(100);
    let filled = (0..10_000).map_while(|_| TcpStream::connect_timeout(&address, short).ok());
    let _filled: Vec<_> = filled.collect();
    assert_eq!(probe(address), Err(RequestFailure::ConnectTimedOut));
}

#[test]
fn a_server_that_never_answers_is_given_up_at_the_deadline() {
    let began = Instant::now();
    let address = server(wait_for_the_end);
    assert_eq!(probe(address), Err(RequestFailure::TimedOut(AwaitedPart::Head)));
    assert!(began.elapsed() >= TOTAL);
}

#[test]
fn trickling_does_not_extend_the_deadline() {
    let address = server(|stream| {
        for byte in b"HTTP/1.1 200 OK\r\nA: ".iter().chain(std::iter::repeat(&b'x')) {
            stream.write_all(&[*byte])?;
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    });
    assert_eq!(probe(address), Err(RequestFailure::TimedOut(AwaitedPart::Head)));
    let address = server(|stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8000\r\n\r\n")?;
        loop {
            stream.write_all(b"x")?;
            thread::sleep(Duration::from_millis(20));
        }
    });
    assert_eq!(probe(address), Err(RequestFailure::TimedOut(AwaitedPart::Body)));
}

#[test]
fn what_has_no_end_is_cut_at_its_limit() {
    let endless = |start: &'static str, more: &'static str| {
        server(move |stream| {
            stream.write_all(start.as_bytes())?;
            loop {
                stream.write_all(more.as_bytes())?;
            }
        })
    };
    let ok = "HTTP/1.1 200 OK\r\n\r\n";
    assert_eq!(probe(endless(ok, "xxxx")), Err(RequestFailure::BodyTooLarge));
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(probe(endless(chunked, "1\r\nx\r\n")), Err(RequestFailure::BodyTooLarge));
    let head = endless("HTTP/1.1 200 OK\r\nA: ", "xxxx");
    assert_eq!(probe(head), Err(RequestFailure::HeadTooLarge));
    let headers = endless("HTTP/1.1 200 OK\r\n", "A: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n");
    assert_eq!(probe(headers), Err(RequestFailure::HeadTooLarge));
    let interim = endless("", "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(probe(interim), Err(RequestFailure::InterimStorm));
}

#[test]
fn other_protocols_and_tricks_are_told_apart() {
    for (response, expected) in [
        ("hello\r\n", RequestFailure::BadHttp(HttpViolation::NotHttp)),
        ("\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64", RequestFailure::BadHttp(HttpViolation::Http2)),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", RequestFailure::Upgraded),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            RequestFailure::BadHttp(HttpViolation::LengthAndChunked),
        ),
        ("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f", RequestFailure::Encoded),
    ] {
        assert_eq!(probe(saying(response)), Err(expected), "{response:?}");
    }
}

#[test]
fn hanging_up_early_says_where() {
    assert_eq!(probe(saying("")), Err(RequestFailure::ClosedEarly(AwaitedPart::Head)));
    let body = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{";
    assert_eq!(probe(saying(body)), Err(RequestFailure::ClosedEarly(AwaitedPart::Body)));
}

#[test]
fn a_reset_is_hanging_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        // Closing a connection with unread bytes sends a reset.
        stream.peek(&mut [0]).unwrap();
    });
    assert_eq!(probe(address), Err(RequestFailure::ClosedEarly(AwaitedPart::Head)));
}
