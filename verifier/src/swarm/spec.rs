//! The service that runs a participant's image: all settings that keep the image in its sandbox, and the
//! check that the engine accepted all of them.

use bollard::models::{
    ContainerCreateBody, EndpointSpec, EndpointSpecModeEnum, HealthConfig, HostConfig, HostConfigLogConfig,
    Limit, Mount, MountTmpfsOptions, MountType, NetworkAttachmentConfig, Platform, ResourceObject,
    ResourcesUlimits, ServiceSpec, ServiceSpecMode, ServiceSpecModeReplicated, TaskSpec,
    TaskSpecContainerSpec, TaskSpecContainerSpecDnsConfig, TaskSpecContainerSpecPrivileges,
    TaskSpecContainerSpecPrivilegesSeccomp, TaskSpecContainerSpecPrivilegesSeccompModeEnum,
    TaskSpecLogDriver, TaskSpecPlacement, TaskSpecResources, TaskSpecRestartPolicy,
    TaskSpecRestartPolicyConditionEnum,
};
use domain::sandbox::SandboxGrade;
use serde_json::Value;

use super::{Deployment, Labels, seccomp};

const MIB: u64 = 1 << 20;

/// The bits of the capabilities that an app may have, as the kernel shows them.
pub(crate) const CAPABILITY_BITS: u64 = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 10;

/// The number of open files of one process.
const NOFILE: i64 = 4096;

/// The size of the log, of which the participant is shown the last lines.
const LOG: [(&str, &str); 2] = [("max-size", "32k"), ("max-file", "2")];

