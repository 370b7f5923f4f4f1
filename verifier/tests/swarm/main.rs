//! The verifier against the real parts: engines in Swarm mode, a registry, and
//! images that behave in every way.

mod admission;
mod faults;
mod killed;
mod kinds;
mod private;
mod sandbox;
mod stage;
mod three;
mod tls;
mod waiting;
