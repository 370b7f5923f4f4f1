//! The web pages, which the program contains.

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use domain::challenge::Venues;
use tower_http::compression::CompressionLayer;

use crate::conditional::ETag;
use crate::map::tiles::MapTiles;

/// One file of the pages.
struct PageFile {
    /// The path in the URL, with the leading `/`.
    path: &'static str,
    content_type: &'static str,
    content: &'static [u8],
}

// The build script lists the files of `web/dist`, or of `fallback` until the pages have been built.
include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// The routes that people open, and the file of each. Until the pages have been built, `MAP_PAGE` stands for all.
const PAGES: [(&str, &str); 4] = [
    ("/", MAP_PAGE),
    ("/submit", "/submit.html"),
    ("/s/{id}", "/status.html"),
    ("/organise", "/organise.html"),
];

/// The page with the map, the only page that may load tiles.
const MAP_PAGE: &str = "/index.html";

/// The screen of a venue's room.
const ROOM_PAGE: &str = "/room.html";

const NOT_FOUND_PAGE: &str = "/nowhere.html";

/// The folder of the files whose names change with their content.
const IMMUTABLE: &str = "/assets/";

/// Returns the routes of the pages and of the files that they load. `venues` are those that have a screen.
pub(crate) fn router(tiles: Option<&MapTiles>, venues: &Venues) -> Router {
    let mut router = Router::new();
    for (route, path) in PAGES {
        let file = find(path).or_else(|| find(MAP_PAGE));
        let file = file.expect("the build script always includes the page with the map");
        router = router.route(route, serve(file, tiles.filter(|_| path == MAP_PAGE)));
    }
    let room = find(ROOM_PAGE).or_else(|| find(MAP_PAGE));
    let room = serve(room.expect("the build script always includes the page with the map"), None);
    // The names of venues have letters, digits and hyphens only. Every other address has the page that says so.
    for venue in venues.iter() {
        router = router.route(&format!("/v/{}", venue.name), room.clone());
    }
    for file in FILES.iter().filter(|file| !file.path.ends_with(".html")) {
        router = router.route(file.path, serve(file, None));
    }
    router.layer(CompressionLayer::new())
}

/// Returns the page for a path that has none, or `None` until the pages have been built.
pub fn not_found_page() -> Option<Response> {
    let PageFile { content_type, content, .. } = find(NOT_FOUND_PAGE)?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::CONTENT_SECURITY_POLICY, content_security_policy(None)),
    ];
    Some((StatusCode::NOT_FOUND, headers, *content).into_response())
}

fn find(path: &str) -> Option<&'static PageFile> {
    FILES.iter().find(|file| file.path == path)
}

/// Returns a policy that lets a page load files of this server only, nothing inline, and pictures of `tiles`.
fn content_security_policy(tiles: Option<&MapTiles>) -> HeaderValue {
    let tiles = tiles.map(|tiles| format!(" {}", tiles.origin())).unwrap_or_default();
    let policy = format!(
        "default-src 'self'; img-src 'self' data:{tiles}; object-src 'none'; base-uri 'none'; \
         form-action 'self'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).expect("an origin has letters, digits and a little punctuation")
}

fn serve(file: &'static PageFile, tiles: Option<&MapTiles>) -> MethodRouter {
    let etag = ETag::from_content(file.content);
    let policy = content_security_policy(tiles);
    let cache =
        if file.path.starts_with(IMMUTABLE) { "public, max-age=31536000, immutable" } else { "no-cache" };
    get(move |request: HeaderMap| async move {
        let headers = [
            (header::ETAG, etag.to_header()),
            (header::CACHE_CONTROL, HeaderValue::from_static(cache)),
            (header::CONTENT_SECURITY_POLICY, policy),
        ];
        if etag.matches(&request) {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        let content_type = HeaderValue::from_static(file.content_type);
        (headers, [(header::CONTENT_TYPE, content_type)], file.content).into_response()
    })
}
