//! A node of the sandbox, derived from the managers' description of it.

use bollard::models::{Node, NodeSpecAvailabilityEnum, NodeState as StatusState};

use super::{NodeId, OthersOnNode, SwarmNode};
use crate::health::NodeState;

/// The first version of the engine that limits processes, capabilities and open files of services.
const ENGINE_MIN: (u32, u32) = (20, 10);

/// Returns the node, or `None` if the managers do not know its resources yet.
pub(super) fn sandbox_node(node: &Node) -> Option<SwarmNode> {
    let description = node.description.as_ref()?;
    let resources = description.resources.as_ref()?;
    let positive = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
    Some(SwarmNode {
        id: NodeId::new(node.id.clone()?),
        name: description.hostname.clone()?,
        milli_cpus: positive(resources.nano_cpus)? / 1_000_000,
        memory_mib: positive(resources.memory_bytes)? >> 20,
        state: node_state(node),
        engine: engine_version(node).to_owned(),
        address: node.status.as_ref().and_then(|status| status.addr.as_ref()?.parse().ok()),
        others: OthersOnNode::default(),
    })
}

fn node_state(node: &Node) -> NodeState {
    let description = node.description.as_ref();
    let platform = description.and_then(|description| description.platform.as_ref());
    let platform = platform.map(|platform| (platform.os.as_deref(), platform.architecture.as_deref()));
    if !matches!(platform, Some((Some("linux"), Some("x86_64" | "amd64")))) {
        return NodeState::Refused { why: "it does not run images for linux/amd64".to_owned() };
    }
    let version = engine_version(node);
    if !is_new_enough(version) {
        let why = format!("its engine {version:?} is too old to limit an app: update it to 20.10 or newer");
        return NodeState::Refused { why };
    }
    match node.spec.as_ref().and_then(|spec| spec.availability) {
        Some(NodeSpecAvailabilityEnum::ACTIVE) => {}
        Some(NodeSpecAvailabilityEnum::PAUSE) => return NodeState::Paused,
        _ => return NodeState::Drained,
    }
    match node.status.as_ref().and_then(|status| status.state) {
        Some(StatusState::READY) => NodeState::Ready,
        Some(StatusState::UNKNOWN) => NodeState::Unheard,
        _ => NodeState::Down,
    }
}

fn engine_version(node: &Node) -> &str {
    let engine = node.description.as_ref().and_then(|description| description.engine.as_ref());
    engine.and_then(|engine| engine.engine_version.as_deref()).unwrap_or_default()
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) >= ENGINE_MIN,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_cannot_protect_is_too_old() {
        for (version, fine) in
            [("20.10.24+dfsg1", true), ("29.0.1", true), ("19.03.15", false), ("dev", false)]
        {
            assert_eq!(is_new_enough(version), fine, "{version}");
        }
    }
}
