//! A session with a relay over an attached stream: calls, and exactly one reply for each. The relay runs
//! beside hostile containers, so everything that it sends is checked.

use std::time::Duration;

use bollard::container::{AttachContainerResults, LogOutput};
use futures::StreamExt;
use relay::frame::RelayFrame;
use relay::{AppRequest, FrameDecoder, FrameError, MessageError, RelayCall, RelayReply, RequestResult};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

/// The time that a reply may take beyond the request's own deadline.
const MARGIN: Duration = Duration::from_secs(5);

/// The reason why a session ended. The relay is not trusted any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The engine's own framing of the stream was lost.
    #[error("the engine's stream lost its framing")]
    Console,
    /// The engine ended the stream with an error.
    #[error("the engine's stream failed: {0}")]
    Stream(String),
    /// A call could not be sent.
    #[error("its input failed: {0}")]
    Input(std::io::ErrorKind),
    /// The relay's output ended.
    #[error("its output ended")]
    Ended,
    /// The relay sent bytes that are no frame.
    #[error("it sent {0}")]
    Frame(#[from] FrameError),
    /// The relay sent a frame that is no reply.
    #[error("it sent {0}")]
    Message(#[from] MessageError),
    /// The relay sent a reply that does not match a call.
    #[error("it sent a reply without a call")]
    Unexpected,
    /// The relay sent no reply in time.
    #[error("it did not answer in time")]
    Silent,
}

/// A session, with both halves of the attach stream.
pub(super) struct RelaySession {
    attached: AttachContainerResults,
    decoder: FrameDecoder,
    last_id: u64,
}

impl RelaySession {
    pub(super) fn new(attached: AttachContainerResults) -> Self {
        Self { attached, decoder: FrameDecoder::default(), last_id: 0 }
    }

    pub(super) async fn ping(&mut self) -> Result<(), SessionError> {
        match self.call(&RelayCall::Ping, MARGIN).await? {
            RelayReply::Pong => Ok(()),
            RelayReply::Probed(_) => Err(SessionError::Unexpected),
        }
    }

    pub(super) async fn probe(&mut self, request: AppRequest) -> Result<RequestResult, SessionError> {
        let patience = request.limits().total + MARGIN;
        match self.call(&RelayCall::Probe(request), patience).await? {
            RelayReply::Probed(response) => Ok(response),
            RelayReply::Pong => Err(SessionError::Unexpected),
        }
    }

    /// Reads while no reply is expected, and returns an error as soon as the relay sends anything.
    pub(super) async fn unexpected(&mut self) -> SessionError {
        match self.frame().await {
            Ok(_) => SessionError::Unexpected,
            Err(error) => error,
        }
    }

    async fn call(&mut self, call: &RelayCall, patience: Duration) -> Result<RelayReply, SessionError> {
        timeout(patience, self.exchange(call)).await.unwrap_or(Err(SessionError::Silent))
    }

    async fn exchange(&mut self, call: &RelayCall) -> Result<RelayReply, SessionError> {
        self.last_id += 1;
        let frame = RelayFrame { id: self.last_id, payload: call.encode() };
        let bytes = frame.encode()?;
        self.send(&bytes).await.map_err(|error| SessionError::Input(error.kind()))?;
        let frame = self.frame().await?;
        if frame.id != self.last_id {
            return Err(SessionError::Unexpected);
        }
        Ok(RelayReply::decode(&frame.payload)?)
    }

    async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.attached.input.write_all(bytes).await?;
        self.attached.input.flush().await
    }

    async fn frame(&mut self) -> Result<RelayFrame, SessionError> {
        loop {
            let output = self.attached.output.next().await.ok_or(SessionError::Ended)?;
            let message = match output.map_err(|error| SessionError::Stream(error.to_string()))? {
                LogOutput::StdOut { message } => message,
                LogOutput::Console { .. } => return Err(SessionError::Console),
                LogOutput::StdErr { .. } | LogOutput::StdIn { .. } => return Err(SessionError::Unexpected),
            };
            let mut bytes = message.as_ref();
            match self.decoder.feed(&mut bytes)? {
                Some(frame) if bytes.is_empty() => return Ok(frame),
                Some(_) => return Err(SessionError::Unexpected),
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::stream;
    use relay::{RequestFailure, RequestLimits};

    use super::*;

    fn reply(id: u64, reply: &RelayReply) -> Vec<u8> {
        let payload = reply.encode();
        RelayFrame { id, payload }.encode().unwrap()
    }

    fn stdout(bytes: Vec<u8>) -> LogOutput {
        let message = bytes.into();
        LogOutput::StdOut { message }
    }

    /// Returns a session with a relay that sends this output, whatever the calls are.
    fn session(sent: Vec<LogOutput>) -> RelaySession {
        RelaySession::new(AttachContainerResults {
            output: Box::pin(stream::iter(sent).map(Ok)),
            input: Box::pin(tokio::io::sink()),
        })
    }

    fn request() -> AppRequest {
        AppRequest::new(([10, 0, 0, 2], 80).into(), "/", "app", RequestLimits::default()).unwrap()
    }

    #[tokio::test]
    async fn replies_are_decoded_however_the_stream_is_cut() {
        let refused = RelayReply::Probed(Err(RequestFailure::Refused));
        let bytes = [reply(1, &RelayReply::Pong), reply(2, &refused)].concat();
        let pieces = [&bytes[..3], &bytes[3..21], &bytes[21..30], &bytes[30..]];
        let mut session = session(pieces.map(|piece| stdout(piece.to_vec())).to_vec());
        assert_eq!(session.ping().await, Ok(()));
        assert_eq!(session.probe(request()).await, Ok(Err(RequestFailure::Refused)));
        assert_eq!(session.ping().await, Err(SessionError::Ended));
    }

    #[tokio::test]
    async fn any_other_output_of_a_relay_ends_the_session() {
        let pong = reply(1, &RelayReply::Pong);
        let console = |bytes: &'static [u8]| LogOutput::Console { message: Bytes::from_static(bytes) };
        let no_message = RelayFrame { id: 1, payload: vec![77] };
        for (sent, error) in [
            (vec![], SessionError::Ended),
            (vec![stdout(b"hello".to_vec())], SessionError::Frame(FrameError::Magic)),
            (
                vec![stdout(b"MRL1\xff\xff\xff\xff".repeat(3))],
                SessionError::Frame(FrameError::TooLong(u32::MAX)),
            ),
            (vec![console(b"\x03err")], SessionError::Console),
            (vec![stdout(no_message.encode().unwrap())], SessionError::Message(MessageError::Value)),
            (vec![stdout(reply(7, &RelayReply::Pong))], SessionError::Unexpected),
            (
                vec![stdout(reply(1, &RelayReply::Probed(Err(RequestFailure::Refused))))],
                SessionError::Unexpected,
            ),
            (vec![stdout([pong.clone(), pong].concat())], SessionError::Unexpected),
        ] {
            assert_eq!(session(sent).ping().await, Err(error));
        }
        let unexpected = vec![stdout(reply(1, &RelayReply::Pong))];
        assert_eq!(session(unexpected).unexpected().await, SessionError::Unexpected);
        // A second reply, and a reply to an earlier call.
        let twice = [reply(1, &RelayReply::Pong), reply(1, &RelayReply::Pong)].map(stdout).to_vec();
        let mut session = session(twice.clone());
        assert_eq!(session.ping().await, Ok(()));
        assert_eq!(session.unexpected().await, SessionError::Unexpected);
        let mut session = self::session(twice);
        assert_eq!(session.ping().await, Ok(()));
        assert_eq!(session.probe(request()).await, Err(SessionError::Unexpected));
    }

    #[tokio::test]
    async fn a_relay_that_sends_nothing_is_not_awaited_for_ever() {
        let mut session = RelaySession::new(AttachContainerResults {
            output: Box::pin(stream::pending()),
            input: Box::pin(tokio::io::sink()),
        });
        let brief = Duration::from_millis(10);
        let reply = session.call(&RelayCall::Ping, brief).await;
        assert_eq!(reply, Err(SessionError::Silent));
        // A relay that does not read its input is not awaited for ever either.
        let (input, _unread) = tokio::io::duplex(4);
        session.attached.input = Box::pin(input);
        let reply = session.call(&RelayCall::Ping, brief).await;
        assert_eq!(reply, Err(SessionError::Silent));
    }
}
