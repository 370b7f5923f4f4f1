//! One server made of all routes: their description, counting, what is said
//! of unknown paths, and the headers that every answer has.

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, InfoBuilder, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

use crate::metrics::{self, Metrics};
use crate::pages;
use crate::problem::Problem;

/// What an answer may load when it is opened as a page: nothing. Pages say
/// more themselves.
const LOADS_NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";

/// The page about the API sets styles from its scripts, and is else like ours.
const DOCS_LOAD: &str =
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'";

/// Makes one server of all routes: merge those of the write and the read API
/// and give them here. `/openapi.json` describes them, `/docs` shows that.
pub fn site(routes: OpenApiRouter, metrics: &Metrics) -> Router {
    let (routes, described) = routes.split_for_parts();
    let docs = Router::from(SwaggerUi::new("/docs").url("/openapi.json", description(described)))
        .layer(header_unless_set(header::CONTENT_SECURITY_POLICY, DOCS_LOAD));
    routes
        .merge(docs)
        .fallback(unknown)
        .layer(middleware::map_response(explain_not_allowed))
        .layer(middleware::from_fn_with_state(metrics.clone(), metrics::measure))
        .layer(header_unless_set(header::CONTENT_SECURITY_POLICY, LOADS_NOTHING))
        .layer(header_unless_set(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(header_unless_set(header::REFERRER_POLICY, "no-referrer"))
}

/// The description of everything.
fn description(routes: OpenApi) -> OpenApi {
    let info = InfoBuilder::new()
        .title("Muster")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Submit container images to a challenge, follow what becomes of them, and see who passed on a map. \
             Errors are problem documents (RFC 9457).",
        ))
        .build();
    let mut components = Components::new();
    let token =
        HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("The organisers' token")).build();
    components.add_security_scheme("token", SecurityScheme::Http(token));
    OpenApiBuilder::new().info(info).components(Some(components)).build().merge_from(routes)
}

/// A program is told so by a problem, and a person by a page.
async fn unknown(uri: Uri, headers: HeaderMap) -> Response {
    let accepts = headers.get(header::ACCEPT).and_then(|accepts| accepts.to_str().ok()).unwrap_or_default();
    pages::nowhere().filter(|_| accepts.contains("text/html")).unwrap_or_else(|| {
        let what = format!("There is nothing at {}; /docs shows what there is.", uri.path());
        Problem::not_found(what).into_response()
    })
}

/// The router says which methods are possible, but not in words.
async fn explain_not_allowed(response: Response) -> Response {
    if response.status() != StatusCode::METHOD_NOT_ALLOWED
        || response.headers().contains_key(header::CONTENT_TYPE)
    {
        return response;
    }
    let what = "This method is not possible here; the header Allow and /docs show what is.";
    let mut problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, what).into_response();
    if let Some(possible) = response.headers().get(header::ALLOW) {
        problem.headers_mut().insert(header::ALLOW, possible.clone());
    }
    problem
}

fn header_unless_set(name: HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
}
