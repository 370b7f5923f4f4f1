//! The origins from which the pages load: tiles from the configured server, and everything else from Muster
//! alone.

use std::future::IntoFuture;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::Uri;
use axum::http::header::CONTENT_TYPE;
use tokio::net::TcpListener;

use crate::support::browser::{Browser, Look};
use crate::support::{Shape, System};

#[tokio::test(flavor = "multi_thread")]
async fn only_tiles_are_loaded_from_the_tile_server() {
    let tiles = TileServer::start().await;
    let template = format!("{}/{{z}}/{{x}}/{{y}}.png", tiles.origin);
    let system =
        System::start_set(&["--tiles", &template, "--tiles-attribution", "© <b>Somebody</b> & others"]).await;
    let browser = Browser::open(Look::DESK).await;
    browser.go(&system.url("/#5/47.4/8.5")).await;
    browser.reads(".leaflet-control-attribution", "© <b>Somebody</b> & others").await;
    browser
        .holds("tiles to be drawn", "return [...document.querySelectorAll('.pane-tiles img')].some(tile => tile.naturalWidth === 256)")
        .await;
    assert!(tiles.asked().iter().any(|path| path.starts_with("/5/")), "{:?}", tiles.asked());
    // The tile server is forbidden for other pages and for anything but tiles.
    let refused = format!(
        "return fetch('{}/0/0/0.png', {{ mode: 'no-cors' }}).then(() => 'loaded', () => 'refused')",
        tiles.origin
    );
    assert_eq!(browser.script(&refused).await, "refused");
    browser.go(&system.url("/submit")).await;
    browser.reads("h1", "Take part").await;
    let picture = format!(
        "return new Promise(done => {{ const i = new Image(); i.onload = () => done('loaded'); i.onerror = () => done('refused'); i.src = '{}/0/0/0.png'; }})",
        tiles.origin
    );
    assert_eq!(browser.script(&picture).await, "refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tiles_nothing_is_loaded_from_other_servers() {
    let system = System::without_a_swarm(Shape::OneProcess).await;
    let browser = Browser::open(Look::DESK).await;
    for (path, there) in [
        ("/#6/47.4/8.5", ".leaflet-control-attribution"),
        ("/submit", ".form"),
        ("/organise", ".form"),
        ("/s/none", "h1"),
    ] {
        browser.go(&system.url(path)).await;
        browser.reads(there, "").await;
        let script = "return performance.getEntriesByType('resource').map(one => one.name)";
        let loaded = browser.script(script).await;
        let loaded: Vec<&str> = loaded.as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
        assert!(!loaded.is_empty());
        assert!(loaded.iter().all(|one| one.starts_with(&system.url("/"))), "{path}: {loaded:?}");
    }
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

/// A server on this machine that sends the same tile for every path.
struct TileServer {
    origin: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl TileServer {
    async fn start() -> Self {
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&asked);
        let tile = async move |uri: Uri| {
            noted.lock().unwrap().push(uri.path().to_owned());
            ([(CONTENT_TYPE, "image/svg+xml")], TILE)
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, Router::new().fallback(tile)).into_future());
        Self { origin, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

const TILE: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" width="256" height="256"><rect width="256" height="256" fill="#bcd" stroke="#789"/></svg>"##;
