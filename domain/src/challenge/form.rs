//! The form that a participant fills in, and the check of its fields against the challenge's rules.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use unicode_normalization::UnicodeNormalization;

use crate::image::ImageRef;
use crate::submission::{ChallengeId, Participant, Place, Submitted};
use crate::text::{is_seen, trimmed};

use super::Challenge;
use super::name::hidden_character;
use super::words::FoundWordAction;

/// The length of a Twitter account without its `@`; each character is an ASCII letter, a digit or `_`.
pub const TWITTER_LETTERS: RangeInclusive<usize> = 2..=49;

/// The longest location, in characters.
pub const LOCATION_CHARS_MAX: usize = 100;

/// The longest answer, in characters.
pub const ANSWER_CHARS_MAX: usize = 50;

/// A submission as the participant typed it, not yet checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubmissionForm {
    /// The participant's name.
    pub name: String,
    /// The Twitter account, with `@`.
    pub twitter: Option<String>,
    /// The city and country, as typed.
    pub location: String,
    /// The names of the images.
    pub images: Vec<String>,
    /// The further answers, by field.
    pub answers: BTreeMap<String, String>,
}

/// A form that meets every rule. Its place is still a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatedForm {
    challenge: ChallengeId,
    participant: Participant,
    location: String,
    images: Vec<ImageRef>,
    answers: BTreeMap<String, String>,
    owner: String,
}

/// An error in one field, in words for the participant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The field's name: `name`, `images[1]`, `vote`, …
    pub field: String,
    /// A sentence that tells the participant how to correct the field.
    pub message: String,
    /// Values that were probably meant.
    pub suggestions: Vec<String>,
}

impl Challenge {
    /// Checks a form against the rules.
    ///
    /// # Errors
    /// All errors of all fields, if there are any.
    pub fn check(&self, form: SubmissionForm) -> Result<ValidatedForm, Vec<FieldError>> {
        let mut errors = Vec::new();
        let name = self.name(&form.name, &mut errors);
        let twitter = form.twitter.as_deref().and_then(|typed| self.twitter(typed, &mut errors));
        let location = location(&form.location, &mut errors);
        let (images, owner) = self.images(&form.images, &mut errors);
        let answers = self.answers(&form.answers, &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(ValidatedForm {
            challenge: ChallengeId { id: self.id.clone(), rules: self.digest() },
            participant: Participant { name, twitter },
            location,
            images,
            answers,
            owner,
        })
    }

    fn name(&self, typed: &str, errors: &mut Vec<FieldError>) -> String {
        let name = trimmed(typed);
        if let Some(why) = self.name.fault(name).or_else(|| self.word_fault(name)) {
            errors.push(error("name", why));
        }
        name.to_owned()
    }

    fn twitter(&self, typed: &str, errors: &mut Vec<FieldError>) -> Option<String> {
        let account = trimmed(typed);
        if account.is_empty() {
            return None;
        }
        let letters = account.strip_prefix('@').unwrap_or_default();
        let well_formed = TWITTER_LETTERS.contains(&letters.len())
            && letters.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !well_formed {
            errors.push(error(
                "twitter",
                "A Twitter account has the form @username, with letters, digits and _ only.",
            ));
        } else if let Some(why) = self.word_fault(account) {
            errors.push(error("twitter", why));
        }
        Some(account.to_owned())
    }

    fn images(&self, typed: &[String], errors: &mut Vec<FieldError>) -> (Vec<ImageRef>, String) {
        let rules = &self.images;
        if !(rules.min..=rules.max).contains(&typed.len()) {
            let message = format!("Name {} to {} images; here are {}.", rules.min, rules.max, typed.len());
            errors.push(error("images", message));
            return Default::default();
        }
        let errors_before = errors.len();
        let mut images: Vec<ImageRef> = Vec::new();
        for (n, text) in typed.iter().enumerate() {
            let field = format!("images[{n}]");
            let mut refuse = |message: String| errors.push(error(&field, message));
            match text.parse::<ImageRef>() {
                Err(why) => {
                    let meant = why.meant().filter(|image| rules.allows(image.registry()));
                    let suggestions = meant.map(ImageRef::familiar).into_iter().collect();
                    errors.push(FieldError { suggestions, ..error(&field, format!("{why}.")) });
                }
                Ok(image) if !rules.allows(image.registry()) => refuse(format!(
                    "The registry {} is not allowed here; push to {}.",
                    image.registry(),
                    rules.registries.join(" or "),
                )),
                Ok(image) if image.owner().is_none() => {
                    refuse(format!(
                        "{} is nobody's own; push your image under your own name.",
                        image.familiar()
                    ));
                }
                Ok(image) if images.contains(&image) => {
                    refuse(format!("{} is named twice.", image.familiar()))
                }
                Ok(image) => images.push(image),
            }
        }
        let owners: Vec<String> = images.iter().filter_map(ImageRef::owner).collect();
        if errors.len() == errors_before && owners.iter().any(|owner| *owner != owners[0]) {
            let message =
                format!("All images must be of one account; these are of {}.", owners.join(" and "));
            errors.push(error("images", message));
        }
        (images, owners.into_iter().next().unwrap_or_default())
    }

    fn answers(
        &self,
        given: &BTreeMap<String, String>,
        errors: &mut Vec<FieldError>,
    ) -> BTreeMap<String, String> {
        for field in given.keys().filter(|field| !self.answers.contains_key(*field)) {
            errors.push(error(field, "This challenge asks for no such field."));
        }
        let mut answers = BTreeMap::new();
        for (field, rule) in &self.answers {
            let typed = given.get(field).map(|typed| trimmed(typed)).unwrap_or_default();
            if !is_seen(typed) {
                if rule.required {
                    errors.push(error(field, "This field is required."));
                }
            } else if let Some(why) = fault("An answer", typed, ANSWER_CHARS_MAX) {
                errors.push(error(field, why));
            } else if rule.one_of.is_empty() {
                answers.insert(field.clone(), typed.to_owned());
            } else if let Some(choice) = rule.choice(typed) {
                answers.insert(field.clone(), choice.to_owned());
            } else {
                let message = format!("{typed} is not among the choices: {}.", rule.one_of.join(", "));
                errors.push(error(field, message));
            }
        }
        answers
    }

    /// Returns the reason why an entry is held for an organiser's look, or `None` if it is not.
    pub(crate) fn reason_to_hold(&self, participant: &Participant) -> Option<String> {
        let holds = self.words.found == FoundWordAction::Hold;
        let texts = [("name", Some(&participant.name)), ("twitter", participant.twitter.as_ref())];
        let mut texts = texts.into_iter().filter(|_| holds);
        let (field, word) = texts.find_map(|(field, text)| Some((field, self.refused_word(text?)?)))?;
        Some(format!("The word {word} in {field} waits for an organiser's look."))
    }

    /// Returns the reason why a text is refused for a word in it, in words for the participant.
    fn word_fault(&self, text: &str) -> Option<String> {
        let refuses = self.words.found == FoundWordAction::Refuse;
        let word = refuses.then(|| self.refused_word(text))??;
        Some(format!("The word {word} is not taken here. If it is a part of your name, tell an organiser."))
    }

    fn refused_word(&self, text: &str) -> Option<String> {
        self.refused_words.find(text).or_else(|| self.words.find(text).map(str::to_owned))
    }
}

impl SubmissionForm {
    /// Returns the registry namespace that all images share, or `None` if they share none. No rule of a challenge counts.
    pub fn owner(&self) -> Option<String> {
        let owners = self.images.iter().map(|text| text.parse::<ImageRef>().ok()?.owner());
        let owners: Vec<String> = owners.collect::<Option<_>>()?;
        owners.iter().all(|owner| *owner == owners[0]).then(|| owners.into_iter().next())?
    }

