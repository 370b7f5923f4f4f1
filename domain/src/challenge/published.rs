//! The rules in the log: the part of a challenge that decides verdicts, as a text that never changes.
//!
//! Each set of rules has a stream of its own, `challenge-<digest>`. Submissions, rejudges and verdicts name rules by the
//! digest. As with submissions, the names and fields here are the storage format.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::name::NameRules;
use super::refused::RefusedWords;
use super::venue::Venues;
use super::words::WordRules;
use super::{
    AnswerRule, Challenge, ChallengeError, HttpProbeRules, ImageRules, ProbeRules, RequiredImages,
    ResourceLimits, SandboxRules,
};
use crate::image::usual_registry;
use crate::sandbox::SandboxGrade;
use crate::stored_event::EventDecodeError;
use crate::submission::ChallengeId;

/// The category of the streams: `challenge-<digest>`.
pub const CATEGORY: &str = "challenge";

/// The version of the shape below, kept with every event.
pub const SCHEMA: u32 = 1;

/// The prefix of every digest.
const ALGORITHM: &str = "sha256:";

/// The rules of a challenge, recorded once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChallengePublished {
    /// The id of the challenge that first had the rules, and their digest.
    pub challenge: ChallengeId,
    /// The rules as canonical text: JSON with every default written out. The digest is this text's.
    pub text: String,
}

