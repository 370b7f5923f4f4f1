//! Both ends read bytes that the other end may have forged. Any cut of good frames gives the same frames.
//! Anything else gives a named error, in bounded memory.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;
use relay::frame::{MAX_PAYLOAD, RelayFrame};
use relay::message::HttpViolation;
use relay::request::{MAX_BODY, MAX_HEAD};
use relay::{
    AppRequest, AppResponse, AwaitedPart, FrameDecoder, FrameError, MessageError, RelayCall, RelayReply,
    RequestFailure, RequestLimits, RequestResult,
};

#[test]
fn the_largest_answer_fits_a_frame_and_no_more_does() {
    let answer = AppResponse {
        status: 302,
        content_type: Some("x".repeat(256 * 3)),
        location: Some("x".repeat(512 * 3)),
        latency: Duration::MAX,
        body: vec![0; MAX_BODY],
    };
    let payload = RelayReply::Probed(Ok(answer)).encode();
    assert!(RelayFrame { id: 1, payload }.encode().is_ok());
    let payload = vec![0; MAX_PAYLOAD + 1];
    assert_eq!(
        RelayFrame { id: 1, payload }.encode(),
        Err(FrameError::TooLong(u32::try_from(MAX_PAYLOAD).unwrap() + 1))
    );
}

#[test]
fn a_stream_that_is_not_ours_is_known_by_its_first_byte() {
    let mut decoder = FrameDecoder::default();
    let mut bytes: &[u8] = b"p";
    assert_eq!(decoder.feed(&mut bytes), Err(FrameError::Magic));
    // A broken stream stays broken, whatever bytes follow.
    let good = RelayFrame { id: 1, payload: vec![] };
    let good = good.encode().unwrap();
    assert_eq!(decoder.feed(&mut good.as_slice()), Err(FrameError::Magic));
}

#[test]
fn a_length_over_the_limit_is_refused_before_it_is_awaited() {
    let mut bytes = b"MRL1".to_vec();
    bytes.extend_from_slice(&u32::MAX.to_be_bytes());
    bytes.extend_from_slice(&[0; 12]);
    assert_eq!(FrameDecoder::default().feed(&mut bytes.as_slice()), Err(FrameError::TooLong(u32::MAX)));
}

#[test]
fn messages_refuse_what_is_missing_left_over_or_unknown() {
    let pong = RelayReply::Pong.encode();
    assert_eq!(RelayReply::decode(&[]), Err(MessageError::Size));
    assert_eq!(RelayReply::decode(&[9]), Err(MessageError::Value));
    assert_eq!(RelayReply::decode(&[pong, vec![0]].concat()), Err(MessageError::Size));
    assert_eq!(RelayReply::decode(&[2, 7, 200]), Err(MessageError::Value));
    // A status below 200 is not an answer.
    assert_eq!(RelayReply::decode(&[1, 0, 100]), Err(MessageError::Value));
}

#[test]
fn every_violation_is_encoded() {
    for violation in HttpViolation::ALL {
        let reply = RelayReply::Probed(Err(RequestFailure::BadHttp(violation)));
        assert_eq!(RelayReply::decode(&reply.encode()), Ok(reply));
    }
}

fn frames() -> impl Strategy<Value = Vec<RelayFrame>> {
    let payload = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..200),
        1 => Just(vec![7; MAX_PAYLOAD]),
    ];
    let frame = (any::<u64>(), payload).prop_map(|(id, payload)| RelayFrame { id, payload });
    prop::collection::vec(frame, 0..5)
}

fn requests() -> impl Strategy<Value = AppRequest> {
    let ip = any::<IpAddr>();
    let micros = 1_000..60_000_000u64;
    ((ip, any::<u16>(), "/[!-~]{0,40}", "[!-~]{1,40}"), (micros.clone(), micros, 1..=MAX_HEAD, 1..=MAX_BODY))
        .prop_map(|((ip, port, path, host), (connect, total, head, body))| {
            let limits = RequestLimits {
                connect: Duration::from_micros(connect),
                total: Duration::from_micros(total),
                max_head: head,
                max_body: body,
            };
            AppRequest::new((ip, port).into(), path, host, limits).unwrap()
        })
}

