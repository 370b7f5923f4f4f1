//! The bar of a command that works through the log: on a terminal, once it is
//! worth it.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

/// What is done sooner needs no bar.
const LONG: Duration = Duration::from_secs(1);

/// How far of the log.
pub(super) struct LogProgressBar {
    bar: ProgressBar,
    since: Instant,
    quiet: bool,
}

impl LogProgressBar {
    /// From one position to another; never shown when `quiet`.
    pub(super) fn new(from: u64, to: u64, quiet: bool) -> Self {
        let style =
            ProgressStyle::with_template("{bar:30} {percent}% of {len} events, {per_sec}, {eta} left");
        let bar = ProgressBar::with_draw_target(Some(to), ProgressDrawTarget::hidden()).with_position(from);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.reset_eta();
        Self { bar, since: Instant::now(), quiet }
    }

    /// Everything up to `position` is done.
    pub(super) fn at(&self, position: u64) {
        // Shown from then on; never where standard error is no terminal.
        if self.bar.is_hidden() && !self.quiet && self.since.elapsed() > LONG && io::stderr().is_terminal() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_position(position);
    }

    /// Whether nobody sees it.
    pub(super) fn is_hidden(&self) -> bool {
        self.bar.is_hidden()
    }

    /// Leaves no trace.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
