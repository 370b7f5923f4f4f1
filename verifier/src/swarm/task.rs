//! A task: one container that the Swarm is to run once, how far it came, and
//! what its end means.

use std::net::IpAddr;

use domain::submission::InterruptionCode;
use serde::Deserialize;

use super::{Labels, label};

/// One task, as a manager sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Task {
    /// Its id.
    pub(crate) id: String,
    /// The id of its service.
    pub(crate) service: String,
    /// The name of the slot that it runs in.
    pub(crate) slot: String,
    /// How far it came.
    pub(crate) phase: TaskPhase,
    /// Its addresses, by the id of the network.
    pub(crate) addresses: Vec<(String, IpAddr)>,
}

/// How far a task came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TaskPhase {
    /// It has no node yet, with the reason if the managers say one.
    Placing(Option<String>),
    /// The node fetches the image.
    Pulling,
    /// The image is there.
    Starting,
    /// The container runs.
    Running,
    /// It will run no more, and no container is left of it.
    Ended(TaskEnding),
}

/// Why a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TaskEnding {
    /// Its program ended, with this code.
    Exited(i64),
    /// Its program could not be started, by its own fault.
    NotStarted(String),
    /// Built for another platform, the node says.
    WrongPlatform(String),
    /// We or the node failed it.
    PlatformFault(InterruptionCode, String),
}

