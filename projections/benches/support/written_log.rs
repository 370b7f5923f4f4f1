//! A log of submissions that pass.

use std::collections::VecDeque;
use std::ops::Range;

use domain::submission::{CATEGORY, Event, SCHEMA};
use event_store::testing::event_about;
use event_store::{Append, ExpectedRevision, NewEvent, SqliteStore, StreamName};
use futures::{StreamExt, stream};
use uuid::Uuid;

use crate::support::{id, submission};

/// The number of submissions that are at the same step at the same time.
const COHORT: u64 = 170;

/// The number of appends at the same time.
const WRITERS: usize = 1000;

/// Writes the events of these submissions to a log. The events of a submission are mixed with those of a thousand others.
pub(crate) async fn write(log: &SqliteStore, submissions: Range<u64>) {
    let mut under_way: VecDeque<Range<u64>> = VecDeque::new();
    let end = submissions.end;
    for begin in (submissions.start..end + 6 * COHORT).step_by(COHORT as usize) {
        under_way.push_front(begin.min(end)..(begin + COHORT).min(end));
        under_way.truncate(6);
        let wave = under_way.iter().cloned().enumerate().flat_map(|(step, cohort)| {
            cohort.map(move |number| (number, step, submission(number)[step].clone()))
        });
        let appends = wave.map(|(number, step, event)| append(log, number, step, event));
        stream::iter(appends).buffered(WRITERS).for_each(async |()| ()).await;
    }
}

async fn append(log: &SqliteStore, number: u64, step: usize, event: Event) {
    let event = event_about(id(number).0, SCHEMA, event.kind(), event.to_stored());
    let new = NewEvent { id: Uuid::from_u64_pair(number, step as u64), ..event };
    let expected = (step as u64).checked_sub(1).map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact);
    log.append(&StreamName::of(CATEGORY, id(number).0), expected, vec![new]).await.unwrap();
}
