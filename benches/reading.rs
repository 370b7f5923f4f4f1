//! Status reads a second, compared with a handler of the same server that only sends the same bytes.

#[path = "support/site.rs"]
mod site;
mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header;
use axum::routing::get;
use domain::SubmissionId;
use http_edge::TrustedProxies;
use muster::shutdown::Shutdown;
use site::{Site, passed, submitted};
use support::load;
use tokio::net::TcpListener;
use uuid::Uuid;

const LASTING: Duration = Duration::from_secs(5);

/// The number of submissions in the log.
const SUBMISSIONS: u64 = 1_000;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let site = Site::start().await?;
    let mut ids = Vec::new();
    for number in 0..SUBMISSIONS {
        let id = SubmissionId(Uuid::new_v4());
        // Every other submission still waits.
        let events = if number % 2 == 0 { passed(number) } else { vec![submitted(number)] };
        site.record(id, &events).await?;
        ids.push(id);
    }
    site.settle().await?;
    let of = |wanted: u64| -> Arc<[SubmissionId]> {
        ids.iter().zip(0..).filter(|(_, number)| number % 2 == wanted).map(|(id, _)| *id).collect()
    };
    let (judged, waiting) = (of(0), of(1));
    let bare = bare(&site, judged[0]).await?;

    println!("status reads, {LASTING:?} each, the load on the same machine");
    for connections in [8, 32, 64] {
        let handler = load(bare, connections, LASTING, 200, |_| request("/")).await?;
        println!("{connections:>3} connections   the same bytes  {handler}");
        for (name, ids) in [("judged", &judged), ("waiting", &waiting)] {
            let ids = Arc::clone(ids);
            let of = move |number: u64| {
                let id = ids[usize::try_from(number).unwrap_or_default() % ids.len()];
                request(&format!("/api/v1/submissions/{id}"))
            };
            let status = load(site.address(), connections, LASTING, 200, of).await?;
            println!("                  {name:<14}  {status}");
        }
    }
    Ok(())
}

/// Starts a server that answers every request with the status of one submission.
async fn bare(site: &Site, id: SubmissionId) -> anyhow::Result<SocketAddr> {
    let status = reqwest::get(format!("http://{}/api/v1/submissions/{id}", site.address())).await?;
    let body = status.error_for_status()?.bytes().await?;
    let handler = async move || ([(header::CONTENT_TYPE, "application/json")], body.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(muster::server::serve(
        listener,
        Router::new().route("/", get(handler)),
        TrustedProxies::default(),
        Shutdown::default(),
    ));
    Ok(address)
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: muster\r\n\r\n")
}
