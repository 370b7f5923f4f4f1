//! Parses the head of a response line by line: the status line, the headers, and
//! the framing of the body.

use crate::message::{HttpViolation, MAX_LOCATION, RequestFailure};

const MAX_HEADERS: usize = 100;
const MAX_CONTENT_TYPE: usize = 256;

/// The relevant content of a complete head.
#[derive(Debug)]
pub(crate) struct ResponseHead {
    pub(crate) status: u16,
    pub(crate) content_type: Option<String>,
    pub(crate) location: Option<String>,
    pub(crate) framing: BodyFraming,
}

/// The rule by which the end of the body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFraming {
    /// After this number of bytes.
    Length(u64),
    /// After an empty chunk.
    Chunked,
    /// When the connection is closed.
    Close,
}

/// A head whose status line has been read.
#[derive(Debug)]
pub(crate) struct HeadBuilder {
    status: u16,
    old_version: bool,
    headers: usize,
    length: Option<u64>,
    chunked: bool,
    encoded: bool,
    content_type: Option<String>,
    location: Option<String>,
}

impl HeadBuilder {
    /// Starts from a status line without its line end.
    pub(crate) fn new(line: &[u8]) -> Result<Self, RequestFailure> {
        let rest = line.strip_prefix(b"HTTP/1.").ok_or(RequestFailure::BadHttp(HttpViolation::Version))?;
        let (version, rest) =
            rest.split_at_checked(2).ok_or(RequestFailure::BadHttp(HttpViolation::Version))?;
        let old_version = match version {
            b"0 " => true,
            b"1 " => false,
            _ => return Err(RequestFailure::BadHttp(HttpViolation::Version)),
        };
        let status = status(rest).ok_or(RequestFailure::BadHttp(HttpViolation::StatusLine))?;
        if status == 101 {
            return Err(RequestFailure::Upgraded);
        }
        Ok(Self {
            status,
            old_version,
            headers: 0,
            length: None,
            chunked: false,
            encoded: false,
            content_type: None,
            location: None,
        })
    }

    /// Adds a header line without its line end.
    pub(crate) fn header(&mut self, line: &[u8]) -> Result<(), RequestFailure> {
        self.headers += 1;
        if self.headers > MAX_HEADERS {
            return Err(RequestFailure::BadHttp(HttpViolation::TooManyHeaders));
        }
        let (name, value) = split_header(line).ok_or(RequestFailure::BadHttp(HttpViolation::Header))?;
        let violation = match name.to_ascii_lowercase().as_slice() {
            b"content-length" => match (number(value), self.length) {
                (None, _) => HttpViolation::Length,
                (Some(length), Some(known)) if length != known => HttpViolation::LengthTwice,
                (Some(length), _) => {
                    self.length = Some(length);
                    return Ok(());
                }
            },
            b"transfer-encoding" if self.chunked || !value.eq_ignore_ascii_case(b"chunked") => {
                HttpViolation::TransferEncoding
            }
            b"transfer-encoding" => {
                self.chunked = true;
                return Ok(());
            }
            b"content-encoding" => {
                self.encoded |= !value.eq_ignore_ascii_case(b"identity");
                return Ok(());
            }
            b"content-type" => {
                self.content_type.get_or_insert_with(|| text(value, MAX_CONTENT_TYPE));
                return Ok(());
            }
            b"location" => {
                self.location.get_or_insert_with(|| text(value, MAX_LOCATION));
                return Ok(());
            }
            _ => return Ok(()),
        };
        Err(RequestFailure::BadHttp(violation))
    }

    /// Returns the head after its empty line, or `None` for an interim response,
    /// which another head follows.
    pub(crate) fn finish(self) -> Result<Option<ResponseHead>, RequestFailure> {
        if self.status < 200 {
            return Ok(None);
        }
        if self.encoded {
            return Err(RequestFailure::Encoded);
        }
        let framing = match (self.status, self.chunked, self.length) {
            (_, true, Some(_)) => {
                return Err(RequestFailure::BadHttp(HttpViolation::LengthAndChunked));
            }
            // HTTP/1.0 has no chunks, so the end of such a response is uncertain.
            (_, true, None) if self.old_version => {
                return Err(RequestFailure::BadHttp(HttpViolation::TransferEncoding));
            }
            (204 | 304, _, _) => BodyFraming::Length(0),
            (_, true, None) => BodyFraming::Chunked,
            (_, false, Some(length)) => BodyFraming::Length(length),
            (_, false, None) => BodyFraming::Close,
        };
        Ok(Some(ResponseHead {
            status: self.status,
            content_type: self.content_type,
            location: self.location.filter(|_| (300..400).contains(&self.status)),
            framing,
        }))
    }
}

/// Checks the form of a trailer line. Its content is ignored.
pub(crate) fn trailer(line: &[u8]) -> Result<(), RequestFailure> {
    split_header(line).map(|_| ()).ok_or(RequestFailure::BadHttp(HttpViolation::Header))
}

/// Parses `200 OK`, `200 ` or `200`.
fn status(rest: &[u8]) -> Option<u16> {
    let (digits, reason) = rest.split_at_checked(3)?;
    let well_formed = reason.is_empty() || reason.starts_with(b" ");
    let status = u16::try_from(number(digits)?).ok()?;
    (well_formed && is_text(reason) && (100..600).contains(&status)).then_some(status)
}

/// Parses 1 to 18 digits, without a sign or a list.
fn number(digits: &[u8]) -> Option<u64> {
    let plain = (1..=18).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    plain.then(|| digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

fn split_header(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = line.split_at(colon);
    let value = value.get(1..)?.trim_ascii();
    let named = !name.is_empty() && name.iter().all(|byte| is_token(*byte));
    (named && is_text(value)).then_some((name, value))
}

/// Returns true if RFC 9110 allows the byte in a field name.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_text(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control())
}

fn text(value: &[u8], limit: usize) -> String {
    let cut = value.get(..limit).unwrap_or(value);
    String::from_utf8_lossy(cut).replace(char::is_control, " ")
}
