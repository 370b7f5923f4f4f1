//! `GET /api/v1/map`: what the map looks like on this server.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::map::tiles::Tiles;

/// What the map looks like here.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MapStyle {
    /// Where tiles come from; `null` when the page draws the world that it brings along.
    tiles: Option<Tiles>,
}

/// What the map looks like on this server.
#[utoipa::path(get, path = "/api/v1/map", tag = "map", responses((status = 200, body = MapStyle)))]
pub(crate) async fn style(State(app): State<Arc<App>>) -> axum::Json<MapStyle> {
    axum::Json(MapStyle { tiles: app.tiles.clone() })
}
