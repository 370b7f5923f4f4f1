//! `muster stats`: shows the totals over all submissions, now or at a past moment.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, Write};

use jiff::Timestamp;
use projections::view::StatsView;

use super::Exit;
use super::client::ServerOption;
use super::terminal::printable;

/// Shows the totals over all submissions, one figure a line.
///
/// Exit codes: 0 done, 2 the request is wrong, 3 the server cannot be reached.
#[derive(Debug, clap::Args)]
pub(super) struct StatsCommand {
    /// Totals at this past moment: 2026-03-21T12:00:00Z
    #[arg(long, value_name = "MOMENT")]
    at: Option<Timestamp>,

    #[command(flatten)]
    server: ServerOption,
}

impl StatsCommand {
    pub(super) async fn run(self) -> Exit {
        let client = match self.server.client() {
            Ok(client) => client,
            Err(error) => return error.fail(),
        };
        match client.stats(self.at).await {
            Ok(stats) => {
                // If the reader went away, it needs no more lines.
                let _ = io::stdout().write_all(lines(&stats).as_bytes());
                Exit::Success
            }
            Err(error) => error.fail(),
        }
    }
}

fn lines(stats: &StatsView) -> String {
    let mut lines = String::new();
    let mut line = |label: &str, figure: &dyn Display| lines.push_str(&format!("{label}: {figure}\n"));
    for (status, count) in &stats.submissions {
        line(status.as_str(), count);
    }
    line("pins", &stats.pins);
    line("places", &stats.places);
    line("countries", &largest_first(&stats.countries));
    for (field, choices) in &stats.answers {
        line(&printable(field), &largest_first(choices));
    }
    let failures: BTreeMap<String, u64> =
        stats.failures.iter().map(|(code, n)| (code.as_str().to_owned(), *n)).collect();
    line("failed for", &largest_first(&failures));
    let faults: BTreeMap<String, u64> =
        stats.interruptions.iter().map(|(code, n)| (code.as_str().to_owned(), *n)).collect();
    line("interrupted for", &largest_first(&faults));
    for (part, waited) in [("half", stats.waited_ms_p50), ("95 in 100", stats.waited_ms_p95)] {
        if let Some(ms) = waited {
            line(
                &format!("seconds to a verdict, {part} at most"),
                &format_args!("{:.1}", ms as f64 / 1000.0),
            );
        }
    }
    line("position", &stats.position);
    lines
}

fn largest_first(counts: &BTreeMap<String, u64>) -> String {
    let mut counts: Vec<_> = counts.iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let texts = counts.iter().map(|(name, count)| format!("{} {count}", printable(name)));
    match texts.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "none".to_owned(),
        some => some,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_has_its_line() {
        let stats: StatsView = serde_json::from_value(serde_json::json!({
            "submissions": {"passed": 3, "failed": 1}, "pins": 2, "places": 1,
            "countries": {"CH": 1, "GB": 2}, "answers": {"vote": {"Rust": 2}},
            "failures": {"mismatch": 1}, "interruptions": {}, "passes_per_minute": [],
            "waited_ms_p50": 1500, "waited_ms_p95": null, "position": 9,
        }))
        .unwrap();
        let lines = lines(&stats);
        for line in ["passed: 3", "countries: GB 2, CH 1", "failed for: mismatch 1", "position: 9"] {
            assert!(lines.lines().any(|found| found == line), "{line} is not in\n{lines}");
        }
    }
}
