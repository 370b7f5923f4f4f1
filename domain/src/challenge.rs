//! The challenge: the rules for the fields of a submission, for its images and for their answers. They are read from a
//! `challenge.toml`; the birthday challenge is the default.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::image::usual_registry;

mod docker_run;
mod form;
mod judge;
mod name;
mod period;
mod published;
mod refused;
mod rejudge;
mod sandbox_rules;
mod unique_keys;
mod venue;
mod words;

pub use form::{ANSWER_CHARS_MAX, LOCATION_CHARS_MAX, TWITTER_LETTERS};
pub use form::{FieldError, SubmissionForm, ValidatedForm};
pub use judge::{Evidence, Judgement, Observation, Verdict};
pub use name::{NameRules, hidden_character};
pub use period::ChallengePhase;
pub use published::{CATEGORY, ChallengePublished, SCHEMA};
pub use refused::RefusedWords;
pub use rejudge::RejudgePreview;
pub use sandbox_rules::{OpenKernelWays, SandboxRules};
pub use venue::{PlacedVenue, Venue, VenueClaim, VenueMembership, VenueNetwork, Venues};
pub use words::{FoundWordAction, WordLanguage, WordRules};

/// The largest number of further writable paths.
const WRITABLE_PATHS_MAX: usize = 16;

const BIRTHDAY: &str = include_str!("../challenges/birthday.toml");

/// The rules of one challenge, as in its file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Challenge {
    /// The short and stable name by which events refer to the challenge.
    pub id: String,
    /// The title that people read.
    pub title: String,
    /// The moment from which submissions are taken; `None` means at once.
    // The moments are left out of [`Challenge::file_digest`], too.
    #[serde(default, deserialize_with = "period::moment", skip_serializing)]
    pub opens: Option<Timestamp>,
    /// The moment from which no more submissions are taken; `None` means never. Submissions that wait are judged.
    #[serde(default, deserialize_with = "period::moment", skip_serializing)]
    pub closes: Option<Timestamp>,
    /// Words that a participant's name and Twitter account must not contain.
    #[serde(default)]
    pub refused_words: RefusedWords,
    /// The dictionary of words that a name and a Twitter account must not contain either.
    // Like `sandbox`, written only if it says something.
    #[serde(default, skip_serializing_if = "WordRules::is_default")]
    pub words: WordRules,
    // Like `sandbox`, written only if it says something.
    #[serde(default, skip_serializing_if = "NameRules::is_default")]
    pub name: NameRules,
    pub images: ImageRules,
    /// The rules of further answers, by the name of the field.
    #[serde(default)]
    pub answers: BTreeMap<String, AnswerRule>,
    pub probe: ProbeRules,
    pub limits: ResourceLimits,
    // The table is written only if it says something, so that files without it keep their digest.
    #[serde(default, skip_serializing_if = "SandboxRules::is_default")]
    pub sandbox: SandboxRules,
    /// The rooms of the event. Never written: their networks and codes stay in the file.
    #[serde(default, skip_serializing)]
    pub venues: Venues,
    /// The digest under which the rules were read from the log. `None` for a file's.
    #[serde(skip)]
    published_as: Option<String>,
}

/// The number of images, their registries, and the number that must answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageRules {
    /// The smallest number of images.
    pub min: usize,
    /// The largest number of images.
    pub max: usize,
    /// The registries that images may come from, each with its port unless it is the default one.
    pub registries: Vec<String>,
    /// Further domains to which a registry sends its clients for tokens and content, by registry. Those of the common
    /// registries are known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub registry_hosts: BTreeMap<String, Vec<String>>,
    pub answering: RequiredImages,
}

impl ImageRules {
    /// Returns true if images may come from this registry.
    pub fn allows(&self, registry: &str) -> bool {
        self.registries.iter().any(|allowed| usual_registry(allowed) == registry)
    }
}

/// The number of a submission's images that must answer correctly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RequiredImages {
    /// At least one image.
    Any,
    /// Every one of the images.
    All,
}

/// The rule of one further answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerRule {
    /// If false, the answer may be left out.
    #[serde(default)]
    pub required: bool,
    /// The label in a form. If absent, the form shows the field's name.
    #[serde(default)]
    pub label: Option<String>,
    /// The choices, compared without regard to case. If there are none, any text is an answer.
    #[serde(default)]
    pub one_of: Vec<String>,
}

/// The rules of the probe: the request to each app, and the fields of the response that count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "ProbeTable", into = "ProbeTable")]
pub enum ProbeRules {
    /// One HTTP request to each app.
    Http(HttpProbeRules),
}

