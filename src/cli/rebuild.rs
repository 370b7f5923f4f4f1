//! `muster rebuild`: builds the views in MongoDB again from the log, beside the old ones, and then replaces them.

use std::cell::Cell;
use std::time::Duration;

use event_store::Position;
use projections::{MongoViews, RebuildError};
use tokio::time::Instant;

use super::bar::LogProgressBar;
use super::error::CliError;
use super::{Exit, fail_with};
use crate::config::{Settings, ViewsLocation, ViewsOptions};
use crate::event_log::EventLog;

/// The period of progress lines if no terminal shows the bar.
const REPORT_PERIOD: Duration = Duration::from_secs(10);

/// Builds the views in MongoDB again from the log, while they are in use.
///
/// Readers see the old views until the new ones have caught up. No process has to
/// be restarted. If the rebuild is interrupted, the old views stay, and the next
/// rebuild removes the unfinished ones. Views in memory need no rebuild, because
/// each start builds them.
///
/// Views that follow another log are refused, unless --other-log says that this log
/// is the right one: after it was restored from an older copy, for example.
///
/// Exit codes: 0 done, 1 failed, 2 a setting is wrong, 3 the log or MongoDB
/// cannot be reached.
#[derive(Debug, clap::Args)]
pub(super) struct RebuildCommand {
    /// Build the views although they follow another log so far, or this one before it was restored
    #[arg(long)]
    other_log: bool,

    #[command(flatten)]
    options: ViewsOptions,
}

impl RebuildCommand {
    pub(super) async fn run(self) -> Exit {
        let settings = match Settings::read(&self.options) {
            Ok(settings) => settings,
            Err(why) => return fail_with(why, Exit::Refused),
        };
        match rebuild(settings, self.other_log).await {
            Ok(()) => Exit::Success,
            Err(failure) => failure.fail(),
        }
    }
}

async fn rebuild(settings: Settings, other_log: bool) -> Result<(), CliError> {
    let ViewsLocation::Mongo(address) = settings.views else {
        return Err(CliError::refused(
            "views in memory are built at each start, so there is nothing to rebuild; \
             name the views in MongoDB with --views mongodb://… or MUSTER_VIEWS",
        ));
    };
    let views = MongoViews::open(&address)
        .await
        .map_err(|error| CliError::refused(format!("the setting views (--views, MUSTER_VIEWS): {error}")))?;
    let log = EventLog::open(&settings.eventstore, &settings.data).await.map_err(|error| {
        let hint = "if another process has opened the log, name the address where it serves the log, with --eventstore esdb://…";
        CliError::failed(format!("{error:#}; {hint}"))
    })?;
    let rebuilt = rebuild_from(&log, &views, other_log).await;
    log.close().await;
    rebuilt
}

async fn rebuild_from(log: &EventLog, views: &MongoViews, other_log: bool) -> Result<(), CliError> {
    let (store, began) = (log.store(), Instant::now());
    let head = store.head().await?;
    let bar = LogProgressBar::new(0, head.0, false);
    let reported = Cell::new(began);
    let progress = |position: Position| {
        bar.at(position.0);
        if bar.is_hidden() && reported.get().elapsed() > REPORT_PERIOD {
            eprintln!("rebuilding: position {position} of {head}");
            reported.set(Instant::now());
        }
    };
    let rebuilt = views.rebuild(&*store, other_log, progress).await;
    bar.end();
    let upto = rebuilt?;
    println!("rebuilt the views up to position {upto} in {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}

impl From<RebuildError> for CliError {
    fn from(error: RebuildError) -> Self {
        match error {
            RebuildError::Read(error) => error.into(),
            RebuildError::Mongo(_) => Self::unreachable(error.to_string()),
            RebuildError::OtherLog(_) | RebuildError::Overtaken => Self::failed(error.to_string()),
        }
    }
}
