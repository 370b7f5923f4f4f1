//! Measures a screen of pins, and one more pin, with ten thousand, a hundred
//! thousand and a million pins: in memory, in a MongoDB replica set of three
//! members on this machine, and in npm's `supercluster` with the same points and
//! boxes. MongoDB is measured twice, because the first query fills its cache.
//!
//! `cargo bench -p projections --bench screens [-- MAX]`: the largest number of
//! pins, a million by default.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at what it did not foresee")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use domain::submission::Event;
use event_store::Position;
use projections::view::BoundingBox;
use projections::{EventEnvelope, MemoryViews, ViewQueries, ViewStore};
use serde::Deserialize;
use serde_json::{Value, json};
use support::{CITY, id, in_mongo, load, mix, place, size_argument, submission};

/// The number of pins in one batch.
const BATCH: u64 = 2_000;

/// The number of times that each screen is read and one more pin is added.
const TIMES: u64 = 200;

/// The number of times that the index of `supercluster` is built.
const INDEXED: u64 = 5;

const ZOOMS: [u8; 9] = [0, 2, 4, 6, 8, 10, 12, 14, 16];

#[tokio::main]
async fn main() {
    let max = size_argument(1_000_000);
    let memory = MemoryViews::new();
    let (mongo, in_mongo) = in_mongo().await;
    let mut other = Supercluster::start();
    let mut pins = 0;
    for size in [10_000, 100_000, 1_000_000].into_iter().filter(|size| *size <= max) {
        let mut filled = vec![];
        for views in [&memory as &dyn ViewStore, &in_mongo] {
            let start = Instant::now();
            fill(views, pins..size).await;
            filled.push(start.elapsed());
        }
        let more = size - pins;
        pins = size;
        let indexed = other.load(pins);
        println!("\n{pins} pins, {}; {more} more took {filled:.1?}", load());
        let head = ["memory", "MongoDB, first", "MongoDB, again", "supercluster"];
        println!("{:29}{}", "p50 (p99) of a screen", head.map(|name| format!(" {name:>20}")).concat());
        for (name, city) in [("world", false), ("dense city", true)] {
            for zoom in ZOOMS {
                let boxes: Vec<BoundingBox> = (0..TIMES).map(|number| screen(number, city, zoom)).collect();
                let (here, features) = ask(&memory, &boxes, zoom).await;
                let (there, same) = ask(&in_mongo, &boxes, zoom).await;
                let (again, too) = ask(&in_mongo, &boxes, zoom).await;
                assert_eq!((features, features), (same, too), "both stores show the same number of features");
                let (theirs, clusters) = other.ask(&boxes, zoom);
                let shown = format!("{}|{} features", features as u64 / TIMES, clusters / TIMES);
                let times = [here, there, again, theirs].map(percentiles).concat();
                println!("{name:10} {zoom:2} {shown:>16}{times}");
            }
        }
        let (here, there) = (add(&memory, pins).await, add(&in_mongo, pins).await);
        let theirs: Vec<_> = (0..INDEXED).map(|number| other.add(pins + number)).collect();
        println!(
            "{:29}{}{:21}{}",
            "one more pin",
            [here, there].map(percentiles).concat(),
            "",
            percentiles(theirs)
        );
        println!(
            "(supercluster cannot add one pin: its index is built again; the first build took {indexed:.1?})"
        );
        pins += TIMES;
    }
    drop((other, in_mongo));
    mongo.stop().await.unwrap();
}

/// Adds the pins with these numbers.
async fn fill(views: &dyn ViewStore, numbers: std::ops::Range<u64>) {
    for first in numbers.clone().step_by(BATCH as usize) {
        apply(views, first..(first + BATCH).min(numbers.end)).await;
    }
}

