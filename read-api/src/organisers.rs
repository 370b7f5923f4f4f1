//! The routes that need the organiser's token.

pub(crate) mod history;
pub(crate) mod history_filter;
mod history_start;
pub(crate) mod overview;
pub(crate) mod sandbox;
