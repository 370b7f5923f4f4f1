//! `/api/v1/webhooks`: organisers see the deliveries, and have them tried again.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware;
use http_edge::{Administrator, HoldsToken, OrganiserTokens, PathParameters, Problem, within_deadline};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::board::{HookBoard, WebhookView};

/// The state that the handlers share.
pub(super) struct WebhooksApi {
    pub(super) boards: Vec<Arc<HookBoard>>,
    pub(super) tokens: OrganiserTokens,
}

/// The webhooks of this process.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookList {
    /// The webhooks in the order of the file; none if there is no file.
    webhooks: Vec<WebhookView>,
}

impl HoldsToken for WebhooksApi {
    fn tokens(&self) -> &OrganiserTokens {
        &self.tokens
    }
}

/// Returns the routes with their description.
pub(super) fn router(api: WebhooksApi) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(webhooks))
        .routes(routes!(retry))
        .layer(middleware::from_fn(within_deadline))
        .with_state(Arc::new(api))
}

/// Returns the webhooks with the state of their deliveries.
#[utoipa::path(
    get,
    path = "/api/v1/webhooks",
    operation_id = "get_webhooks",
    tag = "organisers",
    security(("token" = [])),
    responses(
        (status = 200, description = "The webhooks.", body = WebhookList),
        (status = 401, description = "The organiser's token is missing or wrong.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token's role is not `organiser`, or this server has no organiser's token.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn webhooks(State(api): State<Arc<WebhooksApi>>, _: Administrator) -> Json<WebhookList> {
    Json(WebhookList { webhooks: api.boards.iter().map(|board| board.view()).collect() })
}

/// Tries to deliver all messages of a webhook now, also the newest of those that were given up.
#[utoipa::path(
    post,
    path = "/api/v1/webhooks/{name}/retry",
    operation_id = "retry_webhook",
    tag = "organisers",
    security(("token" = [])),
    params(("name" = String, Path, description = "The name of the webhook")),
    responses(
        (status = 202, description = "The messages are tried now.", body = WebhookView),
        (status = 401, description = "The organiser's token is missing or wrong.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token's role is not `organiser`, or this server has no organiser's token.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no webhook of this name.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn retry(
    State(api): State<Arc<WebhooksApi>>,
    PathParameters(name): PathParameters<String>,
    _: Administrator,
) -> Result<(StatusCode, Json<WebhookView>), Problem> {
    let board = api.boards.iter().find(|board| board.view().is_named(&name));
    let board = board.ok_or_else(|| Problem::not_found("There is no webhook of this name."))?;
    board.again.notify_one();
    Ok((StatusCode::ACCEPTED, Json(board.view())))
}