/// The HTTP request that each app is sent, and the fields of the response that count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpProbeRules {
    /// The TCP port that the app listens on.
    pub port: u16,
    /// The path of the GET request.
    pub path: String,
    /// The host name in the request's `Host` header. `None` means `localhost`.
    pub host: Option<String>,
    /// Each is `name`, `twitter`, `location`, `repo`, or the name of an answer.
    pub compare: Vec<String>,
}

/// The table `[probe]` of the challenge's file. If the kind is absent, it is `http`. The kind is never written, so that
/// older files, which have none, keep their digest.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProbeTable {
    #[serde(default, skip_serializing)]
    kind: ProbeKind,
    port: u16,
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    compare: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ProbeKind {
    #[default]
    Http,
}

impl From<ProbeTable> for ProbeRules {
    fn from(ProbeTable { kind, port, path, host, compare }: ProbeTable) -> Self {
        match kind {
            ProbeKind::Http => Self::Http(HttpProbeRules { port, path, host, compare }),
        }
    }
}

impl From<ProbeRules> for ProbeTable {
    fn from(ProbeRules::Http(HttpProbeRules { port, path, host, compare }): ProbeRules) -> Self {
        Self { kind: ProbeKind::Http, port, path, host, compare }
    }
}

impl HttpProbeRules {
    /// Returns the value of the request's `Host` header: the host name, and the port if it is not 80.
    pub fn host_header(&self) -> String {
        let host = self.host();
        if self.port == 80 { host.to_owned() } else { format!("{host}:{}", self.port) }
    }

    /// Returns the host name that the app is asked for. It is `localhost` unless the challenge says otherwise,
    /// because many frameworks refuse every other name until they are configured.
    pub fn host(&self) -> &str {
        self.host.as_deref().unwrap_or("localhost")
    }
}

/// The resources that one image may use, and the time that each step may take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourceLimits {
    /// The memory of one container, MiB.
    pub memory_mib: u64,
    /// The processors of one container; 0.5 is half of one.
    pub cpus: f64,
    /// The number of processes and threads of one container.
    pub pids: u64,
    /// The compressed size of one image, MiB.
    pub image_mib: u64,
    /// The size of each writable directory in memory, MiB.
    pub tmpfs_mib: u64,
    /// The time until all images are pulled, seconds.
    pub pull_s: u64,
    /// The time from the container's start until the app gives an answer that counts, seconds.
    pub start_s: u64,
    /// The time from the request to the end of the response, seconds.
    pub answer_s: u64,
    /// The size of a response's body, KiB.
    pub answer_kib: u64,
}

/// The reason why a file is not a valid challenge.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the challenge cannot be used: {0}")]
pub struct ChallengeError(String);

impl Challenge {
    /// Returns the challenge of Docker's third birthday.
    pub fn birthday() -> Self {
        Self::parse(BIRTHDAY).expect("the challenge that ships is well-formed: a test reads it")
    }

    /// Reads a `challenge.toml`.
    ///
    /// # Errors
    /// If the text is not TOML, if a rule is missing or misspelled, or if rules contradict each other.
    pub fn parse(text: &str) -> Result<Self, ChallengeError> {
        let challenge: Self = toml::from_str(text).map_err(|error| ChallengeError(error.to_string()))?;
        match challenge.contradiction() {
            Some(what) => Err(ChallengeError(what)),
            None => Ok(challenge),
        }
    }

    /// Returns the longest time that one attempt may take; an older claim is void. It allows for the look into the
    /// layers and for one pull, and for two slots, one after the other. Each has `start_s`, two probes of each image after that, and 75 s to create, start and
    /// remove containers and to wait for the slot. If the second slot is on another node that must pull as well, the
    /// attempt may end early, and the next one finds the images there.
    pub fn attempt_max(&self) -> Duration {
        let limits = &self.limits;
        let answers = 4 * self.images.max as u64 * limits.answer_s;
        Duration::from_secs(2 * limits.pull_s + 2 * limits.start_s + answers + 150)
    }

