//! The verifier against the real parts: engines in Swarm mode, a registry, and images with every behaviour.

mod admission;
mod elastic;
mod faults;
mod flood;
mod killed;
mod kinds;
mod newer;
mod private;
mod rivals;
mod sandbox;
mod stage;
mod three;
mod tls;
mod untrusting;
mod waiting;
