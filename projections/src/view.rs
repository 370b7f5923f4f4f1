//! The shape of every view. The field names are also the public JSON of the
//! read API, and the comments its OpenAPI descriptions.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::ImageRef;
use domain::sandbox::{SILENT_AFTER, SandboxReported};
use domain::submission::{Event, FailureCode, InterruptionCode, SubmissionId};
use event_store::{Position, Revision};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::timeline_event::TimelineEventSchema;

/// The status of a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SubmissionStatus {
    /// The submission waits in the queue, for the first time or again.
    Submitted,
    /// A verifier has claimed the submission.
    Verifying,
    /// The newest verdict is "passed".
    Passed,
    /// The newest verdict is "failed".
    Failed,
    /// The participant withdrew the submission before it had a verdict.
    Withdrawn,
    /// The platform could not run the submission, and does not try again by itself.
    #[serde(rename = "given_up")]
    GivenUp,
}

impl SubmissionStatus {
    /// Returns the status as it is spelled in JSON and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Verifying => "verifying",
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Withdrawn => "withdrawn",
            Self::GivenUp => "given_up",
        }
    }
}

/// A submission with its answers, its status and its history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StatusView {
    /// The id of the submission.
    pub id: SubmissionId,
    /// The present status of the submission.
    pub status: SubmissionStatus,
    /// The reason for the wait, while the submission waits, or the reason why it was given up. The queue position is
    /// not part of this view.
    #[schema(required)]
    pub waiting: Option<WaitReason>,
    /// The name of the participant, as submitted or as an organiser corrected it.
    pub name: String,
    /// The participant's Twitter account as `@account`.
    #[schema(required)]
    pub twitter: Option<String>,
    /// The location as typed and as found in the gazetteer.
    pub location: LocationView,
    /// The images that are verified.
    pub images: Vec<ImageRef>,
    /// The further answers by field name.
    pub answers: BTreeMap<String, String>,
    /// The registry namespace that all images share.
    pub owner: String,
    /// The short name of the participant's venue. Absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub venue: Option<String>,
    /// The id of the challenge.
    pub challenge: String,
    /// The number of attempts that were started.
    pub attempts: u32,
    /// The reasons of a failed verdict, each with advice.
    pub reasons: Vec<ReasonView>,
    /// Present while an organiser hides the submission: it has no pin, whatever its verdict is.
    #[serde(default)]
    #[schema(required)]
    pub hidden: Option<HiddenReason>,
    /// The events of the submission, oldest first. Of a long history it has the first fifty, the last fifty, and those
    /// in between that the present status rests on.
    pub timeline: Vec<TimelineEntry>,
    /// The number of events that the timeline leaves out after its first fifty. Absent if there are none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub timeline_omitted: u64,
    /// The time at which the submission was accepted.
    pub submitted_at: Timestamp,
    /// The time of the newest verdict.
    #[schema(required)]
    pub judged_at: Option<Timestamp>,
    /// The event at which the submission stands still, because this version of Muster cannot read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standstill: Option<StandstillView>,
    /// The revision of the newest event in this view.
    pub revision: Revision,
    /// The position of the newest event in this view.
    #[schema(value_type = u64)]
    pub position: Position,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The deletion of a submission's stream by an operator. The views have nothing else of the submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletionView {
    /// The submission.
    pub id: SubmissionId,
    /// The position of the store's own event that deleted the stream.
    pub position: Position,
    /// The time of the deletion.
    pub at: Timestamp,
}

/// The participant's place, as typed and as found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LocationView {
    /// The text that the participant typed.
    pub typed: String,
    /// The city's name in the gazetteer.
    pub city: String,
    /// The country's two-letter ISO 3166 code.
    pub country: String,
    /// The latitude in degrees north.
    pub lat: f64,
    /// The longitude in degrees east.
    pub lon: f64,
}

