//! One conversation with a relay over an attached stream: a call, its reply,
//! and nothing else. The relay stands beside hostile containers, so what it
//! sends is believed only as far as it can be checked.

use std::time::Duration;

use bollard::container::{AttachContainerResults, LogOutput};
use futures::StreamExt;
use relay::frame::Frame;
use relay::{Call, Decoder, FrameError, MessageError, Reply, Request, Response};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

/// For a reply to arrive, beyond the time that the request itself may take.
const MARGIN: Duration = Duration::from_secs(5);

/// What ended the trust in a relay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The engine's own framing of the stream was lost.
    #[error("the engine's stream lost its framing")]
    Console,
    /// The engine ended the stream with an error.
    #[error("the engine's stream failed: {0}")]
    Stream(String),
    /// What was to be sent could not be.
    #[error("its input failed: {0}")]
    Input(std::io::ErrorKind),
    /// The relay's output ended.
    #[error("it ended")]
    Ended,
    /// The output is not made of frames.
    #[error("it sent {0}")]
    Frame(#[from] FrameError),
    /// A frame is not a reply.
    #[error("it sent {0}")]
    Message(#[from] MessageError),
    /// It said something that was not asked.
    #[error("it answered what was not asked")]
    Unasked,
    /// No reply in time.
    #[error("it did not answer in time")]
    Silent,
}

/// Both halves of the attach, which end together.
pub(super) struct RelaySession {
    attached: AttachContainerResults,
    decoder: Decoder,
    last_id: u64,
}

impl RelaySession {
    pub(super) fn new(attached: AttachContainerResults) -> Self {
        Self { attached, decoder: Decoder::default(), last_id: 0 }
    }

    pub(super) async fn ping(&mut self) -> Result<(), SessionError> {
        match self.call(&Call::Ping, MARGIN).await? {
            Reply::Pong => Ok(()),
            Reply::Probed(_) => Err(SessionError::Unasked),
        }
    }

    pub(super) async fn probe(&mut self, request: Request) -> Result<Response, SessionError> {
        let patience = request.limits().total + MARGIN;
        match self.call(&Call::Probe(request), patience).await? {
            Reply::Probed(response) => Ok(response),
            Reply::Pong => Err(SessionError::Unasked),
        }
    }

    /// Reads while nothing is expected, and returns when something comes.
    pub(super) async fn unasked(&mut self) -> SessionError {
        match self.frame().await {
            Ok(_) => SessionError::Unasked,
            Err(doubt) => doubt,
        }
    }

    async fn call(&mut self, call: &Call, patience: Duration) -> Result<Reply, SessionError> {
        timeout(patience, self.exchange(call)).await.unwrap_or(Err(SessionError::Silent))
    }

    async fn exchange(&mut self, call: &Call) -> Result<Reply, SessionError> {
        self.last_id += 1;
        let frame = Frame { id: self.last_id, payload: call.encode() };
        let bytes = frame.encode()?;
        self.send(&bytes).await.map_err(|error| SessionError::Input(error.kind()))?;
        let frame = self.frame().await?;
        if frame.id != self.last_id {
            return Err(SessionError::Unasked);
        }
        Ok(Reply::decode(&frame.payload)?)
    }

    async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.attached.input.write_all(bytes).await?;
        self.attached.input.flush().await
    }

    async fn frame(&mut self) -> Result<Frame, SessionError> {
        loop {
            let output = self.attached.output.next().await.ok_or(SessionError::Ended)?;
            let message = match output.map_err(|error| SessionError::Stream(error.to_string()))? {
                LogOutput::StdOut { message } => message,
                LogOutput::Console { .. } => return Err(SessionError::Console),
                LogOutput::StdErr { .. } | LogOutput::StdIn { .. } => return Err(SessionError::Unasked),
            };
            let mut bytes = message.as_ref();
            match self.decoder.feed(&mut bytes)? {
                Some(frame) if bytes.is_empty() => return Ok(frame),
                Some(_) => return Err(SessionError::Unasked),
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::stream;
    use relay::{Failure, Limits};

    use super::*;

    fn reply(id: u64, reply: &Reply) -> Vec<u8> {
        let payload = reply.encode();
        Frame { id, payload }.encode().unwrap()
    }

    fn stdout(bytes: Vec<u8>) -> LogOutput {
        let message = bytes.into();
        LogOutput::StdOut { message }
    }

    /// A session with a relay that says these things, whatever it is asked.
    fn session(said: Vec<LogOutput>) -> RelaySession {
        RelaySession::new(AttachContainerResults {
            output: Box::pin(stream::iter(said).map(Ok)),
            input: Box::pin(tokio::io::sink()),
        })
    }

    fn request() -> Request {
        Request::new(([10, 0, 0, 2], 80).into(), "/", "app", Limits::default()).unwrap()
    }

    #[tokio::test]
    async fn replies_are_heard_however_they_are_cut() {
        let refused = Reply::Probed(Err(Failure::Refused));
        let bytes = [reply(1, &Reply::Pong), reply(2, &refused)].concat();
        let pieces = [&bytes[..3], &bytes[3..21], &bytes[21..30], &bytes[30..]];
        let mut session = session(pieces.map(|piece| stdout(piece.to_vec())).to_vec());
        assert_eq!(session.ping().await, Ok(()));
        assert_eq!(session.probe(request()).await, Ok(Err(Failure::Refused)));
        assert_eq!(session.ping().await, Err(SessionError::Ended));
    }

    #[tokio::test]
    async fn whatever_else_a_relay_says_is_a_doubt() {
        let pong = reply(1, &Reply::Pong);
        let console = |bytes: &'static [u8]| LogOutput::Console { message: Bytes::from_static(bytes) };
        let no_message = Frame { id: 1, payload: vec![77] };
        for (said, doubt) in [
            (vec![], SessionError::Ended),
            (vec![stdout(b"hello".to_vec())], SessionError::Frame(FrameError::Magic)),
            (
                vec![stdout(b"MRL1\xff\xff\xff\xff".repeat(3))],
                SessionError::Frame(FrameError::TooLong(u32::MAX)),
            ),
            (vec![console(b"\x03err")], SessionError::Console),
            (vec![stdout(no_message.encode().unwrap())], SessionError::Message(MessageError::Value)),
            (vec![stdout(reply(7, &Reply::Pong))], SessionError::Unasked),
            (vec![stdout(reply(1, &Reply::Probed(Err(Failure::Refused))))], SessionError::Unasked),
            (vec![stdout([pong.clone(), pong].concat())], SessionError::Unasked),
        ] {
            assert_eq!(session(said).ping().await, Err(doubt));
        }
        let unasked = vec![stdout(reply(1, &Reply::Pong))];
        assert_eq!(session(unasked).unasked().await, SessionError::Unasked);
        // A second answer, and one that came too late for its own question.
        let twice = [reply(1, &Reply::Pong), reply(1, &Reply::Pong)].map(stdout).to_vec();
        let mut session = session(twice.clone());
        assert_eq!(session.ping().await, Ok(()));
        assert_eq!(session.unasked().await, SessionError::Unasked);
        let mut session = self::session(twice);
        assert_eq!(session.ping().await, Ok(()));
        assert_eq!(session.probe(request()).await, Err(SessionError::Unasked));
    }

    #[tokio::test]
    async fn a_relay_that_says_nothing_is_not_awaited_for_ever() {
        let mut session = RelaySession::new(AttachContainerResults {
            output: Box::pin(stream::pending()),
            input: Box::pin(tokio::io::sink()),
        });
        let brief = Duration::from_millis(10);
        let reply = session.call(&Call::Ping, brief).await;
        assert_eq!(reply, Err(SessionError::Silent));
        // Nor is one that does not read what it is sent.
        let (input, _unread) = tokio::io::duplex(4);
        session.attached.input = Box::pin(input);
        let reply = session.call(&Call::Ping, brief).await;
        assert_eq!(reply, Err(SessionError::Silent));
    }
}
