//! The system under test: the real program as a process of its own, on a real
//! Swarm, spoken to over HTTP only.

pub(crate) mod browser;
pub(crate) mod entry;
pub(crate) mod system;

pub(crate) use entry::{Entry, Kind};
pub(crate) use system::{Shape, System};
