//! The place where participants' images run: nodes that were inspected, slots on
//! them, and the tasks of the Swarm that run in the slots.

pub mod admission;
pub(crate) mod report;
pub(crate) mod slots;
pub(crate) mod tasks;
