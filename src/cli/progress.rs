//! The progress of a submission as lines: one for each event, when it happens. On a terminal, one more line at the end
//! says which step is under way.

mod event_text;

pub(super) use self::event_text::lines_of_event;

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use domain::SubmissionId;
use projections::view::SubmissionStatus;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Exit;
use super::client::{MusterClient, StatusReply};

/// The time that the server may wait for the next event of a submission under way.
const EVENT_WAIT: Duration = Duration::from_secs(30);

/// The same for a queued submission. Its place in the queue changes without an event.
const QUEUE_WAIT: Duration = Duration::from_secs(2);

/// The period at which the last line is written again.
const TICK: Duration = Duration::from_millis(500);

/// Shows the progress of a submission until there is a verdict, or until it is given up.
pub(super) async fn follow(client: &MusterClient, id: SubmissionId) -> Exit {
    let mut screen = ProgressScreen::new(io::stdout(), io::stdout().is_terminal());
    screen.line(&format!("submission {id}, {}", client.page(id)));
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = None;
    loop {
        let next = client.status_patiently(id, known);
        tokio::pin!(next);
        let reply = loop {
            tokio::select! {
                answer = &mut next => break answer,
                _ = ticks.tick() => screen.tick(),
            }
        };
        let reply = match reply {
            Ok(reply) => reply,
            Err(error) => {
                screen.clear();
                return error.fail();
            }
        };
        screen.show(&reply);
        let wait = if reply.view.status == SubmissionStatus::Submitted { QUEUE_WAIT } else { EVENT_WAIT };
        known = Some((reply.view.revision, wait));
        if !matches!(reply.view.status, SubmissionStatus::Submitted | SubmissionStatus::Verifying) {
            return exit(reply.view.status);
        }
    }
}

/// Prints the status of a submission once.
pub(super) fn print(reply: &StatusReply) -> Exit {
    let mut screen = ProgressScreen::new(io::stdout(), false);
    screen.show(reply);
    exit(reply.view.status)
}

fn exit(status: SubmissionStatus) -> Exit {
    match status {
        SubmissionStatus::Passed => Exit::Success,
        SubmissionStatus::Failed | SubmissionStatus::Withdrawn => Exit::Failed,
        SubmissionStatus::Submitted | SubmissionStatus::Verifying | SubmissionStatus::GivenUp => {
            Exit::Undecided
        }
    }
}

/// The lines written so far, so that none is written twice.
struct ProgressScreen<W> {
    out: W,
    is_terminal: bool,
    /// The number of events already shown.
    shown: u64,
    /// The step under way, and its start.
    now: Option<(String, Instant)>,
}

impl<W: Write> ProgressScreen<W> {
    fn new(out: W, is_terminal: bool) -> Self {
        Self { out, is_terminal, shown: 0, now: None }
    }

    fn show(&mut self, reply: &StatusReply) {
        let timeline = &reply.view.timeline;
        let events = timeline.len() as u64 + reply.view.timeline_omitted;
        // The newest events are at the end, also of a timeline that leaves some out.
        let new = usize::try_from(events.saturating_sub(self.shown)).unwrap_or(usize::MAX);
        for entry in &timeline[timeline.len().saturating_sub(new)..] {
            for line in event_text::lines_of_event(&entry.event) {
                self.line(&line);
            }
        }
        self.shown = self.shown.max(events);
        let now = event_text::current_step(reply);
        if self.now.as_ref().map(|(before, _)| before) != now.as_ref() {
            if let (Some(now), false) = (&now, self.is_terminal) {
                self.line(now);
            }
            self.now = now.map(|now| (now, Instant::now()));
        }
        self.tick();
    }

    /// Writes a line that stays. If the reader of the output went away, the command still waits for the verdict, because
    /// the exit code says it too.
    fn line(&mut self, text: &str) {
        self.clear();
        let _ = writeln!(self.out, "{text}");
    }

    /// Writes the last line again. The terminal cuts it at its edge, because a wrapped line could not be removed.
    fn tick(&mut self) {
        if let (Some((now, since)), true) = (&self.now, self.is_terminal) {
            let seconds = since.elapsed().as_secs();
            let _ = write!(self.out, "\r\x1b[K\x1b[?7l{seconds} s … {now}\x1b[?7h");
            let _ = self.out.flush();
        }
    }

