//! Any sequence of appends has the same effect on the log as on a list. The list implements the rules of
//! expected revisions and repetitions a second time, as simply as possible.

use std::collections::HashMap;

use event_store::testing::{event_of_size, new_stream};
use event_store::{
    Append, AppendError, AppendReceipt, EventFilter, ExpectedRevision, NewEvent, Position, Read,
    ReadDirection, SqliteStore, StreamName,
};
use proptest::prelude::*;
use tempfile::TempDir;
use uuid::Uuid;

/// An append with small numbers, so that repetitions and conflicts are common.
#[derive(Debug, Clone)]
struct AppendStep {
    stream: u8,
    expected: ExpectedRevision,
    ids: Vec<u8>,
}

fn steps() -> impl Strategy<Value = Vec<AppendStep>> {
    let expected = prop_oneof![
        Just(ExpectedRevision::NoStream),
        Just(ExpectedRevision::Any),
        (0..4_u64).prop_map(ExpectedRevision::Exact),
    ];
    let step = (0..2_u8, expected, prop::collection::vec(0..6_u8, 1..4))
        .prop_map(|(stream, expected, ids)| AppendStep { stream, expected, ids });
    prop::collection::vec(step, 1..25)
}

/// The log as a list of pairs of stream and id.
#[derive(Default)]
struct ListModel(Vec<(u8, u8)>);

impl ListModel {
    fn append(&mut self, step: &AppendStep) -> Option<AppendReceipt> {
        let in_stream: Vec<(usize, u8)> = (1..)
            .zip(&self.0)
            .filter(|(_, (stream, _))| *stream == step.stream)
            .map(|(position, (_, id))| (position, *id))
            .collect();
        let at = |revision: usize| AppendReceipt {
            revision: revision as u64,
            position: Position(in_stream[revision].0 as u64),
        };
        let first = match step.expected {
            ExpectedRevision::Any => {
                let found: Vec<_> =
                    step.ids.iter().map(|id| in_stream.iter().rposition(|(_, other)| other == id)).collect();
                if found[0].is_some() {
                    let all: Option<Vec<_>> = found.into_iter().collect();
                    let last = step.ids[step.ids.len() - 1];
                    let oldest = in_stream.iter().position(|(_, other)| *other == last);
                    let repeats_an_id = (1..step.ids.len()).any(|n| step.ids[..n].contains(&step.ids[n]));
                    return all.and_then(|all| {
                        let place = if repeats_an_id { oldest } else { Some(all[all.len() - 1]) };
                        place.map(at)
                    });
                }
                in_stream.len()
            }
            ExpectedRevision::NoStream => 0,
            ExpectedRevision::Exact(revision) => revision as usize + 1,
        };
        if first == in_stream.len() {
            self.0.extend(step.ids.iter().map(|id| (step.stream, *id)));
            return Some(AppendReceipt {
                revision: (in_stream.len() + step.ids.len() - 1) as u64,
                position: Position(self.0.len() as u64),
            });
        }
        let repeated = in_stream.get(first..first + step.ids.len())?;
        let same = repeated.iter().map(|(_, id)| id).eq(&step.ids);
        same.then(|| at(first + step.ids.len() - 1))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_log_and_a_list_agree(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = TempDir::new().unwrap();
            let store = SqliteStore::open(folder.path().join("log.db")).unwrap();
            let names: HashMap<u8, StreamName> = (0..2).map(|n| (n, new_stream())).collect();
            let mut model = ListModel::default();
            for step in &steps {
                let events = step.ids.iter().map(|id| event(*id)).collect();
                let answer = store.append(&names[&step.stream], step.expected, events).await;
                let answer = match answer {
                    Ok(appended) => Some(appended),
                    Err(AppendError::Conflict { .. }) => None,
                    Err(error) => panic!("{error}"),
                };
                prop_assert_eq!(answer, model.append(step), "{:?}", step);
            }
            let page = store.read_all(Position::START, &EventFilter::default(), usize::MAX).await.unwrap();
            let log: Vec<_> = page.events.iter().map(|e| (e.stream.clone(), e.id)).collect();
            let listed: Vec<_> = model.0.iter().map(|(s, id)| (names[s].clone(), uuid(*id))).collect();
            prop_assert_eq!(log, listed);
            for (n, name) in &names {
                let read = store.read_stream(name, 0, ReadDirection::Forwards, usize::MAX).await.unwrap();
                let ids: Vec<_> = read.iter().map(|e| e.id).collect();
                let listed: Vec<_> = model.0.iter().filter(|(s, _)| s == n).map(|(_, id)| uuid(*id)).collect();
                prop_assert_eq!(ids, listed);
            }
            Ok(())
        })?;
    }
}

fn event(id: u8) -> NewEvent {
    NewEvent { id: uuid(id), ..event_of_size(0) }
}

fn uuid(id: u8) -> Uuid {
    Uuid::from_u128(u128::from(id) + 1)
}
