//! What readers see: the shape of every view. These names are the public JSON
//! of the read API too.

use std::collections::BTreeMap;

use domain::ImageRef;
use domain::sandbox::SandboxReported;
use domain::submission::{Event, FailureCode, InterruptionCode, SubmissionId};
use event_store::{Position, Revision};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where a submission stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SubmissionStatus {
    /// It waits in the queue, for the first time or again.
    Submitted,
    /// A verifier is at it.
    Verifying,
    /// The newest verdict: it does as asked.
    Passed,
    /// The newest verdict: it does not.
    Failed,
}

/// One submission, for its participant: what happened and why, so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StatusView {
    /// Its identity.
    pub id: SubmissionId,
    /// Where it stands.
    pub status: SubmissionStatus,
    /// While it waits: for what. Its place in the queue is asked for separately ([`QueuePlace`]).
    pub waiting: Option<WaitReason>,
    /// The participant's name.
    pub name: String,
    /// `@account`.
    pub twitter: Option<String>,
    /// Where they are.
    pub location: LocationView,
    /// What is verified.
    pub images: Vec<ImageRef>,
    /// Further answers, by field.
    pub answers: BTreeMap<String, String>,
    /// The registry namespace that all images share.
    pub owner: String,
    /// The challenge that it takes part in.
    pub challenge: String,
    /// How many attempts began.
    pub attempts: u32,
    /// After a failed verdict: every reason, with what to do.
    pub reasons: Vec<ReasonView>,
    /// Everything that happened, oldest first.
    pub timeline: Vec<TimelineEntry>,
    /// When it was accepted.
    pub submitted_at: Timestamp,
    /// When the newest verdict was reached.
    pub judged_at: Option<Timestamp>,
    /// The stream's revision that this view has seen.
    pub revision: Revision,
    /// The log's position that this view has seen.
    #[schema(value_type = u64)]
    pub position: Position,
}

/// The place of a submission.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LocationView {
    /// The participant's words.
    pub typed: String,
    /// The city's usual name.
    pub city: String,
    /// ISO 3166 code of two letters.
    pub country: String,
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
}

/// What a submission waits for, when it is not simply its turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WaitReason {
    /// The fault of ours that broke off the last attempt; `None` when it only waits for its turn.
    pub code: Option<InterruptionCode>,
    /// A sentence for the participant.
    pub message: String,
    /// When it is tried again; `None` when as soon as there is room, or (with a code) when the platform is well.
    pub retry_at: Option<Timestamp>,
}

/// One reason of a failed verdict, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReasonView {
    /// Which.
    pub code: FailureCode,
    /// The image concerned.
    pub image: Option<ImageRef>,
    /// What exactly.
    pub message: String,
    /// Whose fault: always `participant`.
    pub fault: String,
    /// What to do next.
    pub advice: String,
}

/// One event in a submission's timeline: `{"at": …, "position": …, "type": …, "data": …}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TimelineEntry {
    /// When it was recorded.
    pub at: Timestamp,
    /// Its position in the log.
    #[schema(value_type = u64)]
    pub position: Position,
    /// What happened. The first, `Submitted`, too.
    #[serde(flatten)]
    pub event: Event,
}

/// A waiting submission's place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueuePlace {
    /// 1 is next.
    pub position: u64,
    /// How many wait in all.
    pub of: u64,
    /// Expected wait from the pace of the last verdicts, seconds; `None` when there were none.
    pub expected_wait_s: Option<u64>,
}

/// Totals over all submissions.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct StatsView {
    /// Submissions by status.
    pub submissions: BTreeMap<SubmissionStatus, u64>,
    /// Pins on the map: owners that passed.
    pub pins: u64,
    /// Pins by country code.
    pub countries: BTreeMap<String, u64>,
    /// Distinct places of pins.
    pub places: u64,
    /// Pins by answer: field, then choice.
    pub answers: BTreeMap<String, BTreeMap<String, u64>>,
    /// Failed verdicts by reason.
    pub failures: BTreeMap<FailureCode, u64>,
    /// Interruptions by fault of ours.
    pub interruptions: BTreeMap<InterruptionCode, u64>,
    /// First passes in each of the last sixty minutes before the newest event, oldest first.
    pub passes_per_minute: Vec<u64>,
    /// From acceptance to verdict over the last hundred verdicts, milliseconds: half took no longer.
    pub waited_ms_p50: Option<u64>,
    /// As before; 95 in a hundred took no longer.
    pub waited_ms_p95: Option<u64>,
    /// The log's position that this view has seen.
    #[schema(value_type = u64)]
    pub position: Position,
}

/// One pin: an owner that passed. A later pass moves it and counts up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Pin {
    /// The registry namespace; one pin each.
    pub owner: String,
    /// As shown.
    pub name: String,
    /// `@account`.
    pub twitter: Option<String>,
    /// The city.
    pub city: String,
    /// ISO 3166 code of two letters.
    pub country: String,
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
    /// Further answers, by field.
    pub answers: BTreeMap<String, String>,
    /// How many submissions of this owner passed; 0 when none does any longer, and the pin is gone.
    pub passes: u64,
    /// When the newest passed.
    pub passed_at: Timestamp,
    /// The position of the event that last changed it.
    #[schema(value_type = u64)]
    pub position: Position,
}

/// The features of a viewport.
#[derive(Debug, Clone, PartialEq)]
pub struct MapView {
    /// The zoom at which the pins were clustered: the requested zoom, or less if the bounding box is
    /// larger than any screen at that zoom.
    pub zoom: u8,
    /// The pins and clusters whose centres are in the bounding box.
    pub features: Vec<MapFeature>,
}

/// A pin, or a cluster of pins.
#[derive(Debug, Clone, PartialEq)]
pub enum MapFeature {
    /// A pin that no other pin overlaps at this zoom.
    Pin(Pin),
    /// Several pins that would overlap at this zoom.
    Cluster(Cluster),
}

/// Several pins that are shown as one feature.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cluster {
    /// The number of pins.
    pub count: u64,
    /// The centre of the pins, degrees north.
    pub lat: f64,
    /// The centre of the pins, degrees east.
    pub lon: f64,
    /// The lowest zoom at which the cluster is shown as several features; `None` if its pins share one
    /// place or stay one cluster at every zoom.
    pub expansion_zoom: Option<u8>,
}

/// A verifier's sandbox, as it was reported last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxView {
    /// The verifier's name.
    pub verifier: String,
    /// The report's place in the log.
    pub position: Position,
    /// Since when it is so.
    pub since: Timestamp,
    /// The report.
    pub sandbox: SandboxReported,
}

/// A part of the world in degrees. If `west` is greater than `east`, the box
/// crosses the antimeridian.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoundingBox {
    /// −180 to 180.
    pub west: f64,
    /// −90 to 90.
    pub south: f64,
    /// −180 to 180.
    pub east: f64,
    /// −90 to 90, not less than `south`.
    pub north: f64,
}
