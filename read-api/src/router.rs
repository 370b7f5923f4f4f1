//! The table of routes.

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::http::{Method, header};
use axum::middleware;
use http_edge::within_deadline;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{Any, CorsLayer};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::{App, ReadApi};
use crate::map::{live, pins, stats, style};
use crate::organisers::{history, overview, sandbox};
use crate::submissions::{events, status};
use crate::{compat_2016, pages};

/// The routes with their description. Starts the task that feeds the live
/// streams, so it is called inside a Tokio runtime. Serve them with the
/// client's address as `ConnectInfo`; without one nobody's readers are bounded
/// but everybody's together.
pub fn router(api: ReadApi) -> OpenApiRouter {
    let pages = pages::router(api.tiles.as_ref());
    let app = Arc::new(App::new(api));
    let public = OpenApiRouter::new()
        .routes(routes!(pins::pins))
        .routes(routes!(pins::find_pins))
        .routes(routes!(pins::pins_at))
        .routes(routes!(stats::stats))
        .routes(routes!(style::style))
        .routes(routes!(compat_2016::stats))
        .layer(CompressionLayer::new())
        .routes(routes!(compat_2016::competition))
        .layer(middleware::from_fn(within_deadline))
        // These wait on purpose, and end by themselves.
        .routes(routes!(status::status))
        .routes(routes!(events::events))
        .routes(routes!(live::live))
        .layer(readable_from_any_page());
    let private = OpenApiRouter::new()
        .routes(routes!(overview::organiser))
        .routes(routes!(sandbox::sandbox))
        .layer(middleware::from_fn(within_deadline))
        .routes(routes!(history::history));
    // Nothing here takes a body.
    public.merge(private).with_state(app).layer(DefaultBodyLimit::max(1024)).merge(pages.into())
}

/// Other people's pages may show the public map and a participant's own status.
fn readable_from_any_page() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET])
        .allow_headers([header::IF_NONE_MATCH, header::HeaderName::from_static("last-event-id")])
        .expose_headers([header::ETAG])
}
