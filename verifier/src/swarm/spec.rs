//! How a participant's image is run: everything that keeps it in its sandbox,
//! in one place, and the check that the engine took all of it.

use bollard::models::{
    EndpointSpec, EndpointSpecModeEnum, HealthConfig, Limit, Mount, MountTmpfsOptions, MountType,
    NetworkAttachmentConfig, Platform, ResourceObject, ResourcesUlimits, ServiceSpec, ServiceSpecMode,
    ServiceSpecModeReplicated, TaskSpec, TaskSpecContainerSpec, TaskSpecContainerSpecDnsConfig,
    TaskSpecContainerSpecPrivileges, TaskSpecLogDriver, TaskSpecPlacement, TaskSpecResources,
    TaskSpecRestartPolicy, TaskSpecRestartPolicyConditionEnum,
};
use serde_json::Value;

use super::Deployment;

const MIB: u64 = 1 << 20;

/// What the app may write to, beside the volumes that its image declares.
const WRITABLE: [&str; 2] = ["/tmp", "/run"];

/// Open files of one process. `core` is 0: a dump would be written to the host.
const NOFILE: i64 = 4096;

/// The last lines are told to the participant; more than that is not kept.
const LOG: [(&str, &str); 2] = [("max-size", "32k"), ("max-file", "2")];

