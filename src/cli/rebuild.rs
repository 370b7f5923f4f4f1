//! `muster rebuild`: the views in MongoDB made anew from the log, beside the
//! old ones, which are read until the new ones are there.

use std::cell::Cell;
use std::time::Duration;

use event_store::Position;
use projections::{MongoViews, RebuildError};
use tokio::time::Instant;

use super::bar::LogProgressBar;
use super::replay::CliError;
use super::{Exit, fail_with};
use crate::config::{Settings, ViewsLocation, ViewsOptions};
use crate::event_log::EventLog;

/// How often a pipe is told how far it is.
const TOLD: Duration = Duration::from_secs(10);

/// Makes the views in MongoDB anew from the log, while they are read.
///
/// Readers see the old views until the new ones have caught up, and then those;
/// no process has to be started again. What is cut short leaves the old views
/// as they are, and is swept by the next rebuild. Views in memory are made
/// anew at each start.
///
/// Exit codes: 0 done, 1 it failed, 2 a setting is wrong, 3 the log or MongoDB
/// cannot be reached.
#[derive(Debug, clap::Args)]
pub(super) struct RebuildCommand {
    #[command(flatten)]
    options: ViewsOptions,
}

impl RebuildCommand {
    pub(super) async fn run(self) -> Exit {
        let settings = match Settings::read(&self.options) {
            Ok(settings) => settings,
            Err(why) => return fail_with(why, Exit::Refused),
        };
        match rebuild(settings).await {
            Ok(()) => Exit::Success,
            Err(failure) => failure.fail_with(),
        }
    }
}

async fn rebuild(settings: Settings) -> Result<(), CliError> {
    let ViewsLocation::Mongo(address) = settings.views else {
        return Err(CliError::refused(
            "views in memory are made anew from the log at each start, so there is nothing to rebuild; \
             name others with --views mongodb://… or MUSTER_VIEWS",
        ));
    };
    let views = MongoViews::open(&address)
        .await
        .map_err(|error| CliError::refused(format!("the setting views (--views, MUSTER_VIEWS): {error}")))?;
    let log = EventLog::open(&settings.eventstore).await.map_err(|error| {
        let hint = "is another process at it? Then name where it serves it, with --eventstore esdb://…";
        CliError::failed(format!("{error:#}; {hint}"))
    })?;
    let rebuilt = rebuild_from(&log, &views).await;
    log.close().await;
    rebuilt
}

async fn rebuild_from(log: &EventLog, views: &MongoViews) -> Result<(), CliError> {
    let (store, began) = (log.store(), Instant::now());
    let head = store.head().await?;
    let bar = LogProgressBar::new(0, head.0, false);
    let told = Cell::new(began);
    let progress = |position: Position| {
        bar.at(position.0);
        if bar.is_hidden() && told.get().elapsed() > TOLD {
            eprintln!("at {position} of {head}");
            told.set(Instant::now());
        }
    };
    let rebuilt = views.rebuild(&*store, progress).await;
    bar.end();
    let upto = rebuilt?;
    println!("the views are new, up to position {upto}, after {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}

impl From<RebuildError> for CliError {
    fn from(error: RebuildError) -> Self {
        match error {
            RebuildError::Read(error) => error.into(),
            RebuildError::Mongo(_) => Self::unreachable(error.to_string()),
            RebuildError::OtherLog { .. } | RebuildError::Overtaken => Self::failed(error.to_string()),
        }
    }
}
