//! Checks the nodes that run participants' containers. The inspector looks at each of them from inside a container that
//! is made like a participant's.

use verifier::admission::{Check, CheckState, InspectError, InspectSwarmError, InspectedNode, inspect_swarm};

use super::DoctorFinding;
use crate::config::Settings;

pub(super) async fn examine(settings: &Settings) -> Vec<DoctorFinding> {
    let certificates = settings.swarm_certificates.as_deref();
    match inspect_swarm(&settings.swarm, certificates, &settings.challenge).await {
        Ok(nodes) => nodes.into_iter().flat_map(of_node).collect(),
        // The check of the engine has reported this error already.
        Err(InspectSwarmError::Engine(_)) => Vec::new(),
        Err(InspectSwarmError::Swarm(why)) => {
            vec![DoctorFinding::unseen(
                format!("nodes: {why}"),
                "make sure that a manager answers, and run `muster doctor` again",
            )]
        }
    }
}

fn of_node(InspectedNode { name, inspection }: InspectedNode) -> Vec<DoctorFinding> {
    match inspection {
        Ok(sandbox) => sandbox.checks.into_iter().map(|check| of_check(&name, check)).collect(),
        Err(why @ InspectError::OutOfReach) => {
            let cure = "Muster uses this node without a check; name its engine in --swarm as well to have it checked";
            vec![DoctorFinding::unseen(format!("{name}: {why}"), cure)]
        }
        Err(InspectError::Failed(why)) => {
            vec![DoctorFinding::missing(
                format!("{name}: {why}"),
                "the node gets no work; read the log of its engine",
            )]
        }
    }
}

fn of_check(node: &str, check: Check) -> DoctorFinding {
    let Check { item, state, found, wanted, cure } = check;
    match state {
        CheckState::Holds => DoctorFinding::ok(format!("{node}: {item}: {found}")),
        CheckState::Advised => DoctorFinding::warn(format!("{node}: {item}: {found}; better {wanted}"), cure),
        CheckState::Lacking => {
            DoctorFinding::missing(format!("{node}: {item}: {found}; wanted {wanted}"), cure)
        }
        CheckState::NotSeen => DoctorFinding::unseen(format!("{node}: {item}; wanted {wanted}"), cure),
    }
}
