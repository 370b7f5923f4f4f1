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

use self::people::People;
use self::row::Row;
use self::sink::{Entry, Format, Sink};
use super::bar::Bar;
use super::client::{ClientError, Server, Token};
use super::{Exit, fail_with};
use crate::config::{EventLogOptions, Settings};
use crate::event_log::EventLog;

pub(super) use self::source::{Item, Source, Wanted};

/// Writes out what happened, oldest first.
///
/// Reads the log of the settings, or with --server that of a running Muster.
/// An --output that is there is continued after its last event.
///
/// Exit codes: 0 done, 1 it failed, 2 what was asked for is wrong, 3 the log
/// or the server cannot be reached.
#[derive(Debug, clap::Args)]
pub(super) struct Replay {
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
    #[arg(long, value_enum, default_value_t = Format::Ndjson)]
    format: Format,

    /// Where to [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// From a running Muster instead of the log itself: http://127.0.0.1:8080
    #[arg(long, value_name = "URL")]
    server: Option<Server>,

    #[command(flatten)]
    token: Token,

    #[command(flatten)]
    log: EventLogOptions,
}

/// Why a command ends before its time, and how.
#[derive(Debug)]
pub(super) struct Failure {
    why: String,
    exit: Exit,
}

impl Replay {
    pub(super) async fn run(self) -> Exit {
        match self.replay().await {
            Ok(()) => Exit::Success,
            Err(failure) => failure.fail_with(),
        }
    }

    async fn replay(self) -> Result<(), Failure> {
        if self.follow && self.format == Format::Parquet {
            return Err(Failure::refused(
                "Parquet has an end, and --follow has none; choose another --format",
            ));
        }
        let (sink, last) = Sink::open(self.format, self.output.as_deref())?;
        let wanted = Wanted {
            kinds: self.r#type,
            stream: self.stream.filter(|stream| !stream.is_empty()),
            owner: self.owner.filter(|owner| !owner.is_empty()),
            since: self.since,
            until: self.until,
            after: last.unwrap_or(self.after),
            follow: self.follow,
        };
        let source = match self.server {
            Some(server) => Source::Server(server.client()?, self.token),
            None => {
                let settings = Settings::read(&self.log).map_err(|why| Failure::refused(why.to_string()))?;
                let log = EventLog::open(&settings.eventstore).await;
                Source::Log(log.map_err(|error| {
                    let hint = "is it up? Then ask it with --server http://127.0.0.1:8080 --token SECRET";
                    Failure::failed(format!("{error:#}; {hint}"))
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
    source: &Source,
    wanted: Wanted,
    format: Format,
    mut sink: Sink,
    quiet: bool,
) -> Result<(), Failure> {
    let bar = Bar::new(wanted.after, source.head().await?, quiet);
    let mut people = People::default();
    // A server has looked at the owner.
    let owner = wanted.owner.clone().filter(|_| matches!(source, Source::Log(_)));
    let follow = wanted.follow;
    let mut lines = source.lines(wanted);
    while let Some(item) = lines.next().await {
        let line = match item? {
            Item::Line(line) => line,
            Item::Upto(position) => {
                bar.at(position);
                continue;
            }
        };
        if !format.is_flat() && owner.is_none() {
            sink.write(Entry::Line(&line))?;
        } else {
            let event = line.event()?;
            let who = people.of(source, &line, event.as_ref()).await?;
            if owner.as_ref().is_some_and(|owner| who.as_ref().is_none_or(|who| who.owner != *owner)) {
                continue;
            }
            match format.is_flat() {
                true => sink.write(Entry::Row(&Row::new(&line, event.as_ref(), who.as_deref())))?,
                false => sink.write(Entry::Line(&line))?,
            }
        }
        if follow {
            sink.flush()?;
        }
    }
    bar.end();
    Ok(sink.finish()?)
}

impl Failure {
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

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self { exit: error.exit(), why: error.to_string() }
    }
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self::failed(why)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe => Self { why: String::new(), exit: Exit::Success },
            _ => Self::failed(format!("it cannot be written: {error}")),
        }
    }
}
