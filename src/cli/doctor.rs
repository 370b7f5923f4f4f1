//! `muster doctor`: what is missing here, and the line that gets it.

mod daemon;
mod engine;
mod nodes;
mod place;
mod registry;

use std::fmt;

use super::{Exit, fail_with};
use crate::config::{AllOptions, Settings};

/// Says what is missing here for `muster up` and on the nodes, and how to get it.
///
/// Exit codes: 0 nothing is missing, 1 something is, 2 a setting is wrong.
#[derive(Debug, clap::Args)]
pub(super) struct DoctorCommand {
    #[command(flatten)]
    options: AllOptions,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct DoctorFinding {
    state: FindingState,
    /// What was looked at, and what was seen.
    what: String,
    /// What mends it: a command, or a sentence.
    cure: Option<String>,
}

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FindingState {
    Ok,
    /// It works, but not as well as it could.
    Warn,
    /// Without it nothing is verified, or nothing starts.
    Missing,
    /// It cannot be seen from here; somebody has to look.
    Unseen,
}

impl DoctorCommand {
    pub(super) async fn run(self) -> Exit {
        let settings = match Settings::read(&self.options) {
            Ok(settings) => settings,
            Err(why) => return fail_with(why, Exit::Refused),
        };
        let mut findings = vec![DoctorFinding::ok(format!("challenge: {}", settings.challenge.title))];
        findings.extend(place::examine(&settings));
        findings.push(place::port(settings.api()).await);
        for endpoint in &settings.swarm {
            findings.extend(engine::examine(endpoint, settings.swarm_certificates.as_deref()).await);
        }
        findings.extend(nodes::examine(&settings).await);
        for registry in &settings.challenge.images.registries {
            findings.push(registry::examine(registry, &settings.insecure_registries).await);
        }
        findings.iter().for_each(|finding| println!("{finding}"));
        let missing = findings.iter().filter(|finding| finding.state == FindingState::Missing).count();
        match missing {
            0 => Exit::Success,
            missing => fail_with(format_args!("{missing} missing"), Exit::Failed),
        }
    }
}

impl DoctorFinding {
    fn ok(what: impl Into<String>) -> Self {
        Self { state: FindingState::Ok, what: what.into(), cure: None }
    }

    fn warn(what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { state: FindingState::Warn, what: what.into(), cure: Some(cure.into()) }
    }

    fn missing(what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { state: FindingState::Missing, what: what.into(), cure: Some(cure.into()) }
    }

    fn unseen(what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { state: FindingState::Unseen, what: what.into(), cure: Some(cure.into()) }
    }
}

impl fmt::Display for DoctorFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            FindingState::Ok => "ok",
            FindingState::Warn => "warn",
            FindingState::Missing => "missing",
            FindingState::Unseen => "unseen",
        };
        write!(f, "{state:<8}{}", self.what)?;
        match &self.cure {
            Some(cure) => write!(f, "\n        -> {cure}"),
            None => Ok(()),
        }
    }
}