    /// Removes the last line.
    fn clear(&mut self) {
        if self.is_terminal {
            let _ = write!(self.out, "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(change: impl FnOnce(&mut serde_json::Value)) -> StatusReply {
        let mut json = serde_json::json!({
            "id": "3f0e6c1e-6a43-4b55-9a4e-0d0c6c1f9b11", "status": "submitted", "waiting": null,
            "name": "Ada Lovelace", "twitter": null,
            "location": {"typed": "London", "city": "London", "country": "GB", "lat": 51.5, "lon": -0.1},
            "images": ["docker.io/ada/app:latest"], "answers": {}, "owner": "docker.io/ada",
            "challenge": "c", "attempts": 0, "reasons": [],
            "timeline": [],
            "submitted_at": "2016-03-21T12:00:00Z", "judged_at": null, "revision": 0, "position": 1,
            "queue": {"position": 3, "of": 7, "expected_wait_s": 12},
        });
        change(&mut json);
        serde_json::from_value(json).unwrap()
    }

    fn entry(kind: &str, data: serde_json::Value) -> serde_json::Value {
        serde_json::json!({"at": "2016-03-21T12:00:00Z", "position": 1, "type": kind, "data": data})
    }

    fn written(is_terminal: bool, replies: &[StatusReply]) -> String {
        let mut screen = ProgressScreen::new(Vec::new(), is_terminal);
        replies.iter().for_each(|reply| screen.show(reply));
        String::from_utf8(screen.out).unwrap()
    }

    #[test]
    fn a_pipe_gets_one_line_for_each_change() {
        let waits = reply(|_| {});
        let moved = reply(|json| json["queue"]["position"] = 1.into());
        let failed = reply(|json| {
            json["status"] = "failed".into();
            json["queue"] = serde_json::Value::Null;
            let reason = serde_json::json!({
                "code": "image_not_found", "image": "docker.io/ada/app:latest",
                "message": "docker.io has no \u{1b}[31mada/app\n  its name\rended", "fault": "participant",
            });
            json["timeline"] =
                serde_json::json!([entry("Failed", serde_json::json!({"attempt": 1, "reasons": [reason]}))]);
        });
        let text = written(false, &[waits.clone(), waits, moved, failed.clone(), failed]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "queued at position 3 of 7, about 12 s",
                "queued at position 1 of 7, about 12 s",
                "failed",
                "  ada/app: docker.io has no \\u{1b}[31mada/app (image_not_found)",
                "    |   its name\\u{d}ended",
                "    Check the spelling, push the image, and submit again.",
            ]
        );
    }

    #[test]
    fn an_image_on_its_way_is_more_than_a_place_in_the_queue() {
        let fetching = |message: &str| reply(|json| json["fetch"] = serde_json::json!({"message": message}));
        let text = written(false, &[reply(|_| {}), fetching("3 of 9 MiB"), fetching("4 of 9\u{1b} MiB")]);
        assert_eq!(
            text.lines().collect::<Vec<_>>(),
            ["queued at position 3 of 7, about 12 s", "3 of 9 MiB", "4 of 9\\u{1b} MiB"]
        );
    }

    #[test]
    fn a_second_run_says_why_it_takes_longer() {
        let running = |starts| {
            reply(|json| {
                json["status"] = "verifying".into();
                json["queue"] = serde_json::Value::Null;
                let data = serde_json::json!({"attempt": 1, "images": []});
                json["timeline"] = vec![entry("ContainersStarted", data); starts].into();
            })
        };
        let text = written(false, &[running(1), running(2)]);
        assert_eq!(
            text.lines().collect::<Vec<_>>(),
            ["probing", "probing once more before a failure counts"]
        );
    }

    #[test]
    fn a_terminal_shows_the_current_step_in_a_line_that_is_removed() {
        let text = written(
            true,
            &[
                reply(|_| {}),
                reply(|json| {
                    json["status"] = "passed".into();
                    json["queue"] = serde_json::Value::Null;
                    json["timeline"] =
                        serde_json::json!([entry("Passed", serde_json::json!({"attempt": 1}))]);
                }),
            ],
        );
        assert_eq!(
            text,
            "\r\x1b[K\x1b[?7l0 s … queued at position 3 of 7, about 12 s\x1b[?7h\r\x1b[Kpassed\n"
        );
    }
}
