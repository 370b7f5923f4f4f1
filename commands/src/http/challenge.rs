//! `GET /api/v1/challenge`: the rules that a submission form needs, and any rules that were ever in force.

use std::sync::Arc;

use axum::{Json, extract::State};
use domain::Challenge;
use domain::challenge::{
    ANSWER_CHARS_MAX, ChallengePublished, HttpProbeRules, LOCATION_CHARS_MAX, NameRules, PlacedVenue,
    ProbeRules, RequiredImages, TWITTER_LETTERS,
};
use domain::submission::ChallengeId;
use http_edge::{Problem, QueryParameters};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::WriteApi;
use crate::{CommandError, RecordedRules};

/// The part of the challenge that a participant needs.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ChallengeDescription {
    /// The id of the challenge.
    id: String,
    /// The title to show to people.
    title: String,
    /// The moment from which submissions are taken; `null` means at once.
    #[schema(required)]
    opens: Option<Timestamp>,
    /// The moment from which no more submissions are taken; `null` means never. Submissions that wait then are judged.
    #[schema(required)]
    closes: Option<Timestamp>,
    /// The phase at present, by the server's clock: `before`, `open` or `after`.
    phase: &'static str,
    /// The digest of the rules that decide verdicts. Each submission and each verdict names one.
    rules: String,
    /// The rules of the fields that every submission has.
    fields: FieldRules,
    /// The rules of the images.
    images: ImagesDescription,
    /// The further fields that this challenge asks for.
    answers: Vec<AnswerDescription>,
    /// The request that Muster sends to an app.
    probe: ProbeDescription,
    /// The sandbox that an app runs in.
    sandbox: SandboxDescription,
    /// The rooms of the event. A submission names its own by `venue`, `venue_code`, or the client's network.
    venues: Vec<VenueDescription>,
}

/// A room of the event.
#[derive(Debug, Serialize, ToSchema)]
struct VenueDescription {
    /// The short name, by which submissions and links name the venue.
    name: String,
    /// The title to show to people.
    title: String,
    /// The city and its country.
    location: String,
    /// The position of the city.
    position: VenuePosition,
}

/// A position on the map.
#[derive(Debug, Serialize, ToSchema)]
struct VenuePosition {
    /// The latitude in degrees north.
    lat: f64,
    /// The longitude in degrees east.
    lon: f64,
}

/// Rules that were in force at some time, as the log has them.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PublishedChallenge {
    /// The id of the challenge that first had the rules.
    id: String,
    /// The digest of the rules, with which submissions, rejudges and verdicts name them: the SHA-256 of the text.
    rules: String,
    /// The time at which the rules were published.
    published_at: Timestamp,
    /// What decides verdicts, as JSON with every default written out.
    text: String,
}

/// The challenge in force, or published rules.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum ChallengeReply {
    InForce(Box<ChallengeDescription>),
    Published(PublishedChallenge),
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ChallengeQuery {
    /// The digest of rules that a submission, a rejudge or a verdict names. Without it, the challenge in force is described.
    digest: Option<String>,
}

/// The rules of the fields that every submission has. Surrounding spaces do not count.
#[derive(Debug, Serialize, ToSchema)]
struct FieldRules {
    /// The length of the participant's name. It also has a character that can be seen, and none that is hidden.
    name: NameLength,
    /// The form of the Twitter account.
    twitter: TextPattern,
    /// The length of the location's text.
    location: TextLength,
    /// The length of each further answer, if it is given.
    answer: TextLength,
}

/// The length of a name, in characters as people count them: Unicode's extended grapheme clusters.
#[derive(Debug, Serialize, ToSchema)]
struct NameLength {
    /// The smallest number of characters.
    min_chars: usize,
    /// The largest number of characters.
    max_chars: usize,
}

/// The length of a text, in Unicode characters.
#[derive(Debug, Serialize, ToSchema)]
struct TextLength {
    /// The smallest number of characters.
    min_chars: usize,
    /// The largest number of characters.
    max_chars: usize,
}

/// The form of a text.
#[derive(Debug, Serialize, ToSchema)]
struct TextPattern {
    /// A regular expression that the whole text matches, in the syntax of JavaScript.
    pattern: String,
}

/// The rules of the images.
#[derive(Debug, Serialize, ToSchema)]
struct ImagesDescription {
    /// The smallest number of images.
    min: usize,
    /// The largest number of images.
    max: usize,
    /// The registries that images may come from.
    registries: Vec<String>,
    /// How many of the images must answer the probe rightly: `any` or `all`.
    #[schema(value_type = String)]
    answering: RequiredImages,
    /// The largest compressed size of one image, in MiB.
    size_max_mib: u64,
}

/// A further field that this challenge asks for.
#[derive(Debug, Serialize, ToSchema)]
struct AnswerDescription {
    /// The name of the field in a submission.
    field: String,
    /// The name to show to people.
    label: String,
    /// True if a submission must have the field.
    required: bool,
    /// The possible answers; empty if any text is accepted.
    choices: Vec<String>,
}

/// The request that Muster sends to an app.
#[derive(Debug, Serialize, ToSchema)]
struct ProbeDescription {
    /// The port that the app must listen on.
    port: u16,
    /// The path of the request.
    path: String,
    /// The fields of the response that must equal those of the submission.
    compare: Vec<String>,
}

