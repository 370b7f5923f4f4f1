//! The parser alone: the result of each response, for any cut of its bytes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use relay::RequestFailure::{self, BadHttp};
use relay::response::{ParsedResponse, ResponseParser};
use relay::{AwaitedPart, HttpViolation};

const MAX_HEAD: usize = 1024;
const MAX_BODY: usize = 64;

/// Parses a whole connection in pieces of `piece` bytes.
fn read(bytes: &[u8], piece: usize) -> Result<ParsedResponse, RequestFailure> {
    let mut parser = ResponseParser::new(MAX_HEAD, MAX_BODY);
    for piece in bytes.chunks(piece) {
        if parser.feed(piece)? {
            break;
        }
    }
    parser.end()
}

fn body(bytes: &str) -> Result<String, RequestFailure> {
    read(bytes.as_bytes(), 7).map(|parsed| String::from_utf8(parsed.body).unwrap())
}

#[test]
fn what_honest_servers_send_is_read() {
    for (response, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "{}"),
        ("HTTP/1.0 200 OK\r\n\r\n{}", "{}"),
        // Bare line feeds, which a lenient parser such as curl's accepts.
        ("HTTP/1.1 200 OK\nContent-Length: 2\n\n{}", "{}"),
        ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\n{}\n0\n\n", "{}"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\ncontent-length: 2\r\n\r\n{}", "{}"),
        ("HTTP/1.1 200 \r\ncontent-length:  2 \r\n\r\n{}", "{}"),
        ("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", ""),
        ("HTTP/1.1 204 No Content\r\n\r\n", ""),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{\"\r\n3;x=y\r\n\":1\r\n0\r\nT: v\r\n\r\n",
            "{\"\":1",
        ),
        ("HTTP/1.1 200 OK\r\nUpgrade: h2c\r\nContent-Encoding: identity\r\n\r\n{}", "{}"),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{}",
            "{}",
        ),
        // Bytes after the announced end are ignored.
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}{}{}", "{}"),
    ] {
        assert_eq!(body(response).as_deref(), Ok(expected), "{response:?}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n";
    for (response, expected) in [
        ("hello, world", BadHttp(HttpViolation::NotHttp)),
        ("<html>", BadHttp(HttpViolation::NotHttp)),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", BadHttp(HttpViolation::NotHttp)),
        ("\0\0\x12\x04\0\0\0\0\0", BadHttp(HttpViolation::Http2)),
        ("\x15\x03\x01\0\x02\x02\x46", BadHttp(HttpViolation::Tls)),
        ("HTTP/2 200\r\n\r\n", BadHttp(HttpViolation::Version)),
        ("HTTP/1.2 200 OK\r\n\r\n", BadHttp(HttpViolation::Version)),
        ("HTTP/1.1  200 OK\r\n\r\n", BadHttp(HttpViolation::StatusLine)),
        ("HTTP/1.1 2000 OK\r\n\r\n", BadHttp(HttpViolation::StatusLine)),
        ("HTTP/1.1 +20 OK\r\n\r\n", BadHttp(HttpViolation::StatusLine)),
        ("HTTP/1.1 099 OK\r\n\r\n", BadHttp(HttpViolation::StatusLine)),
        ("HTTP/1.1 200 OK\r\nA b: c\r\n\r\n", BadHttp(HttpViolation::Header)),
        ("HTTP/1.1 200 OK\r\nA : c\r\n\r\n", BadHttp(HttpViolation::Header)),
        ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", BadHttp(HttpViolation::Header)),
        ("HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n", BadHttp(HttpViolation::Header)),
        ("HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", BadHttp(HttpViolation::Header)),
        ("HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\n{}", BadHttp(HttpViolation::Length)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\n{}", BadHttp(HttpViolation::Length)),
        ("HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n{}", BadHttp(HttpViolation::Length)),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\ncontent-length: 3\r\n\r\n{}",
            BadHttp(HttpViolation::LengthTwice),
        ),
        (&format!("{chunked}Content-Length: 2\r\n\r\n"), BadHttp(HttpViolation::LengthAndChunked)),
        (&format!("{chunked}Transfer-Encoding: chunked\r\n\r\n"), BadHttp(HttpViolation::TransferEncoding)),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            BadHttp(HttpViolation::TransferEncoding),
        ),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", BadHttp(HttpViolation::TransferEncoding)),
        (&format!("{chunked}\r\n\r\n"), BadHttp(HttpViolation::Chunk)),
        (&format!("{chunked}\r\n-1\r\n"), BadHttp(HttpViolation::Chunk)),
        (&format!("{chunked}\r\n0x2\r\n{{}}\r\n"), BadHttp(HttpViolation::Chunk)),
        (&format!("{chunked}\r\n1\r\n{{}}\r\n"), BadHttp(HttpViolation::Chunk)),
        (&format!("{chunked}\r\n1;{}", "x".repeat(200)), BadHttp(HttpViolation::Chunk)),
        (&format!("{chunked}\r\nffffffffffffff\r\n"), RequestFailure::BodyTooLarge),
        (&format!("{chunked}\r\n{}", "a\r\n0123456789\r\n".repeat(7)), RequestFailure::BodyTooLarge),
        (&format!("{chunked}\r\n0\r\n{}", "A: b\r\n".repeat(300)), RequestFailure::HeadTooLarge),
        ("HTTP/1.1 200 OK\r\nContent-Length: 65\r\n\r\n", RequestFailure::BodyTooLarge),
        (&format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(65)), RequestFailure::BodyTooLarge),
        (&format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(2000)), RequestFailure::HeadTooLarge),
        (&format!("HTTP/1.1 200 OK\r\n{}", "A:\r\n".repeat(101)), BadHttp(HttpViolation::TooManyHeaders)),
        (&"HTTP/1.1 100 Continue\r\n\r\n".repeat(5), RequestFailure::InterimStorm),
        ("HTTP/1.1 101 Switching Protocols\r\n", RequestFailure::Upgraded),
        ("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", RequestFailure::Encoded),
        ("", RequestFailure::ClosedEarly(AwaitedPart::Head)),
        ("HTTP/1.1 200 OK\r\nA: b\r\n", RequestFailure::ClosedEarly(AwaitedPart::Head)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", RequestFailure::ClosedEarly(AwaitedPart::Body)),
        (&format!("{chunked}\r\n2\r\n{{}}\r\n0\r\n"), RequestFailure::ClosedEarly(AwaitedPart::Body)),
    ] {
        assert_eq!(body(response), Err(expected), "{response:?}");
    }
}