/// Applies one batch. A submission's first and last events are enough for its pin.
async fn apply(views: &dyn ViewStore, numbers: std::ops::Range<u64>) {
    let from = Position(numbers.start * 2);
    let upto = Position(numbers.end * 2);
    let envelopes = |number: u64| {
        let [submitted, .., passed] = submission(number);
        let envelope = |revision: u64, event: Event| EventEnvelope {
            id: id(number),
            revision,
            position: Position(number * 2 + 1 + revision),
            event_id: id(number).0,
            recorded_at: "2016-03-21T12:00:00Z".parse().unwrap(),
            event,
        };
        [envelope(0, submitted), envelope(1, passed)]
    };
    let batch: Vec<EventEnvelope> = numbers.flat_map(envelopes).collect();
    views.apply(from, &batch, upto).await.unwrap();
}

async fn add(views: &dyn ViewStore, pins: u64) -> Vec<Duration> {
    let mut times = vec![];
    for number in pins..pins + TIMES {
        let start = Instant::now();
        apply(views, number..number + 1).await;
        times.push(start.elapsed());
    }
    times
}

async fn ask(views: &dyn ViewQueries, boxes: &[BoundingBox], zoom: u8) -> (Vec<Duration>, usize) {
    let (mut times, mut features) = (vec![], 0);
    for bounds in boxes {
        let start = Instant::now();
        features += views.pins(*bounds, zoom).await.unwrap().features.len();
        times.push(start.elapsed());
    }
    (times, features)
}

/// Returns the box of a screen of 1920 by 960 pixels with a pin in its middle.
fn screen(number: u64, city: bool, zoom: u8) -> BoundingBox {
    let near = |(lat, lon): &(f64, f64)| (lat - CITY.0).abs() < 0.5 && (lon - CITY.1).abs() < 0.5;
    let mut places = (0..).map(|more| place(mix(number) % 10_000 + more));
    let (lat, lon) = places.find(|place| near(place) == city).unwrap();
    let width = (30.0 * 360.0 / f64::from(4u32 << zoom)).min(360.0);
    BoundingBox {
        west: (lon - width / 2.0).max(-180.0),
        east: (lon + width / 2.0).min(180.0),
        south: (lat - width / 4.0).max(-85.0),
        north: (lat + width / 4.0).min(85.0),
    }
}

/// Formats the median and the 99th percentile.
fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let (median, late) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    format!(" {:>20}", format!("{median:.1?} ({late:.1?})"))
}

/// `supercluster` in a Node process.
struct Supercluster {
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

#[derive(Deserialize)]
struct Screens {
    ms: Vec<f64>,
    features: u64,
}

impl Supercluster {
    fn start() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/supercluster");
        assert!(
            folder.join("node_modules").exists(),
            "supercluster is not installed; run (cd {} && npm ci)",
            folder.display()
        );
        let mut process = Command::new("node")
            .args(["--max-old-space-size=4096", "answer.js"])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let requests = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { process, requests, answers }
    }

    fn load(&mut self, pins: u64) -> Duration {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let points = (0..pins).flat_map(|number| {
            let (lat, lon) = place(number);
            [lon.to_ne_bytes(), lat.to_ne_bytes()]
        });
        file.write_all(&points.flatten().collect::<Vec<u8>>()).unwrap();
        ms(&self.answer(&json!({ "ask": "load", "file": file.path() })))
    }

    fn add(&mut self, number: u64) -> Duration {
        let (lat, lon) = place(number);
        ms(&self.answer(&json!({ "ask": "add", "lat": lat, "lon": lon })))
    }

    fn ask(&mut self, boxes: &[BoundingBox], zoom: u8) -> (Vec<Duration>, u64) {
        let boxes: Vec<[f64; 4]> = boxes.iter().map(|b| [b.west, b.south, b.east, b.north]).collect();
        let answer = self.answer(&json!({ "ask": "screens", "boxes": boxes, "zoom": zoom }));
        let Screens { ms, features } = serde_json::from_value(answer).unwrap();
        (ms.iter().map(|ms| Duration::from_secs_f64(ms / 1000.0)).collect(), features)
    }

    fn answer(&mut self, ask: &Value) -> Value {
        writeln!(self.requests, "{ask}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Supercluster {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn ms(answer: &Value) -> Duration {
    Duration::from_secs_f64(answer["ms"].as_f64().unwrap() / 1000.0)
}
