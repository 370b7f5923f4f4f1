//! The state that the handlers share.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use event_store::{Read, Subscribe};
use projections::ViewQueries;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::auth::Token;
use crate::map::feed::LiveFeed;
use crate::map::tiles::Tiles;
use crate::metrics::Metrics;
use crate::parameters;
use crate::past::PastViews;
use crate::problem::Problem;
use crate::sse::{ReaderLimits, Readers};
use crate::submissions::reader::SubmissionReader;

/// How long an ordinary answer may take.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// What the read API is made of.
#[derive(Clone)]
pub struct ReadApi {
    /// The views.
    pub queries: Arc<dyn ViewQueries>,
    /// The log, for history and for what the views have not seen yet.
    pub log: Arc<dyn Read>,
    /// The same log, to be followed.
    pub follow: Arc<dyn Subscribe>,
    /// The organisers' token; without one nothing of theirs is served.
    pub token: Option<Token>,
    /// Why nothing is verified just now, in a sentence for participants;
    /// `None` while all is well.
    pub platform: watch::Receiver<Option<String>>,
    /// Where readers are counted; [`crate::site`] takes the same.
    pub metrics: Metrics,
    /// Where the map's tiles come from; `None` for the map that the page brings along.
    pub tiles: Option<Tiles>,
    /// How many may listen to live streams.
    pub readers: ReaderLimits,
    /// Cancelled when the process is asked to stop: live streams end so that
    /// connections can.
    pub stopping: CancellationToken,
}

/// What the handlers share.
pub(crate) struct App {
    pub(crate) queries: Arc<dyn ViewQueries>,
    pub(crate) log: Arc<dyn Read>,
    pub(crate) follow: Arc<dyn Subscribe>,
    pub(crate) submissions: SubmissionReader,
    pub(crate) past: PastViews,
    pub(crate) token: Option<Token>,
    pub(crate) platform: watch::Receiver<Option<String>>,
    pub(crate) readers: Arc<Readers>,
    pub(crate) live: LiveFeed,
    pub(crate) tiles: Option<Tiles>,
    pub(crate) stopping: CancellationToken,
}

impl App {
    /// The state of a read API; starts the task that feeds the live streams.
    pub(crate) fn new(api: ReadApi) -> Self {
        Self {
            submissions: SubmissionReader::new(Arc::clone(&api.queries), Arc::clone(&api.log)),
            past: PastViews::new(Arc::clone(&api.log)),
            live: LiveFeed::start(Arc::clone(&api.queries), api.stopping.clone()),
            readers: Readers::new(api.readers, api.metrics),
            queries: api.queries,
            log: api.log,
            follow: api.follow,
            token: api.token,
            platform: api.platform,
            tiles: api.tiles,
            stopping: api.stopping,
        }
    }

    /// The views now, or at a moment of the past.
    pub(crate) async fn queries_at(&self, moment: Option<&str>) -> Result<Arc<dyn ViewQueries>, Problem> {
        match parameters::past(moment)? {
            None => Ok(Arc::clone(&self.queries)),
            Some(time) => self.past.at(time).await,
        }
    }
}

pub(crate) async fn within_deadline(request: Request, next: Next) -> Response {
    match tokio::time::timeout(ANSWER_DEADLINE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            Problem::unavailable("This takes too long just now; try again in a moment.").into_response()
        }
    }
}
