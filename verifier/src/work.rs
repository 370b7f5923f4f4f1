//! The work on submissions: claims the next one, runs its images in a slot, probes them, and reports each
//! step as a command.

mod attempt;
mod explanation;
mod image_look;
mod journal;
mod loaded_stream;
mod newest_runs;
mod probe;
mod pull_ahead;
mod queue;
mod run;
mod run_ledger;
mod slot_run;
pub mod trial;

pub(crate) use attempt::AttemptRunner;
pub(crate) use pull_ahead::NodePulls;
pub(crate) use run::WorkLoop;
pub(crate) use slot_run::RunContext;
