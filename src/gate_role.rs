//! The gate in a process of its own. It needs neither the log nor the views, so its routes for operators are its own too.

use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use verifier::{GateChoice, GateProcess, GateProcessSettings, VerifierMetrics};

use crate::config::Settings;
use crate::server;
use crate::shutdown::Shutdown;

/// The state that operators ask for.
struct GateOperations {
    metrics: VerifierMetrics,
    leaving: CancellationToken,
}

/// Runs the gate until `shutdown` stops it. `http` is for operators alone.
///
/// # Errors
/// If a setting is missing or cannot be used.
pub(crate) async fn run(
    settings: &Settings,
    http: Option<TcpListener>,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let gate = GateProcess::new(process_settings(settings)?, &settings.challenge)
        .map_err(|why| anyhow!(why))
        .context("the settings gate-… (--gate-listen, MUSTER_GATE_LISTEN)")?;
    if let Some(listener) = http {
        tracing::info!("HTTP is served at http://{}", listener.local_addr()?);
        let operations = GateOperations { metrics: gate.metrics(), leaving: shutdown.leaving.clone() };
        let proxies = settings.trusted_proxies.clone();
        tokio::spawn(server::serve(listener, routes(operations), proxies, shutdown.clone()));
    }
    gate.run(shutdown.stopping).await.context("the gate failed")
}

fn process_settings(settings: &Settings) -> anyhow::Result<GateProcessSettings> {
    let GateChoice::Own(gate) = settings.gate.clone() else {
        bail!("name the address at which nodes pull from the gate with --gate-listen or MUSTER_GATE_LISTEN");
    };
    let Some(secret) = settings.gate_verifiers.secret.clone() else {
        bail!("give the secret that verifiers present with --gate-secret or MUSTER_GATE_SECRET");
    };
    Ok(GateProcessSettings {
        gate,
        verifiers: settings.gate_verifiers.listen,
        secret,
        insecure_registries: settings.insecure_registries.clone(),
        logins: settings.logins.clone(),
    })
}

fn routes(operations: GateOperations) -> Router {
    Router::new()
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(operations))
}

async fn readyz(State(gate): State<Arc<GateOperations>>) -> impl IntoResponse {
    let reasons: Vec<&str> =
        gate.leaving.is_cancelled().then_some("the process is stopping").into_iter().collect();
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": reasons.is_empty(), "reasons": reasons })))
}

async fn metrics(State(gate): State<Arc<GateOperations>>) -> impl IntoResponse {
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, media_type)], gate.metrics.to_text())
}
