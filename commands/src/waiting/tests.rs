//! Tests of the bounds on waiting submissions, and of the lanes.

use std::net::IpAddr;

use domain::queue::FairQueue;
use domain::submission::SCHEMA;
use event_store::{Append, EventMetadata, ExpectedRevision, NewEvent, Read, SqliteStore, StreamName};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const ADA: &str = "docker.io/ada";

fn client(last: u8) -> Option<Share> {
    Some(Share::Client(IpAddr::from([203, 0, 113, last]).into()))
}

fn venue() -> Option<Share> {
    Some(Share::Venue("berlin".into()))
}

fn id(number: u128) -> SubmissionId {
    SubmissionId(Uuid::from_u128(number))
}

fn counts_nothing(waiting: &WaitingSubmissions) -> bool {
    let accepted = waiting.accepted();
    accepted.counted.is_empty() && accepted.by_share.is_empty() && accepted.by_address.is_empty()
}

#[test]
fn a_client_fills_its_own_share_and_no_more() {
    let waiting = WaitingSubmissions::default();
    for number in 0..WAITING_BY_ADDRESS_MAX as u128 {
        waiting.admit(id(number), client(1), ADA).unwrap().keep();
        waiting.admit(id(number), client(1), ADA).unwrap().keep();
    }
    let refused = waiting.admit(id(1_000_000), client(1), ADA).unwrap_err();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    waiting.admit(id(1_000_000), client(2), ADA).unwrap().keep();
    waiting.forget(id(7));
    waiting.forget(id(7));
    waiting.admit(id(1_000_001), client(1), ADA).unwrap().keep();
    assert!(waiting.admit(id(1_000_002), client(1), ADA).is_err());
}

#[test]
fn one_participant_cannot_fill_the_share_of_a_venue() {
    let waiting = WaitingSubmissions::default();
    let mut numbers = 0..;
    let mut admit = |owner: &str| {
        let admitted = waiting.admit(id(numbers.next().unwrap()), venue(), owner);
        admitted.map(WaitingPlace::keep).map_err(|problem| problem.detail().to_owned())
    };
    for _ in 0..WAITING_BY_OWNER_IN_VENUE_MAX {
        admit("laptop").unwrap();
    }
    assert!(admit("laptop").unwrap_err().contains("100 submissions of laptop in your venue"));
    // A full room: each of a hundred has as much.
    for owner in 1..100 {
        for _ in 0..WAITING_BY_OWNER_IN_VENUE_MAX {
            admit(&format!("owner{owner}")).unwrap();
        }
    }
    assert!(admit("late").unwrap_err().contains("10000 submissions from your venue"));
    waiting.admit(id(1_000_000), client(1), "laptop").unwrap().keep();
    (0..10_100).for_each(|number| waiting.forget(id(number)));
    waiting.forget(id(1_000_000));
    assert!(counts_nothing(&waiting));
}

#[test]
fn the_many_owners_of_an_address_share_lanes_and_those_of_a_venue_do_not() {
    let waiting = WaitingSubmissions::default();
    let lane = |number: u128, share, owner: String| {
        let place = waiting.admit(id(number), share, &owner).unwrap();
        let lane = place.lane().map(str::to_owned);
        place.keep();
        lane
    };
    let of_a_flood: Vec<_> = (0..100).map(|n| lane(n, client(1), format!("owner{n}"))).collect();
    assert_eq!(of_a_flood.iter().filter(|lane| lane.is_none()).count(), lanes::OWN_LINES_MAX);
    // The first request decides about a repeated one.
    assert_eq!(lane(77, client(1), "owner77".to_owned()), of_a_flood[77]);
    assert_eq!(lane(1000, client(2), ADA.to_owned()), None, "another address has its own lines");
    assert!((2000..2100).all(|n| lane(n, venue(), format!("owner{n}")).is_none()));
    (0..3000).for_each(|n| waiting.forget(id(n)));
    assert!(counts_nothing(&waiting));
}

#[test]
fn nothing_is_kept_of_what_has_ended() {
    let waiting = WaitingSubmissions::default();
    waiting.admit(id(1), client(1), ADA).unwrap().keep();
    waiting.forget(id(1));
    assert!(counts_nothing(&waiting));
}

