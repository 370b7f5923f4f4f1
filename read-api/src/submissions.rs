//! The routes about one submission, and the reader behind them.

pub(crate) mod events;
pub(crate) mod reader;
pub(crate) mod status;