    /// Returns true if `recorded` is the record of this form, by whichever rules and gazetteer it was accepted.
    pub fn is_record(&self, recorded: &Submitted, challenge: &Challenge) -> bool {
        let given = |text: &Option<String>| text.as_deref().map(trimmed).unwrap_or_default().to_owned();
        let images: Option<Vec<ImageRef>> = self.images.iter().map(|text| text.parse().ok()).collect();
        let answers = self.answers.iter().map(|(field, typed)| (field, trimmed(typed)));
        let answers: BTreeMap<&String, &str> = answers.filter(|(_, typed)| is_seen(typed)).collect();
        let is_answer = |field: &String, recorded: &String| {
            let is_choice = challenge.answers.get(field).is_none_or(|rule| !rule.one_of.is_empty());
            let given = answers.get(field).copied().unwrap_or_default();
            // A choice is recorded as the challenge wrote it, not as it was typed.
            given == recorded || (is_choice && is_same_choice(given, recorded))
        };
        trimmed(&self.name) == recorded.participant.name
            && given(&self.twitter) == given(&recorded.participant.twitter)
            && trimmed(&self.location) == recorded.location.typed
            && images.as_ref() == Some(&recorded.images)
            && answers.len() == recorded.answers.len()
            && recorded.answers.iter().all(|(field, recorded)| is_answer(field, recorded))
    }
}

impl super::AnswerRule {
    /// Returns the choice that a typed text means.
    pub(crate) fn choice(&self, typed: &str) -> Option<&str> {
        self.one_of.iter().map(String::as_str).find(|choice| is_same_choice(choice, typed))
    }
}

impl ValidatedForm {
    /// Returns the location as it was typed.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// Returns the registry namespace that all images share.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Returns the data of the event that accepts this form. `place` is the meaning of its location.
    pub fn into_submitted(self, place: Place) -> Submitted {
        Submitted {
            challenge: self.challenge,
            participant: self.participant,
            location: crate::submission::Location { typed: self.location, place },
            images: self.images,
            answers: self.answers,
            owner: self.owner,
            venue: None,
            lane: None,
        }
    }
}

/// Returns true if two texts are the same choice, without regard to case and to the composition of letters.
fn is_same_choice(one: &str, other: &str) -> bool {
    let lower = |text: &str| text.nfc().collect::<String>().to_lowercase();
    lower(one) == lower(other)
}

fn location(typed: &str, errors: &mut Vec<FieldError>) -> String {
    let location = trimmed(typed);
    if !is_seen(location) {
        errors.push(error("location", "Name a city, and its country if the name is a common one."));
    } else if let Some(why) = fault("A location", location, LOCATION_CHARS_MAX) {
        errors.push(error("location", why));
    }
    location.to_owned()
}

/// Returns the reason why a text cannot be shown, in words for the participant. `what` names it: "A location".
fn fault(what: &str, text: &str, chars_max: usize) -> Option<String> {
    if text.chars().count() > chars_max {
        return Some(format!("{what} has up to {chars_max} printable characters."));
    }
    let point = u32::from(hidden_character(text)?);
    Some(format!("{what} has only characters that can be seen; write it without U+{point:04X}."))
}

fn error(field: &str, message: impl Into<String>) -> FieldError {
    FieldError { field: field.to_owned(), message: message.into(), suggestions: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form() -> SubmissionForm {
        SubmissionForm {
            name: "Ada Lovelace".into(),
            twitter: Some("@ada".into()),
            location: "London, UK".into(),
            images: vec!["ada/voting".into(), "ada/result".into()],
            answers: BTreeMap::from([("vote".into(), "node.JS".into())]),
        }
    }

    /// Returns the fields with errors after `change` was made to a valid form.
    fn wrong(change: impl FnOnce(&mut SubmissionForm)) -> Vec<String> {
        let mut form = form();
        change(&mut form);
        Challenge::birthday()
            .check(form)
            .map(|_| vec![])
            .unwrap_or_else(|errors| errors.into_iter().map(|e| e.field).collect())
    }

    #[test]
    fn a_good_form_is_an_entry_with_its_owner() {
        let entry = Challenge::birthday().check(form()).unwrap();
        assert_eq!(entry.owner(), "docker.io/ada");
        assert_eq!(entry.answers["vote"], "Node.js");
    }

    #[test]
    fn each_wrong_field_is_named() {
        assert_eq!(wrong(|f| f.name = "\u{3164}".into()), ["name"]);
        assert_eq!(wrong(|f| f.name = "x".repeat(51)), ["name"]);
        assert_eq!(wrong(|f| f.name = "Ada\u{202e}".into()), ["name"]);
        assert_eq!(wrong(|f| f.twitter = Some("ada".into())), ["twitter"]);
        assert_eq!(wrong(|f| f.twitter = Some("@a-b".into())), ["twitter"]);
        assert_eq!(wrong(|f| f.location = " ".into()), ["location"]);
        assert_eq!(wrong(|f| f.images = vec![]), ["images"]);
        assert_eq!(wrong(|f| f.images = vec!["ada/a".into(); 4]), ["images"]);
        assert_eq!(wrong(|f| f.images[1] = "../x".into()), ["images[1]"]);
        assert_eq!(wrong(|f| f.images[0] = "quay.io/ada/x".into()), ["images[0]"]);
        assert_eq!(wrong(|f| f.images[0] = "nginx".into()), ["images[0]"]);
        assert_eq!(wrong(|f| f.images[1] = "ada/voting:latest".into()), ["images[1]"]);
        assert_eq!(wrong(|f| f.images[1] = "bob/result".into()), ["images"]);
        assert_eq!(wrong(|f| f.answers.clear()), ["vote"]);
        assert_eq!(wrong(|f| drop(f.answers.insert("vote".into(), "Cat".into()))), ["vote"]);
        assert_eq!(wrong(|f| drop(f.answers.insert("colour".into(), "red".into()))), ["colour"]);
    }

    #[test]
    fn a_hidden_character_is_named_in_each_field() {
        let hidden = |text: &str| format!("Lon{text}don");
        for (text, point) in
            [("\u{200b}", "U+200B"), ("\u{202e}", "U+202E"), ("\u{7}", "U+0007"), ("\u{2060}", "U+2060")]
        {
            let answers = BTreeMap::from([("vote".into(), hidden(text))]);
            let typed = SubmissionForm { location: hidden(text), answers, ..form() };
            let errors = Challenge::birthday().check(typed).unwrap_err();
            assert_eq!(
                errors.iter().map(|error| error.field.as_str()).collect::<Vec<_>>(),
                ["location", "vote"]
            );
            assert!(errors.iter().all(|error| error.message.contains(point)), "{errors:?}");
        }
        for location in ["\u{3164}", "\u{200b}", "\u{2800}"] {
            let errors = Challenge::birthday()
                .check(SubmissionForm { location: location.into(), ..form() })
                .unwrap_err();
            assert!(errors[0].message.starts_with("Name a city"), "{errors:?}");
        }
        let flag = SubmissionForm {
            location: "London \u{1f1ec}\u{1f1e7}, \u{645}\u{6cc}\u{200c}\u{62e}".into(),
            ..form()
        };
        assert!(Challenge::birthday().check(flag).is_ok());
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let fields = wrong(|f| *f = SubmissionForm::default());
        assert_eq!(fields, ["name", "location", "images", "vote"]);
    }

    #[test]
    fn a_form_is_recognised_in_its_record_after_a_change_of_the_rules() {
        let challenge = Challenge::birthday();
        let place = Place { city: "London".into(), country: "GB".into(), lat: 51.5, lon: -0.1 };
        let recorded = challenge.check(form()).unwrap().into_submitted(place);
        let mut others = challenge.clone();
        others.images.registries = vec!["quay.io".into()];
        others.answers.clear();
        for rules in [&challenge, &others] {
            let changed = |change: fn(&mut SubmissionForm)| {
                let mut form = form();
                change(&mut form);
                form.is_record(&recorded, rules)
            };
            assert!(changed(|_| {}));
            assert!(changed(|f| f.images[0] = "docker pull ada/voting".into()));
            assert!(changed(|f| drop(f.answers.insert("motto".into(), " ".into()))));
            assert!(!changed(|f| f.name = "Ada".into()));
            assert!(!changed(|f| f.twitter = None));
            assert!(!changed(|f| f.location = "London".into()));
            assert!(!changed(|f| f.images.swap(0, 1)));
            assert!(!changed(|f| f.answers.clear()));
            assert!(!changed(|f| drop(f.answers.insert("vote".into(), "Go".into()))));
            assert!(!changed(|f| drop(f.answers.insert("motto".into(), "x".into()))));
        }
        assert_eq!(form().owner().as_deref(), Some("docker.io/ada"));
        assert_eq!(SubmissionForm { images: vec![], ..form() }.owner(), None);
        assert_eq!(SubmissionForm { images: vec!["ada/a".into(), "bob/b".into()], ..form() }.owner(), None);
        assert_eq!(SubmissionForm { images: vec!["nginx".into()], ..form() }.owner(), None);
    }

    #[test]
    fn a_choice_is_recognised_however_its_letters_are_composed() {
        let mut challenge = Challenge::birthday();
        challenge.answers.get_mut("vote").unwrap().one_of = vec!["Caf\u{e9}".into()];
        let form = SubmissionForm { answers: [("vote".into(), "CAFE\u{301}".into())].into(), ..form() };
        let place = Place { city: "London".into(), country: "GB".into(), lat: 51.5, lon: -0.1 };
        let recorded = challenge.check(form.clone()).unwrap().into_submitted(place);
        assert_eq!(recorded.answers["vote"], "Caf\u{e9}");
        assert!(form.is_record(&recorded, &challenge));
    }

    #[test]
    fn a_word_of_the_dictionary_is_named_in_each_field_and_held_if_the_challenge_says_so() {
        let typed = || SubmissionForm { name: "sh1t".into(), twitter: Some("@fuck_you".into()), ..form() };
        let errors = Challenge::birthday().check(typed()).unwrap_err();
        let named: Vec<_> =
            errors.iter().map(|error| (&*error.field, error.message.contains("tell an"))).collect();
        assert_eq!(named, [("name", true), ("twitter", true)]);
        let mut holding = Challenge::birthday();
        holding.words.found = FoundWordAction::Hold;
        assert!(holding.check(typed()).is_ok());
    }

    #[test]
    fn a_refused_word_is_named() {
        const WHY: &str = "The word ass is not taken here. If it is a part of your name, tell an organiser.";
        let refused_words = vec!["Ass".to_owned()].into();
        let challenge = Challenge { refused_words, ..Challenge::birthday() };
        let errors = |form| challenge.check(form).unwrap_err();
        let named = errors(SubmissionForm { name: "an ASS here".into(), ..form() });
        assert_eq!(named, [error("name", WHY)]);
        let account = errors(SubmissionForm { twitter: Some("@ass".into()), ..form() });
        assert_eq!(account, [error("twitter", WHY)]);
        assert!(challenge.check(SubmissionForm { name: "Cassandra".into(), ..form() }).is_ok());
    }
}