    fn contradiction(&self) -> Option<String> {
        let known = |field: &String| is_usual_field(field) || self.answers.contains_key(field);
        let reserved = |field: &&String| is_usual_field(field) || *field == "images";
        let limits = &self.limits;
        let ProbeRules::Http(probe) = &self.probe;
        if self.id.is_empty() || self.id.len() > 64 {
            Some("id has 1 to 64 characters".into())
        } else if self.opens.zip(self.closes).is_some_and(|(opens, closes)| closes <= opens) {
            Some("closes is later than opens".into())
        } else if let Some(what) = self.name.contradiction().or_else(|| self.refused_words.contradiction()) {
            Some(what)
        } else if let Some(what) = self.venues.contradiction() {
            Some(what)
        } else if self.images.min == 0 || self.images.min > self.images.max || self.images.max > 10 {
            Some("images.min is at least 1, images.max at least images.min and at most 10".into())
        } else if self.images.registries.is_empty() {
            Some("images.registries names at least one registry".into())
        } else if let Some(registry) =
            self.images.registry_hosts.keys().find(|name| !self.images.registries.contains(name))
        {
            Some(format!("images.registry_hosts names {registry}, which images.registries does not"))
        } else if let Some(field) = self.answers.keys().find(reserved) {
            Some(format!("answers.{field} is the name of a field that every submission has"))
        } else if let Some(field) = probe.compare.iter().find(|field| !known(field)) {
            Some(format!("probe.compare names {field}, which no submission says"))
        } else if probe.port == 0 || !probe.path.starts_with('/') || !probe.path.is_ascii() {
            Some("probe.port is not 0, and probe.path begins with / and is ASCII".into())
        } else if probe.path.bytes().any(|b| b.is_ascii_whitespace() || b.is_ascii_control()) {
            Some("probe.path has no spaces".into())
        } else if !is_host_name(probe.host()) {
            Some("probe.host is a host name without a port, of at most 200 characters".into())
        } else if !(limits.cpus.is_finite() && limits.cpus >= 0.01)
            || limits.memory_mib < 4
            || limits.pids == 0
        {
            Some("limits.cpus is at least 0.01, limits.memory_mib at least 4, limits.pids at least 1".into())
        } else if [limits.pull_s, limits.start_s, limits.answer_s].iter().any(|s| !(1..=3600).contains(s)) {
            Some("limits.pull_s, start_s and answer_s are 1 to 3600 seconds".into())
        } else if !(1..=1024).contains(&limits.answer_kib) || !(1..=4096).contains(&limits.tmpfs_mib) {
            Some("limits.answer_kib is 1 to 1024, limits.tmpfs_mib 1 to 4096".into())
        } else if self.sandbox.writable.len() > WRITABLE_PATHS_MAX
            || !self.sandbox.writable.iter().all(|path| is_plain_path(path))
        {
            Some(format!(
                "sandbox.writable has at most {WRITABLE_PATHS_MAX} paths such as /opt/app/data, of letters, digits and /-_."
            ))
        } else {
            None
        }
    }
}

/// Returns true for a field that every submission has.
fn is_usual_field(field: &str) -> bool {
    matches!(field, "name" | "twitter" | "location" | "repo")
}

/// Returns true for an absolute path without `..`, outside the kernel's file systems.
fn is_plain_path(path: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && part.bytes().all(is_part);
    path.len() <= 200
        && path.strip_prefix('/').is_some_and(|rest| {
            rest.split('/').all(plain)
                && !matches!(rest.split('/').next(), Some("proc" | "sys" | "dev" | "etc"))
        })
}

