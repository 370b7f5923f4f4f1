//! The map in a browser: the time from a verdict in the log to its pin, and the smoothness of the map. A
//! hundred pins a second arrive among a million while the map moves. The same movements over an empty map
//! are the comparison.
//!
//! `cargo bench --bench watching [-- PINS]`: the number of pins, a million by default.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at what it did not foresee")]

#[expect(dead_code, reason = "the tests do more with it")]
#[path = "../tests/it/support/browser.rs"]
mod browser;
#[expect(dead_code, reason = "other benchmarks do more with it")]
#[path = "support/site.rs"]
mod site;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use browser::{Browser, Look};
use domain::SubmissionId;
use domain::submission::{Event, Passed, VerdictBasis};
use event_store::Position;
use projections::{EventEnvelope, MemoryViews, ViewQueries, ViewStore};
use serde_json::Value;
use site::{Site, submitted, submitted_from};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The longitudes of two views at one zoom. Each view takes [`COLUMNS`] times [`ROWS`] pins, too far from
/// each other to become a cluster.
const VIEWS: [f64; 2] = [0.0, 100.0];
const ZOOM: u8 = 5;
const COLUMNS: u64 = 12;
const ROWS: u64 = 8;
const APART: f64 = 3.2;

/// The number of pins that arrive together, and the period.
const ARRIVE: u64 = 10;
const EVERY: Duration = Duration::from_millis(100);

/// The script that records when a disc of a pin's size is first drawn at a place.
const WATCH_PINS: &str = "
    window.drawn = new Map();
    const arc = CanvasRenderingContext2D.prototype.arc;
    CanvasRenderingContext2D.prototype.arc = function (x, y, radius, ...rest) {
        const place = `${Math.round(x)},${Math.round(y)}`;
        if (radius === 7 && !window.drawn.has(place)) window.drawn.set(place, performance.timeOrigin + performance.now());
        return arc.call(this, x, y, radius, ...rest);
    };";

/// The script that drags and zooms the map for twenty seconds, as with a mouse. It returns the time of each
/// frame, and the tasks that delayed a frame.
const MOVE: &str = "
    const map = document.querySelector('.map');
    const { left, top, width, height } = map.getBoundingClientRect();
    const [x, y] = [left + width / 2, top + height / 2];
    const mouse = (type, target, dx, dy) => target.dispatchEvent(new MouseEvent(type, {
        bubbles: true, cancelable: true, clientX: x + dx, clientY: y + dy, button: 0, buttons: 1, view: window }));
    const long = [];
    new PerformanceObserver(list => long.push(...list.getEntries().map(entry => entry.duration))).observe({ entryTypes: ['longtask'] });
    const frames = [];
    const began = performance.now();
    let [last, step] = [began, 0];
    return new Promise(done => requestAnimationFrame(function frame(now) {
        frames.push(now - last);
        last = now;
        step += 1;
        const at = step % 120;
        if (at === 0) mouse('mousedown', map, 0, 0);
        else if (at < 60) mouse('mousemove', document, 3 * at, at);
        else if (at === 60) mouse('mouseup', document, 180, 60);
        else if (at % 6 === 0) map.dispatchEvent(new WheelEvent('wheel', {
            bubbles: true, cancelable: true, clientX: x, clientY: y, deltaY: Math.floor(step / 120) % 2 === 0 ? -60 : 60 }));
        if (now - began < 20000) return requestAnimationFrame(frame);
        frames.sort((one, other) => one - other);
        const part = share => frames[Math.floor(frames.length * share)];
        done({ frames: frames.length, p50: part(0.5), p95: part(0.95), p99: part(0.99), longest: frames.at(-1),
            long: long.length, held: long.reduce((sum, one) => sum + one, 0) });
    }));";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Cargo adds a flag `--bench`, which is not a number.
    let pins = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000);
    verdict_to_pin().await?;
    let empty = Arc::new(MemoryViews::new());
    moved("an empty map", empty, 0).await?;
    moved(&format!("{pins} pins, 100 more a second"), many(pins).await, pins).await
}

