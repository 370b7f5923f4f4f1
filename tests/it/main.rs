//! Tests of the whole system, and of the rules for its source code.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod accepting;
mod backups;
mod browser;
mod cli;
mod deploy;
mod edge;
mod eventstore;
mod fences;
mod history;
#[path = "../hostile/mod.rs"]
mod hostile;
#[path = "../images/mod.rs"]
mod images;
mod janitor;
mod language;
mod monitoring;
mod openapi;
mod readers;
mod roles;
mod running;
mod several;
mod support;
mod trying;
mod verifying;
mod views;