fn is_host_name(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let ends_well = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    text.len() <= 200
        && text.bytes().all(is_part)
        && ends_well(text.bytes().next())
        && ends_well(text.bytes().last())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::SandboxGrade;

    #[test]
    fn the_birthday_challenge_is_what_ships() {
        let challenge = Challenge::birthday();
        assert_eq!(challenge.images.max, 3);
        assert_eq!(challenge.answers["vote"].one_of.len(), 52);
        let ProbeRules::Http(probe) = challenge.probe;
        assert_eq!(probe.path, "/getconfig");
    }

    /// Events of older versions name this digest.
    #[test]
    fn the_same_file_keeps_the_digest_of_older_versions() {
        let digest = "sha256:71221295a539378fca3f1224d75b01be8f8b2d7c336ddda355ac808c26e6e8c0";
        let first = BIRTHDAY.replace("start_s = 30", "start_s = 15");
        assert_eq!(Challenge::parse(&first).unwrap().file_digest(), digest);
        let named = first.replace("[probe]", "[probe]\nkind = \"http\"");
        assert_eq!(Challenge::parse(&named).unwrap().file_digest(), digest);
        let other = first.replace("[probe]", "[probe]\nkind = \"icmp\"");
        assert!(Challenge::parse(&other).unwrap_err().to_string().contains("icmp"));
    }

    #[test]
    fn a_challenge_may_demand_a_grade_and_name_writable_paths() {
        let with = |table: &str| Challenge::parse(&format!("{BIRTHDAY}\n[sandbox]\n{table}"));
        let challenge = with("grade = \"writable\"\nwritable = [\"/opt/app/data\"]").unwrap();
        assert_eq!(challenge.sandbox.grade, Some(SandboxGrade::Writable));
        assert_ne!(challenge.digest(), Challenge::birthday().digest());
        let empty = with("").unwrap().file_digest();
        assert_eq!(empty, Challenge::birthday().file_digest(), "an empty table says nothing");
        for wrong in ["/", "data", "/a/../b", "/proc/x", "/etc", "/a b", "/{{.Node}}", "/a//b", "/a/"] {
            let refused = with(&format!("writable = [\"{wrong}\"]")).unwrap_err().to_string();
            assert!(refused.contains("sandbox.writable"), "{wrong}: {refused}");
        }
        assert!(with("grade = \"best\"").unwrap_err().to_string().contains("best"));
        let closed = with("open_kernel_ways = \"refused\"").unwrap();
        assert_eq!(closed.sandbox.open_kernel_ways, OpenKernelWays::Refused);
        assert_eq!(closed.digest(), Challenge::birthday().digest(), "the choice of nodes decides no verdict");
        assert!(with("open_kernel_ways = \"closed\"").unwrap_err().to_string().contains("closed"));
    }

    #[test]
    fn a_challenge_may_ask_for_longer_or_shorter_names() {
        let with = |table: &str| Challenge::parse(&format!("{BIRTHDAY}\n[name]\n{table}"));
        let asked = NameRules { min_chars: 3, max_chars: 50 };
        assert_eq!(with("min_chars = 3").unwrap().name, asked);
        let empty = with("").unwrap().file_digest();
        assert_eq!(empty, Challenge::birthday().file_digest(), "an empty table says nothing");
        for wrong in ["min_chars = 0", "max_chars = 201", "min_chars = 9\nmax_chars = 8"] {
            let refused = with(wrong).unwrap_err().to_string();
            assert!(refused.contains("name.min_chars"), "{wrong}: {refused}");
        }
        assert!(with("max = 8").unwrap_err().to_string().contains("max"));
    }

    #[test]
    fn a_challenge_may_choose_the_languages_of_refused_words_and_hold_such_entries() {
        let with = |table: &str| Challenge::parse(&format!("{BIRTHDAY}\n[words]\n{table}"));
        let chosen = with("languages = [\"de\"]\nfound = \"hold\"").unwrap().words;
        assert_eq!((chosen.languages.len(), chosen.found), (1, FoundWordAction::Hold));
        let empty = with("").unwrap().file_digest();
        assert_eq!(empty, Challenge::birthday().file_digest(), "an empty table says nothing");
        for wrong in ["languages = [\"it\"]", "found = \"drop\"", "words = []"] {
            assert!(with(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_attempt_has_time_for_every_image_to_answer_late() {
        let mut challenge = Challenge::birthday();
        assert_eq!(challenge.attempt_max(), Duration::from_secs(2 * 180 + 2 * 30 + 4 * 3 * 10 + 150));
        challenge.images.max = 10;
        let asked = 2 * (challenge.limits.start_s + 10 * challenge.limits.answer_s);
        assert!(challenge.attempt_max() > Duration::from_secs(2 * challenge.limits.pull_s + asked));
    }

    #[test]
    fn rules_that_contradict_themselves_are_refused_by_name() {
        for (rule, wrong, named) in [
            ("max = 3", "max = 0", "images.max"),
            ("port = 80", "port = 0", "probe.port"),
            ("refused_words = []", "refused_words = [\"x\", \"-\"]", "refused_words has “-”"),
            ("\"vote\"]", "\"colour\"]", "colour"),
            ("[answers.vote]", "[answers.repo]", "answers.repo"),
            ("pids = 128", "pids = 128\nspeed = 1", "speed"),
            ("[\"docker.io\"]", "[]", "images.registries"),
            ("start_s = 30", "start_s = 0", "start_s"),
            ("compare = [", "host = \"a b\"\ncompare = [", "probe.host"),
            ("compare = [", "host = \".\"\ncompare = [", "probe.host"),
        ] {
            let text = BIRTHDAY.replace(rule, wrong);
            assert_ne!(text, BIRTHDAY, "{rule} is not in the file");
            let error = Challenge::parse(&text).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
