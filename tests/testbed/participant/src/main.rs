//! The program of a participant's image, with a mode for each behaviour.
//!
//! The first argument names the mode, and the others are the mode's own. A new behaviour is one line in
//! [`MODES`] and one function. The program uses only the standard library, so that it links statically and
//! stays small.
//!
//! Modes that attack have bounds in count, bytes and seconds, so that they end by themselves if nothing
//! stops them. A mode that gets further than a sandbox allows ends with [`ESCAPED`] and says how far it
//! got.

mod bodies;
mod bombs;
mod escapes;
mod http;
mod reach;
mod serve;

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use std::{env, process, thread};

use serve::{answer, answer_config, serve};

/// The exit code of a mode that broke out of the sandbox.
const ESCAPED: i32 = 99;

/// A function that plays a mode. It takes the arguments after the mode's name and never returns.
type Mode = fn(&[String]) -> !;

/// Every mode: its name, with its arguments in capitals, and the function that plays it.
const MODES: &[(&str, Mode)] = &[
    ("good", good),
    ("slow SECONDS", slow),
    ("late SECONDS", late),
    ("wrong-port PORT", wrong_port),
    ("silent", silent),
    ("exit CODE LAST-LINE", exit),
    ("hang", hang),
    ("not-json", not_json),
    ("status CODE", status),
    ("redirect LOCATION", redirect),
    ("needs-capability", needs_capability),
    ("memory", memory),
    ("fetch HOST", fetch),
    ("right-once", http::right_once),
    ("http CHARACTER", http::answers),
    ("json CHARACTER", bodies::answers),
    ("file PATH HEADER", http::file),
    ("fork-bomb", bombs::forks),
    ("idle SECONDS", bombs::idle),
    ("memory-bomb", bombs::memory),
    ("fill MIB DIRECTORY...", bombs::fill),
    ("many-files DIRECTORY", bombs::many_files),
    ("page-cache FILE", bombs::page_cache),
    ("log-flood", bombs::logs),
    ("cpu-burn", bombs::processors),
    ("append MIB FILE", bombs::append),
    ("sparse DIRECTORY", bombs::sparse),
    ("write-anywhere root|kernel", escapes::write_anywhere),
    ("rights", escapes::rights),
    ("setuid PROGRAM", escapes::setuid),
    ("open-devices PATH...", escapes::open_devices),
    ("whoami", escapes::whoami),
    ("busybox-tricks", escapes::busybox_tricks),
    ("reach PROTOCOL/ADDRESS:PORT...", reach::targets),
    ("reach-neighbours", reach::neighbours),
    ("flood-caller", reach::flood_caller),
    ("fill-neighbours", reach::fill_neighbours),
];

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let name = arguments.first().map_or("good", String::as_str);
    let mode = MODES.iter().find(|(usage, _)| usage.split(' ').next() == Some(name));
    match mode {
        Some((_, play)) => play(arguments.get(1..).unwrap_or_default()),
        None => {
            let known: Vec<&str> = MODES.iter().map(|(usage, _)| *usage).collect();
            fail(&format!("no mode is called {name:?}, only {}", known.join(", ")))
        }
    }
}

/// Answers `GET /getconfig` with the image's `/config.json`.
fn good(_: &[String]) -> ! {
    serve(80, answer_config)
}

/// Sends the right response late.
fn slow(arguments: &[String]) -> ! {
    let delay = Duration::from_secs(number(arguments, 0).into());
    serve(80, move |stream, head| {
        thread::sleep(delay);
        answer_config(stream, head)
    })
}

/// Sends the right response, but does not listen at first.
fn late(arguments: &[String]) -> ! {
    thread::sleep(Duration::from_secs(number(arguments, 0).into()));
    serve(80, answer_config)
}

/// Sends the right response on another port.
fn wrong_port(arguments: &[String]) -> ! {
    serve(number(arguments, 0), answer_config)
}

/// Runs and never listens.
fn silent(_: &[String]) -> ! {
    println!("thinking");
    loop {
        thread::park();
    }
}

/// Prints a last line and ends at once.
fn exit(arguments: &[String]) -> ! {
    eprintln!("starting");
    eprintln!("{}", text(arguments, 1));
    process::exit(number(arguments, 0).into())
}

/// Accepts connections, reads requests, and never sends a response.
fn hang(_: &[String]) -> ! {
    serve(80, |_stream, _head| {
        loop {
            thread::park();
        }
    })
}

/// Sends a web page instead of JSON.
fn not_json(_: &[String]) -> ! {
    serve(80, |stream, _head| {
        let page = b"<!doctype html><h1>It works!</h1>";
        answer(stream, "200 OK", "Content-Type: text/html", page)
    })
}

/// Sends an HTTP status other than 200.
fn status(arguments: &[String]) -> ! {
    let line = format!("{} Status", number(arguments, 0));
    serve(80, move |stream, _head| answer(stream, &line, "Content-Type: text/plain", b"no\n"))
}

/// Redirects the caller to another address.
fn redirect(arguments: &[String]) -> ! {
    let location = format!("Location: {}", text(arguments, 0));
    serve(80, move |stream, _head| answer(stream, "302 Found", &location, b""))
}

/// Fails without a capability that an ordinary container has and a sandbox lacks.
fn needs_capability(_: &[String]) -> ! {
    if let Err(error) = std::os::unix::fs::chroot("/") {
        fail(&format!("this app needs CAP_SYS_CHROOT: {error}"));
    }
    serve(80, answer_config)
}

/// Allocates memory and writes to it until it is stopped.
fn memory(_: &[String]) -> ! {
    let mut taken = Vec::new();
    loop {
        taken.push(vec![1_u8; 1 << 20]);
    }
}

/// Asks another app for its configuration, prints the response and ends.
fn fetch(arguments: &[String]) -> ! {
    let ask = || -> io::Result<String> {
        let mut stream = TcpStream::connect((text(arguments, 0), 80))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(b"GET /getconfig HTTP/1.1\r\nHost: app\r\n\r\n")?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        Ok(reply)
    };
    match ask() {
        Ok(reply) => println!("{reply}"),
        Err(error) => fail(&format!("no answer: {error}")),
    }
    process::exit(0)
}

fn text(arguments: &[String], at: usize) -> &str {
    match arguments.get(at) {
        Some(text) => text,
        None => fail(&format!("argument {} is missing", at + 1)),
    }
}

fn number(arguments: &[String], at: usize) -> u16 {
    let text = text(arguments, at);
    text.parse().unwrap_or_else(|error| fail(&format!("{text:?} is no number: {error}")))
}

/// Reports that a wall of the sandbox was passed, and ends.
fn escaped(how: &str) -> ! {
    eprintln!("escaped: {how}");
    process::exit(ESCAPED)
}

fn fail(why: &str) -> ! {
    eprintln!("{why}");
    process::exit(1)
}
