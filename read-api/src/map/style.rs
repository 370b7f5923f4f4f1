//! `GET /api/v1/map`: the settings that the map's page needs.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::ReadState;
use crate::map::tiles::MapTiles;

/// The look of the map on this server.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MapStyle {
    /// The server of the map's tiles; `null` if the page draws the world that it brings along.
    #[schema(required)]
    tiles: Option<MapTiles>,
}

/// Returns the look of the map on this server.
#[utoipa::path(
    get,
    path = "/api/v1/map",
    operation_id = "get_map_style",
    tag = "map",
    responses((status = 200, description = "The look of the map.", body = MapStyle)),
)]
pub(crate) async fn style(State(state): State<Arc<ReadState>>) -> Json<MapStyle> {
    Json(MapStyle { tiles: state.tiles.clone() })
}
