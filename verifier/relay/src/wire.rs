//! Encodes messages as bytes: tags of one byte, big-endian numbers, and texts and
//! bodies after their length. A decoder refuses bytes that are left over.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::message::{
    AppResponse, AwaitedPart, HttpViolation, MessageError, RelayCall, RelayReply, RequestFailure,
    RequestResult,
};
use crate::request::{AppRequest, RequestLimits};

impl RelayCall {
    /// Returns the payload of a frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut to = MessageWriter::default();
        match self {
            Self::Ping => to.tag(0),
            Self::Probe(request) => {
                to.tag(1);
                to.request(request);
            }
        }
        to.0
    }

    /// Decodes a payload from [`RelayCall::encode`].
    ///
    /// # Errors
    /// [`MessageError`] for any other payload.
    pub fn decode(payload: &[u8]) -> Result<Self, MessageError> {
        let mut from = MessageReader(payload);
        let call = match from.tag()? {
            0 => Self::Ping,
            1 => Self::Probe(from.request()?),
            _ => return Err(MessageError::Value),
        };
        from.end(call)
    }
}

impl RelayReply {
    /// Returns the payload of a frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut to = MessageWriter::default();
        match self {
            Self::Pong => to.tag(0),
            Self::Probed(Ok(answer)) => {
                to.tag(1);
                to.answer(answer);
            }
            Self::Probed(Err(failure)) => {
                to.tag(2);
                to.failure(*failure);
            }
        }
        to.0
    }

    /// Decodes a payload from [`RelayReply::encode`].
    ///
    /// # Errors
    /// [`MessageError`] for any other payload.
    pub fn decode(payload: &[u8]) -> Result<Self, MessageError> {
        let mut from = MessageReader(payload);
        let reply = match from.tag()? {
            0 => Self::Pong,
            1 => Self::Probed(RequestResult::Ok(from.answer()?)),
            2 => Self::Probed(RequestResult::Err(from.failure()?)),
            _ => return Err(MessageError::Value),
        };
        from.end(reply)
    }
}

#[derive(Default)]
struct MessageWriter(Vec<u8>);

impl MessageWriter {
    fn tag(&mut self, tag: u8) {
        self.0.push(tag);
    }

    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_be_bytes());
    }

    fn duration(&mut self, duration: Duration) {
        self.number(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn maybe(&mut self, text: Option<&str>) {
        self.tag(u8::from(text.is_some()));
        if let Some(text) = text {
            self.bytes(text.as_bytes());
        }
    }

    fn request(&mut self, request: &AppRequest) {
        match request.address().ip() {
            IpAddr::V4(ip) => {
                self.tag(4);
                self.0.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                self.tag(6);
                self.0.extend_from_slice(&ip.octets());
            }
        }
        self.0.extend_from_slice(&request.address().port().to_be_bytes());
        self.bytes(request.path().as_bytes());
        self.bytes(request.host().as_bytes());
        let limits = request.limits();
        self.duration(limits.connect);
        self.duration(limits.total);
        self.number(limits.max_head as u64);
        self.number(limits.max_body as u64);
    }

    fn answer(&mut self, answer: &AppResponse) {
        self.0.extend_from_slice(&answer.status.to_be_bytes());
        self.maybe(answer.content_type.as_deref());
        self.maybe(answer.location.as_deref());
        self.duration(answer.latency);
        self.bytes(&answer.body);
    }

    fn failure(&mut self, failure: RequestFailure) {
        match failure {
            RequestFailure::Refused => self.tag(0),
            RequestFailure::Unreachable => self.tag(1),
            RequestFailure::ConnectTimedOut => self.tag(2),
            RequestFailure::TimedOut(AwaitedPart::Head) => self.tag(3),
            RequestFailure::TimedOut(AwaitedPart::Body) => self.tag(4),
            RequestFailure::ClosedEarly(AwaitedPart::Head) => self.tag(5),
            RequestFailure::ClosedEarly(AwaitedPart::Body) => self.tag(6),
            RequestFailure::BadHttp(violation) => {
                self.tag(7);
                self.tag(violation as u8);
            }
            RequestFailure::HeadTooLarge => self.tag(8),
            RequestFailure::BodyTooLarge => self.tag(9),
            RequestFailure::Encoded => self.tag(10),
            RequestFailure::Upgraded => self.tag(11),
            RequestFailure::InterimStorm => self.tag(12),
            RequestFailure::Local(errno) => {
                self.tag(13);
                self.0.extend_from_slice(&errno.to_be_bytes());
            }
        }
    }
}

struct MessageReader<'a>(&'a [u8]);