/// The reason why a submission waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WaitReason {
    /// The interruption of the last attempt, or null if the submission only waits for its turn.
    #[schema(required)]
    pub code: Option<InterruptionCode>,
    /// The reason as a sentence for the participant.
    pub message: String,
    /// The time of the next attempt. Null means as soon as a slot is free or, after an interruption, as
    /// soon as the platform works again.
    #[schema(required)]
    pub retry_at: Option<Timestamp>,
}

/// The reason why a submission is hidden from the map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HiddenReason {
    /// The name of the organiser.
    pub by: String,
    /// The reason that the organiser gave.
    pub why: String,
    /// The time since which the submission is hidden.
    pub since: Timestamp,
    /// True if it has a refused word and waits for an organiser's look. Absent if an organiser hid it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
}

/// The event at which a submission stands still. Its state after the event is not known, so nothing is decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StandstillView {
    /// The id of the submission.
    pub id: SubmissionId,
    /// `newer_version` if a newer version of Muster wrote the event, or `damaged`.
    pub code: String,
    /// The reason as a sentence for the participant.
    pub message: String,
    /// The type of the event.
    pub r#type: String,
    /// The reason why the event cannot be read, for the operator.
    pub why: String,
    /// The position of the event in the log.
    #[schema(value_type = u64)]
    pub position: Position,
    /// The event's number in its stream, from 0.
    pub revision: Revision,
    /// The time at which the event was recorded.
    pub since: Timestamp,
}

/// A stranger's event in a stream with a name of ours. It changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SetAsideEvent {
    /// The position of the event in the log.
    #[schema(value_type = u64)]
    pub position: Position,
    /// The name of the event's stream.
    pub stream: String,
    /// The event's number in its stream, from 0.
    pub revision: Revision,
    /// The type of the event.
    pub r#type: String,
    /// The time at which the event was recorded.
    pub at: Timestamp,
    /// The reason why the event is not ours.
    pub why: String,
}

/// The strangers' events in streams with names of ours.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct SetAsideView {
    /// The number of all such events.
    pub count: u64,
    /// The newest [`SET_ASIDE_KEPT`] of them, oldest first.
    #[schema(max_items = 100)]
    pub newest: Vec<SetAsideEvent>,
}

/// The number of events that [`SetAsideView`] keeps.
pub const SET_ASIDE_KEPT: usize = 100;

impl SetAsideView {
    /// Adds events in the order of their positions. Those that are counted already change nothing.
    pub(crate) fn add(&mut self, events: &[SetAsideEvent]) {
        let counted = self.newest.last().map_or(Position::START, |event| event.position);
        let new = events.iter().filter(|event| event.position > counted);
        let before = self.newest.len();
        self.newest.extend(new.cloned());
        self.count += (self.newest.len() - before) as u64;
        self.newest.drain(..self.newest.len().saturating_sub(SET_ASIDE_KEPT));
    }
}

/// A reason of a failed verdict, with advice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReasonView {
    /// The code of the failure.
    pub code: FailureCode,
    /// The image that failed, or null if the reason concerns no single image.
    #[schema(required)]
    pub image: Option<ImageRef>,
    /// The details of the failure.
    pub message: String,
    /// The responsible party, always `participant`.
    pub fault: String,
    /// The next step for the participant.
    pub advice: String,
}

/// An event in a submission's timeline: `{"at": …, "position": …, "type": …, "data": …}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TimelineEntry {
    /// The time at which the event was recorded.
    pub at: Timestamp,
    /// The event's position in the log.
    #[schema(value_type = u64)]
    pub position: Position,
    /// The event. The first is always `Submitted`.
    #[serde(flatten, with = "crate::timeline_event")]
    #[schema(value_type = TimelineEventSchema)]
    pub event: Event,
}

/// The queue position of a waiting submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueuePlace {
    /// The queue position; 1 is verified next.
    pub position: u64,
    /// The number of submissions that wait.
    pub of: u64,
    /// The expected wait in seconds, from the pace of the last verdicts. Null if there were none.
    #[schema(required)]
    pub expected_wait_s: Option<u64>,
}

