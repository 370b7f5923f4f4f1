//! Selects the submissions whose newest verdict meets all conditions. Reads history, so that it misses no submission.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use domain::submission::FailureCode;
use domain::{Event, SubmissionId};
use event_store::EventFilter;
use futures::StreamExt;
use jiff::Timestamp;
use read_api::HistoryFilter;

use crate::cli::client::{MusterClient, TokenOption};
use crate::cli::error::CliError;
use crate::cli::replay::{HistoryItem, HistoryQuery, HistorySource};

/// A condition on a submission with a verdict, or that was given up.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum FilterCondition {
    Outcome(NewestOutcome),
    /// A reason of the verdict has this code.
    Code(FailureCode),
    Owner(String),
    /// The verdict was reached by rules other than those now in force.
    OtherRules,
    /// Judged at this moment or later.
    Since(Timestamp),
    /// Judged before this moment.
    Until(Timestamp),
}

/// A submission, as history read so far describes it.
struct KnownSubmission {
    owner: String,
    /// The digest of the rules of its verdict. One of an older version does not name them, so they are those that the
    /// submission was accepted under, or that its newest rejudge names.
    rules: String,
    verdict: Option<NewestVerdict>,
}

struct NewestVerdict {
    at: Timestamp,
    outcome: NewestOutcome,
    codes: Vec<FailureCode>,
}

/// The verdict, or the end without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NewestOutcome {
    Passed,
    Failed,
    GivenUp,
}

/// Returns the submissions that meet all conditions, oldest first.
pub(super) async fn select(
    client: &MusterClient,
    token: &TokenOption,
    conditions: &[FilterCondition],
    rules: &str,
) -> Result<Vec<SubmissionId>, CliError> {
    let kinds = ["Submitted", "Passed", "Failed", "GivenUp", "RejudgeRequested"].map(str::to_owned).to_vec();
    let owner = conditions.iter().find_map(|condition| match condition {
        FilterCondition::Owner(owner) => Some(owner.clone()),
        _ => None,
    });
    let events = EventFilter { kinds, ..EventFilter::default() };
    let filter = HistoryFilter { events, owner, ..HistoryFilter::default() };
    let source = HistorySource::Server(client.clone(), token.clone());
    let mut lines = source.lines(HistoryQuery { filter, ..HistoryQuery::default() });
    let mut known: BTreeMap<SubmissionId, (u64, KnownSubmission)> = BTreeMap::new();
    while let Some(item) = lines.next().await {
        let HistoryItem::Line(line) = item? else { continue };
        let (Some(id), Some(event)) = (line.submission(), line.event()) else { continue };
        let ended = |outcome, codes| Some(NewestVerdict { at: line.recorded_at, outcome, codes });
        let named = match &event {
            Event::Passed(passed) => passed.basis.rules.clone(),
            Event::Failed(failed) => failed.basis.rules.clone(),
            Event::RejudgeRequested(asked) => asked.rules.clone(),
            _ => None,
        };
        let verdict = match event {
            Event::Submitted(submitted) => {
                let (owner, rules) = (submitted.owner, submitted.challenge.rules);
                known.entry(id).or_insert((line.position, KnownSubmission { owner, rules, verdict: None }));
                continue;
            }
            Event::Passed(_) => ended(NewestOutcome::Passed, vec![]),
            Event::Failed(failed) => {
                let codes = failed.reasons.iter().map(|reason| reason.code);
                ended(NewestOutcome::Failed, codes.collect())
            }
            Event::GivenUp(_) => ended(NewestOutcome::GivenUp, vec![]),
            // A rejudge is under way already.
            _ => None,
        };
        if let Some((_, known)) = known.get_mut(&id) {
            known.verdict = verdict;
            known.rules = named.unwrap_or_else(|| std::mem::take(&mut known.rules));
        }
    }
    let in_force = match conditions.contains(&FilterCondition::OtherRules) {
        true => digests_of(client, rules, known.values().map(|(_, known)| &known.rules)).await?,
        false => BTreeSet::new(),
    };
    let mut selected: Vec<_> = known
        .into_iter()
        .filter(|(_, (_, known))| conditions.iter().all(|condition| condition.is_met(known, &in_force)))
        .map(|(id, (position, _))| (position, id))
        .collect();
    selected.sort_unstable_by_key(|(position, _)| *position);
    Ok(selected.into_iter().map(|(_, id)| id).collect())
}

