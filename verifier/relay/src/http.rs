//! Sends one GET over one connection, under one deadline.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::message::{AppResponse, AwaitedPart, RequestFailure, RequestResult};
use crate::request::AppRequest;
use crate::response::{ParsedResponse, ResponseParser};

/// Sends the request and returns the response by the request's total deadline.
/// It follows no redirects, reuses no connections and resolves no names.
///
/// # Errors
/// [`RequestFailure`] is the reason why there is no response.
pub fn probe(request: &AppRequest) -> RequestResult {
    let began = Instant::now();
    let deadline = RequestDeadline(began + request.limits().total);
    let mut stream = connect(request, deadline)?;
    send(&mut stream, request, deadline)?;
    let parsed = receive(&mut stream, request, deadline)?;
    Ok(AppResponse {
        status: parsed.status,
        content_type: parsed.content_type,
        location: parsed.location,
        latency: began.elapsed(),
        body: parsed.body,
    })
}

#[derive(Clone, Copy)]
struct RequestDeadline(Instant);

impl RequestDeadline {
    /// Returns the time left, or `None` if there is none. It is asked before every
    /// read, so that a response in small pieces meets the deadline too.
    fn left(self) -> Option<Duration> {
        let left = self.0.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }
}

fn connect(request: &AppRequest, deadline: RequestDeadline) -> Result<TcpStream, RequestFailure> {
    let left = deadline.left().ok_or(RequestFailure::ConnectTimedOut)?;
    let timeout = left.min(request.limits().connect);
    TcpStream::connect_timeout(&request.address(), timeout).map_err(|error| match error.kind() {
        ErrorKind::ConnectionRefused => RequestFailure::Refused,
        ErrorKind::ConnectionReset => RequestFailure::ClosedEarly(AwaitedPart::Head),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => RequestFailure::Unreachable,
        ErrorKind::TimedOut => RequestFailure::ConnectTimedOut,
        _ => local(&error),
    })
}

fn send(
    stream: &mut TcpStream,
    request: &AppRequest,
    deadline: RequestDeadline,
) -> Result<(), RequestFailure> {
    let head = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: muster\r\nAccept: */*\r\n\
         Accept-Encoding: identity\r\nConnection: close\r\n\r\n",
        request.path(),
        request.host()
    );
    let left = deadline.left().ok_or(RequestFailure::TimedOut(AwaitedPart::Head))?;
    stream.set_write_timeout(Some(left)).map_err(|error| local(&error))?;
    match stream.write_all(head.as_bytes()) {
        Ok(()) => Ok(()),
        Err(error) if is_timeout(&error) => Err(RequestFailure::TimedOut(AwaitedPart::Head)),
        // The app may have responded before it closed, so the response is read anyway.
        Err(error) if is_hang_up(&error) => Ok(()),
        Err(error) => Err(local(&error)),
    }
}

fn receive(
    stream: &mut TcpStream,
    request: &AppRequest,
    deadline: RequestDeadline,
) -> Result<ParsedResponse, RequestFailure> {
    let limits = request.limits();
    let mut parser = ResponseParser::new(limits.max_head, limits.max_body);
    let mut buffer = [0; 16 * 1024];
    loop {
        let late = RequestFailure::TimedOut(parser.part());
        let left = deadline.left().ok_or(late)?;
        stream.set_read_timeout(Some(left)).map_err(|error| local(&error))?;
        match stream.read(&mut buffer) {
            Ok(0) => return parser.end(),
            Ok(size) => {
                if parser.feed(buffer.get(..size).unwrap_or_default())? {
                    return parser.end();
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if is_timeout(&error) => return Err(late),
            Err(error) if is_hang_up(&error) => return Err(RequestFailure::ClosedEarly(parser.part())),
            Err(error) => return Err(local(&error)),
        }
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn is_hang_up(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe)
}

fn local(error: &std::io::Error) -> RequestFailure {
    RequestFailure::Local(error.raw_os_error().unwrap_or_default())
}
