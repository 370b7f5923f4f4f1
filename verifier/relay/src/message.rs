//! The messages between the verifier and the relay.

use std::fmt;
use std::time::Duration;

use crate::request::{AppRequest, RequestError};

/// The length after which a `Location` is cut, in bytes.
pub const MAX_LOCATION: usize = 512;

/// A call of the verifier. The next call follows only after the [`RelayReply`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelayCall {
    /// Asks whether the relay is alive.
    Ping,
    /// Asks for a request to an app.
    Probe(AppRequest),
}

/// The relay's reply, in a frame with the id of the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelayReply {
    /// The reply to [`RelayCall::Ping`].
    Pong,
    /// The reply to [`RelayCall::Probe`].
    Probed(RequestResult),
}

/// The result of a request: a response with any status, or the reason why there is none.
pub type RequestResult = Result<AppResponse, RequestFailure>;

/// A complete, well-formed HTTP response with any status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppResponse {
    /// 200 to 599.
    pub status: u16,
    /// The Content-Type as sent, cut after 256 bytes.
    pub content_type: Option<String>,
    /// The target of a 3xx, cut after [`MAX_LOCATION`] bytes. It was not followed.
    pub location: Option<String>,
    /// From the first packet to the last byte of the body.
    pub latency: Duration,
    /// The body without its chunking, within the request's limit.
    pub body: Vec<u8>,
}

/// The reason why a request has no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestFailure {
    /// Nothing listens on the port.
    Refused,
    /// There is no route to the address.
    Unreachable,
    /// The connection was not made within its time.
    ConnectTimedOut,
    /// The response was not complete by the deadline.
    TimedOut(AwaitedPart),
    /// The app closed the connection before the response was complete.
    ClosedEarly(AwaitedPart),
    /// The response is not valid HTTP/1.
    BadHttp(HttpViolation),
    /// The head exceeds its limit.
    HeadTooLarge,
    /// The body exceeds its limit, or its announced length does.
    BodyTooLarge,
    /// The body has a Content-Encoding, although the request accepts none.
    Encoded,
    /// Status 101: the app switched to another protocol.
    Upgraded,
    /// Too many interim (1xx) responses.
    InterimStorm,
    /// The relay could not send the request, by this error number of the operating
    /// system. It is never the participant's fault.
    Local(i32),
}

/// The part of the response that was awaited when the request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AwaitedPart {
    /// The status line and the headers.
    Head,
    /// The body.
    Body,
}

/// The way in which a response violates HTTP/1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum HttpViolation {
    /// The response does not begin with `HTTP/`, as in HTTP/0.9.
    NotHttp,
    /// The app speaks HTTP/2.
    Http2,
    /// The app speaks TLS.
    Tls,
    /// The version is neither 1.0 nor 1.1.
    Version,
    /// The status line is malformed, or its status is not 100 to 599.
    StatusLine,
    /// A header line is malformed or folded.
    Header,
    /// The head has more than 100 headers.
    TooManyHeaders,
    /// Content-Length is not a number.
    Length,
    /// The head has two Content-Lengths that differ.
    LengthTwice,
    /// The head has both Content-Length and Transfer-Encoding.
    LengthAndChunked,
    /// The head has a Transfer-Encoding other than one `chunked`.
    TransferEncoding,
    /// The chunked body is malformed.
    Chunk,
}

impl HttpViolation {
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

impl fmt::Display for AwaitedPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Head => "head",
            Self::Body => "body",
        })
    }
}

impl fmt::Display for HttpViolation {
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

impl fmt::Display for RequestFailure {
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

impl std::error::Error for RequestFailure {}

/// The reason why a payload is not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageError {
    /// The payload is shorter or longer than its message.
    Size,
    /// A tag, a number or a text has no meaning.
    Value,
    /// The call asks for a request that is not allowed.
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
