//! The sandbox, in which participants' images run: the admission of nodes, the slots on them, the Swarm's
//! tasks, and the reports about all of these.

pub mod admission;
pub(crate) mod report;
pub(crate) mod slots;
pub(crate) mod tasks;
