//! The state that the handlers share.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use domain::SubmissionId;
use domain::challenge::Venues;
use domain::sandbox::ImageFetch;
use event_store::{Read, Subscribe};
use http_edge::{HoldsToken, Metrics, OrganiserToken, OrganiserTokens, Problem};
use projections::ViewQueries;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::map::feed::LiveFeeds;
use crate::map::tiles::MapTiles;
use crate::map::venues::VenueMaps;
use crate::parameters;
use crate::past::PastViews;
use crate::present::PresentViews;
use crate::readers::{LiveReaders, ReaderLimits};
use crate::submissions::reader::SubmissionReader;

/// The parts and settings that the read API is made of.
#[derive(Clone)]
pub struct ReadApi {
    pub queries: Arc<dyn ViewQueries>,
    /// The event log, for history and for events that the views have not applied yet.
    pub log: Arc<dyn Read>,
    /// The same log, for readers that follow it.
    pub subscribe: Arc<dyn Subscribe>,
    /// The organisers' token that all share. Without it, only tokens by name are taken.
    pub token: Option<OrganiserToken>,
    /// Why nothing is verified at present, in a sentence for participants; `None` while a verifier works.
    pub pause_reason: watch::Receiver<Option<String>>,
    /// The digests of rules that no working verifier can carry out.
    pub unknown_rules: watch::Receiver<BTreeSet<String>>,
    /// The images that are fetched before a submission is claimed, by submission.
    pub fetches: watch::Receiver<HashMap<SubmissionId, ImageFetch>>,
    /// The cause, in a sentence for operators and organisers.
    pub pause_cause: watch::Receiver<Option<String>>,
    /// The metrics in which readers are counted; [`http_edge::server_routes`] takes the same.
    pub metrics: Metrics,
    /// The server of the map's tiles. With `None`, the page draws the world that it brings along.
    pub tiles: Option<MapTiles>,
    pub readers: ReaderLimits,
    /// The venues of the challenge's file. Each has its part of the map, and its networks share the places of readers.
    pub venues: Venues,
    /// Cancelled when the process is asked to stop. Live streams end then, so that their connections can close.
    pub stopping: CancellationToken,
}

/// The state that the handlers share.
pub(crate) struct ReadState {
    pub(crate) views: PresentViews,
    pub(crate) log: Arc<dyn Read>,
    pub(crate) subscribe: Arc<dyn Subscribe>,
    pub(crate) submissions: SubmissionReader,
    pub(crate) past: PastViews,
    pub(crate) tokens: OrganiserTokens,
    pub(crate) pause_reason: watch::Receiver<Option<String>>,
    pub(crate) unknown_rules: watch::Receiver<BTreeSet<String>>,
    pub(crate) fetches: watch::Receiver<HashMap<SubmissionId, ImageFetch>>,
    pub(crate) pause_cause: watch::Receiver<Option<String>>,
    pub(crate) readers: Arc<LiveReaders>,
    pub(crate) venues: Arc<VenueMaps>,
    pub(crate) live: LiveFeeds,
    pub(crate) tiles: Option<MapTiles>,
    pub(crate) stopping: CancellationToken,
}

impl ReadState {
    /// Creates the state and starts the task that feeds the live streams.
    pub(crate) fn new(api: ReadApi) -> Self {
        let venues = Arc::new(VenueMaps::new(&api.venues));
        Self {
            submissions: SubmissionReader::new(Arc::clone(&api.queries), Arc::clone(&api.log)),
            past: PastViews::new(Arc::clone(&api.log)),
            live: LiveFeeds::start(&api.queries, &venues, &api.stopping),
            venues,
            readers: LiveReaders::new(api.readers, api.venues, api.metrics),
            tokens: OrganiserTokens::new(api.token, Arc::clone(&api.log)),
            views: PresentViews::new(api.queries),
            log: api.log,
            subscribe: api.subscribe,
            pause_reason: api.pause_reason,
            unknown_rules: api.unknown_rules,
            fetches: api.fetches,
            pause_cause: api.pause_cause,
            tiles: api.tiles,
            stopping: api.stopping,
        }
    }

    /// Returns the present views, or those at `moment`, the text of the parameter `at`.
    pub(crate) async fn queries_at(&self, moment: Option<&str>) -> Result<Arc<dyn ViewQueries>, Problem> {
        match parameters::past(moment)? {
            None => Ok(Arc::clone(self.views.get().await?)),
            Some(time) => self.past.at(time).await,
        }
    }
}

impl HoldsToken for ReadState {
    fn tokens(&self) -> &OrganiserTokens {
        &self.tokens
    }
}