#[test]
fn a_place_that_is_not_kept_is_given_back() {
    let waiting = WaitingSubmissions::default();
    let first = waiting.admit(id(1), client(1), ADA).unwrap();
    // A repeated request does not take the place of the first away.
    drop(waiting.admit(id(1), client(1), ADA).unwrap());
    assert!(!counts_nothing(&waiting));
    drop(first);
    assert!(counts_nothing(&waiting));
    drop(waiting.admit(id(2), None, ADA).unwrap());
    assert!(counts_nothing(&waiting));
}

#[test]
fn without_clients_only_the_common_bound_counts() {
    let waiting = WaitingSubmissions::default();
    for number in 0..=WAITING_BY_ADDRESS_MAX as u128 {
        waiting.admit(id(number), None, ADA).unwrap().keep();
    }
    for number in 0..u128::from(WAITING_MAX) {
        waiting.admit(id(number), None, ADA).unwrap().keep();
    }
    let refused = waiting.admit(id(1_000_000), None, ADA).unwrap_err();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_submission_is_forgotten_when_the_log_says_that_it_ended() {
    let directory = tempfile::tempdir().unwrap();
    let log = SqliteStore::open(directory.path().join("log.sqlite")).unwrap();
    let waiting = WaitingSubmissions::default();
    for number in [1, 2] {
        waiting.admit(id(number), client(1), ADA).unwrap().keep();
    }
    let mut from = log.head().await.unwrap();
    let withdrawn = NewEvent {
        id: Uuid::from_u128(7),
        kind: "Withdrawn".into(),
        data: "{}".into(),
        metadata: EventMetadata {
            schema: SCHEMA,
            correlation_id: Uuid::from_u128(1),
            causation_id: Uuid::from_u128(7),
            actor: "participant".into(),
            informs: false,
        },
    };
    let stream = StreamName::of(CATEGORY, id(1).0);
    log.append(&stream, ExpectedRevision::NoStream, vec![withdrawn]).await.unwrap();
    let filter = EventFilter::default();
    let following = waiting.follow_from(&log, &filter, &mut from);
    let forgotten = async {
        while waiting.accepted().counted.contains_key(&id(1)) {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! { _ = following => {}, () = forgotten => {} }
    assert_eq!(waiting.accepted().counted.keys().collect::<Vec<_>>(), [&id(2)]);
}

#[test]
fn a_full_queue_tells_the_expected_wait() {
    let length = QueueLength { waiting: WAITING_MAX - 1, expected_wait_s: Some(90) };
    let (sender, receiver) = watch::channel(length);
    let waiting = WaitingSubmissions::new(receiver);
    waiting.admit(id(1), client(1), ADA).unwrap().keep();
    sender.send_replace(QueueLength { waiting: WAITING_MAX, ..length });
    let refused = waiting.admit(id(2), client(2), ADA).unwrap_err();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.detail().contains("about 2 min"), "{}", refused.detail());
}

proptest! {
    /// Whatever owners a stranger invents at one address, and however many of their submissions have ended by then, an honest
    /// owner elsewhere waits for one turn of each of the address's lines.
    #[test]
    fn invented_owners_of_one_address_gain_no_turns(
        steps in prop::collection::vec((any::<bool>(), 0..400_u16), 1..600),
    ) {
        let (waiting, mut queue) = (WaitingSubmissions::default(), FairQueue::default());
        let mut position = 0;
        let mut submit = |queue: &mut FairQueue, share, owner: &str| {
            position += 1;
            let place = waiting.admit(id(position.into()), share, owner).unwrap();
            queue.enqueue(id(position.into()), place.lane().unwrap_or(owner), position);
            place.keep();
            id(position.into())
        };
        for (ends, owner) in steps {
            let ended = queue.candidates().nth(usize::from(owner) % 8).filter(|_| ends);
            match ended {
                Some(ended) => {
                    queue.remove(ended);
                    waiting.forget(ended);
                }
                None => drop(submit(&mut queue, client(1), &format!("owner{owner}"))),
            }
        }
        let honest = submit(&mut queue, client(2), ADA);
        let lines = lanes::OWN_LINES_MAX + lanes::LANES;
        prop_assert!(queue.ahead_of(honest).unwrap() <= lines, "{:?}", queue.ahead_of(honest));
    }
}
