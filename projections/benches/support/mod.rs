//! Support for the benchmarks of the views: submissions that pass, and their
//! places.

use std::time::Duration;

use domain::submission::{
    ContainersStarted, Event, ImageProbe, ImagesPulled, Participant, Passed, ProbeAnswer, ProbeOutcome,
    Probed, PulledImage, StartedImage, Submitted, VerdictBasis, VerificationStarted,
};
use domain::testing::{located_in, submitted_by};
use domain::{Digest, ImageRef, SubmissionId};
use projections::{MongoViews, ViewQueries};
use testbed::Mongo;
use uuid::Uuid;

/// The number of places all over the world, about as many as the gazetteer has.
const PLACES: u64 = 70_000;

/// The number of places of one dense city, within a degree.
const CITY_PLACES: u64 = 5_000;

/// The dense city: degrees north and east.
pub(crate) const CITY: (f64, f64) = (48.8, 2.3);

/// Returns the latitude and longitude of a submission. About every second is in the city.
pub(crate) fn place(number: u64) -> (f64, f64) {
    let part = |bits: u64| (bits & 0xffff_ffff) as f64 / 4_294_967_296.0;
    let mixed = mix(number);
    if mixed & 1 == 0 {
        let at = mix(mixed % PLACES);
        (part(at) * 130.0 - 60.0, part(at >> 32) * 360.0 - 180.0)
    } else {
        let at = mix(PLACES + mixed % CITY_PLACES);
        (CITY.0 + part(at) - 0.5, CITY.1 + part(at >> 32) - 0.5)
    }
}

/// Returns the id of a submission.
pub(crate) fn id(number: u64) -> SubmissionId {
    SubmissionId(Uuid::from_u64_pair(mix(number), number))
}

/// Returns the events of a submission from its acceptance to the verdict "passed". Each has its own owner.
pub(crate) fn submission(number: u64) -> [Event; 6] {
    let (lat, lon) = place(number);
    let image: ImageRef = format!("owner{number}/votingapp_result-app").parse().unwrap();
    let digest: Digest = format!("sha256:{}", "a1".repeat(32)).parse().unwrap();
    let deadline = "2016-03-21T12:05:00Z".parse().unwrap();
    let probe = ImageProbe {
        image: image.clone(),
        outcome: ProbeOutcome::Matched,
        answers: vec![ProbeAnswer::Http { status: 200, latency_ms: 2 }],
        message: None,
        differing: vec![],
    };
    let pulled =
        PulledImage { image: image.clone(), digest, size_bytes: 1000, node: "n1".to_owned(), took_ms: 20 };
    [
        Event::Submitted(Submitted {
            participant: Participant {
                name: format!("Number {number}"),
                twitter: Some("@someone".to_owned()),
            },
            location: located_in(&format!("City {lat:.0}"), &format!("C{}", number % 200), lat, lon),
            images: vec![image.clone()],
            answers: [("vote".to_owned(), format!("Language {}", number % 50))].into(),
            ..submitted_by(&format!("owner{number}"))
        }),
        Event::VerificationStarted(VerificationStarted { attempt: 1, verifier: "v1".to_owned(), deadline }),
        Event::ImagesPulled(ImagesPulled { attempt: 1, images: vec![pulled] }),
        Event::ContainersStarted(ContainersStarted {
            attempt: 1,
            images: vec![StartedImage { image, node: "n1".to_owned(), took_ms: 30 }],
        }),
        Event::Probed(Probed { attempt: 1, images: vec![probe] }),
        Event::Passed(Passed { attempt: 1, basis: VerdictBasis::default() }),
    ]
}

/// Opens empty views in a replica set of three members on this machine.
pub(crate) async fn in_mongo() -> (Mongo, MongoViews) {
    let mongo = Mongo::replica_set().await.unwrap();
    let views = MongoViews::open(&mongo.uri()).await.unwrap();
    while views.stats().await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    (mongo, views)
}

/// Describes the load of the machine.
pub(crate) fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap();
    let cores = std::thread::available_parallelism().unwrap();
    format!("load {} on {cores} cores", load.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

/// Returns the first number on the command line, or `default` if it has none.
pub(crate) fn size_argument(default: u64) -> u64 {
    std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(default)
}

/// Mixes the bits of a number as SplitMix64 does.
pub(crate) fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
