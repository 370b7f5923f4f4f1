//! The progress bar of a command that reads the log. Only a terminal shows it, and only if the work takes a while.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

/// Work that ends sooner shows no bar.
const SHOW_AFTER: Duration = Duration::from_secs(1);

/// The progress through the positions of the log.
pub(super) struct LogProgressBar {
    bar: ProgressBar,
    since: Instant,
    quiet: bool,
}

impl LogProgressBar {
    /// Begins between two positions. A `quiet` bar is never shown.
    pub(super) fn new(from: u64, to: u64, quiet: bool) -> Self {
        let style =
            ProgressStyle::with_template("{bar:30} {percent}% of {len} events, {per_sec}, {eta} left");
        let bar = ProgressBar::with_draw_target(Some(to), ProgressDrawTarget::hidden()).with_position(from);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.reset_eta();
        Self { bar, since: Instant::now(), quiet }
    }

    /// Records that everything up to `position` is done.
    pub(super) fn at(&self, position: u64) {
        if self.bar.is_hidden()
            && !self.quiet
            && self.since.elapsed() > SHOW_AFTER
            && io::stderr().is_terminal()
        {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_position(position);
    }

    pub(super) fn is_hidden(&self) -> bool {
        self.bar.is_hidden()
    }

    /// Removes the bar from the terminal.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
