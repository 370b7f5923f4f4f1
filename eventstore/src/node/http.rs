//! The node's answers beside its gRPC services: to health checks and questions for its version over plain HTTP,
//! and to calls of services that it does not have.

use std::{convert::Infallible, future::ready};

use tonic::{
    Status,
    body::{BoxBody, boxed},
    codegen::http::{
        Request, Response, StatusCode,
        header::{CONNECTION, CONTENT_TYPE, HeaderValue},
    },
    service::Routes,
};
use tower::service_fn;

use super::features::VERSION;

const PERSISTENT_SUBSCRIPTIONS: &str =
    "/event_store.client.persistent_subscriptions.PersistentSubscriptions/";

/// Adds the answers to the node's services.
pub(super) fn with_plain_answers(services: Routes) -> Routes {
    let router = services
        .into_axum_router()
        // Container health checks ask here.
        .route_service("/health/live", service_fn(|_: Request<_>| ready(alive())))
        .route_service("/info", service_fn(|_: Request<_>| ready(info())))
        .fallback_service(service_fn(|request: Request<_>| ready(missing(&request))));
    Routes::from(router)
}

fn alive() -> Result<Response<BoxBody>, Infallible> {
    Ok(plain(StatusCode::NO_CONTENT, String::new()))
}

fn info() -> Result<Response<BoxBody>, Infallible> {
    let info = serde_json::json!({ "dbVersion": VERSION, "esVersion": VERSION, "state": "leader" });
    let mut response = plain(StatusCode::OK, info.to_string());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

fn missing<B>(request: &Request<B>) -> Result<Response<BoxBody>, Infallible> {
    let content = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if !content.starts_with(b"application/grpc") {
        return Ok(plain(StatusCode::NOT_FOUND, String::new()));
    }
    let path = request.uri().path();
    let why = if path.starts_with(PERSISTENT_SUBSCRIPTIONS) {
        "this node keeps no persistent subscriptions: subscribe to the stream or to $all, and keep the last \
         position yourself"
            .to_owned()
    } else {
        format!("this node does not have {path}: it serves streams alone")
    };
    Ok(Status::unimplemented(why).into_http())
}

fn plain(status: StatusCode, text: String) -> Response<BoxBody> {
    let mut response = Response::new(boxed(text));
    *response.status_mut() = status;
    // Health checkers would keep their connections open, each of which is one of a bounded number. HTTP/2 has no such
    // header, and hyper leaves it out there.
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
