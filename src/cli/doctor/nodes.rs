//! The nodes that participants' containers run on, each looked at from inside a
//! container of ours that is made as theirs are.

use verifier::admission::{Check, CheckState, InspectError, InspectSwarmError, InspectedNode, inspect_swarm};

use super::DoctorFinding;
use crate::config::Settings;

pub(super) async fn examine(settings: &Settings) -> Vec<DoctorFinding> {
    let certificates = settings.swarm_certificates.as_deref();
    match inspect_swarm(&settings.swarm, certificates, &settings.challenge.limits).await {
        Ok(nodes) => nodes.into_iter().flat_map(of_node).collect(),
        // The engines have said the rest.
        Err(InspectSwarmError::Engine(_)) => Vec::new(),
        Err(InspectSwarmError::Swarm(why)) => {
            vec![DoctorFinding::unseen(format!("nodes: {why}"), "make a manager answer, then ask again")]
        }
    }
}

fn of_node(InspectedNode { name, inspection }: InspectedNode) -> Vec<DoctorFinding> {
    match inspection {
        Ok(checks) => checks.into_iter().map(|check| of_check(&name, check)).collect(),
        Err(why @ InspectError::OutOfReach) => {
            let cure = "it is used unchecked; name its engine in --swarm, too, and it is checked";
            vec![DoctorFinding::unseen(format!("{name}: {why}"), cure)]
        }
        Err(InspectError::Failed(why)) => {
            vec![DoctorFinding::missing(format!("{name}: {why}"), "it gets no work; read its engine's log")]
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
