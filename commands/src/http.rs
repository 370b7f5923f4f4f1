//! The write API. Whatever is wrong is said field by field; what is accepted
//! is on disk before it is answered.

mod body;
mod form;
mod guide;
mod original;
mod problem;
mod submissions;

use std::{
    hash::Hash,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{ConnectInfo, FromRef, Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use domain::SubmissionId;
use subtle::ConstantTimeEq;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::rate::Limiter;
use crate::{Commands, Gazetteer, Rate};

use problem::Problem;

/// What the write API is told from outside.
#[derive(Debug, Clone)]
pub struct Settings {
    /// From this and an idempotency key follows a submission's id. It stays
    /// the same for as long as keys are to be known again, and whoever knows
    /// it can guess ids: draw it at random and keep it secret.
    pub key_space: Uuid,
    /// What organisers must send; `None` lets nobody in.
    pub token: Option<String>,
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
    token: Option<String>,
}

/// How often somebody may ask.
struct Limits {
    by_address: Option<Limiter<IpAddr>>,
    by_owner: Option<Limiter<String>>,
}

#[derive(Clone)]
struct Shared {
    api: Arc<Api>,
    limits: Arc<Limits>,
}

/// The write API's routes, with their description. Serve them with the
/// client's address as [`ConnectInfo`]; without one all clients count as one.
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

    /// Lets organisers through.
    fn authorise(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(token) = &self.token else {
            let detail =
                "No organiser's token is set here, so nobody may do this; start muster with MUSTER_TOKEN.";
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        };
        let sent = headers.get(header::AUTHORIZATION).and_then(|sent| sent.to_str().ok());
        match sent.and_then(|sent| sent.split_once(' ')) {
            Some((scheme, sent))
                if scheme.eq_ignore_ascii_case("bearer")
                    && bool::from(sent.trim().as_bytes().ct_eq(token.as_bytes())) =>
            {
                Ok(())
            }
            _ => {
                let detail = "Send the organisers' token: Authorization: Bearer <token>.";
                Err(Problem::new(StatusCode::UNAUTHORIZED, detail))
            }
        }
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

async fn limit_address(State(limits): State<Arc<Limits>>, request: Request, next: Next) -> Response {
    match take(limits.by_address.as_ref(), || client(&request)) {
        Ok(()) => next.run(request).await,
        Err(wait) => Problem::too_many("from your address", wait).into_response(),
    }
}

/// Takes one of the tokens of whoever it is, if they are counted.
fn take<K: Hash + Eq>(limiter: Option<&Limiter<K>>, who: impl FnOnce() -> K) -> Result<(), Duration> {
    limiter.map_or(Ok(()), |limiter| limiter.take(who(), Instant::now()))
}

/// Who asks. A proxy on this machine is believed about whom it asks for.
fn client(request: &Request) -> IpAddr {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    let peer = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)).to_canonical();
    let forwarded = || {
        // Only the last entry is the proxy's own word.
        let header = request.headers().get_all("x-forwarded-for").iter().next_back()?;
        header.to_str().ok()?.rsplit(',').next()?.trim().parse::<IpAddr>().ok()
    };
    match if peer.is_loopback() { forwarded().unwrap_or(peer) } else { peer }.to_canonical() {
        // Whoever has one address of a /64 has them all.
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        address => address,
    }
}
