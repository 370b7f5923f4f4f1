//! What the engines say the moment a container of ours runs. The managers hear
//! of it in batches, and the log in more of them; who waits would wait for both.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptions;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::time::sleep;

use super::engine::Engine;
use super::label;

/// The pause before an engine that broke off is listened to again.
const AGAIN: Duration = Duration::from_secs(2);

/// The label by which an engine knows which task a container is.
const TASK: &str = "com.docker.swarm.task.id";

/// The ids of the tasks of this verifier that begin to run, without an end.
pub(super) fn of(engines: impl Iterator<Item = Arc<Engine>>, verifier: &str) -> BoxStream<'static, String> {
    let filters = HashMap::from([
        ("type".to_owned(), vec!["container".to_owned()]),
        ("event".to_owned(), vec!["start".to_owned()]),
        ("label".to_owned(), vec![format!("{}={verifier}", label::VERIFIER)]),
    ]);
    let options = EventsOptions { filters: Some(filters), ..Default::default() };
    stream::select_all(engines.map(|engine| on(engine, options.clone()))).boxed()
}

/// Those of one engine. What it does not tell, because it is away or its answer
/// is broken, the managers tell later.
fn on(engine: Arc<Engine>, options: EventsOptions) -> BoxStream<'static, String> {
    let listen = move |()| {
        let events = engine.docker().map(|docker| docker.events(Some(options.clone())));
        let told = stream::iter(events.ok()).flatten();
        let tasks = told.filter_map(async |event| task(event.ok()?));
        tasks.chain(stream::once(sleep(AGAIN)).filter_map(async |()| None))
    };
    stream::repeat(()).flat_map(listen).boxed()
}

fn task(event: EventMessage) -> Option<String> {
    event.actor?.attributes?.remove(TASK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_known_by_its_task() {
        let event = |attributes: &str| {
            serde_json::from_str(&format!(r#"{{"Action":"start","Actor":{{"Attributes":{attributes}}}}}"#))
        };
        let app = event(r#"{"muster.verifier":"v1","com.docker.swarm.task.id":"t1"}"#).unwrap();
        assert_eq!(task(app).as_deref(), Some("t1"));
        // A relay is a container of its engine alone.
        assert_eq!(task(event(r#"{"muster.verifier":"v1"}"#).unwrap()), None);
    }
}
