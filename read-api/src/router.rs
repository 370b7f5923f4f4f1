//! The table of routes.

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, Method, header};
use axum::middleware;
use http_edge::within_deadline;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{Any, CorsLayer};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::{ReadApi, ReadState};
use crate::map::{live, pins, stats, style};
use crate::organisers::{history, overview, sandbox};
use crate::submissions::{events, status};
use crate::{compat_2016, pages};

/// The largest body that a request may have. No route takes a body.
const BODY_BYTES_MAX: usize = 1024;

/// Returns the routes with their description, and starts the task that feeds the live streams.
///
/// Call it inside a Tokio runtime. Serve the routes with the client's address as `ConnectInfo`: without it, only the
/// total limit on readers applies, not the limit per address.
pub fn router(api: ReadApi) -> OpenApiRouter {
    let pages = pages::router(api.tiles.as_ref(), &api.venues);
    let state = Arc::new(ReadState::new(api));
    let public = OpenApiRouter::new()
        .routes(routes!(pins::pins))
        .routes(routes!(pins::find_pins))
        .routes(routes!(pins::pins_at))
        .routes(routes!(pins::newest_pins))
        .routes(routes!(stats::stats))
        .routes(routes!(style::style))
        .routes(routes!(compat_2016::original_stats))
        .layer(CompressionLayer::new())
        .routes(routes!(compat_2016::original_record))
        .layer(middleware::from_fn(within_deadline))
        // These wait on purpose, so they have no deadline.
        .routes(routes!(status::status))
        .routes(routes!(events::events))
        .routes(routes!(live::live))
        .layer(readable_from_any_page());
    let private = OpenApiRouter::new()
        .routes(routes!(overview::overview))
        .routes(routes!(sandbox::sandbox))
        .layer(middleware::from_fn(within_deadline))
        .routes(routes!(history::history));
    public.merge(private).with_state(state).layer(DefaultBodyLimit::max(BODY_BYTES_MAX)).merge(pages.into())
}

/// Lets pages of other sites show the public map and a participant's own status.
fn readable_from_any_page() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET])
        .allow_headers([header::IF_NONE_MATCH, HeaderName::from_static("last-event-id")])
        .expose_headers([header::ETAG])
}