async fn verdict_to_pin() -> anyhow::Result<()> {
    let site = Site::start().await?;
    let browser = Browser::open(Look::DESK).await;
    let mut took = Vec::new();
    for east in VIEWS {
        // The query differs, because otherwise the browser would only move the map of the same page.
        browser.go(&format!("http://{}/?{east}#{ZOOM}/0/{east}", site.address())).await;
        browser.reads(".headline", &took.len().to_string()).await;
        browser.script(WATCH_PINS).await;
        let mut given = Vec::new();
        for number in 0..COLUMNS * ROWS {
            let from_middle = |at: u64, of: u64| (at as f64 - (of - 1) as f64 / 2.0) * APART;
            let place = (from_middle(number / COLUMNS, ROWS), east + from_middle(number % COLUMNS, COLUMNS));
            let id = SubmissionId(Uuid::new_v4());
            site.record(id, &[submitted_from(number + east as u64 * 1000, place)]).await?;
            // The delay varies, so that it is not in step with the page's own intervals.
            tokio::time::sleep(Duration::from_millis(150 + number * 37 % 200)).await;
            given.push(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64() * 1e3);
            site.record(id, &[Event::Passed(Passed { attempt: 1, basis: VerdictBasis::default() })]).await?;
        }
        let all = format!("return window.drawn.size === {}", given.len());
        browser.holds("every pin to be drawn", &all).await;
        let drawn =
            browser.script("return [...window.drawn.values()].sort((one, other) => one - other)").await;
        let drawn = drawn.as_array().unwrap().iter().map(|at| at.as_f64().unwrap());
        took.extend(given.iter().zip(drawn).map(|(given, drawn)| drawn - given));
    }
    took.sort_by(f64::total_cmp);
    let at = |share: f64| took[(took.len() as f64 * share) as usize];
    println!("from a verdict's append to its pin's drawing, {} verdicts", took.len());
    println!("  p50 {:.0} ms   p99 {:.0} ms   longest {:.0} ms", at(0.5), at(0.99), took[took.len() - 1]);
    Ok(())
}

/// Moves the map over some views. Pins arrive meanwhile if the views have pins.
async fn moved(what: &str, views: Arc<MemoryViews>, pins: u64) -> anyhow::Result<()> {
    let site = Site::over(Arc::clone(&views)).await?;
    let browser = Browser::open(Look::DESK).await;
    browser.go(&format!("http://{}/", site.address())).await;
    browser.reads(".headline", "").await;
    browser.holds("the map", "return document.querySelector('.spots') !== null").await;
    let arriving = CancellationToken::new();
    let arrivals = arriving.clone().run_until_cancelled_owned(async move {
        let mut every = tokio::time::interval(EVERY);
        let mut number = pins;
        loop {
            every.tick().await;
            pass(&views, number..number + ARRIVE).await;
            number += ARRIVE;
        }
    });
    let arrivals = (pins > 0).then(|| tokio::spawn(arrivals));
    let seen: Value = browser.script(MOVE).await;
    arriving.cancel();
    if let Some(arrivals) = arrivals {
        arrivals.await?;
    }
    let figure = |name: &str| seen[name].as_f64().unwrap_or_default();
    println!("the map is moved for 20 s: {what}");
    println!(
        "  {:.0} frames   p50 {:.0} ms   p95 {:.0} ms   p99 {:.0} ms   longest {:.0} ms   {:.0} tasks over 50 ms, {:.0} ms together",
        figure("frames"),
        figure("p50"),
        figure("p95"),
        figure("p99"),
        figure("longest"),
        figure("long"),
        figure("held"),
    );
    Ok(())
}

async fn many(pins: u64) -> Arc<MemoryViews> {
    let views = Arc::new(MemoryViews::new());
    for first in (0..pins).step_by(1000) {
        pass(&views, first..(first + 1000).min(pins)).await;
    }
    views
}

/// Applies submissions that pass.
async fn pass(views: &MemoryViews, numbers: std::ops::Range<u64>) {
    let from = views.checkpoint().await.unwrap();
    let mut at = from;
    let mut events = Vec::new();
    for number in numbers {
        let id = SubmissionId(Uuid::new_v4());
        for (revision, event) in (0..)
            .zip([submitted(number), Event::Passed(Passed { attempt: 1, basis: VerdictBasis::default() })])
        {
            at = Position(at.0 + 1);
            let recorded_at = jiff::Timestamp::now();
            events.push(EventEnvelope {
                id,
                revision,
                position: at,
                event_id: Uuid::new_v4(),
                recorded_at,
                event,
            });
        }
    }
    views.apply(from, &events, at).await.unwrap();
}
