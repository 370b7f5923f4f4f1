//! The question whether an engine gets through to the gate.

use std::path::Path;
use std::time::Duration;

use bollard::errors::Error;
use tokio::time::timeout;

use super::remote_gate::{RemoteGate, RemoteGateSettings};
use crate::swarm;

/// The time for an engine to ask the gate. It tries a few times if nothing answers.
const DEADLINE: Duration = Duration::from_secs(30);

/// An image that the gate never has.
const NO_IMAGE: &str =
    "muster/nothing@sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// The words of an engine whose registry answered that it does not have the manifest.
const ANSWERED: &str = "manifest unknown";

/// The outcome of an engine's question to the gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GateReach {
    /// The gate answered the engine.
    Answered,
    /// The engine got no answer, or one that it does not trust. Has its words.
    Failed(String),
    /// The engine could not be asked.
    NoEngine(String),
}

/// Lets the engine at `unix:///PATH` or `tcp://HOST:PORT` ask the gate at this `HOST:PORT` for an image that does not exist.
/// Nothing is pulled.
pub async fn gate_reach(engine: &str, certificates: Option<&Path>, address: &str) -> GateReach {
    let docker = swarm::engines(&[engine.to_owned()], certificates)
        .map_err(|error| error.to_string())
        .and_then(|engines| engines[0].docker().map_err(|error| error.to_string()));
    let docker = match docker {
        Ok(docker) => docker,
        Err(why) => return GateReach::NoEngine(why),
    };
    let name = format!("{address}/{NO_IMAGE}");
    match timeout(DEADLINE, docker.inspect_registry_image(&name, None)).await {
        Ok(Err(Error::DockerResponseServerError { message, .. })) if message.contains(ANSWERED) => {
            GateReach::Answered
        }
        Ok(Err(Error::DockerResponseServerError { message, .. })) => GateReach::Failed(message),
        Ok(Ok(_)) => GateReach::Failed("something else answers there, and has every image".to_owned()),
        Ok(Err(error)) => GateReach::NoEngine(error.to_string()),
        Err(_) => GateReach::Failed(format!("no answer within {} s", DEADLINE.as_secs())),
    }
}

/// Asks a gate in another process for the `HOST:PORT` by which nodes reach it.
///
/// # Errors
/// The reason why it does not answer, or why a setting cannot be used.
pub async fn remote_gate_address(settings: &RemoteGateSettings) -> Result<String, String> {
    Ok(RemoteGate::new(settings)?.state().await?.address)
}
