//! The strict HTTP/1 parser: it takes bytes in pieces of any size and returns the
//! response or its first fault.
//!
//! It takes lines that end in a bare line feed and a Content-Length that is
//! repeated, as curl does. It refuses everything that lenient parsers guess about
//! (two different lengths, folded lines), because a participant is better served
//! by the reason than by a guess. It holds no more than the limits allow.

use std::mem;

use crate::head::{BodyFraming, HeadBuilder, ResponseHead, trailer};
use crate::message::{AwaitedPart, HttpViolation, RequestFailure};

/// The number of interim responses that are skipped. One more is a failure.
const MAX_INTERIM: usize = 4;
/// The size of a chunk's size line, with extensions and line end, in bytes.
const MAX_CHUNK_LINE: usize = 128;

/// A complete response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedResponse {
    /// 200 to 599.
    pub status: u16,
    /// The Content-Type as sent, cut after 256 bytes.
    pub content_type: Option<String>,
    /// The target of a 3xx, cut after 512 bytes.
    pub location: Option<String>,
    /// The body without its chunking.
    pub body: Vec<u8>,
}

/// A parser of one response.
#[derive(Debug)]
pub struct ResponseParser {
    state: ParserState,
    /// The part of the current line that has arrived.
    line: Vec<u8>,
    /// The bytes that heads and trailers may still take.
    head_left: usize,
    max_body: usize,
    interim: usize,
    head: Option<ResponseHead>,
    body: Vec<u8>,
}

#[derive(Debug)]
enum ParserState {
    StatusLine,
    Headers(HeadBuilder),
    /// The number of bytes of the body that are missing.
    Length(usize),
    /// The body ends with the stream.
    Close,
    ChunkSize,
    /// The number of bytes of the chunk that are missing.
    ChunkData(usize),
    /// The line end after a chunk's data.
    ChunkEnd,
    Trailers,
    Done,
}

impl ResponseParser {
    /// Creates a parser with a limit in bytes for heads and trailers together, and
    /// one for the body.
    #[must_use]
    pub fn new(max_head: usize, max_body: usize) -> Self {
        Self {
            state: ParserState::StatusLine,
            line: Vec::new(),
            head_left: max_head,
            max_body,
            interim: 0,
            head: None,
            body: Vec::new(),
        }
    }

