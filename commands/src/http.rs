//! The write API. A wrong request is answered with every field that is wrong; an accepted one is on disk before it is
//! answered.

mod challenge;
mod compat_2016;
mod fields;

pub use self::fields::{EntryError, read_entry};
mod organiser;
mod places;
mod problem;
#[cfg(test)]
mod rooms;
mod submissions;
mod tokens;
mod visibility;

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{FromRef, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use domain::SubmissionId;
use domain::challenge::PlacedVenue;
use event_store::Read;
use http_edge::{ClientAddress, HoldsToken, OrganiserToken, OrganiserTokens, Problem};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::rate_limit::RateLimiter;
use crate::share::Share;
use crate::waiting::WaitingPlace;
use crate::{Commands, Gazetteer, RateLimit, WaitingSubmissions};

/// The settings of the write API.
#[derive(Debug, Clone)]
pub struct WriteApiSettings {
    /// Secret UUID namespace for submission ids (UUIDv5 of owner and idempotency key). Keep it across restarts, or
    /// repeated keys submit again. Draw it at random: anyone who knows it can guess ids.
    pub key_space: Uuid,
    /// The organisers' token that all share. Without it, only tokens by name are taken.
    pub token: Option<OrganiserToken>,
    /// The rate limit of each client address; `None` for no limit.
    pub rate_by_address: Option<RateLimit>,
    /// The rate limit of one client's submissions for one owner; `None` for no limit.
    pub rate_by_owner: Option<RateLimit>,
    /// The submissions that wait, whose number is bounded.
    pub waiting: WaitingSubmissions,
    /// The challenge's venues at their places.
    pub venues: Vec<PlacedVenue>,
}

impl Default for WriteApiSettings {
    /// Idempotency keys hold until the process ends, every organiser is refused, and the rate limits suit a room full of
    /// people behind one address.
    fn default() -> Self {
        Self {
            key_space: Uuid::new_v4(),
            token: None,
            rate_by_address: Some(RateLimit::BY_ADDRESS),
            rate_by_owner: Some(RateLimit::BY_OWNER),
            waiting: WaitingSubmissions::default(),
            venues: Vec::new(),
        }
    }
}

/// The parts that answer a request which is within the rate limits.
struct WriteApi {
    commands: Commands,
    gazetteer: &'static Gazetteer,
    key_space: Uuid,
    tokens: OrganiserTokens,
    venues: Vec<PlacedVenue>,
}

struct RateLimits {
    /// Requests of a venue's networks or of an address, by kind, so that no kind takes the room of another.
    by_address: Option<RateLimiter<(Share, RequestKind)>>,
    /// Submissions that one client sends for one owner, also those that are refused: a tenth of its share's rate.
    by_participant: Option<RateLimiter<(String, ClientAddress)>>,
    by_owner: Option<RateLimiter<(String, ClientAddress)>>,
    waiting: WaitingSubmissions,
}

/// A kind of request, as far as the rates need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum RequestKind {
    /// A submission. From a venue, only one that names its owner.
    Submission,
    /// All others, and submissions from a venue that cannot be read: nobody in it uses up the rate of the others with them.
    Other,
}

/// The state that the handlers share.
#[derive(Clone)]
struct ApiState {
    api: Arc<WriteApi>,
    limits: Arc<RateLimits>,
}

/// Returns the write API's routes with their description. Serve them with the client's address as `ConnectInfo`;
/// without it, all clients share one rate limit.
pub fn router(
    commands: Commands,
    gazetteer: &'static Gazetteer,
    settings: WriteApiSettings,
) -> OpenApiRouter {
    let WriteApiSettings { key_space, token, rate_by_address, rate_by_owner, waiting, venues } = settings;
    let log: Arc<dyn Read> = Arc::clone(commands.log()) as _;
    let tokens = OrganiserTokens::new(token, log);
    let state = ApiState {
        api: Arc::new(WriteApi { commands, gazetteer, key_space, tokens, venues }),
        limits: Arc::new(RateLimits::new(rate_by_address, rate_by_owner, waiting)),
    };
    // These count when their body is read, because the owner in it decides.
    let submitting = OpenApiRouter::new()
        .routes(routes!(submissions::submit))
        .routes(routes!(compat_2016::compete))
        .route_layer(middleware::from_fn_with_state(state.clone(), refuse_unread));
    OpenApiRouter::new()
        .routes(routes!(submissions::rejudge))
        .routes(routes!(visibility::hide))
        .routes(routes!(visibility::show))
        .routes(routes!(visibility::correct))
        .routes(routes!(visibility::withdraw))
        .routes(routes!(tokens::add, tokens::list))
        .routes(routes!(tokens::revoke))
        .routes(routes!(challenge::challenge))
        .routes(routes!(places::places))
        .route_layer(middleware::from_fn_with_state(state.clone(), limit_address))
        .merge(submitting)
        .with_state(state)
}

