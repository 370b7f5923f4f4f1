//! The web pages, from within the program itself.

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use tower_http::compression::CompressionLayer;

use crate::conditional::ETag;
use crate::map::tiles::Tiles;

/// One file of the pages.
struct File {
    /// Its path, from `/` on.
    path: &'static str,
    /// Its content type.
    kind: &'static str,
    content: &'static [u8],
}

// The build script's list of what is in `web/dist`, or in `fallback` until
// the pages have been built.
include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// The pages that people open, and the file that each is. A page that has no
/// file of its own is the first one, which then shows what the address says.
const PAGES: [(&str, &str); 4] = [
    ("/", "/index.html"),
    ("/submit", "/submit.html"),
    ("/s/{id}", "/status.html"),
    ("/organise", "/organise.html"),
];

/// The page that shows tiles, if there are any.
const MAP: &str = "/index.html";

/// Files whose names change with their content.
const IMMUTABLE: &str = "/assets/";

/// The pages and what they load.
pub(crate) fn router(tiles: Option<&Tiles>) -> Router {
    let mut router = Router::new();
    for (route, path) in PAGES {
        let file = find(path).or_else(|| find(MAP));
        let file = file.expect("the build script sees to it that there is a first page");
        router = router.route(route, serve(file, tiles.filter(|_| path == MAP)));
    }
    for file in FILES.iter().filter(|file| !file.path.ends_with(".html")) {
        router = router.route(file.path, serve(file, None));
    }
    router.layer(CompressionLayer::new())
}

/// Returns the page for a path that has none, or `None` until the pages have been built.
pub fn not_found_page() -> Option<Response> {
    let File { kind, content, .. } = find("/nowhere.html")?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::CONTENT_SECURITY_POLICY, policy(None)),
    ];
    Some((StatusCode::NOT_FOUND, headers, *content).into_response())
}

fn find(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

/// Only what we serve ourselves, and nothing in line; and tiles from where they come.
fn policy(tiles: Option<&Tiles>) -> HeaderValue {
    let tiles = tiles.map(|tiles| format!(" {}", tiles.origin())).unwrap_or_default();
    let policy = format!(
        "default-src 'self'; img-src 'self' data:{tiles}; object-src 'none'; base-uri 'none'; \
         form-action 'self'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).expect("an origin is letters, digits and a little punctuation")
}

fn serve(file: &'static File, tiles: Option<&Tiles>) -> MethodRouter {
    let etag = ETag::of_content(file.content);
    let policy = policy(tiles);
    let cache =
        if file.path.starts_with(IMMUTABLE) { "public, max-age=31536000, immutable" } else { "no-cache" };
    get(move |request: HeaderMap| async move {
        let headers = [
            (header::ETAG, etag.header()),
            (header::CACHE_CONTROL, HeaderValue::from_static(cache)),
            (header::CONTENT_SECURITY_POLICY, policy),
        ];
        if etag.is_known(&request) {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        let kind = HeaderValue::from_static(file.kind);
        (headers, [(header::CONTENT_TYPE, kind)], file.content).into_response()
    })
}
