//! The views beside each other, in memory and in a MongoDB replica set of
//! three on this machine: events followed a second, and a screen of pins.
//!
//! `cargo bench -p projections --bench views [-- SUBMISSIONS]`: so many pass, each
//! an owner's first (100,000 unless said), in one of 70,000 places.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at what it did not foresee")]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use domain::submission::{
    ChallengeId, ContainersStarted, Event, ImageProbe, ImagesPulled, Location, Outcome, Participant, Passed,
    Place, Probed, PulledImage, StartedImage, Submitted, VerificationStarted,
};
use domain::{Digest, ImageRef, SubmissionId};
use event_store::Position;
use projections::view::Bounds;
use projections::{Envelope, MemoryViews, MongoViews, Queries, Views};
use testbed::Mongo;
use uuid::Uuid;

/// How many submissions are begun between one batch and the next.
const COHORT: u64 = 170;

const PLACES: u64 = 70_000;

/// How often each screen is asked for.
const SCREENS: usize = 200;

#[tokio::main]
async fn main() {
    // Cargo passes a flag of its own.
    let submissions = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(100_000);
    let memory = MemoryViews::new();
    measure("in memory", &memory, submissions).await;

    let mongo = Mongo::replica_set().await.unwrap();
    let views = MongoViews::open(&mongo.uri()).await.unwrap();
    while views.stats().await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    measure("in MongoDB", &views, submissions).await;
    drop(views);
    mongo.stop().await.unwrap();
}

async fn measure(name: &str, views: &dyn Views, submissions: u64) {
    println!("{name}, {submissions} submissions of six events");
    let (mut at, mut events, mut took) = (Position::START, 0, Duration::ZERO);
    // A submission's events come in six batches, among those of a thousand others.
    let mut under_way: VecDeque<Vec<[Event; 6]>> = VecDeque::new();
    for begin in 0..submissions / COHORT + 5 {
        let begins = begin < submissions / COHORT;
        let cohort = if begins { begin * COHORT..(begin + 1) * COHORT } else { 0..0 };
        under_way.push_front(cohort.map(submission).collect());
        under_way.truncate(6);
        let mut batch = vec![];
        for (step, cohort) in under_way.iter().enumerate() {
            let first = (begin - step as u64) * COHORT;
            for (event, number) in cohort.iter().map(|events| events[step].clone()).zip(first..) {
                at.0 += 1;
                batch.push(Envelope {
                    id: SubmissionId(Uuid::from_u64_pair(mix(number), number)),
                    revision: step as u64,
                    position: at,
                    recorded_at: jiff::Timestamp::from_millisecond(1_458_561_600_000 + at.0 as i64).unwrap(),
                    event,
                });
            }
        }
        let from = Position(at.0 - batch.len() as u64);
        events += batch.len();
        let start = Instant::now();
        views.apply(from, &batch, at).await.unwrap();
        took += start.elapsed();
    }
    println!("  followed, events a second       {:.0}", events as f64 / took.as_secs_f64());

    for zoom in [0, 2, 4, 6, 8, 10, 13, 16] {
        let (mut times, mut spots) = (vec![], 0);
        for number in 0..SCREENS as u64 {
            let bounds = screen(place(mix(number) % PLACES), zoom);
            let start = Instant::now();
            spots += views.pins(bounds, zoom).await.unwrap().len();
            times.push(start.elapsed());
        }
        times.sort_unstable();
        let (median, late) = (times[SCREENS / 2], times[SCREENS * 99 / 100]);
        println!("  a screen at zoom {zoom:2}, {:4} spots   {median:.1?} (p99 {late:.1?})", spots / SCREENS);
    }
}

/// What a screen of 1920 by 960 pixels shows.
fn screen((lat, lon): (f64, f64), zoom: u8) -> Bounds {
    let width = (30.0 * 360.0 / f64::from(4u32 << zoom)).min(360.0);
    Bounds {
        west: (lon - width / 2.0).max(-180.0),
        east: (lon + width / 2.0).min(180.0),
        south: (lat - width / 4.0).max(-85.0),
        north: (lat + width / 4.0).min(85.0),
    }
}

fn place(number: u64) -> (f64, f64) {
    let mixed = mix(number);
    let part = |bits: u64| (bits & 0xffff_ffff) as f64 / 4_294_967_296.0;
    (part(mixed) * 130.0 - 60.0, part(mixed >> 32) * 360.0 - 180.0)
}

fn submission(number: u64) -> [Event; 6] {
    let (lat, lon) = place(mix(number) % PLACES);
    let image: ImageRef = format!("owner{number}/votingapp_result-app").parse().unwrap();
    let digest: Digest = format!("sha256:{}", "a1".repeat(32)).parse().unwrap();
    let deadline = "2016-03-21T12:05:00Z".parse().unwrap();
    let place = Place { city: format!("City {lat:.0}"), country: format!("C{}", number % 200), lat, lon };
    let probe = ImageProbe {
        image: image.clone(),
        outcome: Outcome::Matched,
        status: Some(200),
        latency_ms: Some(2),
        message: None,
        differing: vec![],
    };
    let pulled =
        PulledImage { image: image.clone(), digest, size_bytes: 1000, node: "n1".to_owned(), took_ms: 20 };
    [
        Event::Submitted(Submitted {
            challenge: ChallengeId { id: "docker-birthday-3".to_owned(), rules: "sha256:r".to_owned() },
            participant: Participant {
                name: format!("Number {number}"),
                twitter: Some("@someone".to_owned()),
            },
            location: Location { typed: "Somewhere".to_owned(), place },
            images: vec![image.clone()],
            answers: [("vote".to_owned(), format!("Language {}", number % 50))].into(),
            owner: format!("docker.io/owner{number}"),
        }),
        Event::VerificationStarted(VerificationStarted { attempt: 1, verifier: "v1".to_owned(), deadline }),
        Event::ImagesPulled(ImagesPulled { attempt: 1, images: vec![pulled] }),
        Event::ContainersStarted(ContainersStarted {
            attempt: 1,
            images: vec![StartedImage { image, node: "n1".to_owned(), took_ms: 30 }],
        }),
        Event::Probed(Probed { attempt: 1, images: vec![probe] }),
        Event::Passed(Passed { attempt: 1 }),
    ]
}

/// SplitMix64's last steps.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