/// The service that runs an image once, in its slot. No text of a participant
/// goes in but the image's name, as it was parsed, and the paths of volumes,
/// for the Swarm expands templates.
pub(super) fn service_spec(deployment: &Deployment) -> ServiceSpec {
    let Deployment { name, image, labels, node, network, volumes, limits } = deployment;
    let memory = signed(limits.memory_mib * MIB);
    let container = TaskSpecContainerSpec {
        image: Some(image.clone()),
        labels: Some(labels.clone()),
        hostname: Some("app".to_owned()),
        read_only: Some(true),
        mounts: Some(writable(volumes).map(|path| tmpfs(path, limits.tmpfs_mib)).collect()),
        capability_drop: Some(vec!["ALL".to_owned()]),
        privileges: Some(TaskSpecContainerSpecPrivileges {
            no_new_privileges: Some(true),
            ..Default::default()
        }),
        ulimits: Some(vec![ulimit("core", 0), ulimit("nofile", NOFILE)]),
        // The engine would pass on questions for names of the world: here it
        // asks the app's own container, where nobody answers.
        dns_config: Some(TaskSpecContainerSpecDnsConfig {
            nameservers: Some(vec!["127.0.0.1".to_owned()]),
            ..Default::default()
        }),
        health_check: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..Default::default() }),
        stop_signal: Some("SIGKILL".to_owned()),
        stop_grace_period: Some(0),
        ..Default::default()
    };
    ServiceSpec {
        name: Some(name.clone()),
        labels: Some(labels.clone()),
        mode: Some(ServiceSpecMode {
            replicated: Some(ServiceSpecModeReplicated { replicas: Some(1) }),
            ..Default::default()
        }),
        // No virtual address: nothing has to be set up on every node.
        endpoint_spec: Some(EndpointSpec { mode: Some(EndpointSpecModeEnum::DNSRR), ports: None }),
        task_template: Some(TaskSpec {
            container_spec: Some(container),
            resources: Some(TaskSpecResources {
                limits: Some(Limit {
                    memory_bytes: Some(memory),
                    nano_cpus: Some(nano(limits.cpus)),
                    pids: Some(signed(limits.pids)),
                }),
                // Memory is kept free for it. Processors are shared.
                reservations: Some(ResourceObject { memory_bytes: Some(memory), ..Default::default() }),
                ..Default::default()
            }),
            restart_policy: Some(TaskSpecRestartPolicy {
                condition: Some(TaskSpecRestartPolicyConditionEnum::NONE),
                ..Default::default()
            }),
            placement: Some(TaskSpecPlacement {
                constraints: Some(vec![format!("node.id=={node}")]),
                platforms: Some(vec![Platform {
                    architecture: Some("amd64".to_owned()),
                    os: Some("linux".to_owned()),
                }]),
                ..Default::default()
            }),
            networks: Some(vec![NetworkAttachmentConfig {
                target: Some(network.clone()),
                ..Default::default()
            }]),
            log_driver: Some(TaskSpecLogDriver {
                name: Some("json-file".to_owned()),
                options: Some(LOG.map(|(name, value)| (name.to_owned(), value.to_owned())).into()),
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// What was asked for and is not in the spec that is stored, as the API shows
/// it: engines drop what they do not know, silently. Names are joined by dots.
pub(super) fn dropped(asked: &ServiceSpec, stored: &Value) -> Vec<String> {
    let asked = serde_json::to_value(asked).expect("a spec is plain data with text keys");
    let mut paths = Vec::new();
    compare("", &asked, stored, &mut paths);
    // Services of engines before API 1.44 cannot say it. A process without
    // capabilities, and none in its bounding set, gains none from setuid.
    paths.retain(|path| path != "TaskTemplate.ContainerSpec.Privileges.NoNewPrivileges");
    paths
}

fn compare(path: &str, asked: &Value, stored: &Value, dropped: &mut Vec<String>) {
    match (asked, stored) {
        (Value::Object(asked), _) => {
            for (name, asked) in asked {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                compare(&path, asked, field(stored, name), dropped);
            }
        }
        (Value::Array(asked), Value::Array(stored)) if asked.len() == stored.len() => {
            for (asked, stored) in asked.iter().zip(stored) {
                compare(path, asked, stored, dropped);
            }
        }
        (asked, stored) if asked == stored => {}
        // What is nothing in itself may be left out.
        (Value::Null, _) => {}
        (Value::Array(asked), Value::Null) if asked.is_empty() => {}
        _ => dropped.push(path.to_owned()),
    }
}

/// A field by its name in any mix of case: engines and their description do not
/// agree on `HealthCheck`.
fn field<'a>(object: &'a Value, name: &str) -> &'a Value {
    let fields = object.as_object().into_iter().flatten();
    fields
        .filter(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
        .next()
        .unwrap_or(&Value::Null)
}

fn writable(volumes: &[String]) -> impl Iterator<Item = &str> {
    let declared = volumes.iter().map(String::as_str).filter(|path| !WRITABLE.contains(path));
    WRITABLE.into_iter().chain(declared)
}

fn tmpfs(path: &str, mib: u64) -> Mount {
    Mount {
        typ: Some(MountType::TMPFS),
        target: Some(path.to_owned()),
        tmpfs_options: Some(MountTmpfsOptions { size_bytes: Some(signed(mib * MIB)), ..Default::default() }),
        ..Default::default()
    }
}

fn ulimit(name: &str, limit: i64) -> ResourcesUlimits {
    ResourcesUlimits { name: Some(name.to_owned()), soft: Some(limit), hard: Some(limit) }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[expect(clippy::cast_possible_truncation, reason = "a float's conversion saturates")]
fn nano(cpus: f64) -> i64 {
    (cpus * 1e9) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment() -> Deployment {
        Deployment {
            name: "muster-v-1-1".into(),
            image: "docker.io/ada/app@sha256:00".into(),
            labels: [("muster.slot".to_owned(), "s".to_owned())].into(),
            node: "n1".into(),
            network: "net1".into(),
            volumes: vec!["/data".into(), "/tmp".into()],
            limits: domain::Challenge::birthday().limits,
        }
    }

    #[test]
    fn every_declared_volume_is_a_small_one_in_memory() {
        let container = service_spec(&deployment()).task_template.unwrap().container_spec.unwrap();
        let mounts = container.mounts.unwrap();
        let targets: Vec<_> = mounts.iter().map(|mount| mount.target.as_deref().unwrap()).collect();
        assert_eq!(targets, ["/tmp", "/run", "/data"]);
        assert!(mounts.iter().all(|mount| mount.typ == Some(MountType::TMPFS)));
    }

    #[test]
    fn a_protection_that_the_engine_drops_is_named() {
        let asked = service_spec(&deployment());
        let mut stored = serde_json::to_value(&asked).unwrap();
        assert_eq!(dropped(&asked, &stored), Vec::<String>::new());
        let task = &mut stored["TaskTemplate"];
        task["ContainerSpec"]["CapabilityDrop"] = Value::Null;
        task["ContainerSpec"]["ReadOnly"] = false.into();
        task["ContainerSpec"]["Mounts"].as_array_mut().unwrap().pop();
        task["ContainerSpec"]["Privileges"] = Value::Null;
        task["Resources"]["Limits"].as_object_mut().unwrap().remove("Pids");
        let mut named = dropped(&asked, &stored);
        named.sort();
        assert_eq!(
            named,
            [
                "TaskTemplate.ContainerSpec.CapabilityDrop",
                "TaskTemplate.ContainerSpec.Mounts",
                "TaskTemplate.ContainerSpec.ReadOnly",
                "TaskTemplate.Resources.Limits.Pids",
            ]
        );
    }
}
