//! Accepted submissions a second, each on disk before its response, compared with a handler of the same
//! server that appends nothing.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::routing::post;
use axum::serve::ListenerExt;
use axum::{Json, Router};
use commands::{Commands, Gazetteer};
use domain::Challenge;
use event_store::SqliteStore;
use serde_json::{Value, json};
use support::load;

const LASTING: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let files = tempfile::tempdir()?;
    let store = SqliteStore::open(files.path().join("log.sqlite"))?;
    let commands = Commands::new(Arc::new(store), Arc::new(Challenge::birthday()));
    let settings = commands::WriteApiSettings {
        rate_by_address: None,
        rate_by_owner: None,
        ..commands::WriteApiSettings::default()
    };
    let (muster, _) = commands::router(commands, Gazetteer::shipped(), settings).split_for_parts();
    let muster = serve(muster).await?;
    let bare = serve(Router::new().route("/api/v1/submissions", post(parse_and_forget))).await?;

    println!("accepted submissions, {LASTING:?} each, the load on the same machine");
    for connections in [1, 8, 32, 64] {
        let nothing = load(bare, connections, LASTING, 202, request).await?;
        let durable = load(muster, connections, LASTING, 202, request).await?;
        println!("{connections:>3} connections   appends nothing  {nothing}");
        println!("                  durable          {durable}");
    }
    Ok(())
}

async fn serve(router: Router) -> std::io::Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    Ok(address)
}

async fn parse_and_forget(Json(body): Json<Value>) -> (StatusCode, Json<Value>) {
    (StatusCode::ACCEPTED, Json(json!({ "id": body["name"], "status": "submitted" })))
}

fn request(number: u64) -> String {
    let body = json!({
        "name": format!("Participant {number}"),
        "twitter": format!("@participant{number}"),
        "location": "San Francisco, CA, USA",
        "images": [format!("owner{number}/votingapp_voting-app"), format!("owner{number}/votingapp_result-app")],
        "vote": "Python",
    })
    .to_string();
    format!(
        "POST /api/v1/submissions HTTP/1.1\r\nHost: muster\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len(),
    )
}
