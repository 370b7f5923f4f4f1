//! The properties of the readers of untrusted bytes, with one function for each reader. A function panics
//! if its property does not hold.
//!
//! `tests/short.rs` runs each function for some seconds. `fuzz/` gives the same functions to libFuzzer, for
//! any length of time.

use std::sync::LazyLock;

use domain::challenge::{Evidence, Observation, Verdict};
use domain::submission::{Participant, Submitted};
use domain::testing::ada;
use domain::{Challenge, ImageRef};
use relay::frame::{MAX_PAYLOAD, RelayFrame};
use relay::response::{ParsedResponse, ResponseParser};
use relay::{FrameDecoder, RelayCall, RelayReply, RequestFailure};

/// Parses a participant's response. `data` is a byte for the limits, a byte for the size of the pieces, and
/// the response.
pub fn response(data: &[u8]) {
    let Some(([size, step], wire)) = data.split_first_chunk() else { return };
    let (max_head, max_body) = (64 + 8 * usize::from(*size), 16 + 4 * usize::from(*size));
    let parse = |pieces: &mut dyn Iterator<Item = &[u8]>| -> Result<ParsedResponse, RequestFailure> {
        let mut parser = ResponseParser::new(max_head, max_body);
        for piece in pieces {
            if parser.feed(piece)? {
                break;
            }
        }
        parser.end()
    };
    let whole = parse(&mut [wire].into_iter());
    let cut = parse(&mut wire.chunks(usize::from(*step).max(1)));
    assert_eq!(whole, cut, "an answer means the same however it is cut");
    if let Ok(parsed) = whole {
        assert!((200..600).contains(&parsed.status), "{parsed:?}");
        assert!(parsed.body.len() <= max_body, "{} bytes", parsed.body.len());
        for text in [parsed.content_type, parsed.location].into_iter().flatten() {
            assert!(text.len() <= 3 * 512 && !text.contains(char::is_control), "{text:?}");
        }
    }
}

/// Decodes the verifier's calls to a relay.
pub fn calls(data: &[u8]) {
    frames(data, |payload| RelayCall::decode(payload).ok().map(|call| call.encode()));
}

/// Decodes a relay's replies to the verifier.
pub fn replies(data: &[u8]) {
    frames(data, |payload| RelayReply::decode(payload).ok().map(|reply| reply.encode()));
}

/// Parses the name of an image.
pub fn names(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(name) = text.parse::<ImageRef>() else { return };
    let printed = name.to_string();
    assert_eq!(printed.parse::<ImageRef>().as_ref(), Ok(&name), "{printed:?} is another name");
    // An image's name contains no character that changes the meaning of a path or an address.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@[]".contains(&byte);
    assert!(printed.bytes().all(is_plain), "{printed:?}");
    let path = name.repository();
    assert!(path.split('/').all(|part| !matches!(part, "" | "." | "..")), "{path:?}");
    assert_eq!(name.familiar().parse::<ImageRef>().as_ref(), Ok(&name), "its short form is another name");
}

/// Judges the body of a response.
pub fn answers(data: &[u8]) {
    static CASE: LazyLock<(Challenge, Submitted)> =
        LazyLock::new(|| (Challenge::birthday(), submitted("docker.io/ada/app:latest")));
    let (challenge, submitted) = &*CASE;
    let body = data.to_vec();
    let evidence = Evidence::Http {
        status: 200,
        latency_ms: 1,
        redirect: None,
        body,
        probed_for_s: 0,
        explanation: String::new(),
    };
    let seen = Observation { image: submitted.images[0].clone(), evidence };
    match challenge.judge(submitted, &[seen]).verdict {
        Some(Verdict::Passed) => {
            let answer: serde_json::Value = serde_json::from_slice(data).expect("what passes is JSON");
            assert_eq!(answer["name"], "Ada", "what passes is what was submitted");
        }
        Some(Verdict::Failed(reasons)) => {
            assert!(!reasons.is_empty());
            for reason in reasons {
                assert!(reason.message.len() < 16 * 1024, "{} bytes", reason.message.len());
            }
        }
        None => panic!("all was seen"),
    }
}

/// Decodes bytes as a stream of frames and as the payload of one frame. `again` decodes a payload and
/// encodes it again.
fn frames(data: &[u8], again: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    let is_one_of_a_kind = |payload: &[u8]| {
        if let Some(encoded) = again(payload) {
            assert_eq!(encoded, payload, "a message has one form");
        }
    };
    let (mut decoder, mut rest) = (FrameDecoder::default(), data);
    loop {
        match decoder.feed(&mut rest) {
            Ok(Some(frame)) => {
                assert!(frame.payload.len() <= MAX_PAYLOAD);
                is_one_of_a_kind(&frame.payload);
            }
            Ok(None) => break assert!(rest.is_empty(), "all was taken in"),
            Err(error) => break assert_eq!(decoder.feed(&mut b"MRL1".as_slice()), Err(error)),
        }
    }
    is_one_of_a_kind(data);
    let frame = RelayFrame { id: data.len() as u64, payload: data.to_vec() };
    if let Ok(bytes) = frame.encode() {
        assert_eq!(FrameDecoder::default().feed(&mut bytes.as_slice()), Ok(Some(frame)));
    }
}

fn submitted(image: &str) -> Submitted {
    let image: ImageRef = image.parse().expect("the name is a good one");
    let participant = Participant { name: "Ada".into(), twitter: None };
    Submitted { participant, images: vec![image], ..ada() }
}