impl<'a> MessageReader<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], MessageError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(MessageError::Size)?;
        self.0 = rest;
        Ok(*array)
    }

    fn tag(&mut self) -> Result<u8, MessageError> {
        self.array().map(|[tag]| tag)
    }

    fn number(&mut self) -> Result<u64, MessageError> {
        self.array().map(u64::from_be_bytes)
    }

    fn size(&mut self) -> Result<usize, MessageError> {
        usize::try_from(self.number()?).map_err(|_| MessageError::Value)
    }

    fn duration(&mut self) -> Result<Duration, MessageError> {
        self.number().map(Duration::from_micros)
    }

    fn bytes(&mut self) -> Result<&'a [u8], MessageError> {
        let size = self.size()?;
        let (bytes, rest) = self.0.split_at_checked(size).ok_or(MessageError::Size)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn text(&mut self) -> Result<String, MessageError> {
        let bytes = self.bytes()?.to_vec();
        String::from_utf8(bytes).map_err(|_| MessageError::Value)
    }

    fn maybe(&mut self) -> Result<Option<String>, MessageError> {
        match self.tag()? {
            0 => Ok(None),
            1 => self.text().map(Some),
            _ => Err(MessageError::Value),
        }
    }

    fn request(&mut self) -> Result<AppRequest, MessageError> {
        let ip: IpAddr = match self.tag()? {
            4 => self.array::<4>()?.into(),
            6 => self.array::<16>()?.into(),
            _ => return Err(MessageError::Value),
        };
        let port = u16::from_be_bytes(self.array()?);
        let path = self.text()?;
        let host = self.text()?;
        let limits = RequestLimits {
            connect: self.duration()?,
            total: self.duration()?,
            max_head: self.size()?,
            max_body: self.size()?,
        };
        AppRequest::new(SocketAddr::new(ip, port), path, host, limits).map_err(MessageError::Request)
    }

    fn answer(&mut self) -> Result<AppResponse, MessageError> {
        let status = u16::from_be_bytes(self.array()?);
        if !(200..600).contains(&status) {
            return Err(MessageError::Value);
        }
        Ok(AppResponse {
            status,
            content_type: self.maybe()?,
            location: self.maybe()?,
            latency: self.duration()?,
            body: self.bytes()?.to_vec(),
        })
    }

    fn failure(&mut self) -> Result<RequestFailure, MessageError> {
        Ok(match self.tag()? {
            0 => RequestFailure::Refused,
            1 => RequestFailure::Unreachable,
            2 => RequestFailure::ConnectTimedOut,
            3 => RequestFailure::TimedOut(AwaitedPart::Head),
            4 => RequestFailure::TimedOut(AwaitedPart::Body),
            5 => RequestFailure::ClosedEarly(AwaitedPart::Head),
            6 => RequestFailure::ClosedEarly(AwaitedPart::Body),
            7 => {
                let violation = HttpViolation::ALL.get(usize::from(self.tag()?));
                RequestFailure::BadHttp(*violation.ok_or(MessageError::Value)?)
            }
            8 => RequestFailure::HeadTooLarge,
            9 => RequestFailure::BodyTooLarge,
            10 => RequestFailure::Encoded,
            11 => RequestFailure::Upgraded,
            12 => RequestFailure::InterimStorm,
            13 => RequestFailure::Local(i32::from_be_bytes(self.array()?)),
            _ => return Err(MessageError::Value),
        })
    }

    fn end<T>(self, message: T) -> Result<T, MessageError> {
        if self.0.is_empty() { Ok(message) } else { Err(MessageError::Size) }
    }
}
