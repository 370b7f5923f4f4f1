//! Judges recorded evidence again, under rules that differ from those it was collected under.

use crate::image::ImageRef;
use crate::submission::{FailureCode, ImageProbe, ProbeOutcome};

use super::RequiredImages;

/// The part of the rules that recorded evidence can be judged by.
#[derive(Debug, Clone, Copy)]
pub struct RejudgePreview<'a> {
    /// True if the evidence was collected under the same rules.
    pub same_rules: bool,
    pub answering: RequiredImages,
    /// The fields of the response that count.
    pub compare: &'a [String],
}

impl RejudgePreview<'_> {
    /// Returns true if a submission of `images` would pass by its evidence. Returns `None` if the verdict depends on images
    /// that were not probed, or that other limits might have kept from failing. A field that was not compared counts as right.
    pub fn passes(&self, images: &[ImageRef], probes: &[ImageProbe]) -> Option<bool> {
        let each = images.iter().map(|image| {
            let probe = probes.iter().find(|probe| probe.image == *image)?;
            self.answers(probe)
        });
        let each: Vec<Option<bool>> = each.collect();
        let (right, wrong) = (Some(true), Some(false));
        match self.answering {
            RequiredImages::Any if each.contains(&right) => right,
            RequiredImages::Any => each.iter().all(|answer| *answer == wrong).then_some(false),
            RequiredImages::All if each.contains(&wrong) => wrong,
            RequiredImages::All => each.iter().all(|answer| *answer == right).then_some(true),
        }
    }

    fn answers(&self, probe: &ImageProbe) -> Option<bool> {
        match probe.outcome {
            ProbeOutcome::Matched => Some(true),
            ProbeOutcome::Failed(_) if self.same_rules => Some(false),
            ProbeOutcome::Failed(FailureCode::Mismatch) => {
                Some(!probe.differing.iter().any(|difference| self.compare.contains(&difference.field)))
            }
            ProbeOutcome::Failed(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::submission::FieldDifference;

    fn image(name: &str) -> ImageRef {
        name.parse().unwrap()
    }

    fn probe(name: &str, outcome: ProbeOutcome, differing: &[&str]) -> ImageProbe {
        let difference = |field: &&str| FieldDifference {
            field: (*field).to_owned(),
            expected: "a".into(),
            returned: Some("b".into()),
        };
        let differing = differing.iter().map(difference).collect();
        ImageProbe { image: image(name), outcome, answers: vec![], message: None, differing }
    }

    #[test]
    fn what_is_compared_and_how_many_must_answer_can_be_judged_again() {
        let images = [image("ada/a"), image("ada/b")];
        let compare = ["name".to_owned()];
        let trial = |answering| RejudgePreview { same_rules: false, answering, compare: &compare };
        let matched = probe("ada/a", ProbeOutcome::Matched, &[]);
        let other_vote = probe("ada/b", ProbeOutcome::Failed(FailureCode::Mismatch), &["vote"]);
        let other_name = probe("ada/b", ProbeOutcome::Failed(FailureCode::Mismatch), &["name", "vote"]);
        let silent = probe("ada/b", ProbeOutcome::Failed(FailureCode::TimedOut), &[]);
        for (probes, any, all) in [
            (vec![matched.clone()], Some(true), None),
            (vec![matched.clone(), other_vote], Some(true), Some(true)),
            (vec![matched.clone(), other_name.clone()], Some(true), Some(false)),
            (vec![matched, silent.clone()], Some(true), None),
            (vec![other_name], None, Some(false)),
            (vec![silent.clone()], None, None),
            (vec![], None, None),
        ] {
            assert_eq!(trial(RequiredImages::Any).passes(&images, &probes), any, "any of {probes:?}");
            assert_eq!(trial(RequiredImages::All).passes(&images, &probes), all, "all of {probes:?}");
        }
        let same = RejudgePreview { same_rules: true, ..trial(RequiredImages::All) };
        assert_eq!(same.passes(&images, &[silent]), Some(false));
    }
}