impl WriteApi {
    /// Returns the id of a submission: random without an idempotency key, otherwise the same for the same owner and key.
    /// So a repeated request meets the stream of the first, and another owner's equal key does not.
    fn submission_id(&self, owner: &str, key: Option<&str>) -> SubmissionId {
        SubmissionId(match key {
            Some(key) => Uuid::new_v5(&self.key_space, format!("{owner}\n{key}").as_bytes()),
            None => Uuid::new_v4(),
        })
    }
}

impl RateLimits {
    fn new(by_address: Option<RateLimit>, by_owner: Option<RateLimit>, waiting: WaitingSubmissions) -> Self {
        Self {
            by_address: by_address.map(RateLimiter::new),
            by_participant: by_address.map(RateLimit::tenth).map(RateLimiter::new),
            by_owner: by_owner.map(RateLimiter::new),
            waiting,
        }
    }

    /// Looks whether a submission's share is used up, before its body is read. Counts nothing.
    ///
    /// # Errors
    /// 429, if it is.
    fn admit_body(&self, share: &Share, now: Instant) -> Result<(), Problem> {
        let Some(limiter) = &self.by_address else { return Ok(()) };
        let key = (share.clone(), RequestKind::Submission);
        limiter.look(&key, now).map_err(|wait| Problem::too_many_requests(share.whose(), wait))
    }

    /// Counts a request in its share.
    ///
    /// # Errors
    /// 429, if the share is used up.
    fn admit_request(&self, share: &Share, kind: RequestKind, now: Instant) -> Result<(), Problem> {
        let Some(limiter) = &self.by_address else { return Ok(()) };
        let taken = limiter.take((share.clone(), kind), now);
        taken.map_err(|wait| Problem::too_many_requests(share.whose(), wait))
    }

    /// Counts a request that submits. A participant that sends more than a tenth of a room's rate is refused before the room's
    /// rate is touched.
    ///
    /// # Errors
    /// 429, if the participant or the share is over its limit.
    fn admit_submission(
        &self,
        share: &Share,
        owner: Option<&str>,
        client: ClientAddress,
        now: Instant,
    ) -> Result<(), Problem> {
        let Some(owner) = owner else {
            let kind = match share {
                Share::Client(_) => RequestKind::Submission,
                Share::Venue(_) => RequestKind::Other,
            };
            return self.admit_request(share, kind, now);
        };
        if let Some(limiter) = &self.by_participant {
            limiter
                .take((owner.to_owned(), client), now)
                .map_err(|wait| Problem::too_many_requests(&format!("for images of {owner}"), wait))?;
        }
        self.admit_request(share, RequestKind::Submission, now)
    }

    /// Counts a submission of `client` for `owner`. Another client's submissions do not count, because nobody has to be the
    /// owner to name it.
    ///
    /// # Errors
    /// 429, if the client is over its limit for the owner.
    fn admit_owner(&self, owner: &str, client: ClientAddress, now: Instant) -> Result<(), Problem> {
        let Some(limiter) = &self.by_owner else { return Ok(()) };
        limiter
            .take((owner.to_owned(), client), now)
            .map_err(|wait| Problem::too_many_requests(&format!("for images of {owner}"), wait))
    }

    /// Counts a submission among those that wait. Without a rate limit by address, addresses mean nothing: all clients may come
    /// through one proxy. A venue means something all the same.
    ///
    /// # Errors
    /// 503 or 429, if too many wait.
    fn admit_waiting(&self, id: SubmissionId, share: Share, owner: &str) -> Result<WaitingPlace, Problem> {
        let is_counted = self.by_address.is_some() || matches!(share, Share::Venue(_));
        self.waiting.admit(id, is_counted.then_some(share), owner)
    }
}

impl HoldsToken for ApiState {
    fn tokens(&self) -> &OrganiserTokens {
        &self.api.tokens
    }
}

impl FromRef<ApiState> for Arc<WriteApi> {
    fn from_ref(state: &ApiState) -> Self {
        Arc::clone(&state.api)
    }
}

impl FromRef<ApiState> for Arc<RateLimits> {
    fn from_ref(state: &ApiState) -> Self {
        Arc::clone(&state.limits)
    }
}

async fn limit_address(
    State(state): State<ApiState>,
    client: ClientAddress,
    request: Request,
    next: Next,
) -> Response {
    let share = Share::of_address(&state.api.commands.challenge().venues, client);
    match state.limits.admit_request(&share, RequestKind::Other, Instant::now()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Refuses a submission without reading its body, if its share is used up.
async fn refuse_unread(
    State(state): State<ApiState>,
    client: ClientAddress,
    request: Request,
    next: Next,
) -> Response {
    let share = Share::of_address(&state.api.commands.challenge().venues, client);
    match state.limits.admit_body(&share, Instant::now()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}
