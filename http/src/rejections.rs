//! The safety net under all routes: turns each error that the framework answers by itself into a problem document.
//!
//! Our own handlers and extractors answer problem documents. The framework answers a wrong method with an empty body,
//! and a rejection of its own extractors with plain text. A request whose head is malformed or too long never
//! reaches a route; the server that listens answers for it.

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::Problem;

/// The longest plain text that becomes the detail of a problem, in bytes.
const DETAIL_BYTES_MAX: usize = 1024;

/// Returns `response` as it is, or as a problem document if it is an error in plain text or without a body. Headers that
/// do not describe the body, such as `Allow`, stay.
pub(crate) async fn into_problem(response: Response) -> Response {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) || !is_plain(response.headers()) {
        return response;
    }
    let (parts, body) = response.into_parts();
    let detail = match status {
        StatusCode::METHOD_NOT_ALLOWED => {
            "This method is not allowed here; the header Allow and /docs list those that are.".to_owned()
        }
        status => explanation(&parts.headers, body).await.unwrap_or_else(|| {
            format!("The request was refused: {}.", status.canonical_reason().unwrap_or(status.as_str()))
        }),
    };
    let mut problem = Problem::new(status, detail).into_response();
    for (name, value) in &parts.headers {
        if !problem.headers().contains_key(name) && !describes_body(name) {
            problem.headers_mut().append(name, value.clone());
        }
    }
    problem
}

fn is_plain(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_none_or(|media_type| media_type.to_str().is_ok_and(|text| text.starts_with("text/plain")))
}

fn describes_body(name: &header::HeaderName) -> bool {
    [header::CONTENT_ENCODING, header::CONTENT_LENGTH, header::TRANSFER_ENCODING].contains(name)
}

/// Returns the framework's text as a sentence, or `None` if it is empty, long, compressed or not UTF-8.
async fn explanation(headers: &HeaderMap, body: Body) -> Option<String> {
    if headers.contains_key(header::CONTENT_ENCODING) {
        return None;
    }
    let bytes = to_bytes(body, DETAIL_BYTES_MAX).await.ok()?;
    let text = str::from_utf8(&bytes).ok()?.trim().trim_end_matches('.');
    (!text.is_empty()).then(|| format!("{text}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn text(response: Response) -> String {
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn plain_text_becomes_the_detail_and_other_headers_stay() {
        let answered = (StatusCode::IM_A_TEAPOT, [(header::VARY, "accept")], "It is a teapot");
        let problem = into_problem(answered.into_response()).await;
        assert_eq!(problem.status(), StatusCode::IM_A_TEAPOT);
        assert_eq!(problem.headers()[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(problem.headers()[header::VARY], "accept");
        assert!(text(problem).await.contains("\"It is a teapot.\""));
    }

    #[tokio::test]
    async fn a_long_text_is_replaced() {
        let answered = (StatusCode::BAD_REQUEST, "x".repeat(DETAIL_BYTES_MAX + 1));
        let text = text(into_problem(answered.into_response()).await).await;
        assert!(text.contains("Bad Request") && text.len() < DETAIL_BYTES_MAX, "{text}");
    }

    #[tokio::test]
    async fn success_and_other_media_types_are_left_alone() {
        assert_eq!(text(into_problem("fine".into_response()).await).await, "fine");
        let page = (StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, "text/html")], "<p>Nothing here");
        assert_eq!(text(into_problem(page.into_response()).await).await, "<p>Nothing here");
    }
}
