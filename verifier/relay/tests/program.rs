//! The program as the verifier runs it, over its stdin and stdout.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use relay::frame::RelayFrame;
use relay::{AppRequest, FrameDecoder, RelayCall, RelayReply, RequestFailure, RequestLimits};

struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
}

impl Program {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_muster-relay"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().unwrap();
        Self { child, stdin, stdout }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.stdin.as_mut().unwrap().write_all(bytes).unwrap();
    }

    fn call(&mut self, id: u64, call: &RelayCall) -> RelayReply {
        let payload = call.encode();
        self.write(&RelayFrame { id, payload }.encode().unwrap());
        let reply = self.reply();
        assert_eq!(reply.id, id);
        RelayReply::decode(&reply.payload).unwrap()
    }

    fn reply(&mut self) -> RelayFrame {
        let mut decoder = FrameDecoder::default();
        let mut buffer = [0; 1000];
        loop {
            let size = self.stdout.read(&mut buffer).unwrap();
            assert!(size > 0, "the relay ended");
            if let Some(frame) = decoder.feed(&mut &buffer[..size]).unwrap() {
                return frame;
            }
        }
    }

    /// Waits until the program ends by itself. Returns true if it succeeded.
    fn end(&mut self) -> bool {
        let deadline = Instant::now() + relay::SILENCE + Duration::from_secs(10);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.success();
            }
            assert!(Instant::now() < deadline, "the relay is still there");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn request(port: u16) -> AppRequest {
    let limits = RequestLimits { max_body: relay::request::MAX_BODY, ..RequestLimits::default() };
    AppRequest::new(([127, 0, 0, 1], port).into(), "/", "app", limits).unwrap()
}

#[test]
fn it_answers_one_call_after_another() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let body = vec![b'x'; relay::request::MAX_BODY];
    let server = thread::spawn({
        let body = body.clone();
        move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(&stream).lines();
            assert!(lines.any(|line| line.unwrap().is_empty()));
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").unwrap();
            stream.write_all(&body).unwrap();
        }
    });
    let mut program = Program::start();
    assert_eq!(program.call(1, &RelayCall::Ping), RelayReply::Pong);
    let RelayReply::Probed(Ok(answer)) = program.call(2, &RelayCall::Probe(request(port))) else {
        panic!("no answer");
    };
    assert_eq!((answer.status, answer.body), (200, body));
    server.join().unwrap();
    // The server has ended by now.
    assert_eq!(
        program.call(3, &RelayCall::Probe(request(port))),
        RelayReply::Probed(Err(RequestFailure::Refused))
    );
    assert_eq!(program.call(u64::MAX, &RelayCall::Ping), RelayReply::Pong);
    drop(program.stdin.take());
    assert!(program.end());
}

#[test]
fn it_ends_at_bytes_that_are_no_frame() {
    let mut program = Program::start();
    program.write(b"GET / HTTP/1.1\r\n");
    assert!(!program.end());
}

#[test]
fn it_ends_at_a_frame_that_is_no_call() {
    let mut program = Program::start();
    let payload = RelayReply::Probed(Err(RequestFailure::Refused)).encode();
    program.write(&RelayFrame { id: 1, payload }.encode().unwrap());
    assert!(!program.end());
}

#[test]
fn it_ends_with_its_input_even_in_the_middle_of_a_request() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut program = Program::start();
    let payload = RelayCall::Probe(request(port)).encode();
    program.write(&RelayFrame { id: 1, payload }.encode().unwrap());
    let (_connection, _) = listener.accept().unwrap();
    let began = Instant::now();
    drop(program.stdin.take());
    assert!(program.end());
    assert!(began.elapsed() < RequestLimits::default().total);
}

#[test]
fn it_ends_when_nobody_speaks_to_it() {
    let mut program = Program::start();
    assert_eq!(program.call(1, &RelayCall::Ping), RelayReply::Pong);
    let began = Instant::now();
    assert!(!program.end());
    assert!(began.elapsed() >= relay::SILENCE - Duration::from_secs(1));
}