/// The rules as their text has them. A version that adds a rule writes it always, so an older one refuses the text and
/// does not judge by less than all rules.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesText {
    images: ImagesText,
    probe: ProbeText,
    /// The choices of the compared answers that have some.
    choices: BTreeMap<String, Vec<String>>,
    limits: ResourceLimits,
    sandbox: SandboxText,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ImagesText {
    max: usize,
    registries: BTreeSet<String>,
    registry_hosts: BTreeMap<String, Vec<String>>,
    answering: RequiredImages,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum ProbeText {
    Http { port: u16, path: String, host: String, compare: Vec<String> },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SandboxText {
    grade: SandboxGrade,
    writable: Vec<String>,
}

impl Challenge {
    /// Returns the digest of the rules, with the prefix `sha256:`. Submissions, rejudges and verdicts name rules by it. It
    /// covers what decides a verdict. Rules that were read from the log keep the digest that they have there.
    pub fn digest(&self) -> String {
        self.published_as.clone().unwrap_or_else(|| digest_of(&self.rules_text()))
    }

    /// Returns the event that publishes the rules.
    pub fn published(&self) -> ChallengePublished {
        let text = self.rules_text();
        let challenge = ChallengeId { id: self.id.clone(), rules: digest_of(&text) };
        ChallengePublished { challenge, text }
    }

    /// Returns the digest that submissions name which versions before the publication of rules accepted. It covers the
    /// whole file.
    pub fn file_digest(&self) -> String {
        digest_of(&serde_json::to_string(self).expect("rules are plain data with text keys"))
    }

    fn rules_text(&self) -> String {
        let ProbeRules::Http(probe) = &self.probe;
        let choices = |field: &String| {
            let choices = &self.answers.get(field)?.one_of;
            (!choices.is_empty()).then(|| (field.clone(), choices.clone()))
        };
        let text = RulesText {
            images: ImagesText {
                max: self.images.max,
                registries: self.images.registries.iter().map(|name| usual_registry(name)).collect(),
                registry_hosts: self.images.registry_hosts.clone(),
                answering: self.images.answering,
            },
            probe: ProbeText::Http {
                port: probe.port,
                path: probe.path.clone(),
                host: probe.host().to_owned(),
                compare: probe.compare.clone(),
            },
            choices: probe.compare.iter().filter_map(choices).collect(),
            limits: self.limits.clone(),
            sandbox: SandboxText {
                grade: self.sandbox.grade.unwrap_or(SandboxGrade::Bare),
                writable: self.sandbox.writable.clone(),
            },
        };
        serde_json::to_string(&text).expect("rules are plain data with text keys")
    }
}

impl ChallengePublished {
    /// The event's type, as stored.
    pub const KIND: &str = "ChallengePublished";

    /// Returns the name of the stream of the rules with this digest, or `None` if it is not a digest.
    pub fn stream(digest: &str) -> Option<String> {
        let hex = digest.strip_prefix(ALGORITHM).filter(|hex| is_hex(hex))?;
        Some(format!("{CATEGORY}-{hex}"))
    }

    /// Returns the digest of the rules whose stream has this name, or `None` if it is not a stream of rules.
    pub fn digest_of_stream(name: &str) -> Option<String> {
        let hex = name.strip_prefix(CATEGORY)?.strip_prefix('-').filter(|hex| is_hex(hex))?;
        Some(format!("{ALGORITHM}{hex}"))
    }

    /// Returns the event's data as JSON, as stored.
    pub fn to_stored(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("events are plain data with text keys")
    }

    /// Reads a stored event of this or any older schema.
    ///
    /// # Errors
    /// If the type or the shape is not known, a newer version wrote the event, or the text has another digest.
    pub fn from_stored(kind: &str, schema: u32, data: &[u8]) -> Result<Self, EventDecodeError> {
        if kind != Self::KIND || schema > SCHEMA {
            return Err(EventDecodeError::Newer(format!("{kind} of schema {schema}; upgrade to read it")));
        }
        let event: Self =
            serde_json::from_slice(data).map_err(|error| EventDecodeError::Damaged(error.to_string()))?;
        if digest_of(&event.text) == event.challenge.rules {
            Ok(event)
        } else {
            Err(EventDecodeError::Damaged("the rules have another digest than the event says".to_owned()))
        }
    }

    /// Returns the rules, as a challenge that judges by them. What decides no verdict is empty in it.
    ///
    /// # Errors
    /// If this version does not know all of the rules.
    pub fn rules(&self) -> Result<Challenge, ChallengeError> {
        let text: RulesText =
            serde_json::from_str(&self.text).map_err(|error| ChallengeError(error.to_string()))?;
        let ProbeText::Http { port, path, host, compare } = text.probe;
        let mut answers: BTreeMap<String, AnswerRule> = BTreeMap::new();
        for field in compare.iter().filter(|field| !super::is_usual_field(field)) {
            let one_of = text.choices.get(field).cloned().unwrap_or_default();
            answers.insert(field.clone(), AnswerRule { required: false, label: None, one_of });
        }
        let challenge = Challenge {
            id: self.challenge.id.clone(),
            title: self.challenge.id.clone(),
            opens: None,
            closes: None,
            refused_words: RefusedWords::default(),
            words: WordRules::default(),
            name: NameRules::default(),
            images: ImageRules {
                min: 1,
                max: text.images.max,
                registries: text.images.registries.into_iter().collect(),
                registry_hosts: text.images.registry_hosts,
                answering: text.images.answering,
            },
            answers,
            probe: ProbeRules::Http(HttpProbeRules { port, path, host: Some(host), compare }),
            limits: text.limits,
            sandbox: SandboxRules {
                grade: Some(text.sandbox.grade).filter(|grade| *grade != SandboxGrade::Bare),
                writable: text.sandbox.writable,
                ..SandboxRules::default()
            },
            venues: Venues::default(),
            published_as: Some(self.challenge.rules.clone()),
        };
        match challenge.contradiction() {
            Some(what) => Err(ChallengeError(what)),
            None => Ok(challenge),
        }
    }
}

fn digest_of(text: &str) -> String {
    let hex: String = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{ALGORITHM}{hex}")
}

fn is_hex(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::challenge::BIRTHDAY;
    use crate::testing::{ada, answered};

    fn with(rule: &str, other: &str) -> Challenge {
        let text = BIRTHDAY.replace(rule, other);
        assert_ne!(text, BIRTHDAY, "{rule} is not in the file");
        Challenge::parse(&text).unwrap()
    }

    /// Streams are named by the digest: if this test goes red, rules on record are no longer recognised as the same.
    #[test]
    fn given_a_file_when_it_is_published_then_the_text_is_this() {
        let mut challenge = Challenge::birthday();
        challenge.answers.get_mut("vote").unwrap().one_of.truncate(2);
        assert_eq!(
            challenge.published().text,
            r#"{"images":{"max":3,"registries":["docker.io"],"registry_hosts":{},"answering":"any"},"probe":{"kind":"http","port":80,"path":"/getconfig","host":"localhost","compare":["name","twitter","location","repo","vote"]},"choices":{"vote":["Ada","Assembly"]},"limits":{"memory_mib":256,"cpus":0.5,"pids":128,"image_mib":1024,"tmpfs_mib":16,"pull_s":180,"start_s":30,"answer_s":10,"answer_kib":64},"sandbox":{"grade":"bare","writable":[]}}"#
        );
        let digest = "sha256:9f15052576e1a393e8173eef198834de45143a899d5df2f0fb5a62495cd1023c";
        assert_eq!(challenge.digest(), digest);
    }

    #[test]
    fn given_a_change_that_decides_no_verdict_then_the_digest_is_the_same() {
        let digest = Challenge::birthday().digest();
        for (rule, other) in [
            ("title = \"Docker Birthday #3\"", "title = \"Another\""),
            ("id = \"docker-birthday-3\"", "id = \"docker-birthday-4\""),
            ("refused_words = []", "refused_words = [\"x\"]"),
            ("# opens", "opens"),
            ("label = \"Your favourite language\"", "label = \"Which?\""),
            ("required = true", "required = false"),
            ("# host = \"localhost\"", "host = \"localhost\""),
            ("[\"docker.io\"]", "[\"index.docker.io\"]"),
            ("[probe]", "[answers.colour]\n[probe]"),
            ("[limits]", "[name]\nmax_chars = 20\n[limits]"),
            ("[limits]", "[sandbox]\ngrade = \"bare\"\n[limits]"),
        ] {
            assert_eq!(with(rule, other).digest(), digest, "{other}");
        }
    }

    #[test]
    fn given_a_change_that_decides_verdicts_then_the_digest_is_another() {
        let digest = Challenge::birthday().digest();
        for (rule, other) in [
            ("max = 3", "max = 4"),
            ("[\"docker.io\"]", "[\"docker.io\", \"ghcr.io\"]"),
            ("answering = \"any\"", "answering = \"all\""),
            ("port = 80", "port = 81"),
            ("path = \"/getconfig\"", "path = \"/\""),
            ("\"repo\", \"vote\"]", "\"repo\"]"),
            ("\"Zig\",", ""),
            ("start_s = 30", "start_s = 31"),
            ("cpus = 0.5", "cpus = 1"),
            ("[limits]", "[sandbox]\nwritable = [\"/data\"]\n[limits]"),
        ] {
            assert_ne!(with(rule, other).digest(), digest, "{other}");
        }
    }

    #[test]
    fn given_published_rules_then_they_judge_as_the_file_does_and_keep_their_digest() {
        let all = with("answering = \"any\"", "answering = \"all\"");
        for file in [Challenge::birthday(), all] {
            let stored = file.published().to_stored();
            let published =
                ChallengePublished::from_stored(ChallengePublished::KIND, SCHEMA, &stored).unwrap();
            let rules = published.rules().unwrap();
            assert_eq!(rules.digest(), file.digest());
            assert_eq!(rules.published(), published, "what was read is written alike");
            let observations = [answered(&ada(), 0)];
            assert_eq!(rules.judge(&ada(), &observations), file.judge(&ada(), &observations));
            assert_eq!(rules.attempt_max(), file.attempt_max());
        }
    }

    #[test]
    fn given_rules_of_a_newer_version_then_they_are_not_carried_out() {
        let newer = |from: &str, to: &str| {
            let ChallengePublished { challenge, text } = Challenge::birthday().published();
            let text = text.replace(from, to);
            ChallengePublished { challenge: ChallengeId { rules: digest_of(&text), ..challenge }, text }
        };
        for (from, to, named) in [
            ("\"kind\":\"http\"", "\"kind\":\"tcp\"", "tcp"),
            ("\"pids\":128", "\"pids\":128,\"files\":9", "files"),
            ("\"choices\"", "\"order\":[],\"choices\"", "order"),
            ("\"pids\":128", "\"pids\":0", "limits.pids"),
        ] {
            let published = newer(from, to);
            let stored = published.to_stored();
            assert_eq!(
                ChallengePublished::from_stored(ChallengePublished::KIND, 1, &stored),
                Ok(published.clone())
            );
            assert!(published.rules().unwrap_err().to_string().contains(named), "{to}");
        }
    }

    #[test]
    fn given_a_text_that_is_not_the_digests_then_it_is_damaged() {
        let mut published = Challenge::birthday().published();
        published.text.push(' ');
        let read =
            |kind, schema, data: &[u8]| ChallengePublished::from_stored(kind, schema, data).unwrap_err();
        assert!(matches!(
            read(ChallengePublished::KIND, 1, &published.to_stored()),
            EventDecodeError::Damaged(_)
        ));
        assert!(matches!(read(ChallengePublished::KIND, 1, b"{"), EventDecodeError::Damaged(_)));
        assert!(matches!(read(ChallengePublished::KIND, 2, b"{}"), EventDecodeError::Newer(_)));
        assert!(matches!(read("ChallengeClosed", 1, b"{}"), EventDecodeError::Newer(_)));
    }

    #[test]
    fn a_stream_says_whose_rules_it_has() {
        let digest = Challenge::birthday().digest();
        let stream = ChallengePublished::stream(&digest).unwrap();
        assert_eq!(ChallengePublished::digest_of_stream(&stream), Some(digest.clone()));
        for wrong in ["", "sha256:", "sha256:r", &digest.to_uppercase(), &digest[..70], &digest[7..]] {
            assert_eq!(ChallengePublished::stream(wrong), None, "{wrong}");
        }
        for other in ["challenge", "challenge-1", "challenges-1", &stream.to_uppercase(), &stream[..70]] {
            assert_eq!(ChallengePublished::digest_of_stream(other), None, "{other}");
        }
    }
}
