//! `muster replay`: what happened, event by event, for the tools of analysts.

mod line;
mod parquet;
mod people;
mod row;
mod sink;
mod source;

use std::fmt;
use std::io::{self, ErrorKind, IsTerminal};
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use futures::StreamExt;
use jiff::Timestamp;

use self::people::SubmitterCache;
use self::row::EventRow;
use self::sink::{HistorySink, OutputFormat, SinkEntry};
use super::bar::LogProgressBar;
use super::client::{ClientError, ServerOption, TokenOption};
use super::{Exit, fail_with};
use crate::config::{EventLogOptions, Settings};
use crate::event_log::EventLog;

pub(super) use self::source::{HistoryItem, HistoryQuery, HistorySource};

/// Writes out what happened, oldest first.
///
/// Reads the log of the settings, or with --server that of a running Muster.
/// An --output that is there is continued after its last event.
///
/// Exit codes: 0 done, 1 it failed, 2 what was asked for is wrong, 3 the log
/// or the server cannot be reached.
#[derive(Debug, clap::Args)]
pub(super) struct ReplayCommand {
    /// Only events of this type; several with commas, or given again
    #[arg(long, value_name = "TYPE", value_delimiter = ',',
        value_parser = PossibleValuesParser::new(domain::kinds()), hide_possible_values = true)]
    r#type: Vec<String>,

    /// Only streams that begin so: submission-ID
    #[arg(long, value_name = "PREFIX")]
    stream: Option<String>,

    /// Only submissions of this registry namespace: docker.io/alice
    #[arg(long)]
    owner: Option<String>,

    /// Only what was recorded at this moment or later: 2026-03-21T12:00:00Z
    #[arg(long, value_name = "MOMENT")]
    since: Option<Timestamp>,

    /// Only what was recorded before this moment
    #[arg(long, value_name = "MOMENT")]
    until: Option<Timestamp>,

    /// Only what stands after this position
    #[arg(long, value_name = "POSITION", default_value_t = 0)]
    after: u64,

    /// Then go on with what comes, as it comes
    #[arg(long)]
    follow: bool,

    /// In which form
    #[arg(long, value_enum, default_value_t = OutputFormat::Ndjson)]
    format: OutputFormat,

    /// Where to [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// From a running Muster instead of the log itself: http://127.0.0.1:8080
    #[arg(long, value_name = "URL")]
    server: Option<ServerOption>,

    #[command(flatten)]
    token: TokenOption,

    #[command(flatten)]
    log: EventLogOptions,
}

/// Why a command ends before its time, and how.
#[derive(Debug)]
pub(super) struct CliError {
    why: String,
    exit: Exit,
}

impl ReplayCommand {
    pub(super) async fn run(self) -> Exit {
        match self.replay().await {
            Ok(()) => Exit::Success,
            Err(failure) => failure.fail_with(),
        }
    }

    async fn replay(self) -> Result<(), CliError> {
        if self.follow && self.format == OutputFormat::Parquet {
            return Err(CliError::refused(
                "Parquet has an end, and --follow has none; choose another --format",
            ));
        }
        let (sink, last) = HistorySink::open(self.format, self.output.as_deref())?;
        let wanted = HistoryQuery {
            kinds: self.r#type,
            stream: self.stream.filter(|stream| !stream.is_empty()),
            owner: self.owner.filter(|owner| !owner.is_empty()),
            since: self.since,
            until: self.until,
            after: last.unwrap_or(self.after),
            follow: self.follow,
        };
        let source = match self.server {
            Some(server) => HistorySource::Server(server.client()?, self.token),
            None => {
                let settings = Settings::read(&self.log).map_err(|why| CliError::refused(why.to_string()))?;
                let log = EventLog::open(&settings.eventstore).await;
                HistorySource::Log(log.map_err(|error| {
                    let hint = "is it up? Then ask it with --server http://127.0.0.1:8080 --token SECRET";
                    CliError::failed(format!("{error:#}; {hint}"))
                })?)
            }
        };
        let quiet = self.follow || (self.output.is_none() && io::stdout().is_terminal());
        let written = write_out(&source, wanted, self.format, sink, quiet).await;
        source.close().await;
        match written {
            // Whoever read it has read enough.
            Err(failure) if failure.exit == Exit::Success => Ok(()),
            written => written,
        }
    }
}

/// From the source into the sink, one event at a time.
async fn write_out(
    source: &HistorySource,
    wanted: HistoryQuery,
    format: OutputFormat,
    mut sink: HistorySink,
    quiet: bool,
) -> Result<(), CliError> {
    let bar = LogProgressBar::new(wanted.after, source.head().await?, quiet);
    let mut people = SubmitterCache::default();
    // A server has looked at the owner.
    let owner = wanted.owner.clone().filter(|_| matches!(source, HistorySource::Log(_)));
    let follow = wanted.follow;
    let mut lines = source.lines(wanted);
    while let Some(item) = lines.next().await {
        let line = match item? {
            HistoryItem::Line(line) => line,
            HistoryItem::Upto(position) => {
                bar.at(position);
                continue;
            }
        };
        if !format.is_flat() && owner.is_none() {
            sink.write(SinkEntry::Line(&line))?;
        } else {
            let event = line.event()?;
            let who = people.of(source, &line, event.as_ref()).await?;
            if owner.as_ref().is_some_and(|owner| who.as_ref().is_none_or(|who| who.owner != *owner)) {
                continue;
            }
            match format.is_flat() {
                true => sink.write(SinkEntry::Row(&EventRow::new(&line, event.as_ref(), who.as_deref())))?,
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

impl CliError {
    pub(super) fn refused(why: impl Into<String>) -> Self {
        Self { why: why.into(), exit: Exit::Refused }
    }

    pub(super) fn unreachable(why: impl Into<String>) -> Self {
        Self { why: why.into(), exit: Exit::Unreachable }
    }

    pub(super) fn failed(why: impl Into<String>) -> Self {
        Self { why: why.into(), exit: Exit::Failed }
    }

    /// Says why, and how the command ends.
    pub(super) fn fail_with(self) -> Exit {
        fail_with(&self.why, self.exit)
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        Self { exit: error.exit(), why: error.to_string() }
    }
}

impl From<String> for CliError {
    fn from(why: String) -> Self {
        Self::failed(why)
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe => Self { why: String::new(), exit: Exit::Success },
            _ => Self::failed(format!("it cannot be written: {error}")),
        }
    }
}
