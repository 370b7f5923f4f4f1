//! Start events of containers, straight from the engines. The managers learn of a start later, because the
//! nodes report to them in batches.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptions;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::time::sleep;

use super::engine::Engine;
use super::{TaskId, label};

/// The pause before the events of an engine are requested again after its stream ended.
const AGAIN: Duration = Duration::from_secs(2);

/// The label in which the Swarm gives a container the id of its task.
const TASK: &str = "com.docker.swarm.task.id";

/// Streams the ids of this verifier's tasks whose containers start to run. The stream never ends.
pub(super) fn of_verifier(
    engines: impl Iterator<Item = Arc<Engine>>,
    verifier: &str,
) -> BoxStream<'static, TaskId> {
    let filters = HashMap::from([
        ("type".to_owned(), vec!["container".to_owned()]),
        ("event".to_owned(), vec!["start".to_owned()]),
        ("label".to_owned(), vec![format!("{}={verifier}", label::VERIFIER)]),
    ]);
    let options = EventsOptions { filters: Some(filters), ..Default::default() };
    stream::select_all(engines.map(|engine| of_engine(engine, options.clone()))).boxed()
}

/// Streams the started tasks of one engine. If the engine is away or its response is broken, starts are
/// missed, and the managers report them later.
fn of_engine(engine: Arc<Engine>, options: EventsOptions) -> BoxStream<'static, TaskId> {
    let listen = move |()| {
        let events = engine.docker().map(|docker| docker.events(Some(options.clone())));
        let events = stream::iter(events.ok()).flatten();
        let tasks = events.filter_map(async |event| task_of(event.ok()?));
        tasks.chain(stream::once(sleep(AGAIN)).filter_map(async |()| None))
    };
    stream::repeat(()).flat_map(listen).boxed()
}

fn task_of(event: EventMessage) -> Option<TaskId> {
    event.actor?.attributes?.remove(TASK).map(TaskId::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_task_of_a_started_container_is_read_from_its_label() {
        let event = |attributes: &str| {
            serde_json::from_str(&format!(r#"{{"Action":"start","Actor":{{"Attributes":{attributes}}}}}"#))
        };
        let app = event(r#"{"muster.verifier":"v1","com.docker.swarm.task.id":"t1"}"#).unwrap();
        assert_eq!(task_of(app), Some(TaskId::new("t1")));
        // A relay is no task of the Swarm, but a container of its engine alone.
        assert_eq!(task_of(event(r#"{"muster.verifier":"v1"}"#).unwrap()), None);
    }
}