/// A task as the engine's API has it. The client's own type lacks the addresses.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TaskRow {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "ServiceID", default)]
    service_id: String,
    #[serde(default)]
    spec: RowSpec,
    status: RowStatus,
    #[serde(default)]
    desired_state: String,
    #[serde(default)]
    networks_attachments: Option<Vec<RowAttachment>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RowSpec {
    #[serde(default)]
    container_spec: RowContainerSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RowContainerSpec {
    #[serde(default)]
    labels: Option<Labels>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RowStatus {
    state: String,
    #[serde(default)]
    err: String,
    #[serde(default)]
    container_status: Option<RowContainerStatus>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RowContainerStatus {
    #[serde(default)]
    exit_code: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RowAttachment {
    network: RowNetwork,
    #[serde(default)]
    addresses: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct RowNetwork {
    #[serde(rename = "ID")]
    id: String,
}

impl From<TaskRow> for Task {
    fn from(row: TaskRow) -> Self {
        let exit_code = row.status.container_status.map_or(0, |status| status.exit_code);
        let attachments = row.networks_attachments.unwrap_or_default();
        let addresses = attachments.into_iter().filter_map(|attachment| {
            let address = attachment.addresses?.into_iter().next()?;
            let (address, _) = address.split_once('/')?;
            Some((attachment.network.id, address.parse().ok()?))
        });
        let mut labels = row.spec.container_spec.labels.unwrap_or_default();
        Self {
            id: row.id,
            service: row.service_id,
            slot: labels.remove(label::SLOT).unwrap_or_default(),
            phase: phase(&row.status.state, &row.desired_state, &row.status.err, exit_code),
            addresses: addresses.collect(),
        }
    }
}

fn phase(state: &str, desired: &str, err: &str, exit_code: i64) -> TaskPhase {
    let said = (!err.is_empty()).then(|| err.to_owned());
    match state {
        "complete" => TaskPhase::Ended(TaskEnding::Exited(exit_code)),
        "failed" | "rejected" => TaskPhase::Ended(ending(err, exit_code)),
        // It is about to be killed, as on a node that is drained: what its app
        // does from now on proves nothing.
        _ if matches!(desired, "shutdown" | "remove" | "orphaned") => {
            TaskPhase::Ended(TaskEnding::PlatformFault(
                InterruptionCode::NodeLost,
                said.unwrap_or_else(|| format!("the Swarm stops the task, which was {state}")),
            ))
        }
        "new" | "allocated" | "pending" => TaskPhase::Placing(said),
        "assigned" | "accepted" | "preparing" => TaskPhase::Pulling,
        "ready" | "starting" => TaskPhase::Starting,
        "running" => TaskPhase::Running,
        // Nobody but the Swarm itself stops a task whose service is there.
        _ => TaskPhase::Ended(TaskEnding::PlatformFault(
            InterruptionCode::NodeLost,
            said.unwrap_or_else(|| format!("the Swarm stopped the task ({state})")),
        )),
    }
}

/// What a failure means, by the engine's words. Words that are not known are
/// never held against the participant.
fn ending(err: &str, exit_code: i64) -> TaskEnding {
    use InterruptionCode as Code;
    let says = |words: &[&str]| words.iter().any(|word| err.contains(word));
    let ours = |code| TaskEnding::PlatformFault(code, err.to_owned());
    if says(&["non-zero exit"]) {
        return TaskEnding::Exited(exit_code);
    }
    // Its own words come before the others, for they quote what it is called.
    let own = ["exec:", "exec /", "exec format error", "No command specified", "unable to find user"];
    // Before it quotes what it was to start, the engine may say what it could not start itself.
    let (engines, _) = err.split_once("exec: \"").unwrap_or((err, ""));
    let is_engines = [": fork/exec /", "unable to retrieve OCI runtime error"];
    let is_engines = is_engines.iter().any(|words| engines.contains(words));
    if says(&["starting container failed", "No command specified"]) && says(&own) && !is_engines {
        return TaskEnding::NotStarted(err.to_owned());
    }
    // Nothing but the image's WORKDIR and USER can cause these.
    if err.starts_with("Cannot mkdir: ") || says(&["uids and gids must be in range"]) {
        return TaskEnding::NotStarted(err.to_owned());
    }
    if says(&["no space left on device", "failed to register layer"]) {
        return ours(Code::NodeIll);
    }
    if says(&["toomanyrequests"]) {
        return ours(Code::RateLimited);
    }
    if says(&["no matching manifest"]) {
        return TaskEnding::WrongPlatform(err.to_owned());
    }
    // The registry has it, or we would not have come so far.
    if says(&[
        "No such image",
        "manifest unknown",
        "pull access denied",
        "error pulling image",
        "manifest for",
    ]) {
        return ours(Code::PullFailed);
    }
    if says(&["network", "sandbox join", "vxlan", "endpoint", "address already in use"]) {
        return ours(Code::SlotFailed);
    }
    ours(Code::NodeIll)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(state: &str, err: &str, code: i64) -> TaskEnding {
        match phase(state, "running", err, code) {
            TaskPhase::Ended(ending) => ending,
            other => panic!("{other:?}"),
        }
    }

    fn fault(err: &str) -> InterruptionCode {
        match ended("rejected", err, 0) {
            TaskEnding::PlatformFault(code, _) => code,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_end_is_told_by_its_words() {
        assert_eq!(ended("complete", "", 0), TaskEnding::Exited(0));
        assert_eq!(ended("failed", "task: non-zero exit (3)", 3), TaskEnding::Exited(3));
        let start = "starting container failed: failed to create shim task: OCI runtime create failed: runc create \
                     failed: unable to start container process: ";
        for own in [
            "exec: \"/nope\": stat /nope: no such file or directory: unknown",
            "exec /app: exec format error",
        ] {
            assert!(
                matches!(ended("failed", &format!("{start}{own}"), 0), TaskEnding::NotStarted(_)),
                "{own}"
            );
        }
        for own in [
            "Cannot mkdir: /config.json is not a directory",
            "starting container failed: uids and gids must be in range 0-2147483647",
        ] {
            assert!(matches!(ended("rejected", own, 0), TaskEnding::NotStarted(_)), "{own}");
        }
        assert!(matches!(
            ended("rejected", "no matching manifest for linux/amd64 in the manifest list entries", 0),
            TaskEnding::WrongPlatform(_)
        ));
    }

    #[test]
    fn what_the_engine_could_not_start_is_not_the_participants_command() {
        let start = "starting container failed: failed to create shim task: OCI runtime create failed: ";
        for engines in [
            "runc create failed: Running hook #0:: fork/exec /proc/24330/exe: resource temporarily unavailable",
            "unable to retrieve OCI runtime error (open log.json: no such file): exec: \"runc\": executable file \
             not found in $PATH",
        ] {
            assert_eq!(fault(&format!("{start}{engines}")), InterruptionCode::NodeIll, "{engines}");
        }
        let own =
            "runc create failed: unable to start container process: exec: \"x: fork/exec /y\": not found";
        assert!(matches!(ended("failed", &format!("{start}{own}"), 0), TaskEnding::NotStarted(_)));
    }

    #[test]
    fn what_is_not_certainly_the_participants_fault_is_ours() {
        assert_eq!(fault("No such image: docker.io/a/b@sha256:00"), InterruptionCode::PullFailed);
        assert_eq!(
            fault("toomanyrequests: You have reached your pull rate limit"),
            InterruptionCode::RateLimited
        );
        assert_eq!(fault("write /x: no space left on device"), InterruptionCode::NodeIll);
        for network in [
            "network sandbox join failed: subnet sandbox join failed: error creating vxlan interface: file exists",
            "starting container failed: network muster-v-1 not found",
            "node is missing network attachments, ip addresses may be exhausted",
        ] {
            assert_eq!(fault(network), InterruptionCode::SlotFailed, "{network}");
        }
        assert_eq!(fault("something nobody has seen before"), InterruptionCode::NodeIll);
        assert!(matches!(
            ended("shutdown", "", 137),
            TaskEnding::PlatformFault(InterruptionCode::NodeLost, _)
        ));
        assert!(matches!(ended("orphaned", "", 0), TaskEnding::PlatformFault(InterruptionCode::NodeLost, _)));
    }

    #[test]
    fn a_task_that_the_swarm_stops_has_ended_by_no_fault_of_its_app() {
        for desired in ["shutdown", "remove"] {
            let stopped = phase("running", desired, "", 0);
            assert!(
                matches!(stopped, TaskPhase::Ended(TaskEnding::PlatformFault(InterruptionCode::NodeLost, _))),
                "{stopped:?}"
            );
            // One that ended by itself is not wanted any more either.
            assert_eq!(phase("complete", desired, "", 3), TaskPhase::Ended(TaskEnding::Exited(3)));
        }
    }

    #[test]
    fn a_row_of_the_api_is_read() {
        let row = r#"{"ID":"t1","Version":{"Index":9},"Spec":{"ContainerSpec":{"Labels":{"muster.slot":"s1"}}},
            "ServiceID":"x1","Slot":1,"Status":{"State":"running","Message":"started","ContainerStatus":{"ExitCode":0}},
            "DesiredState":"running","NetworksAttachments":[{"Network":{"ID":"n1"},"Addresses":["10.0.1.3/24"]}]}"#;
        let task: Task = serde_json::from_str::<TaskRow>(row).unwrap().into();
        assert_eq!((task.slot.as_str(), &task.phase), ("s1", &TaskPhase::Running));
        assert_eq!(task.addresses, [("n1".to_owned(), IpAddr::from([10, 0, 1, 3]))]);
    }
}
