//! The routes of one server: description, metrics, unknown paths, and the headers of every response.

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, InfoBuilder, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

use crate::metrics::{self, Metrics};
use crate::{Problem, access, rejections};

/// The policy of a response that is opened as a page: it loads nothing. Our pages set a policy of their own.
const LOADS_NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";

/// The policy of `/docs`, whose scripts set styles.
const DOCS_POLICY: &str =
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'";

/// Makes one server of the merged routes of all its roles. `/openapi.json` describes them, and `/docs` shows that
/// description. `not_found_page` gives the page that a browser is shown at an unknown path, if there is one.
pub fn server_routes(
    routes: OpenApiRouter,
    metrics: &Metrics,
    not_found_page: fn() -> Option<Response>,
) -> Router {
    let (routes, described) = routes.split_for_parts();
    let docs = Router::from(SwaggerUi::new("/docs").url("/openapi.json", description(described)))
        .layer(header_unless_set(header::CONTENT_SECURITY_POLICY, DOCS_POLICY));
    routes
        .merge(docs)
        .fallback(async move |uri: Uri, headers: HeaderMap| not_found(&uri, &headers, not_found_page))
        .layer(middleware::map_response(rejections::into_problem))
        .layer(middleware::from_fn_with_state(metrics.clone(), metrics::measure))
        .layer(header_unless_set(header::CONTENT_SECURITY_POLICY, LOADS_NOTHING))
        .layer(header_unless_set(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(header_unless_set(header::REFERRER_POLICY, "no-referrer"))
        .layer(middleware::from_fn(access::log_access))
}

fn description(routes: OpenApi) -> OpenApi {
    let info = InfoBuilder::new()
        .title("Muster")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Submit container images to a challenge, follow their verification, and see on a map who passed. \
             Errors are problem documents (RFC 9457).",
        ))
        .build();
    let mut components = Components::new();
    let token =
        HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("The organiser's token")).build();
    components.add_security_scheme("token", SecurityScheme::Http(token));
    OpenApiBuilder::new().info(info).components(Some(components)).build().merge_from(routes)
}

/// Answers an unknown path with a page if the client is a browser, otherwise with a problem document.
fn not_found(uri: &Uri, headers: &HeaderMap, page: fn() -> Option<Response>) -> Response {
    let accepts = headers.get(header::ACCEPT).and_then(|accepts| accepts.to_str().ok()).unwrap_or_default();
    let page = if accepts.contains("text/html") { page() } else { None };
    page.unwrap_or_else(|| {
        let detail = format!("There is nothing at {}; /docs lists all paths.", uri.path());
        Problem::not_found(detail).into_response()
    })
}

fn header_unless_set(name: HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::extract::Path;
    use axum::http::{Request, StatusCode};
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    async fn answer(method: &str, path: &str, accepts: &str) -> (StatusCode, HeaderMap, String) {
        let routes = Router::new().route("/double/{n}", get(async |Path(n): Path<u8>| (n * 2).to_string()));
        let page = || {
            Some((StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, "text/html")], "no page").into_response())
        };
        let server = server_routes(routes.into(), &Metrics::new(), page);
        let request = Request::builder().method(method).uri(path).header(header::ACCEPT, accepts);
        let response = server.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_rejection_of_the_framework_is_a_problem_document() {
        for (method, path, status) in [
            ("GET", "/double/x", 400),
            ("GET", "/double/%FF", 400),
            ("POST", "/double/1", 405),
            ("GET", "/", 404),
        ] {
            let (answered, headers, body) = answer(method, path, "application/json").await;
            assert_eq!(answered, status, "{method} {path}");
            assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json", "{method} {path}");
            assert_eq!(headers.contains_key(header::ALLOW), status == 405, "{method} {path}");
            for member in ["\"type\"", "\"title\"", "\"status\"", "\"detail\""] {
                assert!(body.contains(member), "{method} {path}: {body}");
            }
        }
        assert_eq!(answer("GET", "/double/4", "application/json").await.2, "8");
    }

    #[tokio::test]
    async fn a_browser_is_shown_the_page_at_an_unknown_path() {
        let (status, headers, body) = answer("GET", "/nothing", "text/html,*/*").await;
        assert_eq!((status, body.as_str()), (StatusCode::NOT_FOUND, "no page"));
        assert_eq!(headers[header::CONTENT_TYPE], "text/html");
        assert!(headers.contains_key("x-request-id"));
    }
}
