//! A task: one container that the Swarm runs once. Derives its phase and the meaning of its end from the
//! texts of the engine's API.

use std::net::IpAddr;

use domain::submission::InterruptionCode;
use serde::Deserialize;

use super::{Labels, NetworkId, ServiceId, TaskId, label};

/// A task, as a manager reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) id: TaskId,
    pub(crate) service: ServiceId,
    /// The name of the slot that the task runs in.
    pub(crate) slot: String,
    pub(crate) phase: TaskPhase,
    /// The task's address in each of its networks.
    pub(crate) addresses: Vec<(NetworkId, IpAddr)>,
}

/// The progress of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TaskPhase {
    /// The task has no node yet. Holds the managers' reason if they give one.
    Placing(Option<String>),
    /// The node pulls the image.
    Pulling,
    /// The node has the image, and starts the container.
    Starting,
    Running,
    /// The task's container has ended, and no other will be started for it.
    Ended(TaskEnding),
}

/// The reason why a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TaskEnding {
    /// The program ended with this exit code.
    Exited(i64),
    /// The program could not be started, by the image's own fault.
    NotStarted(String),
    /// The node reports that the image is built for another platform.
    WrongPlatform(String),
    /// The node or Muster is at fault.
    PlatformFault(InterruptionCode, String),
}

/// A task as the engine's API returns it. The Docker client's own type lacks the addresses.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TaskRow {
    #[serde(rename = "ID")]
    id: TaskId,
    #[serde(rename = "ServiceID", default)]
    service_id: ServiceId,
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
    id: NetworkId,
}

impl Task {
    /// Returns the task's address in a network, if it has one there.
    pub(crate) fn address_in(&self, network: &NetworkId) -> Option<IpAddr> {
        self.addresses.iter().find(|(id, _)| id == network).map(|(_, address)| *address)
    }
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
    let reason = (!err.is_empty()).then(|| err.to_owned());
    match state {
        "complete" => TaskPhase::Ended(TaskEnding::Exited(exit_code)),
        "failed" | "rejected" => TaskPhase::Ended(ending(err, exit_code)),
        // The Swarm is about to kill the task, e.g. because its node is drained. The app's behaviour from now
        // on proves nothing.
        _ if matches!(desired, "shutdown" | "remove" | "orphaned") => {
            TaskPhase::Ended(TaskEnding::PlatformFault(
                InterruptionCode::NodeLost,
                reason.unwrap_or_else(|| format!("the Swarm stops the task, which was {state}")),
            ))
        }
        "new" | "allocated" | "pending" => TaskPhase::Placing(reason),
        "assigned" | "accepted" | "preparing" => TaskPhase::Pulling,
        "ready" | "starting" => TaskPhase::Starting,
        "running" => TaskPhase::Running,
        // Only the Swarm itself stops a task whose service exists.
        _ => TaskPhase::Ended(TaskEnding::PlatformFault(
            InterruptionCode::NodeLost,
            reason.unwrap_or_else(|| format!("the Swarm stopped the task ({state})")),
        )),
    }
}

/// Classifies a failed task by the engine's error text. An unknown text is never the participant's fault.
pub(crate) fn ending(err: &str, exit_code: i64) -> TaskEnding {
    use InterruptionCode as Code;
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| err.contains(phrase));
    let platform_fault = |code| TaskEnding::PlatformFault(code, err.to_owned());
    if says(&["non-zero exit"]) {
        return TaskEnding::Exited(exit_code);
    }
    // These phrases are searched before all others, because such a text quotes the image's command, which may
    // contain any phrase.
    let of_the_app = [
        "exec:",
        "exec /",
        "exec format error",
        "No command specified",
        "no command specified",
        "unable to find user",
    ];
    // In front of the quoted command, the engine may report that it could not start a program of its own.
    let (before_command, _) = err.split_once("exec: \"").unwrap_or((err, ""));
    let of_the_engine = [": fork/exec /", "unable to retrieve OCI runtime error"];
    let is_of_the_engine = of_the_engine.iter().any(|phrase| before_command.contains(phrase));
    if says(&["starting container failed", "No command specified", "no command specified"])
        && says(&of_the_app)
        && !is_of_the_engine
    {
        return TaskEnding::NotStarted(err.to_owned());
    }
    // Only the image's WORKDIR and USER can cause these errors.
    if err.starts_with("Cannot mkdir: ") || says(&["uids and gids must be in range"]) {
        return TaskEnding::NotStarted(err.to_owned());
    }
    // The image has a file where the sandbox has a directory in memory.
    if says(&["error mounting"]) && says(&["not a directory"]) {
        return TaskEnding::NotStarted(err.to_owned());
    }
    if says(&["no space left on device", "failed to register layer"]) {
        return platform_fault(Code::NodeIll);
    }
    if says(&["toomanyrequests"]) {
        return platform_fault(Code::RateLimited);
    }
    if says(&["no matching manifest"]) {
        return TaskEnding::WrongPlatform(err.to_owned());
    }
    // The registry has the image, because the lookup before the deployment succeeded.
    if says(&[
        "No such image",
        "manifest unknown",
        "pull access denied",
        "error pulling image",
        "manifest for",
    ]) {
        return platform_fault(Code::PullFailed);
    }
    if says(&["network", "sandbox join", "vxlan", "endpoint", "address already in use"]) {
        return platform_fault(Code::SlotFailed);
    }
    platform_fault(Code::NodeIll)
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
    fn the_engines_error_text_decides_the_ending() {
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
            // An engine of 20.10, and one of 26.1.
            "No command specified",
            "no command specified",
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
    fn a_program_of_the_engine_that_did_not_start_is_a_platform_fault() {
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
    fn an_ending_that_is_not_certainly_the_participants_fault_is_the_platforms() {
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
    fn a_task_that_the_swarm_stops_is_not_held_against_its_app() {
        for desired in ["shutdown", "remove"] {
            let stopped = phase("running", desired, "", 0);
            assert!(
                matches!(stopped, TaskPhase::Ended(TaskEnding::PlatformFault(InterruptionCode::NodeLost, _))),
                "{stopped:?}"
            );
            // A task that ended by itself has the same desired state.
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
        assert_eq!(task.address_in(&NetworkId::new("n1")), Some(IpAddr::from([10, 0, 1, 3])));
    }
}
