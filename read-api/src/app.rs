//! What the handlers share, and the table of routes.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use event_store::{Read, Subscribe};
use projections::ViewQueries;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{Any, CorsLayer};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::Token;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::moments::Moments;
use crate::problem::Problem;
use crate::sse::{ReaderLimits, Readers};
use crate::statuses::Statuses;
use crate::tiles::Tiles;
use crate::{compat, history, live, map, organiser, pages, parameters, sandbox, status, timeline};

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
    pub(crate) statuses: Statuses,
    pub(crate) moments: Moments,
    pub(crate) token: Option<Token>,
    pub(crate) platform: watch::Receiver<Option<String>>,
    pub(crate) readers: Arc<Readers>,
    pub(crate) live: Live,
    pub(crate) tiles: Option<Tiles>,
    pub(crate) stopping: CancellationToken,
}

/// The routes with their description. Starts the task that feeds the live
/// streams, so it is called inside a Tokio runtime. Serve them with the
/// client's address as `ConnectInfo`; without one nobody's readers are bounded
/// but everybody's together.
pub fn router(api: ReadApi) -> OpenApiRouter {
    let pages = pages::router(api.tiles.as_ref());
    let app = Arc::new(App {
        statuses: Statuses::new(Arc::clone(&api.queries), Arc::clone(&api.log)),
        moments: Moments::new(Arc::clone(&api.log)),
        live: Live::start(Arc::clone(&api.queries), api.stopping.clone()),
        readers: Readers::new(api.readers, api.metrics),
        queries: api.queries,
        log: api.log,
        follow: api.follow,
        token: api.token,
        platform: api.platform,
        tiles: api.tiles,
        stopping: api.stopping,
    });

    let public = OpenApiRouter::new()
        .routes(routes!(map::pins))
        .routes(routes!(map::find_pins))
        .routes(routes!(map::pins_at))
        .routes(routes!(map::stats))
        .routes(routes!(map::style))
        .routes(routes!(compat::stats))
        .layer(CompressionLayer::new())
        .routes(routes!(compat::competition))
        .layer(middleware::from_fn(within_deadline))
        // These wait on purpose, and end by themselves.
        .routes(routes!(status::status))
        .routes(routes!(timeline::events))
        .routes(routes!(live::live))
        .layer(readable_from_any_page());
    let private = OpenApiRouter::new()
        .routes(routes!(organiser::organiser))
        .routes(routes!(sandbox::sandbox))
        .layer(middleware::from_fn(within_deadline))
        .routes(routes!(history::history));
    // Nothing here takes a body.
    public.merge(private).with_state(app).layer(DefaultBodyLimit::max(1024)).merge(pages.into())
}

impl App {
    /// The views now, or at a moment of the past.
    pub(crate) async fn queries_at(&self, moment: Option<&str>) -> Result<Arc<dyn ViewQueries>, Problem> {
        match parameters::past(moment)? {
            None => Ok(Arc::clone(&self.queries)),
            Some(time) => self.moments.at(time).await,
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

/// Other people's pages may show the public map and a participant's own status.
fn readable_from_any_page() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET])
        .allow_headers([header::IF_NONE_MATCH, header::HeaderName::from_static("last-event-id")])
        .expose_headers([header::ETAG])
}
