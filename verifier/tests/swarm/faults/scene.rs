//! The scene of all failures: a Swarm of three nodes, a registry behind a proxy, and a verifier that
//! reaches one manager through two proxies.

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

/// The name of the verifier.
pub(super) const NAME: &str = "faults";

/// The longest time that leftovers of a submission may stay after its verdict.
const ORPHANED: Duration = Duration::from_secs(120);

/// Janitor settings that remove images while other images are pulled and run.
const TIDY: Housekeeping =
    Housekeeping { keep: Duration::from_secs(2), space_mib: 20 << 10, every: Duration::from_secs(1) };

pub(super) struct Scene {
    pub(super) bed: Testbed,
    pub(super) engines: Proxy,
    pub(super) registry: Proxy,
    stage: Stage,
    /// The janitors of the sandbox nodes. They remove images much earlier than real janitors do.
    janitors: DropGuard,
    /// The address of the proxy in front of the registry.
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
        // Both addresses lead to one manager, so that all relays are on its node.
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
        // A Swarm that lost all managers forgets the ended containers of a node that had just come back.
        // The node's own janitor removes them.
        assert_nothing_left(&self.bed).await?;
        drop(self.janitors);
        self.bed.stop().await
    }

    /// Pushes the image that `app` makes of the right answer, and submits it.
    pub(super) async fn submit(
        &self,
        owner: &str,
        app: impl FnOnce(&serde_json::Value) -> App,
    ) -> Result<SubmissionId> {
        let image = format!("{}/{owner}/app:latest", self.address);
        self.bed.registry.push(&format!("{owner}/app"), &app(&answer(owner, &[&image]))).await?;
        self.stage.submit(owner, &[&image]).await
    }

    /// Waits until a submission has passed and nothing of it is left. Returns the interruptions of its
    /// attempts, and the node on which it passed.
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

    /// Waits until a submission's container runs. Returns its node and the name of its slot.
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
                // An engine that is off has no containers that run. It is asked again after its restart.
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

/// Prints the outcome of a failure and the time that it took.
pub(super) async fn told(what: &str, happens: impl Future<Output = Result<()>>) -> Result<()> {
    let began = Instant::now();
    let happened = happens.await.with_context(|| what.to_owned());
    let mark = if happened.is_ok() { "borne" } else { "NOT BORNE" };
    println!("{:>6.1} s  {mark:<10} {what}", began.elapsed().as_secs_f64());
    // The test's own error is the first of all, and what follows from it may hide the others.
    if let Err(failure) = &happened {
        println!("          {failure:#}");
    }
    happened
}

fn of(id: SubmissionId, all: bool) -> ListContainersOptions {
    let filters = HashMap::from([("label".to_owned(), vec![format!("muster.submission={id}")])]);
    ListContainersOptions { all, filters: Some(filters), ..Default::default() }
}
