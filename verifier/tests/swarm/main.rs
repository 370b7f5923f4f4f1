//! The verifier against the real parts: engines in Swarm mode, a registry, and
//! images that behave in every way.

mod killed;
mod kinds;
mod sandbox;
mod stage;
mod three;
mod waiting;
