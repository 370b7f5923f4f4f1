//! `GET /api/v1/pins` and the paths below it: the pins in a viewport, by name, and at one place.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use http_edge::{Problem, QueryParameters};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::app::ReadState;
use crate::conditional::{self, ETag, to_json};
use crate::map::geojson::FeatureCollection;
use crate::map::venues::past_map;
use crate::parameters;
use crate::problem::views_unavailable;

/// The largest number of pins that a search or the list of the newest returns.
const FOUND_MAX: usize = 20;

/// The largest number of pins of one place that are listed.
const AT_PLACE_MAX: usize = 100;

/// The longest text that can be searched for.
const SEARCH_CHARS_MAX: usize = 100;

const WHOLE_WORLD: &str = "-180,-90,180,90";

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PinsParameters {
    /// `west,south,east,north` in degrees. If west is greater than east, the box crosses the antimeridian. Degrees beyond
    /// ±180 are wrapped. The default is the whole world.
    #[param(example = "-10,35,30,60")]
    bbox: Option<String>,
    /// The zoom, from 0 (the world on one tile) to 16. The default is 0.
    #[param(value_type = Option<u8>)]
    zoom: Option<String>,
    /// Show the map as it was at this moment: `2026-03-21T12:00:00Z`. The default is now.
    at: Option<String>,
    /// Only pins of the venue with this short name: `berlin`.
    venue: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SearchParameters {
    /// The beginning of a participant's name, of its last word, or of a city's name. Case and accents do not matter.
    #[param(required = true)]
    q: Option<String>,
    /// Only pins of the venue with this short name: `berlin`.
    venue: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PlaceParameters {
    /// The latitude in degrees north, from −90 to 90.
    #[param(value_type = f64, required = true)]
    lat: Option<String>,
    /// The longitude in degrees east. Degrees beyond ±180 are wrapped.
    #[param(value_type = f64, required = true)]
    lon: Option<String>,
    /// Only pins of the venue with this short name: `berlin`.
    venue: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct NewestParameters {
    /// The short name of the venue: `berlin`.
    #[param(required = true)]
    venue: Option<String>,
}

/// Returns the pins, and clusters of pins, in a box at a zoom.
///
/// A GeoJSON `FeatureCollection`. A cluster's properties are `cluster` (true), `point_count` and `expansion_zoom`. A
/// box larger than any screen is shown in less detail; `zoom` says at which zoom.
#[utoipa::path(
    get,
    path = "/api/v1/pins",
    operation_id = "list_pins",
    tag = "map",
    params(PinsParameters),
    responses(
        (status = 200, description = "The pins and clusters.", body = FeatureCollection),
        (status = 304, description = "Nothing changed since the client read the map."),
        (status = 400, description = "A parameter is wrong.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such venue.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The views cannot be read.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn pins(
    State(state): State<Arc<ReadState>>,
    QueryParameters(parameters): QueryParameters<PinsParameters>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let bounds = parameters::bounding_box(parameters.bbox.as_deref().unwrap_or(WHOLE_WORLD))?;
    let zoom = parameters::zoom(parameters.zoom.as_deref().unwrap_or("0"))?;
    let venue = state.venues.find(parameters.venue.as_deref())?;
    let queries = state.queries_at(parameters.at.as_deref()).await?;
    // The place is read before the pins, so the pins may be newer than their tag says, but never older.
    let place = queries.resume_point().await.map_err(views_unavailable)?;
    let etag = ETag::of_views(&*queries, &place, place.position);
    if etag.matches(&headers) {
        return Ok(conditional::json(&headers, etag, Vec::new));
    }
    let map = match (venue, &parameters.at) {
        (None, _) => queries.pins(bounds, zoom).await,
        (Some(venue), None) => state.venues.read(&*queries, venue, |map| map.viewport(bounds, zoom)).await,
        (Some(venue), Some(_)) => past_map(&*queries, venue).await.map(|map| map.viewport(bounds, zoom)),
    };
    let map = map.map_err(views_unavailable)?;
    Ok(conditional::json(&headers, etag, || to_json(&FeatureCollection::from_map(map))))
}

/// Returns up to 20 pins whose participant's name, last name or city begins with a text.
#[utoipa::path(
    get,
    path = "/api/v1/pins/search",
    operation_id = "search_pins",
    tag = "map",
    params(SearchParameters),
    responses(
        (status = 200, description = "The pins found.", body = FeatureCollection),
        (status = 400, description = "A parameter is wrong.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such venue.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The views cannot be read.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn find_pins(
    State(state): State<Arc<ReadState>>,
    QueryParameters(parameters): QueryParameters<SearchParameters>,
) -> Result<Json<FeatureCollection>, Problem> {
    let text = parameters.q.as_deref().unwrap_or_default().trim();
    if text.is_empty() || text.chars().count() > SEARCH_CHARS_MAX {
        let message = format!("write 1 to {SEARCH_CHARS_MAX} characters to search for");
        return Err(Problem::parameter("q", message));
    }
    let venue = state.venues.find(parameters.venue.as_deref())?;
    let views = &**state.views.get().await?;
    let pins = match venue {
        None => views.find_pins(text, FOUND_MAX).await,
        Some(venue) => state.venues.read(views, venue, |map| map.find(text, FOUND_MAX)).await,
    };
    Ok(Json(FeatureCollection::from_pins(pins.map_err(views_unavailable)?)))
}

/// Returns the pins of the cluster nearest to a place, newest first, at most 100.
///
/// This is for clusters whose `expansion_zoom` is `null`: they do not split at any zoom.
#[utoipa::path(
    get,
    path = "/api/v1/pins/at",
    operation_id = "list_pins_at_place",
    tag = "map",
    params(PlaceParameters),
    responses(
        (status = 200, description = "The pins of the cluster.", body = FeatureCollection),
        (status = 400, description = "A parameter is wrong.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such venue.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The views cannot be read.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn pins_at(
    State(state): State<Arc<ReadState>>,
    QueryParameters(parameters): QueryParameters<PlaceParameters>,
) -> Result<Json<FeatureCollection>, Problem> {
    let lat = parameters::latitude(parameters.lat.as_deref())?;
    let lon = parameters::longitude(parameters.lon.as_deref())?;
    let venue = state.venues.find(parameters.venue.as_deref())?;
    let views = &**state.views.get().await?;
    let pins = match venue {
        None => views.pins_at(lat, lon, AT_PLACE_MAX).await,
        Some(venue) => state.venues.read(views, venue, |map| map.at_place(lat, lon, AT_PLACE_MAX)).await,
    };
    Ok(Json(FeatureCollection::from_pins(pins.map_err(views_unavailable)?)))
}

/// Returns the pins of a venue that passed last, newest first, at most 20.
#[utoipa::path(
    get,
    path = "/api/v1/pins/newest",
    operation_id = "list_newest_pins",
    tag = "map",
    params(NewestParameters),
    responses(
        (status = 200, description = "The pins that passed last.", body = FeatureCollection),
        (status = 400, description = "The venue is missing.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such venue.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The views cannot be read.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn newest_pins(
    State(state): State<Arc<ReadState>>,
    QueryParameters(parameters): QueryParameters<NewestParameters>,
) -> Result<Json<FeatureCollection>, Problem> {
    let Some(venue) = state.venues.find(parameters.venue.as_deref())? else {
        return Err(Problem::parameter("venue", "name a venue of the challenge"));
    };
    let views = &**state.views.get().await?;
    let newest = state.venues.read(views, venue, |map| map.newest(FOUND_MAX)).await;
    Ok(Json(FeatureCollection::from_pins(newest.map_err(views_unavailable)?)))
}