/// Returns those of the digests that name the rules in force.
async fn digests_of(
    client: &MusterClient,
    rules: &str,
    named: impl Iterator<Item = &String>,
) -> Result<BTreeSet<String>, CliError> {
    let mut in_force = BTreeSet::from([rules.to_owned()]);
    for digest in named.collect::<BTreeSet<_>>() {
        if digest != rules && client.published_rules(digest).await?.as_deref() == Some(rules) {
            in_force.insert(digest.clone());
        }
    }
    Ok(in_force)
}

impl FilterCondition {
    fn is_met(&self, known: &KnownSubmission, in_force: &BTreeSet<String>) -> bool {
        let Some(verdict) = &known.verdict else { return false };
        match self {
            Self::Outcome(outcome) => verdict.outcome == *outcome,
            Self::Code(code) => verdict.codes.contains(code),
            Self::Owner(owner) => known.owner == *owner,
            Self::OtherRules => !in_force.contains(&known.rules),
            Self::Since(since) => verdict.at >= *since,
            Self::Until(until) => verdict.at < *until,
        }
    }
}

impl FromStr for FilterCondition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("KEY=VALUE is expected")?;
        let moment = || {
            value
                .parse()
                .map_err(|error| format!("{value:?} is not a moment such as 2026-03-21T12:00:00Z: {error}"))
        };
        match (key, value) {
            ("verdict", "passed") => Ok(Self::Outcome(NewestOutcome::Passed)),
            ("verdict", "failed") => Ok(Self::Outcome(NewestOutcome::Failed)),
            ("verdict", "given_up") => Ok(Self::Outcome(NewestOutcome::GivenUp)),
            ("verdict", _) => Err("verdict is passed, failed or given_up".to_owned()),
            ("code", code) => serde_json::from_value(code.into())
                .map(Self::Code)
                .map_err(|_| format!("{code:?} is not a failure code such as timed_out")),
            ("owner", owner) if !owner.is_empty() => Ok(Self::Owner(owner.to_owned())),
            ("rules", "other") => Ok(Self::OtherRules),
            ("rules", _) => Err("rules=other is expected".to_owned()),
            ("since", _) => moment().map(Self::Since),
            ("until", _) => moment().map(Self::Until),
            _ => Err("the keys are verdict, code, owner, rules, since and until".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_condition_is_compared_with_the_newest_verdict() {
        let at: Timestamp = "2016-03-21T12:00:00Z".parse().unwrap();
        let verdict =
            NewestVerdict { at, outcome: NewestOutcome::Failed, codes: vec![FailureCode::TimedOut] };
        let known =
            KnownSubmission { owner: "docker.io/ada".into(), rules: "r".into(), verdict: Some(verdict) };
        for (condition, met) in [
            ("verdict=failed", true),
            ("verdict=passed", false),
            ("verdict=given_up", false),
            ("code=timed_out", true),
            ("code=mismatch", false),
            ("owner=docker.io/ada", true),
            ("owner=docker.io/ad", false),
            ("rules=other", true),
            ("since=2016-03-21T12:00:00Z", true),
            ("until=2016-03-21T12:00:00Z", false),
        ] {
            let parsed: FilterCondition = condition.parse().unwrap();
            assert_eq!(parsed.is_met(&known, &BTreeSet::from(["s".to_owned()])), met, "{condition}");
        }
        for wrong in ["", "failed", "verdict=", "code=x", "owner=", "rules=same", "since=noon", "a=b"] {
            assert!(wrong.parse::<FilterCondition>().is_err(), "{wrong}");
        }
    }
}