    /// Takes the next bytes and returns true if the response is complete. Bytes after
    /// it are ignored, because the connection is used for one request.
    ///
    /// # Errors
    /// The first fault of the response. The parser must not be used afterwards.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<bool, RequestFailure> {
        while !bytes.is_empty() && !matches!(self.state, ParserState::Done) {
            self.state = match mem::replace(&mut self.state, ParserState::Done) {
                ParserState::StatusLine => self.status_line(&mut bytes)?,
                ParserState::Headers(head) => self.headers(head, &mut bytes)?,
                ParserState::Length(left) => match self.data(left, &mut bytes)? {
                    0 => ParserState::Done,
                    left => ParserState::Length(left),
                },
                ParserState::Close => {
                    self.data(usize::MAX, &mut bytes)?;
                    ParserState::Close
                }
                ParserState::ChunkSize => self.chunk_size(&mut bytes)?,
                ParserState::ChunkData(left) => match self.data(left, &mut bytes)? {
                    0 => ParserState::ChunkEnd,
                    left => ParserState::ChunkData(left),
                },
                ParserState::ChunkEnd => match self.chunk_line(&mut bytes)? {
                    Some(line) if line.is_empty() => ParserState::ChunkSize,
                    Some(_) => return Err(RequestFailure::BadHttp(HttpViolation::Chunk)),
                    None => ParserState::ChunkEnd,
                },
                ParserState::Trailers => match self.head_line(&mut bytes)? {
                    Some(line) if line.is_empty() => ParserState::Done,
                    Some(line) => trailer(&line).map(|()| ParserState::Trailers)?,
                    None => ParserState::Trailers,
                },
                ParserState::Done => ParserState::Done,
            };
        }
        Ok(matches!(self.state, ParserState::Done))
    }

    /// Returns the part that is being read.
    #[must_use]
    pub fn part(&self) -> AwaitedPart {
        match self.state {
            ParserState::StatusLine | ParserState::Headers(_) => AwaitedPart::Head,
            _ => AwaitedPart::Body,
        }
    }

    /// Returns the response after it is complete or the stream has ended.
    ///
    /// # Errors
    /// [`RequestFailure::ClosedEarly`] if something is missing.
    pub fn end(self) -> Result<ParsedResponse, RequestFailure> {
        let part = self.part();
        match (self.state, self.head) {
            (ParserState::Done | ParserState::Close, Some(head)) => Ok(ParsedResponse {
                status: head.status,
                content_type: head.content_type,
                location: head.location,
                body: self.body,
            }),
            _ => Err(RequestFailure::ClosedEarly(part)),
        }
    }

    fn status_line(&mut self, bytes: &mut &[u8]) -> Result<ParserState, RequestFailure> {
        // Checked from the first byte on: another protocol may never send the end of
        // a line.
        let mut start = self.line.iter().chain(*bytes).zip(b"HTTP/");
        if !start.all(|(a, b)| a == b) {
            let first = self.line.first().or(bytes.first());
            return Err(RequestFailure::BadHttp(other_protocol(first)));
        }
        Ok(match self.head_line(bytes)? {
            Some(line) => ParserState::Headers(HeadBuilder::new(&line)?),
            None => ParserState::StatusLine,
        })
    }

    fn headers(&mut self, mut head: HeadBuilder, bytes: &mut &[u8]) -> Result<ParserState, RequestFailure> {
        match self.head_line(bytes)? {
            Some(line) if line.is_empty() => match head.finish()? {
                Some(head) => self.body_of(head),
                None => {
                    self.interim += 1;
                    if self.interim > MAX_INTERIM {
                        return Err(RequestFailure::InterimStorm);
                    }
                    Ok(ParserState::StatusLine)
                }
            },
            Some(line) => head.header(&line).map(|()| ParserState::Headers(head)),
            None => Ok(ParserState::Headers(head)),
        }
    }

    fn body_of(&mut self, head: ResponseHead) -> Result<ParserState, RequestFailure> {
        let state = match head.framing {
            BodyFraming::Length(0) => ParserState::Done,
            BodyFraming::Length(length) => ParserState::Length(self.within_limit(length)?),
            BodyFraming::Chunked => ParserState::ChunkSize,
            BodyFraming::Close => ParserState::Close,
        };
        self.head = Some(head);
        Ok(state)
    }

    /// Moves up to `left` bytes to the body and returns the number that are missing.
    fn data(&mut self, left: usize, bytes: &mut &[u8]) -> Result<usize, RequestFailure> {
        let (now, later) = bytes.split_at(left.min(bytes.len()));
        self.within_limit(now.len() as u64)?;
        self.body.extend_from_slice(now);
        *bytes = later;
        Ok(left - now.len())
    }

    fn chunk_size(&mut self, bytes: &mut &[u8]) -> Result<ParserState, RequestFailure> {
        let Some(line) = self.chunk_line(bytes)? else {
            return Ok(ParserState::ChunkSize);
        };
        let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let size = hexadecimal(size.trim_ascii_end()).ok_or(RequestFailure::BadHttp(HttpViolation::Chunk))?;
        Ok(match self.within_limit(size)? {
            0 => ParserState::Trailers,
            size => ParserState::ChunkData(size),
        })
    }

    /// Returns the size if the body may grow by it.
    fn within_limit(&self, size: u64) -> Result<usize, RequestFailure> {
        usize::try_from(size)
            .ok()
            .filter(|size| *size <= self.max_body - self.body.len())
            .ok_or(RequestFailure::BodyTooLarge)
    }

    /// Returns the next line of a head or of the trailers if it is complete.
    fn head_line(&mut self, bytes: &mut &[u8]) -> Result<Option<Vec<u8>>, RequestFailure> {
        let Some((line, size)) = self.take_line(bytes, self.head_left, RequestFailure::HeadTooLarge)? else {
            return Ok(None);
        };
        self.head_left -= size;
        Ok(Some(line))
    }

    /// Returns the next line between chunks if it is complete.
    fn chunk_line(&mut self, bytes: &mut &[u8]) -> Result<Option<Vec<u8>>, RequestFailure> {
        let line = self.take_line(bytes, MAX_CHUNK_LINE, RequestFailure::BadHttp(HttpViolation::Chunk))?;
        Ok(line.map(|(line, _)| line))
    }

    /// Returns the next line without its end (CRLF or a bare LF) and its size with
    /// the end, or `None` if the line is not complete yet. A size over `limit`
    /// bytes fails with `beyond`.
    fn take_line(
        &mut self,
        bytes: &mut &[u8],
        limit: usize,
        beyond: RequestFailure,
    ) -> Result<Option<(Vec<u8>, usize)>, RequestFailure> {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (now, later) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
        if self.line.len() + now.len() > limit {
            return Err(beyond);
        }
        *bytes = later;
        self.line.extend_from_slice(now);
        if end.is_none() {
            return Ok(None);
        }
        let mut line = mem::take(&mut self.line);
        let size = line.len();
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(Some((line, size)))
    }
}

/// Returns the protocol that the first byte suggests: a TLS alert or handshake, or
/// the SETTINGS frame with which an HTTP/2 server opens.
fn other_protocol(first: Option<&u8>) -> HttpViolation {
    match first {
        Some(0x15 | 0x16) => HttpViolation::Tls,
        Some(0x00) => HttpViolation::Http2,
        _ => HttpViolation::NotHttp,
    }
}

/// Parses 1 to 15 hexadecimal digits.
fn hexadecimal(digits: &[u8]) -> Option<u64> {
    let plain = (1..=15).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
    let digits = str::from_utf8(digits).ok().filter(|_| plain)?;
    u64::from_str_radix(digits, 16).ok()
}
