//! The strict HTTP/1 parser: fed with bytes however they arrive, it gives the
//! response or the first thing that is wrong with it.
//!
//! It takes lines that end in a bare line feed and a Content-Length that is
//! repeated, as curl does. It refuses everything that lenient parsers guess about
//! (two different lengths, folded lines), because a participant is better served
//! by the reason than by a guess. It holds no more than the limits allow.

use std::mem;

use crate::head::{Framing, Head, HeadBuilder, trailer};
use crate::message::{Failure, Part, Violation};

/// Interim responses that are skipped before they count as a storm.
const MAX_INTERIM: usize = 4;
/// A chunk's size line, with any extensions and its end.
const MAX_CHUNK_LINE: usize = 128;

/// A response of which everything was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// 200 to 599.
    pub status: u16,
    /// As sent, cut after 256 bytes.
    pub content_type: Option<String>,
    /// Of a 3xx, cut after 512 bytes.
    pub location: Option<String>,
    /// Without its chunking.
    pub body: Vec<u8>,
}

/// Reads one response.
#[derive(Debug)]
pub struct Parser {
    state: State,
    /// The line that is being read, as far as it came.
    line: Vec<u8>,
    /// What heads and trailers may still take, in bytes.
    head_left: usize,
    max_body: usize,
    interim: usize,
    head: Option<Head>,
    body: Vec<u8>,
}

#[derive(Debug)]
enum State {
    StatusLine,
    Headers(HeadBuilder),
    /// So many bytes of the body to come.
    Length(usize),
    /// Everything until the end of the stream.
    Close,
    ChunkSize,
    /// So many bytes of the chunk to come.
    ChunkData(usize),
    /// The CRLF behind a chunk's data.
    ChunkEnd,
    Trailers,
    Done,
}

impl Parser {
    /// A parser that allows so many bytes for heads and trailers, and for the body.
    #[must_use]
    pub fn new(max_head: usize, max_body: usize) -> Self {
        Self {
            state: State::StatusLine,
            line: Vec::new(),
            head_left: max_head,
            max_body,
            interim: 0,
            head: None,
            body: Vec::new(),
        }
    }