fn responses() -> impl Strategy<Value = RequestResult> {
    let failures = prop_oneof![
        Just(RequestFailure::Refused),
        Just(RequestFailure::Unreachable),
        Just(RequestFailure::ConnectTimedOut),
        Just(RequestFailure::TimedOut(AwaitedPart::Head)),
        Just(RequestFailure::TimedOut(AwaitedPart::Body)),
        Just(RequestFailure::ClosedEarly(AwaitedPart::Head)),
        Just(RequestFailure::ClosedEarly(AwaitedPart::Body)),
        Just(RequestFailure::HeadTooLarge),
        Just(RequestFailure::BodyTooLarge),
        Just(RequestFailure::Encoded),
        Just(RequestFailure::Upgraded),
        Just(RequestFailure::InterimStorm),
        any::<i32>().prop_map(RequestFailure::Local),
    ];
    let texts = prop::option::of(".{0,20}");
    let answers =
        (200..600u16, texts.clone(), texts, any::<u32>(), prop::collection::vec(any::<u8>(), 0..300))
            .prop_map(|(status, content_type, location, micros, body)| AppResponse {
                status,
                content_type,
                location,
                latency: Duration::from_micros(micros.into()),
                body,
            });
    prop_oneof![answers.prop_map(Ok), failures.prop_map(Err)]
}

/// Feeds the bytes in pieces that end at the given places.
fn decode(bytes: &[u8], cuts: &[prop::sample::Index]) -> Result<Vec<RelayFrame>, FrameError> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    ends.extend([0, bytes.len()]);
    ends.sort_unstable();
    let mut decoder = FrameDecoder::default();
    let mut frames = Vec::new();
    for piece in ends.windows(2) {
        let mut piece = &bytes[piece[0]..piece[1]];
        while let Some(frame) = decoder.feed(&mut piece)? {
            frames.push(frame);
        }
        assert!(piece.is_empty(), "the decoder left bytes");
    }
    Ok(frames)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_cut_of_the_stream_gives_the_same_frames(
        sent in frames(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let bytes: Vec<u8> = sent.iter().flat_map(|frame| frame.encode().unwrap()).collect();
        prop_assert_eq!(decode(&bytes, &cuts), Ok(sent));
    }

    #[test]
    fn any_changed_byte_is_noticed(
        id in any::<u64>(),
        payload in prop::collection::vec(any::<u8>(), 0..100),
        at in any::<prop::sample::Index>(),
        change in 1..=255u8,
    ) {
        let frame = RelayFrame { id, payload };
        let mut bytes = frame.encode().unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        // A changed length may leave the decoder waiting, but it never gives a frame that was not sent.
        prop_assert!(matches!(decode(&bytes, &[]).as_deref(), Err(_) | Ok([])));
    }

    #[test]
    fn garbage_is_an_error_and_never_a_panic(
        garbage in prop::collection::vec(any::<u8>(), 4..600),
        keep_magic in any::<bool>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut bytes = garbage;
        if keep_magic {
            bytes[..4].copy_from_slice(b"MRL1");
        }
        prop_assert!(matches!(decode(&bytes, &cuts).as_deref(), Err(_) | Ok([])));
    }

    #[test]
    fn messages_survive_the_way(request in requests(), response in responses()) {
        let call = RelayCall::Probe(request);
        prop_assert_eq!(RelayCall::decode(&call.encode()), Ok(call));
        let reply = RelayReply::Probed(response);
        prop_assert_eq!(RelayReply::decode(&reply.encode()), Ok(reply));
    }

    #[test]
    fn cut_or_random_messages_never_panic(
        request in requests(),
        response in responses(),
        cut in any::<prop::sample::Index>(),
        garbage in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let call = RelayCall::Probe(request).encode();
        prop_assert!(RelayCall::decode(&call[..cut.index(call.len())]).is_err());
        let reply = RelayReply::Probed(response).encode();
        prop_assert!(RelayReply::decode(&reply[..cut.index(reply.len())]).is_err());
        let _ = RelayCall::decode(&garbage);
        let _ = RelayReply::decode(&garbage);
    }
}
