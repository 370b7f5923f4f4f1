//! What the verifier and the relay say to each other.

use std::fmt;
use std::time::Duration;

use crate::request::{Request, RequestError};

/// What the verifier sends. One at a time: the next only after the [`Reply`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Are you there?
    Ping,
    /// Make this request.
    Probe(Request),
}

/// What the relay sends back, under the id of the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The answer to [`Call::Ping`].
    Pong,
    /// The answer to [`Call::Probe`].
    Probed(Response),
}

/// What became of a request.
pub type Response = Result<Answer, Failure>;

/// A whole, well-formed HTTP response, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 200 to 599.
    pub status: u16,
    /// The Content-Type as sent, cut after 256 bytes.
    pub content_type: Option<String>,
    /// Where a 3xx points, cut after 512 bytes. It was not followed.
    pub location: Option<String>,
    /// From the first packet to the last byte of the body.
    pub latency: Duration,
    /// The body, with the chunking taken off; at most as long as was allowed.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nothing listens on the port.
    Refused,
    /// No way to the address.
    Unreachable,
    /// No connection within the time allowed for it.
    ConnectTimedOut,
    /// Connected, but the answer was not whole by the deadline.
    TimedOut(Part),
    /// Connected, but the other side hung up before the answer was whole.
    ClosedEarly(Part),
    /// The answer is not the HTTP that was asked for.
    BadHttp(Violation),
    /// The head exceeds its limit.
    HeadTooLarge,
    /// The body exceeds its limit, or announces that it will.
    BodyTooLarge,
    /// The body has a Content-Encoding, though none was accepted.
    Encoded,
    /// 101: it wants to speak something else.
    Upgraded,
    /// One interim (1xx) response after another.
    InterimStorm,
    /// The relay itself could not make the request: the operating system said
    /// so, in this error number. Never the participant's fault.
    Local(i32),
}

/// The part of the answer that was awaited when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Status line and headers.
    Head,
    /// The body.
    Body,
}

/// How an answer is not HTTP/1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Violation {
    /// It does not start as HTTP/1 does (so also HTTP/0.9).
    NotHttp,
    /// It speaks HTTP/2.
    Http2,
    /// It speaks TLS.
    Tls,
    /// A version other than 1.0 and 1.1.
    Version,
    /// The status line is malformed, or its status is not 100 to 599.
    StatusLine,
    /// A header line is malformed or folded.
    Header,
    /// More than 100 headers.
    TooManyHeaders,
    /// Content-Length is not a number.
    Length,
    /// Two Content-Lengths that differ.
    LengthTwice,
    /// Both Content-Length and Transfer-Encoding.
    LengthAndChunked,
    /// A Transfer-Encoding other than one `chunked`.
    TransferEncoding,
    /// The chunked body is malformed.
    Chunk,
}

impl Violation {
    /// Every violation, in the order of their numbers on the wire.
    pub const ALL: [Self; 12] = [
        Self::NotHttp,
        Self::Http2,
        Self::Tls,
        Self::Version,
        Self::StatusLine,
        Self::Header,
        Self::TooManyHeaders,
        Self::Length,
        Self::LengthTwice,
        Self::LengthAndChunked,
        Self::TransferEncoding,
        Self::Chunk,
    ];
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Head => "head",
            Self::Body => "body",
        })
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotHttp => "the answer does not start with HTTP/1",
            Self::Http2 => "it speaks HTTP/2",
            Self::Tls => "it speaks TLS",
            Self::Version => "the version is neither HTTP/1.0 nor HTTP/1.1",
            Self::StatusLine => "the status line is malformed",
            Self::Header => "a header line is malformed",
            Self::TooManyHeaders => "more than 100 headers",
            Self::Length => "Content-Length is not a number",
            Self::LengthTwice => "two Content-Lengths that differ",
            Self::LengthAndChunked => "both Content-Length and Transfer-Encoding",
            Self::TransferEncoding => "a Transfer-Encoding other than chunked",
            Self::Chunk => "the chunked body is malformed",
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("connection refused"),
            Self::Unreachable => f.write_str("no route to the address"),
            Self::ConnectTimedOut => f.write_str("no connection in time"),
            Self::TimedOut(part) => write!(f, "no complete {part} by the deadline"),
            Self::ClosedEarly(part) => write!(f, "hung up before the {part} was complete"),
            Self::BadHttp(violation) => write!(f, "not valid HTTP: {violation}"),
            Self::HeadTooLarge => f.write_str("the response head is too large"),
            Self::BodyTooLarge => f.write_str("the response body is too large"),
            Self::Encoded => {
                f.write_str("the body is compressed, though the request asked for no compression")
            }
            Self::Upgraded => f.write_str("it switched to another protocol"),
            Self::InterimStorm => f.write_str("one interim response after another"),
            Self::Local(errno) => write!(f, "the relay failed with system error {errno}"),
        }
    }
}

impl std::error::Error for Failure {}

/// Why a payload is not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageError {
    /// It ends too soon, or goes on after its end.
    Size,
    /// A tag, a number or a text is not one that exists.
    Value,
    /// It asks for a request that the relay does not make.
    Request(RequestError),
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size => f.write_str("a message of the wrong size"),
            Self::Value => f.write_str("a message with a value that does not exist"),
            Self::Request(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for MessageError {}