/// The totals over all submissions.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct StatsView {
    /// The number of submissions by status.
    pub submissions: BTreeMap<SubmissionStatus, u64>,
    /// The number of pins on the map.
    pub pins: u64,
    /// The number of pins by country code.
    pub countries: BTreeMap<String, u64>,
    /// The number of distinct places of pins.
    pub places: u64,
    /// The number of pins by answer: first the field, then the choice.
    pub answers: BTreeMap<String, BTreeMap<String, u64>>,
    /// The number of reasons of failed verdicts by code.
    pub failures: BTreeMap<FailureCode, u64>,
    /// The number of interruptions by code.
    pub interruptions: BTreeMap<InterruptionCode, u64>,
    /// The first passes in each of the sixty minutes up to the newest event, oldest minute first.
    pub passes_per_minute: Vec<u64>,
    /// The median time from queueing to verdict in milliseconds, over the last hundred verdicts.
    #[schema(required)]
    pub waited_ms_p50: Option<u64>,
    /// The 95th percentile of the same times in milliseconds.
    #[schema(required)]
    pub waited_ms_p95: Option<u64>,
    /// The position up to which the log is counted.
    #[schema(value_type = u64)]
    pub position: Position,
}

/// A pin: an owner that passed, at its place. A later pass moves the pin and counts up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Pin {
    /// The registry namespace of the owner, which has one pin.
    pub owner: String,
    /// The name of the participant.
    pub name: String,
    /// The participant's Twitter account as `@account`.
    #[schema(required)]
    pub twitter: Option<String>,
    /// The name of the city.
    pub city: String,
    /// The country's two-letter ISO 3166 code.
    pub country: String,
    /// The latitude in degrees north.
    pub lat: f64,
    /// The longitude in degrees east.
    pub lon: f64,
    /// The further answers by field name.
    pub answers: BTreeMap<String, String>,
    /// The short name of the participant's venue. Absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub venue: Option<String>,
    /// The short names of the venues at which the pin was before, without the present one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former_venues: Vec<String>,
    /// The number of the owner's submissions that count. 0 means that the pin was removed.
    pub passes: u64,
    /// The time of the newest pass.
    pub passed_at: Timestamp,
    /// The position of the event that last changed the pin.
    #[schema(value_type = u64)]
    pub position: Position,
}

impl Pin {
    /// Returns the venues at which the pin is or was.
    pub(crate) fn all_venues(&self) -> impl Iterator<Item = &String> {
        self.venue.iter().chain(&self.former_venues)
    }

    /// Returns the pin as a venue sees it: a pin that moved to another venue is gone from there.
    pub(crate) fn seen_at(self, venue: &str) -> Self {
        match self.venue.as_deref() == Some(venue) {
            true => self,
            false => Self { passes: 0, ..self },
        }
    }
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
#[expect(clippy::large_enum_variant, reason = "most features of a map that is looked at closely are pins")]
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

/// The newest report on a verifier's sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxView {
    /// The name of the verifier.
    pub verifier: String,
    /// The position of the report in the log.
    pub position: Position,
    /// The time at which the report was recorded.
    pub since: Timestamp,
    /// The report itself.
    pub sandbox: SandboxReported,
}

impl SandboxView {
    /// Returns true if the verifier repeated no report for so long that it has probably died.
    #[must_use]
    pub fn is_silent(&self, now: Timestamp) -> bool {
        Duration::try_from(now.duration_since(self.since)).is_ok_and(|age| age > SILENT_AFTER)
    }
}

/// A part of the world in degrees. If `west` is greater than `east`, the box
/// crosses the antimeridian.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoundingBox {
    /// The western edge, −180 to 180.
    pub west: f64,
    /// The southern edge, −90 to 90.
    pub south: f64,
    /// The eastern edge, −180 to 180.
    pub east: f64,
    /// The northern edge, −90 to 90, not less than `south`.
    pub north: f64,
}