/// Returns the service that runs an image once, in its slot. Of the participant's texts, only the parsed
/// image name, the checked volume paths and the checked names of labels go in, because the Swarm expands templates in a service's texts.
pub(super) fn service_spec(deployment: &Deployment) -> ServiceSpec {
    let Deployment { name, image, labels, overridden, node, network, grade, volumes, writable, limits } =
        deployment;
    // Our labels come last, so that no image takes their place.
    let mut all_labels: Labels = overridden.iter().map(|name| (name.clone(), String::new())).collect();
    all_labels.extend(labels.clone());
    let memory = to_i64(limits.memory_mib * MIB);
    let container = TaskSpecContainerSpec {
        image: Some(image.clone()),
        labels: Some(all_labels),
        hostname: Some("app".to_owned()),
        // Engines leave `false` out.
        read_only: (*grade != SandboxGrade::Writable).then_some(true),
        mounts: Some(mounts(*grade, volumes, writable, limits.tmpfs_mib)),
        capability_drop: Some(vec!["ALL".to_owned()]),
        capability_add: capabilities(*grade),
        privileges: Some(TaskSpecContainerSpecPrivileges {
            no_new_privileges: Some(true),
            seccomp: Some(TaskSpecContainerSpecPrivilegesSeccomp {
                mode: Some(TaskSpecContainerSpecPrivilegesSeccompModeEnum::CUSTOM),
                profile: Some(seccomp::ENCODED.clone()),
            }),
            ..Default::default()
        }),
        // No core dump: it would be written to the host.
        ulimits: Some(vec![ulimit("core", 0), ulimit("nofile", NOFILE)]),
        // Without this, the engine would forward DNS queries for outside names. Now it sends them to the
        // app's own container, where nothing answers.
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
        // No virtual address, because every node would have to set one up.
        endpoint_spec: Some(EndpointSpec { mode: Some(EndpointSpecModeEnum::DNSRR), ports: None }),
        task_template: Some(TaskSpec {
            container_spec: Some(container),
            resources: Some(TaskSpecResources {
                limits: Some(Limit {
                    memory_bytes: Some(memory),
                    nano_cpus: Some(nano_cpus(limits.cpus)),
                    pids: Some(to_i64(limits.pids)),
                }),
                // Memory is reserved for the app, processors are shared.
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
                target: Some(network.to_string()),
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

/// Returns the container that runs an image alike on an engine without a Swarm. It is made from the service, so
/// that each setting of the sandbox is said once.
pub(crate) fn container(deployment: &Deployment) -> ContainerCreateBody {
    let task = service_spec(deployment).task_template.unwrap_or_default();
    let app = task.container_spec.unwrap_or_default();
    let limits = task.resources.unwrap_or_default().limits.unwrap_or_default();
    let log = task.log_driver.unwrap_or_default();
    ContainerCreateBody {
        image: app.image,
        hostname: app.hostname,
        labels: app.labels,
        healthcheck: app.health_check,
        stop_signal: app.stop_signal,
        host_config: Some(HostConfig {
            network_mode: Some(deployment.network.to_string()),
            readonly_rootfs: app.read_only,
            mounts: app.mounts,
            cap_drop: app.capability_drop,
            cap_add: app.capability_add,
            security_opt: Some(vec!["no-new-privileges".to_owned(), seccomp::option()]),
            memory: limits.memory_bytes,
            memory_swap: limits.memory_bytes,
            nano_cpus: limits.nano_cpus,
            pids_limit: limits.pids,
            ulimits: app.ulimits,
            dns: app.dns_config.unwrap_or_default().nameservers,
            log_config: Some(HostConfigLogConfig { typ: log.name, config: log.options }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Returns the settings that were asked for and are missing in the stored service, as paths joined by dots.
/// Engines silently drop settings that they do not know.
pub(super) fn dropped(asked: &ServiceSpec, stored: &Value) -> Vec<String> {
    let asked = serde_json::to_value(asked).expect("a spec is plain data with text keys");
    let mut paths = Vec::new();
    compare("", &asked, stored, &mut paths);
    // Engines before API 1.44 have neither setting for services, and keep nothing here. There an inspection shows whether
    // the node sets them, and a node that permits new privileges gets containers without capabilities.
    let privileges = ["TaskTemplate", "ContainerSpec", "Privileges"].into_iter().fold(stored, field);
    if field(privileges, "NoNewPrivileges").is_null() {
        paths.retain(|path| !path.starts_with("TaskTemplate.ContainerSpec.Privileges."));
    }
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
        // An empty value may be left out.
        (Value::Null, _) => {}
        (Value::Array(asked), Value::Null) if asked.is_empty() => {}
        _ => dropped.push(path.to_owned()),
    }
}

/// Returns a field by its name, ignoring case, because engines and their API description spell `HealthCheck`
/// differently.
fn field<'a>(object: &'a Value, name: &str) -> &'a Value {
    let fields = object.as_object().into_iter().flatten();
    fields
        .filter(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
        .next()
        .unwrap_or(&Value::Null)
}

/// Returns the capabilities to add. A list that is empty would be missing when the service is read back.
fn capabilities(grade: SandboxGrade) -> Option<Vec<String>> {
    let names: Vec<_> = grade.capabilities().iter().map(|name| format!("CAP_{name}")).collect();
    (!names.is_empty()).then_some(names)
}

/// Returns the mounts of a container. A writable one has its volumes as Docker makes them, each a copy of the
/// image's content; another one has places in memory.
fn mounts(grade: SandboxGrade, volumes: &[String], further: &[String], tmpfs_mib: u64) -> Vec<Mount> {
    let Some(places) = grade.places_in_memory() else {
        // The engine copies a volume's content, and a volume within another one's content would be copied twice.
        let is_within =
            |path: &str, outer: &str| path.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'));
        let is_nested = |path: &str| volumes.iter().any(|outer| is_within(path, outer));
        return volumes.iter().filter(|path| !is_nested(path)).map(|path| volume(path)).collect();
    };
    let mut paths: Vec<&str> = Vec::new();
    let named = volumes.iter().chain(further).map(String::as_str);
    for path in places.into_iter().chain(named) {
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    paths.into_iter().map(|path| tmpfs(path, tmpfs_mib)).collect()
}

/// Returns a volume without a name, which the engine removes with the container.
fn volume(path: &str) -> Mount {
    Mount { typ: Some(MountType::VOLUME), target: Some(path.to_owned()), ..Default::default() }
}

fn tmpfs(path: &str, mib: u64) -> Mount {
    Mount {
        typ: Some(MountType::TMPFS),
        target: Some(path.to_owned()),
        tmpfs_options: Some(MountTmpfsOptions { size_bytes: Some(to_i64(mib * MIB)), ..Default::default() }),
        ..Default::default()
    }
}

fn ulimit(name: &str, limit: i64) -> ResourcesUlimits {
    ResourcesUlimits { name: Some(name.to_owned()), soft: Some(limit), hard: Some(limit) }
}

fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[expect(clippy::cast_possible_truncation, reason = "a float's conversion saturates")]
fn nano_cpus(cpus: f64) -> i64 {
    (cpus * 1e9) as i64
}

#[cfg(test)]
mod tests {
    use super::super::{NetworkId, NodeId};
    use super::*;

    fn deployment() -> Deployment {
        Deployment {
            name: "muster-v-1-1".into(),
            image: "docker.io/ada/app@sha256:00".into(),
            labels: [("muster.slot".to_owned(), "s".to_owned())].into(),
            overridden: vec!["traefik.enable".to_owned(), "muster.slot".to_owned()],
            node: NodeId::new("n1"),
            network: NetworkId::new("net1"),
            grade: SandboxGrade::Bare,
            volumes: vec!["/data".into(), "/tmp".into()],
            writable: vec!["/opt/app".into()],
            limits: domain::Challenge::birthday().limits,
        }
    }

    fn container(grade: SandboxGrade) -> TaskSpecContainerSpec {
        let spec = service_spec(&Deployment { grade, ..deployment() });
        spec.task_template.unwrap().container_spec.unwrap()
    }

    #[test]
    fn below_the_writable_grade_every_writable_place_is_a_bounded_tmpfs() {
        for grade in [SandboxGrade::Bare, SandboxGrade::ReadOnly] {
            let container = container(grade);
            assert_eq!(container.read_only, Some(true));
            let mounts = container.mounts.unwrap();
            let targets: Vec<_> = mounts.iter().map(|mount| mount.target.as_deref().unwrap()).collect();
            for place in grade.places_in_memory().unwrap().into_iter().chain(["/data", "/opt/app"]) {
                assert_eq!(
                    targets.iter().filter(|target| **target == place).count(),
                    1,
                    "{place}: {targets:?}"
                );
            }
            let bounded = |mount: &Mount| {
                mount.typ == Some(MountType::TMPFS)
                    && mount.tmpfs_options.as_ref().and_then(|options| options.size_bytes) == Some(16 << 20)
            };
            assert!(mounts.iter().all(bounded));
        }
    }

    #[test]
    fn a_writable_container_has_its_volumes_as_docker_makes_them() {
        let volumes = ["/data", "/data/db/x", "/database", "/tmp"].map(str::to_owned).to_vec();
        let spec = service_spec(&Deployment { grade: SandboxGrade::Writable, volumes, ..deployment() });
        let container = spec.task_template.unwrap().container_spec.unwrap();
        assert_eq!(container.read_only, None);
        let mounts = container.mounts.unwrap();
        let targets: Vec<_> = mounts.iter().map(|mount| mount.target.as_deref().unwrap()).collect();
        assert_eq!(targets, ["/data", "/database", "/tmp"]);
        assert!(mounts.iter().all(|mount| mount.typ == Some(MountType::VOLUME) && mount.source.is_none()));
    }

    #[test]
    fn no_label_of_an_image_has_a_value() {
        let labels = container(SandboxGrade::ReadOnly).labels.unwrap();
        let expected = [("traefik.enable", ""), ("muster.slot", "s")];
        assert_eq!(labels, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }

    #[test]
    fn a_bare_container_has_no_capabilities() {
        assert_eq!(container(SandboxGrade::Bare).capability_add, None);
        for grade in [SandboxGrade::ReadOnly, SandboxGrade::Writable] {
            let container = container(grade);
            assert_eq!(container.capability_drop.unwrap(), ["ALL"]);
            assert_eq!(container.capability_add.unwrap().len() as u32, CAPABILITY_BITS.count_ones());
        }
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
        task["ContainerSpec"]["Privileges"]["Seccomp"] = Value::Null;
        task["Resources"]["Limits"].as_object_mut().unwrap().remove("Pids");
        let mut named = dropped(&asked, &stored);
        named.sort();
        assert_eq!(
            named,
            [
                "TaskTemplate.ContainerSpec.CapabilityDrop",
                "TaskTemplate.ContainerSpec.Mounts",
                "TaskTemplate.ContainerSpec.Privileges.Seccomp.Mode",
                "TaskTemplate.ContainerSpec.Privileges.Seccomp.Profile",
                "TaskTemplate.ContainerSpec.ReadOnly",
                "TaskTemplate.Resources.Limits.Pids",
            ]
        );
        // An engine before API 1.44 knows neither privilege.
        stored["TaskTemplate"]["ContainerSpec"]["Privileges"] = Value::Null;
        assert!(!dropped(&asked, &stored).iter().any(|path| path.contains("Privileges")));
    }
}
