//! What all failures happen to: a Swarm of three, of which one manager is
//! asked through two proxies, a registry behind a third, and a verifier.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bollard::query_parameters::{ListContainersOptions, ListServicesOptions};
use domain::submission::InterruptionCode;
use domain::{Event, SubmissionId};
use testbed::{App, Node, Testbed, until};
use tokio_util::sync::{CancellationToken, DropGuard};
use verifier::janitor::{Housekeeping, Janitor};

use super::proxy::Proxy;
use crate::stage::{Stage, answer, assert_nothing_left};

/// The verifier's name.
pub(super) const NAME: &str = "faults";

/// How long anything may be left after its submission's verdict.
const ORPHANED: Duration = Duration::from_secs(120);

/// Images go while others are pulled and run.
const TIDY: Housekeeping =
    Housekeeping { keep: Duration::from_secs(2), space_mib: 20 << 10, every: Duration::from_secs(1) };

pub(super) struct Scene {
    pub(super) bed: Testbed,
    pub(super) engines: Proxy,
    pub(super) registry: Proxy,
    stage: Stage,
    /// They keep the sandbox nodes much tidier than one would.
    janitors: DropGuard,
    /// The registry's, as the proxy has it.
    address: String,
    _directory: tempfile::TempDir,
}

impl Scene {
    pub(super) async fn start() -> Result<Self> {
        let bed = Testbed::three().await?;
        let [first, second, third] = bed.swarm.nodes() else { bail!("three nodes") };
        super::node::put_on_a_small_disk(&bed, third).await?;
        for node in [second, third] {
            bed.swarm.label(node, "muster.sandbox", "true").await?;
        }
        let directory = tempfile::tempdir()?;
        // Two ways to one manager, so that all relays are on its node.
        let managers = [first.endpoint(), first.endpoint()];
        let (engines, managers) = Proxy::of_engines(&managers, directory.path())?;
        let (registry, address) = Proxy::of_registry(bed.registry.address()).await?;
        let mut stage = Stage::apart(NAME, managers, address.clone(), Some(2))?;
        stage.run()?;
        stage.health(|health| health.pause_reason.is_none() && health.slots() == 4).await?;
        let ending = CancellationToken::new();
        for node in [second, third] {
            tokio::spawn(Janitor::new(&node.endpoint(), None, TIDY)?.run(ending.clone()));
        }
        let janitors = ending.drop_guard();
        Ok(Self { bed, engines, registry, stage, janitors, address, _directory: directory })
    }

    pub(super) async fn stop(self) -> Result<()> {
        self.stage.stop().await?;
        // A Swarm that lost all its managers forgets what ended on a node that
        // had just come back: the node's own janitor does not.
        assert_nothing_left(&self.bed).await?;
        drop(self.janitors);
        self.bed.stop().await
    }

    /// Pushes an image and submits it; `app` makes it of the right answer.
    pub(super) async fn submit(
        &self,
        owner: &str,
        app: impl FnOnce(&serde_json::Value) -> App,
    ) -> Result<SubmissionId> {
        let image = format!("{}/{owner}/app:latest", self.address);
        self.bed.registry.push(&format!("{owner}/app"), &app(&answer(owner, &[&image]))).await?;
        self.stage.submit(owner, &[&image]).await
    }

    /// Awaits that a submission passes and that nothing of it is left; what
    /// broke its attempts off before, and the node that it passed on.
    pub(super) async fn passes(&self, id: SubmissionId) -> Result<(Vec<InterruptionCode>, String)> {
        let outcome = self.stage.verdict(id).await?;
        ensure!(outcome.reasons.is_empty(), "{:#?}", outcome.events);
        self.nothing_is_left_of(id).await?;
        let codes = outcome.events.iter().filter_map(|event| match event {
            Event::VerificationInterrupted(interrupted) => {
                println!("          {:?}: {}", interrupted.code, interrupted.message);
                Some(interrupted.code)
            }
            _ => None,
        });
        let nodes = outcome.events.iter().filter_map(|event| match event {
            Event::ContainersStarted(started) => Some(started.images[0].node.clone()),
            _ => None,
        });
        Ok((codes.collect(), nodes.reduce(|_, last| last).unwrap_or_default()))
    }

    /// Waits until a submission's container runs; the node, and the name of the slot.
    pub(super) async fn running(&self, id: SubmissionId) -> Result<(&Node, String)> {
        until("the container to run", Duration::from_secs(60), async || {
            for node in &self.bed.swarm.nodes()[1..] {
                let listed = node.docker().list_containers(Some(of(id, false))).await.ok()?;
                if let Some(labels) = listed.into_iter().next().and_then(|container| container.labels) {
                    return Some((node, labels.get("muster.slot")?.clone()));
                }
            }
            None
        })
        .await
    }

    async fn nothing_is_left_of(&self, id: SubmissionId) -> Result<()> {
        until("every trace of a submission to go", ORPHANED, async || {
            for node in self.bed.swarm.nodes() {
                let containers = node.docker().list_containers(Some(of(id, true)));
                // An engine that is away is asked when it is back.
                if containers.await.is_ok_and(|listed| !listed.is_empty()) {
                    return None;
                }
            }
            let options = ListServicesOptions { filters: of(id, true).filters, ..Default::default() };
            let services = self.bed.swarm.nodes()[0].docker().list_services(Some(options)).await.ok()?;
            services.is_empty().then_some(())
        })
        .await
        .with_context(|| format!("{id}"))
    }
}

/// Says what came of a failure, and after how long.
pub(super) async fn told(what: &str, happens: impl Future<Output = Result<()>>) -> Result<()> {
    let began = Instant::now();
    let happened = happens.await.with_context(|| what.to_owned());
    let mark = if happened.is_ok() { "borne" } else { "NOT BORNE" };
    println!("{:>6.1} s  {mark:<10} {what}", began.elapsed().as_secs_f64());
    happened
}

fn of(id: SubmissionId, all: bool) -> ListContainersOptions {
    let filters = HashMap::from([("label".to_owned(), vec![format!("muster.submission={id}")])]);
    ListContainersOptions { all, filters: Some(filters), ..Default::default() }
}
