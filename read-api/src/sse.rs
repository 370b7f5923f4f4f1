//! Server-sent events: the text of a message, and the response that streams messages.

use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use event_store::Position;
use futures::{Stream, StreamExt};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::conditional::to_json;
use crate::readers::ReaderPermit;

/// The longest time without a line. A comment is sent then, so that both sides notice a peer that is gone.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The time, in milliseconds, that a browser waits before it connects again.
const RETRY: &[u8] = b"retry: 2000\n\n";

/// The id of a message: a position of the log, and a mark by which the event there is recognised when a client connects
/// again. Written as `4711` or `4711-5e0f1a2b`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MessageId {
    pub(crate) position: Position,
    pub(crate) mark: Option<u32>,
}

impl MessageId {
    /// Parses an id, or returns `None` if the text is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (position, mark) = match text.split_once('-') {
            Some((position, mark)) => (position, Some(u32::from_str_radix(mark, 16).ok()?)),
            None => (text, None),
        };
        Some(Self { position: Position(position.parse().ok()?), mark })
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mark {
            Some(mark) => write!(f, "{}-{mark:08x}", self.position),
            None => self.position.fmt(f),
        }
    }
}

/// Returns the text of one message. A client that connects again continues after the message's `id`, if it has one.
pub(crate) fn message(name: &str, id: Option<MessageId>, data: &impl Serialize) -> Vec<u8> {
    let mut message = format!("event: {name}\n").into_bytes();
    if let Some(id) = id {
        message.extend_from_slice(format!("id: {id}\n").as_bytes());
    }
    message.extend_from_slice(b"data: ");
    // Serialised JSON has no line breaks.
    message.extend_from_slice(&to_json(data));
    message.extend_from_slice(b"\n\n");
    message
}

/// Returns a response that streams `messages` until they end, the reader loses its place or the process stops, and drops
/// `permit` then.
///
/// `messages` is polled only when the client reads, so a slow client needs no buffer.
pub(crate) fn response(
    messages: impl Stream<Item = Bytes> + Send + 'static,
    permit: ReaderPermit,
    stopping: CancellationToken,
) -> Response {
    let stream = async_stream::stream! {
        let place_lost = permit.place_lost().cancelled_owned();
        let _permit = permit;
        let messages = messages.take_until(stopping.cancelled_owned()).take_until(place_lost);
        tokio::pin!(messages);
        yield Bytes::from_static(RETRY);
        loop {
            match tokio::time::timeout(HEARTBEAT, messages.next()).await {
                Ok(Some(message)) => yield message,
                Ok(None) => break,
                Err(_) => yield Bytes::from_static(b":\n\n"),
            }
        }
    };
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Asks proxies not to buffer the stream.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(stream.map(Ok::<_, Infallible>))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_a_name_an_id_and_one_line_of_data() {
        let id = |mark| Some(MessageId { position: Position(7), mark });
        let text = String::from_utf8(message("pin", id(Some(0xabc)), &"a\nb")).unwrap();
        assert_eq!(text, "event: pin\nid: 7-00000abc\ndata: \"a\\nb\"\n\n");
        for (text, mark) in [("7", Some(None)), ("7-00000abc", Some(Some(0xabc))), ("7-", None), ("-7", None)]
        {
            assert_eq!(MessageId::parse(text), mark.and_then(id), "{text}");
        }
    }
}
