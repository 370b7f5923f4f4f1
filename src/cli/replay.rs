//! `muster replay`: exports the events of the log, for the tools of analysts.

mod line;
mod parquet;
mod row;
mod server_history;
mod sink;
mod source;
mod submitter;
mod submitter_cache;

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use event_store::EventFilter;
use futures::StreamExt;
use jiff::Timestamp;
use read_api::HistoryFilter;

use self::row::EventRow;
use self::sink::{HistorySink, OutputFormat, SinkEntry};
use self::submitter_cache::SubmitterCache;
use super::Exit;
use super::bar::LogProgressBar;
use super::client::{ServerOption, TokenOption};
use super::error::CliError;
use crate::config::{EventLogOptions, Settings};
use crate::event_log::EventLog;

pub(super) use self::source::{HistoryItem, HistoryQuery, HistorySource};

/// Exports the events of the log, oldest first.
///
/// Reads the log that the settings name, or with --server the log of a running
/// Muster. If the --output file exists, the export continues after its last event.
///
/// Exit codes: 0 done, 1 failed, 2 the request is wrong, 3 the log or the server
/// cannot be reached.
#[derive(Debug, clap::Args)]
pub(super) struct ReplayCommand {
    /// Event types to export, separated by commas, also of other writers [default: all]
    #[arg(long, value_name = "TYPE", value_delimiter = ',')]
    r#type: Vec<String>,

    /// Start of the names of the streams to export: submission-ID
    #[arg(long, value_name = "PREFIX")]
    stream: Option<String>,

    /// Registry namespace of the submissions to export: docker.io/alice
    #[arg(long)]
    owner: Option<String>,

    /// Short name of the venue whose submissions to export: berlin
    #[arg(long)]
    venue: Option<String>,

    /// Export events recorded at this moment or later: 2026-03-21T12:00:00Z
    #[arg(long, value_name = "MOMENT")]
    since: Option<Timestamp>,

    /// Export events recorded before this moment
    #[arg(long, value_name = "MOMENT")]
    until: Option<Timestamp>,

    /// Export events after this position
    #[arg(long, value_name = "POSITION", default_value_t = 0)]
    after: u64,

    /// Continue with new events as they are recorded
    #[arg(long)]
    follow: bool,

    /// Format of the output
    #[arg(long, value_enum, default_value_t = OutputFormat::Ndjson)]
    format: OutputFormat,

    /// Begin a CSV with a byte-order mark, by which Excel knows UTF-8
    #[arg(long)]
    excel: bool,

    /// Output file [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Address of a running Muster to read from, instead of the log: http://127.0.0.1:8080
    #[arg(long, value_name = "URL")]
    server: Option<ServerOption>,

    #[command(flatten)]
    token: TokenOption,

    #[command(flatten)]
    log: EventLogOptions,
}

impl ReplayCommand {
    pub(super) async fn run(self) -> Exit {
        match self.replay().await {
            Ok(()) => Exit::Success,
            Err(failure) => failure.fail(),
        }
    }

    async fn replay(self) -> Result<(), CliError> {
        if self.follow && self.format == OutputFormat::Parquet {
            return Err(CliError::refused(
                "a Parquet file must be finished, and --follow never finishes; choose another --format",
            ));
        }
        if self.excel && self.format != OutputFormat::Csv {
            return Err(CliError::refused("--excel is for CSV; add --format csv"));
        }
        for kind in self.r#type.iter().filter(|kind| domain::kinds().all(|known| known != kind.as_str())) {
            let known: Vec<&str> = domain::kinds().collect();
            eprintln!("{kind:?} is not one of Muster's types; these are {}", known.join(", "));
        }
        let (sink, last) = HistorySink::open(self.format, self.excel, self.output.as_deref())?;
        let stream_prefix = self.stream.filter(|stream| !stream.is_empty());
        let filter = HistoryFilter {
            events: EventFilter { kinds: self.r#type, stream_prefix, deletions: false },
            owner: self.owner.filter(|owner| !owner.is_empty()),
            venue: self.venue.filter(|venue| !venue.is_empty()),
            since: self.since,
            until: self.until,
        };
        let query = HistoryQuery {
            filter,
            after: last.as_ref().map_or(self.after, |last| last.position),
            after_id: last.as_ref().and_then(|last| last.id),
            follow: self.follow,
        };
        let source = match self.server {
            Some(server) => HistorySource::Server(server.client()?, self.token),
            None => {
                let settings = Settings::read(&self.log).map_err(|why| CliError::refused(why.to_string()))?;
                let log = EventLog::open(&settings.eventstore, &settings.data).await;
                HistorySource::Log(log.map_err(|error| {
                    let hint =
                        "if Muster runs, read from it with --server http://127.0.0.1:8080 --token SECRET";
                    CliError::failed(format!("{error:#}; {hint}"))
                })?)
            }
        };
        let quiet = self.follow || (self.output.is_none() && io::stdout().is_terminal());
        let written = async {
            if let Some(last) = &last {
                source.check(last).await?;
            }
            export(&source, query, self.format, sink, quiet).await
        };
        let written = written.await;
        source.close().await;
        match written {
            Err(failure) if failure.is_broken_pipe() => Ok(()),
            written => written,
        }
    }
}

/// Writes the events of the source into the sink, one at a time.
async fn export(
    source: &HistorySource,
    query: HistoryQuery,
    format: OutputFormat,
    mut sink: HistorySink,
    quiet: bool,
) -> Result<(), CliError> {
    let bar = LogProgressBar::new(query.after, source.head().await?, quiet);
    let mut submitters = SubmitterCache::default();
    // A server filters by owner and venue itself.
    let is_unfiltered = matches!(source, HistorySource::Log(_)) && query.filter.selects_submissions();
    let filter = is_unfiltered.then(|| query.filter.clone());
    let follow = query.follow;
    let mut lines = source.lines(query);
    while let Some(item) = lines.next().await {
        let line = match item? {
            HistoryItem::Line(line) => line,
            HistoryItem::Upto(position) => {
                bar.at(position);
                continue;
            }
        };
        if !format.is_flat() && filter.is_none() {
            sink.write(SinkEntry::Line(&line))?;
        } else {
            let event = line.event();
            let submitter = submitters.submitter(source, &line, event.as_ref()).await?;
            let is_taken = |filter| submitter.as_ref().is_some_and(|submitter| submitter.is_taken_by(filter));
            if !filter.as_ref().is_none_or(is_taken) {
                continue;
            }
            match format.is_flat() {
                true => {
                    sink.write(SinkEntry::Row(&EventRow::new(&line, event.as_ref(), submitter.as_deref())))?
                }
                false => sink.write(SinkEntry::Line(&line))?,
            }
        }
        if follow {
            sink.flush()?;
        }
    }
    bar.end();
    Ok(sink.finish()?)
}
