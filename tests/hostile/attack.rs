//! An attack: the submission, and the verdict that it must get.

use std::time::Duration;

use serde_json::{Value, json};
use testbed::{App, Misdeed};

/// A hostile submission. Its name is also its owner's.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) app: App,
    /// The behaviour of the registry.
    pub(crate) misdeed: Option<Misdeed>,
    pub(crate) deserves: Deserves,
}

/// The end that an attack must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deserves {
    /// The attack passes: it does as the challenge asks, and its attack has no effect.
    Pass,
    /// The attack fails with this code, and its message contains this text.
    Fail(&'static str, &'static str),
    /// The attack fails with one of these codes, and its message contains the code's text. Which one it is depends on how
    /// fast the machine is.
    FailEither([(&'static str, &'static str); 2]),
    /// The fault is not the participant's: it is interrupted with this code, and passes as soon as the
    /// registry behaves.
    Wait(&'static str),
    /// The attack is not accepted, and the message contains this text.
    Refusal(&'static str),
}

/// The end that an attack had.
pub(crate) struct Ended {
    pub(crate) name: String,
    pub(crate) deserved: Deserves,
    /// The last status, or the problem document of a refusal.
    pub(crate) status: Value,
    pub(crate) took: Duration,
    /// The differences from the expected end.
    pub(crate) wrong: Option<String>,
}

impl Attack {
    pub(crate) fn new(name: &'static str, app: App, deserves: Deserves) -> Self {
        Self { name, app, misdeed: None, deserves }
    }

    /// Makes an attack whose image runs in this mode.
    pub(crate) fn playing(name: &'static str, mode: &[&str], deserves: Deserves) -> Self {
        Self::new(name, App::playing(mode, &Value::Null), deserves)
    }

    /// Makes an attack with an honest app's image, from a registry with this misdeed.
    pub(crate) fn through(name: &'static str, misdeed: Misdeed, deserves: Deserves) -> Self {
        Self { misdeed: Some(misdeed), ..Self::playing(name, &["good"], deserves) }
    }
}

/// Returns the entry of an owner, with this image.
pub(crate) fn submission(owner: &str, image: &str) -> Value {
    json!({
        "name": format!("Participant {owner}"),
        "twitter": "@participant",
        "location": "Zürich",
        "images": [image],
        "vote": "Rust",
    })
}

/// Returns the answer of an honest app for the entry.
pub(crate) fn answer(submission: &Value) -> Value {
    let mut answer = submission.clone();
    answer["repo"] = answer["images"].take();
    answer
}

/// Compares the end of an attack with the expected one, and describes the difference.
pub(crate) fn wrong(deserved: Deserves, status: &Value) -> Option<String> {
    let reason = &status["reasons"][0];
    let told = |code: &str, text: &str| {
        reason["code"] == code
            && reason["fault"] == "participant"
            && status.to_string().to_lowercase().contains(&text.to_lowercase())
            && reason["advice"].as_str().is_some_and(|advice| !advice.is_empty())
    };
    let interruptions = entries(status, "VerificationInterrupted");
    let verdicts = entries(status, "Passed").len() + entries(status, "Failed").len();
    let fine = match deserved {
        Deserves::Pass => status["status"] == "passed",
        Deserves::Fail(code, text) => status["status"] == "failed" && told(code, text),
        Deserves::FailEither(ways) => {
            status["status"] == "failed" && ways.iter().any(|(code, text)| told(code, text))
        }
        Deserves::Wait(code) => {
            status["status"] == "passed" && interruptions.iter().any(|entry| entry["data"]["code"] == code)
        }
        Deserves::Refusal(_) => false,
    };
    let deadline =
        entries(status, "VerificationStarted").last().map(|entry| entry["data"]["deadline"].as_str());
    // Both moments are in UTC and have the same format, so the texts sort like the moments.
    let in_time = deadline.flatten() > status["judged_at"].as_str();
    (!fine || !in_time || verdicts != 1)
        .then(|| format!("{} with {verdicts} verdicts: {status:#}", status["status"]))
}

/// Returns the timeline's entries of one type.
pub(crate) fn entries<'a>(status: &'a Value, kind: &str) -> Vec<&'a Value> {
    status["timeline"].as_array().into_iter().flatten().filter(|entry| entry["type"] == kind).collect()
}
