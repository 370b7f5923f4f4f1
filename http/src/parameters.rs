//! The parameters of a request's query and path. The framework's own extractors answer plain text if a request is
//! malformed; these answer a problem document that says why. The safety net in `rejections.rs` would lose the reason of an
//! answer that was compressed before.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::Problem;

/// The parameters after the `?`, each given at most once.
#[derive(Debug)]
pub struct QueryParameters<T>(pub T);

/// The segments of the path that the route leaves open.
#[derive(Debug)]
pub struct PathParameters<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for QueryParameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(parameters)) => Ok(Self(parameters)),
            Err(rejection) => Err(Problem::new(rejection.status(), format!("{}.", rejection.body_text()))),
        }
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for PathParameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(parameters)) => Ok(Self(parameters)),
            Err(rejection) => Err(Problem::new(rejection.status(), format!("{}.", rejection.body_text()))),
        }
    }
}