/// The sandbox that an app runs in.
#[derive(Debug, Serialize, ToSchema)]
struct SandboxDescription {
    /// The memory of one app, in MiB. Files that the app writes count as its memory, too.
    memory_mib: u64,
    /// The processors of one app; 0.5 is half of one.
    processors: f64,
    /// The largest number of processes and threads of one app.
    processes: u64,
    /// The time from an app's start until its answer counts, in seconds.
    start_s: u64,
    /// The time for one answer, in seconds.
    answer_s: u64,
    /// The lowest grade of sandbox that an app may get: `writable`, `read_only` or `bare`. An app that fails in a lower
    /// grade is tried in a higher one, if there is one.
    grade: &'static str,
    /// The directories that an app may write to, beside its volumes; `null` if it may write everywhere.
    #[schema(required)]
    writable: Option<Vec<String>>,
    /// The command that runs an image, here `IMAGE`, with the same limits. The app then answers on port 8000.
    docker_run: String,
}

impl SandboxDescription {
    fn new(challenge: &Challenge) -> Self {
        let limits = &challenge.limits;
        let grade = challenge.lowest_grade();
        Self {
            memory_mib: limits.memory_mib,
            processors: limits.cpus,
            processes: limits.pids,
            start_s: limits.start_s,
            answer_s: limits.answer_s,
            grade: grade.as_str(),
            writable: challenge.places_in_memory(grade),
            docker_run: challenge.docker_run(grade, "IMAGE"),
        }
    }
}

/// Describes the challenge: the images that it accepts and the fields that it asks for. Or returns the rules with a digest.
#[utoipa::path(
    get,
    path = "/api/v1/challenge",
    tag = "submissions",
    params(ChallengeQuery),
    responses(
        (status = 200, description = "The challenge in force, or the rules with the digest.", body = ChallengeReply),
        (status = 400, description = "The query string or the digest is malformed.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No rules with this digest were ever published.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests; see Retry-After.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The event log cannot be read, or a newer version published the rules; see Retry-After.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn challenge(
    State(api): State<Arc<WriteApi>>,
    QueryParameters(query): QueryParameters<ChallengeQuery>,
) -> Result<Json<ChallengeReply>, Problem> {
    Ok(Json(match query.digest {
        None => ChallengeReply::InForce(Box::new(describe(api.commands.challenge(), &api.venues))),
        Some(digest) => ChallengeReply::Published(published(&api, &digest).await?),
    }))
}

/// Returns the rules with this digest.
///
/// # Errors
/// 400 if it is not a digest, 404 if the log does not have its rules, 503 if they cannot be read.
async fn published(api: &WriteApi, digest: &str) -> Result<PublishedChallenge, Problem> {
    if ChallengePublished::stream(digest).is_none() {
        return Err(Problem::parameter(
            "digest",
            "A digest is sha256: and 64 hexadecimal digits in lower case.",
        ));
    }
    match api.commands.recorded_rules(digest).await {
        Ok(Some(RecordedRules { published: ChallengePublished { challenge, text }, recorded_at })) => {
            let ChallengeId { id, rules } = challenge;
            Ok(PublishedChallenge { id, rules, published_at: recorded_at, text })
        }
        Ok(None) => Err(Problem::not_found("No rules with this digest were published.")),
        Err(CommandError::UnknownRules(reason)) => {
            tracing::warn!(%reason, "published rules cannot be read");
            Err(Problem::unavailable("This version of Muster cannot read these rules."))
        }
        Err(error) => Err(error.into()),
    }
}

fn describe(challenge: &Challenge, venues: &[PlacedVenue]) -> ChallengeDescription {
    let ProbeRules::Http(HttpProbeRules { port, path, compare, .. }) = challenge.probe.clone();
    let answers = challenge.answers.iter().map(|(field, rule)| AnswerDescription {
        field: field.clone(),
        label: rule.label.clone().unwrap_or_else(|| field.clone()),
        required: rule.required,
        choices: rule.one_of.clone(),
    });
    ChallengeDescription {
        id: challenge.id.clone(),
        title: challenge.title.clone(),
        opens: challenge.opens,
        closes: challenge.closes,
        phase: challenge.phase(Timestamp::now()).as_str(),
        rules: challenge.digest(),
        fields: FieldRules::new(&challenge.name),
        images: ImagesDescription {
            min: challenge.images.min,
            max: challenge.images.max,
            registries: challenge.images.registries.clone(),
            answering: challenge.images.answering,
            size_max_mib: challenge.limits.image_mib,
        },
        answers: answers.collect(),
        probe: ProbeDescription { port, path, compare },
        sandbox: SandboxDescription::new(challenge),
        venues: venues.iter().map(VenueDescription::new).collect(),
    }
}

impl VenueDescription {
    fn new(venue: &PlacedVenue) -> Self {
        let place = &venue.location.place;
        Self {
            name: venue.name.clone(),
            title: venue.title.clone(),
            location: venue.location.typed.clone(),
            position: VenuePosition { lat: place.lat, lon: place.lon },
        }
    }
}

impl FieldRules {
    fn new(name: &NameRules) -> Self {
        let (fewest, most) = (TWITTER_LETTERS.start(), TWITTER_LETTERS.end());
        Self {
            name: NameLength { min_chars: name.min_chars, max_chars: name.max_chars },
            twitter: TextPattern { pattern: format!("^@[A-Za-z0-9_]{{{fewest},{most}}}$") },
            location: TextLength { min_chars: 1, max_chars: LOCATION_CHARS_MAX },
            answer: TextLength { min_chars: 1, max_chars: ANSWER_CHARS_MAX },
        }
    }
}
