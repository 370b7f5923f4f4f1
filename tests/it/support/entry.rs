//! A participant of a test: an image with some behaviour, and the expected verdict.

use std::time::Duration;

use serde_json::{Value, json};
use testbed::{App, Registry};

/// Returns a submission that is accepted, and whose image never runs.
pub(crate) fn ada() -> Value {
    json!({
        "name": "Ada Lovelace",
        "twitter": "@ada",
        "location": "London, UK",
        "images": ["registry.test:5000/ada/app"],
        "vote": "Rust",
    })
}

/// The ways in which a participant's image behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Good,
    AnswersAfterThreeSeconds,
    OneImageMissingTheOtherGood,
    Missing,
    WrongInOneField,
    NeverListens,
    ExitsAtOnce,
    HangsAfterAccept,
    NotJson,
    ServerError,
    Redirects,
    NeedsACapability,
}

impl Kind {
    pub(crate) const ALL: [Self; 12] = [
        Self::Good,
        Self::AnswersAfterThreeSeconds,
        Self::OneImageMissingTheOtherGood,
        Self::Missing,
        Self::WrongInOneField,
        Self::NeverListens,
        Self::ExitsAtOnce,
        Self::HangsAfterAccept,
        Self::NotJson,
        Self::ServerError,
        Self::Redirects,
        Self::NeedsACapability,
    ];

    /// Returns the expected status, the code of the first reason, and a part of the reason's message.
    pub(crate) fn deserves(self) -> (&'static str, Option<&'static str>, &'static str) {
        match self {
            Self::Good | Self::AnswersAfterThreeSeconds | Self::OneImageMissingTheOtherGood => {
                ("passed", None, "")
            }
            Self::Missing => ("failed", Some("image_not_found"), "missing"),
            Self::WrongInOneField => ("failed", Some("mismatch"), "vote"),
            Self::NeverListens => ("failed", Some("nothing_on_port"), "80"),
            Self::ExitsAtOnce => ("failed", Some("exited_early"), "no database"),
            Self::HangsAfterAccept => ("failed", Some("timed_out"), ""),
            Self::NotJson => ("failed", Some("not_json"), "It works!"),
            Self::ServerError => ("failed", Some("bad_status"), "500"),
            Self::Redirects => ("failed", Some("redirected"), "169.254.169.254"),
            Self::NeedsACapability => ("failed", Some("exited_early"), "CAP_SYS_CHROOT"),
        }
    }
}

/// A submission and its kind, from which the expected verdict follows.
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    pub(crate) body: Value,
}

impl Entry {
    /// Pushes the images of an owner, and creates the owner's submission.
    pub(crate) async fn prepare(registry: &Registry, owner: &str, kind: Kind) -> Self {
        let image = format!("{}/{owner}/app:latest", registry.address());
        let missing = format!("{}/{owner}/missing:latest", registry.address());
        let images = match kind {
            Kind::OneImageMissingTheOtherGood => vec![missing, image.clone()],
            Kind::Missing => vec![missing],
            _ => vec![image.clone()],
        };
        let body = json!({
            "name": format!("Participant {owner}"),
            "twitter": format!("@{owner}"),
            "location": "Zürich",
            "images": images,
            "vote": "Rust",
        });
        let mut config = body.clone();
        config["repo"] = config["images"].take();
        let app = match kind {
            Kind::Good | Kind::OneImageMissingTheOtherGood => Some(App::good(&config)),
            Kind::AnswersAfterThreeSeconds => Some(App::slow(&config, Duration::from_secs(3))),
            Kind::Missing => None,
            Kind::WrongInOneField => Some(App::wrong(&config, "vote")),
            Kind::NeverListens => Some(App::playing(&["silent"], &config)),
            Kind::ExitsAtOnce => Some(App::exits(3, "no database")),
            Kind::HangsAfterAccept => Some(App::playing(&["hang"], &config)),
            Kind::NotJson => Some(App::playing(&["not-json"], &config)),
            Kind::ServerError => Some(App::playing(&["status", "500"], &config)),
            Kind::Redirects => Some(App::redirects("http://169.254.169.254/latest/meta-data")),
            Kind::NeedsACapability => Some(App::playing(&["needs-capability"], &config)),
        };
        if let Some(app) = app {
            registry.push(&format!("{owner}/app:latest"), &app).await.unwrap();
        }
        Self { kind, body }
    }

    /// Prepares twenty entries of different owners, with every kind among them.
    pub(crate) async fn twenty(registry: &Registry) -> Vec<Self> {
        let mut entries = Vec::new();
        for n in 0..20 {
            let kind = *Kind::ALL.get(n).unwrap_or(&Kind::Good);
            entries.push(Self::prepare(registry, &format!("owner{n}"), kind).await);
        }
        entries
    }

    #[track_caller]
    pub(crate) fn assert_deserved(&self, status: &Value) {
        let (deserved, code, text) = self.kind.deserves();
        assert_eq!(status["status"], deserved, "{:?}: {status:#}", self.kind);
        if let Some(code) = code {
            let reason = &status["reasons"][0];
            assert_eq!(reason["code"], code, "{:?}: {status:#}", self.kind);
            assert_eq!(reason["fault"], "participant");
            let message = reason["message"].as_str().unwrap();
            let differing = status["timeline"].to_string();
            assert!(message.contains(text) || differing.contains(text), "{:?}: {reason:#}", self.kind);
            assert!(!reason["advice"].as_str().unwrap().is_empty());
        }
        let verdicts = status["timeline"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|entry| entry["type"] == "Passed" || entry["type"] == "Failed")
            .count();
        assert_eq!(verdicts, 1, "{:?}: {status:#}", self.kind);
    }
}