    /// Takes the next bytes. Says whether the response is complete; whatever
    /// follows it is ignored, for nothing else is asked on its connection.
    ///
    /// # Errors
    /// The first thing that is wrong. The parser is of no use afterwards.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<bool, Failure> {
        while !bytes.is_empty() && !matches!(self.state, State::Done) {
            self.state = match mem::replace(&mut self.state, State::Done) {
                State::StatusLine => self.status_line(&mut bytes)?,
                State::Headers(head) => self.headers(head, &mut bytes)?,
                State::Length(left) => match self.data(left, &mut bytes)? {
                    0 => State::Done,
                    left => State::Length(left),
                },
                State::Close => {
                    self.data(usize::MAX, &mut bytes)?;
                    State::Close
                }
                State::ChunkSize => self.chunk_size(&mut bytes)?,
                State::ChunkData(left) => match self.data(left, &mut bytes)? {
                    0 => State::ChunkEnd,
                    left => State::ChunkData(left),
                },
                State::ChunkEnd => match self.chunk_line(&mut bytes)? {
                    Some(line) if line.is_empty() => State::ChunkSize,
                    Some(_) => return Err(Failure::BadHttp(Violation::Chunk)),
                    None => State::ChunkEnd,
                },
                State::Trailers => match self.head_line(&mut bytes)? {
                    Some(line) if line.is_empty() => State::Done,
                    Some(line) => trailer(&line).map(|()| State::Trailers)?,
                    None => State::Trailers,
                },
                State::Done => State::Done,
            };
        }
        Ok(matches!(self.state, State::Done))
    }

    /// The part that is being read.
    #[must_use]
    pub fn part(&self) -> Part {
        match self.state {
            State::StatusLine | State::Headers(_) => Part::Head,
            _ => Part::Body,
        }
    }

    /// The response, once it is complete or the stream has ended.
    ///
    /// # Errors
    /// [`Failure::ClosedEarly`] if something is missing.
    pub fn end(self) -> Result<Parsed, Failure> {
        let part = self.part();
        match (self.state, self.head) {
            (State::Done | State::Close, Some(head)) => Ok(Parsed {
                status: head.status,
                content_type: head.content_type,
                location: head.location,
                body: self.body,
            }),
            _ => Err(Failure::ClosedEarly(part)),
        }
    }

    fn status_line(&mut self, bytes: &mut &[u8]) -> Result<State, Failure> {
        // Looked at as soon as there is a byte: what is not HTTP may never send
        // the end of a line.
        let mut start = self.line.iter().chain(*bytes).zip(b"HTTP/");
        if !start.all(|(a, b)| a == b) {
            let first = self.line.first().or(bytes.first());
            return Err(Failure::BadHttp(other_protocol(first)));
        }
        Ok(match self.head_line(bytes)? {
            Some(line) => State::Headers(HeadBuilder::new(&line)?),
            None => State::StatusLine,
        })
    }

    fn headers(&mut self, mut head: HeadBuilder, bytes: &mut &[u8]) -> Result<State, Failure> {
        match self.head_line(bytes)? {
            Some(line) if line.is_empty() => match head.finish()? {
                Some(head) => self.body_of(head),
                None => {
                    self.interim += 1;
                    if self.interim > MAX_INTERIM {
                        return Err(Failure::InterimStorm);
                    }
                    Ok(State::StatusLine)
                }
            },
            Some(line) => head.header(&line).map(|()| State::Headers(head)),
            None => Ok(State::Headers(head)),
        }
    }

    fn body_of(&mut self, head: Head) -> Result<State, Failure> {
        let state = match head.framing {
            Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(self.within_limit(length)?),
            Framing::Chunked => State::ChunkSize,
            Framing::Close => State::Close,
        };
        self.head = Some(head);
        Ok(state)
    }

    /// Moves up to `left` bytes to the body; returns how many are still to come.
    fn data(&mut self, left: usize, bytes: &mut &[u8]) -> Result<usize, Failure> {
        let (now, later) = bytes.split_at(left.min(bytes.len()));
        self.within_limit(now.len() as u64)?;
        self.body.extend_from_slice(now);
        *bytes = later;
        Ok(left - now.len())
    }

    fn chunk_size(&mut self, bytes: &mut &[u8]) -> Result<State, Failure> {
        let Some(line) = self.chunk_line(bytes)? else {
            return Ok(State::ChunkSize);
        };
        let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let size = hexadecimal(size.trim_ascii_end()).ok_or(Failure::BadHttp(Violation::Chunk))?;
        Ok(match self.within_limit(size)? {
            0 => State::Trailers,
            size => State::ChunkData(size),
        })
    }

    /// The size, if the body may grow by so much.
    fn within_limit(&self, size: u64) -> Result<usize, Failure> {
        usize::try_from(size)
            .ok()
            .filter(|size| *size <= self.max_body - self.body.len())
            .ok_or(Failure::BodyTooLarge)
    }

    /// The next line of a head or of the trailers, once it is whole.
    fn head_line(&mut self, bytes: &mut &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        let Some((line, size)) = self.take_line(bytes, self.head_left, Failure::HeadTooLarge)? else {
            return Ok(None);
        };
        self.head_left -= size;
        Ok(Some(line))
    }

    /// The next line between chunks, once it is whole.
    fn chunk_line(&mut self, bytes: &mut &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        let line = self.take_line(bytes, MAX_CHUNK_LINE, Failure::BadHttp(Violation::Chunk))?;
        Ok(line.map(|(line, _)| line))
    }

    /// Returns the next line without its end (CRLF or a bare LF) and its size with
    /// the end, or `None` if the line is not complete yet. A size over `limit`
    /// bytes fails with `beyond`.
    fn take_line(
        &mut self,
        bytes: &mut &[u8],
        limit: usize,
        beyond: Failure,
    ) -> Result<Option<(Vec<u8>, usize)>, Failure> {
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

/// What it may be when it is not HTTP/1: a TLS alert or handshake, or the
/// SETTINGS frame with which an HTTP/2 server opens.
fn other_protocol(first: Option<&u8>) -> Violation {
    match first {
        Some(0x15 | 0x16) => Violation::Tls,
        Some(0x00) => Violation::Http2,
        _ => Violation::NotHttp,
    }
}

/// Hexadecimal digits only, and no more than 15 of them.
fn hexadecimal(digits: &[u8]) -> Option<u64> {
    let plain = (1..=15).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
    let digits = str::from_utf8(digits).ok().filter(|_| plain)?;
    u64::from_str_radix(digits, 16).ok()
}
