//! `GET /api/v1/sandbox`: each verifier's nodes, their slots, and the submissions that are being verified there.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use domain::sandbox::{SandboxGrade, SandboxNode, SandboxNodeState, SandboxRegistry};
use domain::submission::Event;
use http_edge::{Problem, Reader};
use jiff::Timestamp;
use projections::view::{SandboxView, StatusView};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::ReadState;
use crate::problem::views_unavailable;

/// The number of submissions under verification that are counted; larger than any number of slots.
const VERIFYING_MAX: usize = 10_000;

/// The sandboxes of all verifiers.
#[derive(Serialize, ToSchema)]
pub(crate) struct SandboxList {
    /// Every verifier that ever reported, sorted by name.
    verifiers: Vec<VerifierSandbox>,
}

/// The sandbox of one verifier, as the verifier reported it last.
#[derive(Serialize, ToSchema)]
pub(crate) struct VerifierSandbox {
    /// The name of the verifier.
    verifier: String,
    /// The time of the report. A verifier repeats it every two minutes.
    since: Timestamp,
    /// True if the verifier has not repeated its report for five minutes: it has probably died.
    silent: bool,
    /// The registries that limit requests, sorted by name.
    registries: Vec<LimitedRegistry>,
    /// Why this verifier verifies nothing at present; `null` while it works.
    #[serde(rename = "trouble")]
    #[schema(required)]
    pause_reason: Option<String>,
    /// The number of submissions that can be verified at the same time.
    slots: u32,
    /// The number of submissions that are being verified.
    under_way: usize,
    /// The nodes of the sandbox, sorted by name.
    nodes: Vec<NodeInUse>,
}

/// A registry that limits requests.
#[derive(Serialize, ToSchema)]
pub(crate) struct LimitedRegistry {
    /// The name of the registry.
    name: String,
    /// The moment from which the verifier asks the registry again; `null` if it asks now.
    #[schema(required)]
    paused_until: Option<Timestamp>,
    /// Why the verifier does not ask the registry; `null` if it does.
    #[schema(required)]
    reason: Option<String>,
    /// The number of pulls that the registry permits until its limit, as it said last; `null` if it said nothing.
    #[schema(required)]
    pulls_remaining: Option<u64>,
}

/// A node of the Swarm, and the use of its slots.
#[derive(Serialize, ToSchema)]
pub(crate) struct NodeInUse {
    /// The host name of the node.
    name: String,
    /// `ready`, `down`, `paused` or `drained` by an operator, or `refused` if the node does not keep participants'
    /// containers within bounds.
    state: &'static str,
    /// Why the node is refused; `null` if it is not.
    #[schema(required)]
    reason: Option<String>,
    /// What an app may do on the node: `writable`, `read_only` or `bare`; `null` if the node gets no work.
    #[schema(required)]
    grade: Option<&'static str>,
    /// The number of submissions that can be verified on the node at the same time.
    slots: u32,
    /// The number of submissions that are being verified on the node. A submission counts from the moment when its
    /// images have arrived.
    under_way: usize,
}

