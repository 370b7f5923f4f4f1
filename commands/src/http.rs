//! The write API. Whatever is wrong is said field by field; what is accepted
//! is on disk before it is answered.

mod form;
mod guide;
mod original;
mod problem;
mod submissions;

use std::{
    hash::Hash,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{FromRef, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use domain::SubmissionId;
use http_edge::{ClientAddress, HoldsToken, OrganiserToken, Problem};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::rate::Limiter;
use crate::{Commands, Gazetteer, Rate};

/// What the write API is told from outside.
#[derive(Debug, Clone)]
pub struct Settings {
    /// From this and an idempotency key follows a submission's id. It stays
    /// the same for as long as keys are to be known again, and whoever knows
    /// it can guess ids: draw it at random and keep it secret.
    pub key_space: Uuid,
    /// What organisers must send; `None` lets nobody in.
    pub token: Option<OrganiserToken>,
    /// How often one client address may ask; `None` for as often as it likes.
    pub rate_by_address: Option<Rate>,
    /// How often images of one owner may be submitted; `None` for as often as anybody likes.
    pub rate_by_owner: Option<Rate>,
}

impl Default for Settings {
    /// Keys are known again for as long as the process lives, nobody is an
    /// organiser, and the rates leave room for a room full of people behind
    /// one address.
    fn default() -> Self {
        Self {
            key_space: Uuid::new_v4(),
            token: None,
            rate_by_address: Some(Rate::BY_ADDRESS),
            rate_by_owner: Some(Rate::BY_OWNER),
        }
    }
}

/// What the handlers share.
struct Api {
    commands: Commands,
    gazetteer: &'static Gazetteer,
    key_space: Uuid,
    token: Option<OrganiserToken>,
}

/// How often somebody may ask.
struct Limits {
    by_address: Option<Limiter<ClientAddress>>,
    by_owner: Option<Limiter<String>>,
}

#[derive(Clone)]
struct Shared {
    api: Arc<Api>,
    limits: Arc<Limits>,
}

/// The write API's routes, with their description. Serve them with the
/// client's address as `ConnectInfo`; without one all clients count as one.
pub fn router(commands: Commands, gazetteer: &'static Gazetteer, settings: Settings) -> OpenApiRouter {
    let shared = Shared {
        api: Arc::new(Api { commands, gazetteer, key_space: settings.key_space, token: settings.token }),
        limits: Arc::new(Limits {
            by_address: settings.rate_by_address.map(Limiter::new),
            by_owner: settings.rate_by_owner.map(Limiter::new),
        }),
    };
    OpenApiRouter::new()
        .routes(routes!(submissions::submit))
        .routes(routes!(submissions::rejudge))
        .routes(routes!(original::compete))
        .routes(routes!(guide::challenge))
        .routes(routes!(guide::places))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&shared.limits), limit_address))
        .with_state(shared)
}

impl Api {
    /// Random without a key. With one, the same again for the same owner and
    /// key, so that a repetition meets what it repeats; and another owner's
    /// equal key is another submission.
    fn submission_id(&self, owner: &str, key: Option<&str>) -> SubmissionId {
        SubmissionId(match key {
            Some(key) => Uuid::new_v5(&self.key_space, format!("{owner}\n{key}").as_bytes()),
            None => Uuid::new_v4(),
        })
    }
}

impl HoldsToken for Shared {
    fn token(&self) -> Option<&OrganiserToken> {
        self.api.token.as_ref()
    }
}

impl FromRef<Shared> for Arc<Api> {
    fn from_ref(shared: &Shared) -> Self {
        Arc::clone(&shared.api)
    }
}

impl FromRef<Shared> for Arc<Limits> {
    fn from_ref(shared: &Shared) -> Self {
        Arc::clone(&shared.limits)
    }
}

async fn limit_address(
    State(limits): State<Arc<Limits>>,
    client: ClientAddress,
    request: Request,
    next: Next,
) -> Response {
    match take(limits.by_address.as_ref(), || client) {
        Ok(()) => next.run(request).await,
        Err(wait) => Problem::too_many_requests("from your address", wait).into_response(),
    }
}

/// Takes one of the tokens of whoever it is, if they are counted.
fn take<K: Hash + Eq>(limiter: Option<&Limiter<K>>, who: impl FnOnce() -> K) -> Result<(), Duration> {
    limiter.map_or(Ok(()), |limiter| limiter.take(who(), Instant::now()))
}
