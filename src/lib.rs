//! Muster as a whole: the command line ([`cli`]), the settings ([`config`]),
//! and the parts put together ([`system`]) behind one HTTP server ([`server`]).
//! There are no rules here, only wiring.

pub mod cli;
pub mod config;
mod data;
mod event_log;
mod platform;
pub mod server;
pub mod system;
mod telemetry;