/// Returns each verifier's nodes, their slots, and how many of them are in use.
#[utoipa::path(
    get,
    path = "/api/v1/sandbox",
    operation_id = "get_sandboxes",
    tag = "organisers",
    security(("token" = [])),
    responses(
        (status = 200, description = "The sandboxes of all verifiers.", body = SandboxList),
        (status = 401, description = "The organiser's token is missing or wrong.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token's role does not permit it, or this server has no organiser's token.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The views cannot be read.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn sandbox(
    State(state): State<Arc<ReadState>>,
    _: Reader,
) -> Result<Json<SandboxList>, Problem> {
    let views = state.views.get().await?;
    let reports = views.sandboxes().await.map_err(views_unavailable)?;
    let verifying = views.verifying(VERIFYING_MAX).await.map_err(views_unavailable)?;
    let under_way = AttemptsUnderWay::count(&verifying);
    let verifiers = reports.into_iter().map(|report| VerifierSandbox::new(report, &under_way)).collect();
    Ok(Json(SandboxList { verifiers }))
}

/// The number of attempts under way for each verifier and node. The node is `None` until an image has arrived.
#[derive(Default)]
struct AttemptsUnderWay(HashMap<(String, Option<String>), usize>);

impl AttemptsUnderWay {
    fn count(verifying: &[StatusView]) -> Self {
        let mut counts = Self::default();
        for (verifier, node) in verifying.iter().filter_map(verifier_and_node) {
            *counts.0.entry((verifier.to_owned(), node.map(str::to_owned))).or_default() += 1;
        }
        counts
    }

    fn of_verifier(&self, verifier: &str) -> usize {
        self.0.iter().filter(|((name, _), _)| name == verifier).map(|(_, count)| count).sum()
    }

    fn on_node(&self, verifier: &str, node: &str) -> usize {
        self.0.get(&(verifier.to_owned(), Some(node.to_owned()))).copied().unwrap_or_default()
    }
}

/// Returns the verifier of a submission's present attempt and, if it is known, the node.
fn verifier_and_node(view: &StatusView) -> Option<(&str, Option<&str>)> {
    let mut node = None;
    for entry in view.timeline.iter().rev() {
        let named = match &entry.event {
            Event::VerificationStarted(started) => return Some((&started.verifier, node)),
            Event::ImagesPulled(pulled) => pulled.images.first().map(|image| image.node.as_str()),
            Event::ContainersStarted(started) => started.images.first().map(|image| image.node.as_str()),
            Event::Submitted(_)
            | Event::Probed(_)
            | Event::Passed(_)
            | Event::Failed(_)
            | Event::VerificationInterrupted(_)
            | Event::RejudgeRequested(_)
            | Event::Hidden(_)
            | Event::Shown(_)
            | Event::NameCorrected(_)
            | Event::Withdrawn(_)
            | Event::GivenUp(_) => None,
        };
        node = node.or(named);
    }
    None
}

impl VerifierSandbox {
    fn new(report: SandboxView, under_way: &AttemptsUnderWay) -> Self {
        let now = Timestamp::now();
        let silent = report.sandbox.pause_reason.is_none() && report.is_silent(now);
        let SandboxView { verifier, since, sandbox, .. } = report;
        let slots = sandbox.slots();
        let in_use = |node: SandboxNode| {
            let under_way = under_way.on_node(&verifier, &node.name);
            NodeInUse::new(node, under_way)
        };
        let nodes = sandbox.nodes.into_iter().map(in_use).collect();
        let registries = sandbox.registries.into_iter().map(|registry| LimitedRegistry::new(registry, now));
        Self {
            since,
            silent,
            registries: registries.collect(),
            pause_reason: sandbox.pause_reason,
            slots,
            under_way: under_way.of_verifier(&verifier),
            nodes,
            verifier,
        }
    }
}

impl LimitedRegistry {
    fn new(registry: SandboxRegistry, now: Timestamp) -> Self {
        let SandboxRegistry { name, pause, pulls_remaining } = registry;
        // The end of a pause is no event.
        let pause = pause.filter(|pause| pause.until > now);
        let (paused_until, reason) = pause.map(|pause| (pause.until, pause.reason)).unzip();
        Self { name, paused_until, reason, pulls_remaining }
    }
}

impl NodeInUse {
    fn new(node: SandboxNode, under_way: usize) -> Self {
        let slots = node.state.slots();
        let grade = match &node.state {
            SandboxNodeState::Ready { grade, .. } => grade.map(SandboxGrade::as_str),
            _ => None,
        };
        let (state, reason) = match node.state {
            SandboxNodeState::Ready { .. } => ("ready", None),
            SandboxNodeState::Paused => ("paused", None),
            SandboxNodeState::Drained => ("drained", None),
            SandboxNodeState::Down => ("down", None),
            SandboxNodeState::Refused { reason } => ("refused", Some(reason)),
        };
        Self { name: node.name, state, reason, grade, slots, under_way }
    }
}
