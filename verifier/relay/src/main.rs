//! The relay: reads calls on stdin, one at a time, and answers on stdout.
//!
//! It ends itself at any doubt. The verifier then starts another, which costs
//! less than to find out what a stream that went wrong still means.

use std::fmt;
use std::io::{Read, Write};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use relay::frame::Frame;
use relay::{Call, Decoder, FrameError, MessageError, Reply, SILENCE, http};

fn main() -> ExitCode {
    // Reading has a thread of its own, so that silence can be noticed.
    let (sender, input) = sync_channel(1);
    thread::spawn(move || forward_stdin(&sender));
    let Err(doubt) = serve(&input);
    eprintln!("muster-relay: {doubt}");
    ExitCode::FAILURE
}

/// Why the relay ended.
enum Doubt {
    Silence,
    Frame(FrameError),
    Message(MessageError),
    Output(std::io::Error),
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence => write!(f, "nothing heard for {} s", SILENCE.as_secs()),
            Self::Frame(error) => error.fmt(f),
            Self::Message(error) => error.fmt(f),
            Self::Output(error) => write!(f, "stdout: {error}"),
        }
    }
}

fn serve(input: &Receiver<Vec<u8>>) -> Result<std::convert::Infallible, Doubt> {
    let mut decoder = Decoder::default();
    loop {
        let chunk = input.recv_timeout(SILENCE).map_err(|_| Doubt::Silence)?;
        let mut bytes = chunk.as_slice();
        while let Some(call) = decoder.feed(&mut bytes).map_err(Doubt::Frame)? {
            let reply = match Call::decode(&call.payload).map_err(Doubt::Message)? {
                Call::Ping => Reply::Pong,
                Call::Probe(request) => Reply::Probed(http::probe(&request)),
            };
            let reply = Frame { id: call.id, payload: reply.encode() };
            write(&reply.encode().map_err(Doubt::Frame)?).map_err(Doubt::Output)?;
        }
    }
}

fn write(bytes: &[u8]) -> std::io::Result<()> {
    let mut output = std::io::stdout().lock();
    output.write_all(bytes)?;
    output.flush()
}

/// Ends the whole program with stdin, even in the middle of a request: nobody
/// is left to hear the answer.
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
