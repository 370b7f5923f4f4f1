//! The wiring of Muster: the command line ([`cli`]), the settings ([`config`]), and the parts of a process ([`system`])
//! behind one HTTP server ([`server`]). There are no rules of the domain here.

pub mod cli;
pub mod config;
mod data;
mod data_lock;
mod event_log;
mod gate_role;
mod platform;
mod queue_length;
pub mod server;
pub mod shutdown;
pub mod system;
mod telemetry;
mod views;
mod webhooks;
