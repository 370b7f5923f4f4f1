//! `GET /api/v1/sandbox`: where submissions are verified, for those who look
//! after it: each verifier's nodes, their slots, and what is under way there.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use domain::sandbox::{SandboxNode, SandboxNodeState};
use domain::submission::Event;
use http_edge::{Organiser, Problem};
use jiff::Timestamp;
use projections::view::{SandboxView, StatusView};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::problem::views_unavailable;

/// So many submissions under way are counted: more than there are slots anywhere.
const UNDER_WAY_MAX: usize = 10_000;

/// Where submissions are verified.
#[derive(Serialize, ToSchema)]
pub(crate) struct SandboxList {
    /// Every verifier that ever reported, by name.
    verifiers: Vec<VerifierSandbox>,
}

/// One verifier's sandbox, as it reported it last.
#[derive(Serialize, ToSchema)]
pub(crate) struct VerifierSandbox {
    /// The verifier's name.
    verifier: String,
    /// Since when it is so.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// Why nothing is verified there just now; `null` while all is well.
    trouble: Option<String>,
    /// How many submissions may be under way at a time.
    slots: u32,
    /// How many are.
    under_way: usize,
    /// Its nodes, by name.
    nodes: Vec<NodeInUse>,
}

/// A node of the Swarm.
#[derive(Serialize, ToSchema)]
pub(crate) struct NodeInUse {
    /// Its host name.
    name: String,
    /// `ready`, `paused` or `drained` by an operator, `down`, or `refused`: it
    /// would not keep participants' containers in bounds.
    state: &'static str,
    /// Why it is refused.
    reason: Option<String>,
    /// How many submissions may be under way there at a time.
    slots: u32,
    /// How many are, as far as their images have arrived.
    under_way: usize,
}

/// Where submissions are verified.
#[utoipa::path(
    get,
    path = "/api/v1/sandbox",
    tag = "organisers",
    security(("token" = [])),
    responses(
        (status = 200, body = SandboxList),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn sandbox(State(app): State<Arc<App>>, _: Organiser) -> Result<Json<SandboxList>, Problem> {
    let reports = app.queries.sandboxes().await.map_err(views_unavailable)?;
    let under_way =
        AttemptsUnderWay::count(&app.queries.verifying(UNDER_WAY_MAX).await.map_err(views_unavailable)?);
    let verifiers = reports.into_iter().map(|report| VerifierSandbox::new(report, &under_way)).collect();
    Ok(Json(SandboxList { verifiers }))
}

/// How many submissions are under way, by verifier and, where it is known, node.
#[derive(Default)]
struct AttemptsUnderWay(HashMap<(String, Option<String>), usize>);

impl AttemptsUnderWay {
    fn count(verifying: &[StatusView]) -> Self {
        let mut counts = Self::default();
        for (verifier, node) in verifying.iter().filter_map(place) {
            *counts.0.entry((verifier.to_owned(), node.map(str::to_owned))).or_default() += 1;
        }
        counts
    }

    fn at(&self, verifier: &str) -> usize {
        self.0.iter().filter(|((at, _), _)| at == verifier).map(|(_, count)| count).sum()
    }

    fn on(&self, verifier: &str, node: &str) -> usize {
        self.0.get(&(verifier.to_owned(), Some(node.to_owned()))).copied().unwrap_or_default()
    }
}

/// Who is at a submission, and on which node.
fn place(view: &StatusView) -> Option<(&str, Option<&str>)> {
    let mut node = None;
    for entry in view.timeline.iter().rev() {
        let seen_on = match &entry.event {
            Event::VerificationStarted(started) => return Some((&started.verifier, node)),
            Event::ImagesPulled(pulled) => pulled.images.first().map(|image| image.node.as_str()),
            Event::ContainersStarted(started) => started.images.first().map(|image| image.node.as_str()),
            Event::Submitted(_)
            | Event::Probed(_)
            | Event::Passed(_)
            | Event::Failed(_)
            | Event::VerificationInterrupted(_)
            | Event::RejudgeRequested(_) => None,
        };
        node = node.or(seen_on);
    }
    None
}

impl VerifierSandbox {
    fn new(report: SandboxView, under_way: &AttemptsUnderWay) -> Self {
        let SandboxView { verifier, since, sandbox, .. } = report;
        let slots = sandbox.slots();
        let in_use = |node: SandboxNode| {
            let under_way = under_way.on(&verifier, &node.name);
            NodeInUse::new(node, under_way)
        };
        let nodes = sandbox.nodes.into_iter().map(in_use).collect();
        Self {
            since,
            trouble: sandbox.pause_reason,
            slots,
            under_way: under_way.at(&verifier),
            nodes,
            verifier,
        }
    }
}

impl NodeInUse {
    fn new(node: SandboxNode, under_way: usize) -> Self {
        let slots = node.state.slots();
        let (state, reason) = match node.state {
            SandboxNodeState::Ready { .. } => ("ready", None),
            SandboxNodeState::Paused => ("paused", None),
            SandboxNodeState::Drained => ("drained", None),
            SandboxNodeState::Down => ("down", None),
            SandboxNodeState::Refused { reason } => ("refused", Some(reason)),
        };
        Self { name: node.name, state, reason, slots, under_way }
    }
}
