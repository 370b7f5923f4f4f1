//! `GET /api/v1/pins` and below: the pins in a box, found by name, and at one place.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use http_edge::{Problem, QueryParameters};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::app::App;
use crate::conditional::{self, ETag, to_json};
use crate::map::geojson::FeatureCollection;
use crate::parameters;
use crate::problem::views_unavailable;

/// How many pins a search finds at most.
const FOUND_MAX: usize = 20;

/// How many pins of one place are listed at most.
const AT_MAX: usize = 100;

const SOUGHT_CHARS_MAX: usize = 100;

/// Which part of the map.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PinsParameters {
    /// `west,south,east,north` in degrees. West may be greater than east: the
    /// box then spans the date line. The whole world if absent.
    #[param(example = "-10,35,30,60")]
    bbox: Option<String>,
    /// From 0, the world on one tile, to 16. 0 if absent.
    #[param(value_type = Option<u8>)]
    zoom: Option<String>,
    /// As it was at this moment: `2026-03-21T12:00:00Z`. Now if absent.
    at: Option<String>,
}

/// What to look for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SearchParameters {
    /// The beginning of an owner's or a city's name, in any case.
    q: Option<String>,
}

/// Which place.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PlaceParameters {
    /// Degrees north.
    #[param(value_type = f64, required = true)]
    lat: Option<String>,
    /// Degrees east.
    #[param(value_type = f64, required = true)]
    lon: Option<String>,
}

/// What the map shows in a box at a zoom: pins, and clusters of pins.
///
/// A GeoJSON `FeatureCollection`. A cluster's properties are `cluster` (true),
/// `point_count` and `expansion_zoom`. A box larger than any screen is shown in
/// less detail; `zoom` says in which.
#[utoipa::path(
    get,
    path = "/api/v1/pins",
    tag = "map",
    params(PinsParameters),
    responses(
        (status = 200, body = FeatureCollection),
        (status = 304, description = "It is as the client has it"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn pins(
    State(app): State<Arc<App>>,
    QueryParameters(parameters): QueryParameters<PinsParameters>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let bounds = parameters::bounds(parameters.bbox.as_deref().unwrap_or("-180,-90,180,90"))?;
    let zoom = parameters::zoom(parameters.zoom.as_deref().unwrap_or("0"))?;
    let queries = app.queries_at(parameters.at.as_deref()).await?;
    // Read before the pins: they may be newer than their tag says, never older.
    let etag = ETag::of_number(queries.checkpoint().await.map_err(views_unavailable)?.0);
    if etag.is_known(&headers) {
        return Ok(conditional::json(&headers, etag, Vec::new));
    }
    let map = queries.pins(bounds, zoom).await.map_err(views_unavailable)?;
    Ok(conditional::json(&headers, etag, || to_json(&FeatureCollection::from_map(map))))
}

/// Pins whose owner's name or whose city begins with a text; at most 20.
#[utoipa::path(
    get,
    path = "/api/v1/pins/search",
    tag = "map",
    params(SearchParameters),
    responses(
        (status = 200, body = FeatureCollection),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn find_pins(
    State(app): State<Arc<App>>,
    QueryParameters(parameters): QueryParameters<SearchParameters>,
) -> Result<axum::Json<FeatureCollection>, Problem> {
    let sought = parameters.q.as_deref().unwrap_or_default().trim();
    if sought.is_empty() || sought.chars().count() > SOUGHT_CHARS_MAX {
        return Err(Problem::parameter("q", format!("write 1 to {SOUGHT_CHARS_MAX} characters to look for")));
    }
    let pins = app.queries.find_pins(sought, FOUND_MAX).await.map_err(views_unavailable)?;
    Ok(axum::Json(FeatureCollection::of_pins(pins)))
}

/// The pins of the cluster nearest to a place, newest first; at most 100. For
/// clusters that do not fall apart at any zoom.
#[utoipa::path(
    get,
    path = "/api/v1/pins/at",
    tag = "map",
    params(PlaceParameters),
    responses(
        (status = 200, body = FeatureCollection),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn pins_at(
    State(app): State<Arc<App>>,
    QueryParameters(parameters): QueryParameters<PlaceParameters>,
) -> Result<axum::Json<FeatureCollection>, Problem> {
    let lat = parameters::degrees("lat", parameters.lat.as_deref(), 90.0)?;
    let lon = parameters::degrees("lon", parameters.lon.as_deref(), 180.0)?;
    let pins = app.queries.pins_at(lat, lon, AT_MAX).await.map_err(views_unavailable)?;
    Ok(axum::Json(FeatureCollection::of_pins(pins)))
}
