//! The shape that events have in a timeline, in JSON and in MongoDB: `{"type": …, "data": …}`. It is the stored shape,
//! except that a probed image shows its one HTTP answer as `status` and `latency_ms` beside the other fields.

use std::borrow::Cow;

use domain::ImageRef;
use domain::submission::{Event, FieldDifference, ImageProbe, ProbeAnswer, ProbeOutcome, Probed};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// An event as a timeline has it.
#[derive(Deserialize)]
#[serde(untagged)]
enum TimelineEvent {
    Probed(TaggedProbed),
    Other(Box<Event>),
}

#[derive(Serialize, Deserialize)]
struct TaggedProbed {
    r#type: ProbedTag,
    data: ProbedView,
}

#[derive(Serialize, Deserialize)]
enum ProbedTag {
    Probed,
}

#[derive(Serialize, Deserialize)]
struct ProbedView {
    attempt: u32,
    images: Vec<ImageProbeView>,
}

#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = ImageProbe, description = "The evidence about one image.")]
struct ImageProbeView {
    /// The image as it was submitted.
    image: ImageRef,
    /// `matched`, or the code of the failure.
    #[schema(value_type = String)]
    outcome: ProbeOutcome,
    /// The HTTP status, if there was a response.
    #[schema(required)]
    status: Option<u16>,
    /// From the first byte sent to the last received, milliseconds.
    #[schema(required)]
    latency_ms: Option<u64>,
    /// One sentence on the failure, for the participant.
    #[schema(required)]
    message: Option<String>,
    /// The fields that are not as submitted.
    differing: Vec<FieldDifference>,
}

/// The OpenAPI schema of an event in a timeline: the stored one, with [`ImageProbeView`] for a probed image.
pub(crate) struct TimelineEventSchema;

impl PartialSchema for TimelineEventSchema {
    fn schema() -> RefOr<Schema> {
        Event::schema()
    }
}

impl ToSchema for TimelineEventSchema {
    fn name() -> Cow<'static, str> {
        Event::name()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Event::schemas(schemas);
        schemas.retain(|(name, _)| *name != ImageProbeView::name());
        schemas.push((ImageProbeView::name().into_owned(), ImageProbeView::schema()));
    }
}

/// Writes an event as a timeline has it.
pub(crate) fn serialize<S: Serializer>(event: &Event, serializer: S) -> Result<S::Ok, S::Error> {
    match event {
        Event::Probed(Probed { attempt, images }) => {
            let images = images.iter().map(ImageProbeView::from).collect();
            TaggedProbed { r#type: ProbedTag::Probed, data: ProbedView { attempt: *attempt, images } }
                .serialize(serializer)
        }
        other => other.serialize(serializer),
    }
}

/// Reads an event as a timeline has it.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Event, D::Error> {
    Ok(match TimelineEvent::deserialize(deserializer)? {
        TimelineEvent::Probed(TaggedProbed { data: ProbedView { attempt, images }, .. }) => {
            Event::Probed(Probed { attempt, images: images.into_iter().map(ImageProbe::from).collect() })
        }
        TimelineEvent::Other(event) => *event,
    })
}

impl From<&ImageProbe> for ImageProbeView {
    fn from(probe: &ImageProbe) -> Self {
        let answer =
            probe.answers.first().map(|ProbeAnswer::Http { status, latency_ms }| (*status, *latency_ms));
        Self {
            image: probe.image.clone(),
            outcome: probe.outcome,
            status: answer.map(|(status, _)| status),
            latency_ms: answer.map(|(_, latency_ms)| latency_ms),
            message: probe.message.clone(),
            differing: probe.differing.clone(),
        }
    }
}

impl From<ImageProbeView> for ImageProbe {
    fn from(view: ImageProbeView) -> Self {
        let answer = view.status.zip(view.latency_ms);
        Self {
            image: view.image,
            outcome: view.outcome,
            answers: answer
                .map(|(status, latency_ms)| ProbeAnswer::Http { status, latency_ms })
                .into_iter()
                .collect(),
            message: view.message,
            differing: view.differing,
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::testing::one_of_each;
    use event_store::Position;

    use crate::view::TimelineEntry;

    #[test]
    fn every_event_is_read_back_from_a_timeline() {
        for event in one_of_each() {
            let at = "2016-03-21T12:00:00Z".parse().unwrap();
            let entry = TimelineEntry { at, position: Position(7), event };
            let json = serde_json::to_value(&entry).unwrap();
            assert_eq!(serde_json::from_value::<TimelineEntry>(json).unwrap(), entry);
            let bson = mongodb::bson::to_document(&entry).unwrap();
            assert_eq!(mongodb::bson::from_document::<TimelineEntry>(bson).unwrap(), entry);
        }
    }

    #[test]
    fn a_probed_image_shows_status_and_latency_as_it_always_did() {
        let probed = domain::testing::probed_right(1);
        let at = "2016-03-21T12:00:00Z".parse().unwrap();
        let entry =
            serde_json::to_string(&TimelineEntry { at, position: Position(7), event: probed }).unwrap();
        assert_eq!(
            entry,
            r#"{"at":"2016-03-21T12:00:00Z","position":7,"type":"Probed","data":{"attempt":1,"images":[{"image":"docker.io/ada/voting:latest","outcome":"matched","status":200,"latency_ms":2,"message":null,"differing":[]}]}}"#
        );
    }
}
