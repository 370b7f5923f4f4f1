//! The queue, claims, Swarm, slots, the probe relay.

pub mod relay;
