//! Events and steps as lines for people.

use std::time::Duration;

use domain::Event;
use domain::submission::{ImageProbe, ProbeAnswer, ProbeOutcome, Reason};
use projections::view::{QueuePlace, SubmissionStatus};

use crate::cli::client::StatusReply;
use crate::cli::terminal::printable;

/// Returns the lines that describe an event.
pub(in crate::cli) fn lines_of_event(event: &Event) -> Vec<String> {
    match event {
        Event::Submitted(submitted) => {
            let images: Vec<_> = submitted.images.iter().map(|image| image.familiar()).collect();
            let place = &submitted.location.place;
            vec![format!(
                "submitted {} by {} in {}, {}",
                images.join(" and "),
                printable(&submitted.participant.name),
                place.city,
                place.country
            )]
        }
        Event::VerificationStarted(started) => {
            vec![format!("verifying, attempt {} by {}", started.attempt, printable(&started.verifier))]
        }
        Event::ImagesPulled(pulled) => pulled
            .images
            .iter()
            .map(|image| {
                let (name, node) = (image.image.familiar(), printable(&image.node));
                format!("pulled {name} to {node}: {} in {}", size(image.size_bytes), duration(image.took_ms))
            })
            .collect(),
        Event::ContainersStarted(started) => started
            .images
            .iter()
            .map(|image| {
                let (name, node) = (image.image.familiar(), printable(&image.node));
                format!("running {name} on {node} after {}", duration(image.took_ms))
            })
            .collect(),
        Event::Probed(probed) => probed.images.iter().flat_map(lines_of_probe).collect(),
        Event::Passed(_) => vec!["passed".to_owned()],
        Event::Failed(failed) => {
            let reasons = failed.reasons.iter().flat_map(lines_of_reason);
            std::iter::once("failed".to_owned()).chain(reasons).collect()
        }
        Event::VerificationInterrupted(interrupted) => {
            let again = match interrupted.retry_at {
                Some(moment) => format!("the next attempt is at {moment:.0}"),
                None => "the next attempt is when the platform works again".to_owned(),
            };
            vec![format!(
                "interrupted, not your fault: {} ({}) {again}",
                interrupted.code.explanation(),
                printable(&interrupted.message)
            )]
        }
        Event::RejudgeRequested(request) => {
            vec![format!(
                "rejudge requested by {}: {}",
                printable(&request.act.by),
                printable(&request.act.why)
            )]
        }
        Event::Hidden(hidden) if hidden.held => {
            vec![format!("held for an organiser's look: {}", printable(&hidden.act.why))]
        }
        Event::Hidden(hidden) => {
            vec![format!(
                "hidden from the map by {}: {}",
                printable(&hidden.act.by),
                printable(&hidden.act.why)
            )]
        }
        Event::NameCorrected(corrected) => {
            let by = printable(&corrected.act.by);
            vec![format!("name corrected by {by}: {}", printable(&corrected.name))]
        }
        Event::Shown(shown) => {
            vec![format!("shown again by {}: {}", printable(&shown.act.by), printable(&shown.act.why))]
        }
        Event::Withdrawn(_) => vec!["withdrawn by the participant".to_owned()],
        Event::GivenUp(given_up) => vec![
            format!(
                "given up after {} attempts, not your fault: {} ({})",
                given_up.interruptions,
                given_up.code.explanation(),
                printable(&given_up.message)
            ),
            "  We could not run it. You may submit again, and the organisers can ask for another attempt."
                .to_owned(),
        ],
    }
}

/// Returns the step under way, or `None` if there is a verdict or will be none.
pub(super) fn current_step(reply: &StatusReply) -> Option<String> {
    match reply.view.status {
        SubmissionStatus::Submitted => Some(text_of_waiting(reply)),
        SubmissionStatus::Verifying => Some(text_of_step(reply).to_owned()),
        SubmissionStatus::Passed
        | SubmissionStatus::Failed
        | SubmissionStatus::Withdrawn
        | SubmissionStatus::GivenUp => None,
    }
}

fn text_of_waiting(reply: &StatusReply) -> String {
    if let Some(fetch) = &reply.fetch {
        return printable(&fetch.message);
    }
    let why =
        reply.view.waiting.as_ref().map(|waiting| waiting.message.as_str()).filter(|why| !why.is_empty());
    match (&reply.queue, why) {
        (Some(place), Some(why)) => format!("{}: {}", text_of_place(place), printable(why)),
        (Some(place), None) => text_of_place(place),
        (None, Some(why)) => printable(why),
        (None, None) => "queued".to_owned(),
    }
}

fn text_of_place(place: &QueuePlace) -> String {
    let wait = place.expected_wait_s.map(|seconds| format!(", about {seconds} s")).unwrap_or_default();
    format!("queued at position {} of {}{wait}", place.position, place.of)
}

fn text_of_step(reply: &StatusReply) -> &'static str {
    // The acts of organisers are no steps.
    let is_step =
        |event: &&Event| !matches!(event, Event::Hidden(_) | Event::Shown(_) | Event::NameCorrected(_));
    let mut newest = reply.view.timeline.iter().rev().map(|entry| &entry.event).filter(is_step);
    match (newest.next(), newest.next()) {
        (Some(Event::ContainersStarted(_)), Some(Event::ContainersStarted(_))) => {
            "probing once more before a failure counts"
        }
        (Some(Event::ContainersStarted(_)), _) => "probing",
        (Some(Event::ImagesPulled(_)), _) => "starting",
        _ => "pulling",
    }
}

fn lines_of_probe(probe: &ImageProbe) -> Vec<String> {
    let name = probe.image.familiar();
    let answer = match probe.answers.first() {
        Some(ProbeAnswer::Http { status, latency_ms }) => format!("{status} in {}, ", duration(*latency_ms)),
        None => String::new(),
    };
    let outcome = match (probe.outcome, &probe.message) {
        (ProbeOutcome::Matched, _) => "as submitted".to_owned(),
        // The verdict shows the rest.
        (ProbeOutcome::Failed(_), Some(message)) => printable(message.lines().next().unwrap_or_default()),
        (ProbeOutcome::Failed(code), None) => code.as_str().to_owned(),
    };
    let differing = probe.differing.iter().map(|field| {
        let returned = field.returned.as_deref().map_or("nothing".to_owned(), |text| format!("{text:?}"));
        format!("  {} must be {:?}, but is {}", printable(&field.field), field.expected, printable(&returned))
    });
    std::iter::once(format!("asked {name}: {answer}{outcome}")).chain(differing).collect()
}

fn lines_of_reason(reason: &Reason) -> Vec<String> {
    let image = reason.image.as_ref().map(|image| format!("{}: ", image.familiar())).unwrap_or_default();
    let mut message = reason.message.lines();
    let first = message.next().unwrap_or_default();
    let mut lines = vec![format!("  {image}{} ({})", printable(first), reason.code.as_str())];
    lines.extend(message.map(|line| format!("    | {}", printable(line))));
    lines.push(format!("    {}", reason.code.advice()));
    lines
}

fn duration(ms: u64) -> String {
    let duration = Duration::from_millis(ms);
    if ms < 1000 { format!("{ms} ms") } else { format!("{:.1} s", duration.as_secs_f64()) }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1000)),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000),
    }
}