#[test]
fn a_redirect_says_where_to_and_a_success_does_not() {
    let location = "Location: http://169.254.169.254/\r\n";
    let read = |status: &str| read(format!("{status}\r\n{location}\r\n").as_bytes(), 99).unwrap();
    let redirect = read("HTTP/1.1 302 Found");
    assert_eq!(redirect.status, 302);
    assert_eq!(redirect.location.as_deref(), Some("http://169.254.169.254/"));
    assert_eq!(read("HTTP/1.1 200 OK").location, None);
}

#[test]
fn texts_are_cut_and_made_printable() {
    let head = format!("HTTP/1.1 301 Moved\r\nContent-Type: a\tb\r\nLocation: /{}\r\n\r\n", "x".repeat(600));
    let parsed = read(head.as_bytes(), 99).unwrap();
    assert_eq!(parsed.content_type.as_deref(), Some("a b"));
    assert_eq!(parsed.location.unwrap().len(), 512);
}

/// Generates responses that are good, nearly good, or random words of HTTP.
fn responses() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.0 302 Found\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\n",
        "Content-Length: 70\r\n",
        "Content-Encoding: gzip\r\n",
        "A: b\r\n",
        "\r\n",
        "\n",
        "\r",
        "5\r\n12345\r\n",
        "0\r\n",
        "0\r\n\r\n",
        "12345",
        "\0",
        "ffffffffffffffff\r\n",
        "a-rather-long-piece-of-text-that-fills-some-of-the-room-there-is-for-lines:",
    ]);
    let start = prop_oneof![9 => Just("HTTP/1.1 200 OK\r\n"), 1 => Just("")];
    let rest = prop::collection::vec(words, 0..20);
    let noise = prop::collection::vec(any::<u8>(), 0..9);
    (start, rest, noise)
        .prop_map(|(start, rest, noise)| [start.as_bytes(), rest.concat().as_bytes(), &noise].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn the_same_bytes_mean_the_same_however_they_arrive(
        bytes in responses(),
        piece in 1..40usize,
    ) {
        prop_assert_eq!(read(&bytes, piece), read(&bytes, usize::MAX));
    }

    #[test]
    fn nothing_makes_it_panic_or_hold_more_than_allowed(
        bytes in prop_oneof![prop::collection::vec(any::<u8>(), 0..500), responses()],
    ) {
        if let Ok(parsed) = read(&bytes, 16) {
            prop_assert!(parsed.body.len() <= MAX_BODY);
            prop_assert!((200..600).contains(&parsed.status));
        }
    }
}
