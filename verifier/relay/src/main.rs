//! The relay's program: reads calls on stdin, one at a time, and writes replies to
//! stdout.
//!
//! It ends at the first error. The verifier then starts another relay, which costs
//! less than the recovery of a damaged stream.

use std::fmt;
use std::io::{Read, Write};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use relay::frame::RelayFrame;
use relay::{FrameDecoder, FrameError, MessageError, RelayCall, RelayReply, SILENCE, http};

fn main() -> ExitCode {
    // Stdin is read in its own thread, so that silence can be noticed.
    let (sender, input) = sync_channel(1);
    thread::spawn(move || forward_stdin(&sender));
    let Err(end) = serve(&input);
    eprintln!("muster-relay: {end}");
    ExitCode::FAILURE
}

/// The reason why the relay ended.
enum RelayEnd {
    Silence,
    Frame(FrameError),
    Message(MessageError),
    Output(std::io::Error),
}

impl fmt::Display for RelayEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence => write!(f, "no call for {} s", SILENCE.as_secs()),
            Self::Frame(error) => error.fmt(f),
            Self::Message(error) => error.fmt(f),
            Self::Output(error) => write!(f, "stdout: {error}"),
        }
    }
}

fn serve(input: &Receiver<Vec<u8>>) -> Result<std::convert::Infallible, RelayEnd> {
    let mut decoder = FrameDecoder::default();
    loop {
        let chunk = input.recv_timeout(SILENCE).map_err(|_| RelayEnd::Silence)?;
        let mut bytes = chunk.as_slice();
        while let Some(call) = decoder.feed(&mut bytes).map_err(RelayEnd::Frame)? {
            let reply = match RelayCall::decode(&call.payload).map_err(RelayEnd::Message)? {
                RelayCall::Ping => RelayReply::Pong,
                RelayCall::Probe(request) => RelayReply::Probed(http::probe(&request)),
            };
            let reply = RelayFrame { id: call.id, payload: reply.encode() };
            write(&reply.encode().map_err(RelayEnd::Frame)?).map_err(RelayEnd::Output)?;
        }
    }
}

fn write(bytes: &[u8]) -> std::io::Result<()> {
    let mut output = std::io::stdout().lock();
    output.write_all(bytes)?;
    output.flush()
}

/// Forwards stdin, and ends the program when stdin ends, even in the middle of a
/// request: the reply has no reader any more.
fn forward_stdin(sender: &SyncSender<Vec<u8>>) {
    let mut input = std::io::stdin().lock();
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(size @ 1..) = input.read(&mut buffer) {
        let chunk = buffer.get(..size).unwrap_or_default().to_vec();
        if sender.send(chunk).is_err() {
            break;
        }
    }
    std::process::exit(0);
}
