//! The nodes that participants' containers run on, each looked at from inside a
//! container of ours that is made as theirs are.

use verifier::admission::{Check, CheckState, InspectError, InspectSwarmError, InspectedNode, inspect_swarm};

use super::Finding;
use crate::config::Settings;

pub(super) async fn examine(settings: &Settings) -> Vec<Finding> {
    let certificates = settings.swarm_certificates.as_deref();
    match inspect_swarm(&settings.swarm, certificates, &settings.challenge.limits).await {
        Ok(nodes) => nodes.into_iter().flat_map(of_node).collect(),
        // The engines have said the rest.
        Err(InspectSwarmError::Engine(_)) => Vec::new(),
        Err(InspectSwarmError::Swarm(why)) => {
            vec![Finding::unseen(format!("nodes: {why}"), "make a manager answer, then ask again")]
        }
    }
}

fn of_node(InspectedNode { name, inspection }: InspectedNode) -> Vec<Finding> {
    match inspection {
        Ok(checks) => checks.into_iter().map(|check| of_check(&name, check)).collect(),
        Err(why @ InspectError::OutOfReach) => {
            let cure = "it is used unchecked; name its engine in --swarm, too, and it is checked";
            vec![Finding::unseen(format!("{name}: {why}"), cure)]
        }
        Err(InspectError::Failed(why)) => {
            vec![Finding::missing(format!("{name}: {why}"), "it gets no work; read its engine's log")]
        }
    }
}

fn of_check(node: &str, check: Check) -> Finding {
    let Check { item, state, found, wanted, cure } = check;
    match state {
        CheckState::Holds => Finding::ok(format!("{node}: {item}: {found}")),
        CheckState::Advised => Finding::warn(format!("{node}: {item}: {found}; better {wanted}"), cure),
        CheckState::Lacking => Finding::missing(format!("{node}: {item}: {found}; wanted {wanted}"), cure),
        CheckState::NotSeen => Finding::unseen(format!("{node}: {item}; wanted {wanted}"), cure),
    }
}
