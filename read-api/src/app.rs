//! The state that the handlers share.

use std::sync::Arc;

use event_store::{Read, Subscribe};
use http_edge::{HoldsToken, Metrics, OrganiserToken, Problem};
use projections::ViewQueries;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::map::feed::LiveFeed;
use crate::map::tiles::Tiles;
use crate::parameters;
use crate::past::PastViews;
use crate::sse::{ReaderLimits, Readers};
use crate::submissions::reader::SubmissionReader;

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
    pub token: Option<OrganiserToken>,
    /// Why nothing is verified just now, in a sentence for participants;
    /// `None` while all is well.
    pub platform: watch::Receiver<Option<String>>,
    /// Where readers are counted; [`http_edge::server_routes`] takes the same.
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
    pub(crate) token: Option<OrganiserToken>,
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

impl HoldsToken for App {
    fn token(&self) -> Option<&OrganiserToken> {
        self.token.as_ref()
    }
}
