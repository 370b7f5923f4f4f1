//! A run of an attempt's images in a slot: deploys them, waits until they are pulled and started, and
//! probes them.

mod app;
mod finding;

use std::sync::Arc;
use std::time::Duration;

use domain::challenge::{Evidence, Observation};
use domain::submission::{
    FailureCode, InterruptionCode, PlatformFault, ProbeOutcome, PulledImage, StartedImage, SubmissionFacts,
    Submitted,
};
use domain::{Challenge, ImageRef, SubmissionId};
use futures::future::join_all;
use tokio::time::Instant;

use self::app::{AppRun, AppState};
pub(crate) use self::finding::AppFinding;
use self::finding::platform_fault;
use crate::gate::{LookPass, RunnableImage};
use crate::sandbox::slots::{SlotLease, Slots};
use crate::sandbox::tasks::{TaskSnapshot, TaskWatcher};
use crate::swarm::{Deployment, Labels, LastLines, Swarm, TaskEnding, TaskId, TaskPhase, label};
use crate::work::explanation::FailedRun;
use crate::work::probe::{Backoff, ProbeConclusion, ProbeRequest, Suspect};
use crate::work::pull_ahead::AheadPulls;

/// The time that the Swarm has to give a task its node and its address.
const PLACING: Duration = Duration::from_secs(20);
/// The time that a node has to start a container whose image it has.
const STARTING: Duration = Duration::from_secs(30);
/// The time within which a node reports that a container ended.
const AFTERMATH: Duration = Duration::from_millis(800);
/// The age from which a snapshot of the tasks is too old to draw conclusions from it.
const STALE: Duration = Duration::from_secs(5);

/// The environment of a slot run, beside its slot.
#[derive(Clone)]
pub(crate) struct RunContext {
    pub(crate) challenge: Arc<Challenge>,
    pub(crate) swarm: Arc<dyn Swarm>,
    pub(crate) slots: Slots,
}

/// The images of a run in one slot.
pub(crate) struct ImagesToRun<'a> {
    pub(crate) images: Vec<(ImageRef, RunnableImage)>,
    /// The pulls to the node before.
    pub(crate) ahead: AheadPulls,
    /// The permission that nodes get them from the gate.
    pub(crate) pass: &'a LookPass,
}

/// A run of some images in one slot.
pub(crate) struct SlotRun<'a> {
    context: &'a RunContext,
    lease: &'a mut SlotLease,
    tasks: TaskWatcher,
    apps: Vec<AppRun>,
}

impl<'a> SlotRun<'a> {
    /// Deploys `images` in the slot. `name` is the common beginning of the services' names.
    pub(crate) async fn begin(
        context: &'a RunContext,
        lease: &'a mut SlotLease,
        name: &str,
        labels: &Labels,
        images: Vec<(ImageRef, RunnableImage)>,
    ) -> Self {
        let began = Instant::now();
        let grade = lease.grade();
        let mut labels = labels.clone();
        labels.insert(label::SLOT.to_owned(), lease.name().to_owned());
        let deployed: Vec<_> = images
            .into_iter()
            .enumerate()
            .map(|(index, (image, resolved))| {
                let service = lease.deploy(Deployment {
                    name: format!("{name}-{index}"),
                    image: resolved.pull_name.clone(),
                    labels: labels.clone(),
                    overridden: resolved.labels.clone(),
                    node: lease.node().id.clone(),
                    network: lease.network().clone(),
                    grade,
                    volumes: resolved.volumes.clone(),
                    writable: context.challenge.sandbox.writable.clone(),
                    limits: context.challenge.limits.clone(),
                });
                async move { (image, resolved, service.await) }
            })
            .collect();
        let apps = join_all(deployed).await.into_iter().map(|(image, resolved, service)| {
            let state = match service {
                Ok(service) => AppState::Created(service),
                Err(error) => AppState::Done(AppFinding::PlatformFault(error.into())),
            };
            AppRun {
                image,
                resolved,
                began,
                pulled_after: None,
                started_after: None,
                has_connected: false,
                state,
            }
        });
        let apps = apps.collect();
        Self { context, tasks: lease.tasks(), lease, apps }
    }

    /// Waits until the images are on the node. Returns those that arrived in time.
    pub(crate) async fn pulled(&mut self) -> Vec<PulledImage> {
        let limit = Duration::from_secs(self.context.challenge.limits.pull_s);
        let began = Instant::now();
        self.wait_until_all(AppRun::is_placed, began + PLACING.min(limit)).await;
        self.give_up_unless(AppRun::is_placed, |app| match &app.state {
            AppState::Created(_) => {
                platform_fault(InterruptionCode::SwarmUnavailable, "the service was given no task")
            }
            AppState::Scheduled { phase: TaskPhase::Placing(Some(why)), .. } => {
                platform_fault(InterruptionCode::NoCapacity, why)
            }
            _ => platform_fault(
                InterruptionCode::SlotFailed,
                "the task was given neither a node nor an address",
            ),
        });
        self.wait_until_all(AppRun::is_pulled, began + limit).await;
        let late = format!("the image did not arrive on the node within {} s", limit.as_secs());
        self.give_up_unless(AppRun::is_pulled, |_| platform_fault(InterruptionCode::PullFailed, &late));
        let node = &self.lease.node().name;
        let pulled = self.apps.iter().filter_map(|app| {
            Some(PulledImage {
                image: app.image.clone(),
                digest: app.resolved.digest.clone(),
                size_bytes: app.resolved.size_bytes,
                node: node.clone(),
                took_ms: millis(app.pulled_after?),
            })
        });
        pulled.collect()
    }

    /// Waits until the containers run. Returns the images of those that started in time.
    pub(crate) async fn started(&mut self) -> Vec<StartedImage> {
        self.wait_until_all(AppRun::is_started, Instant::now() + STARTING).await;
        let late = format!("the node did not start the container within {} s", STARTING.as_secs());
        self.give_up_unless(AppRun::is_started, |_| platform_fault(InterruptionCode::NodeIll, &late));
        let node = &self.lease.node().name;
        let started = self.apps.iter().filter_map(|app| {
            let took_ms = millis(app.started_after?);
            Some(StartedImage { image: app.image.clone(), node: node.clone(), took_ms })
        });
        started.collect()
    }

    /// Probes the apps until the finding about each is final, or until the observations decide the verdict
    /// together with the `earlier` ones about other images. Returns the final findings.
    pub(crate) async fn probe_all(
        mut self,
        facts: &SubmissionFacts,
        earlier: &[Observation],
    ) -> Vec<(ImageRef, AppFinding)> {
        let probe = ProbeRequest::new(&self.context.challenge.probe, &self.context.challenge.limits);
        let mut backoff = Backoff::new();
        loop {
            for index in 0..self.apps.len() {
                if self.apps[index].is_done() {
                    continue;
                }
                self.probe_app(index, facts, &probe).await;
                if self.apps[index].is_done() && self.is_decided(facts, earlier) {
                    return self.findings();
                }
            }
            if self.apps.iter().all(AppRun::is_done) {
                return self.findings();
            }
            backoff.pause().await;
        }
    }

    /// Probes one app. If the response is right, probes a second time, because one right response may be
    /// chance, or be meant for the probe alone. Leaves the app as it is if the app may still be starting.
    async fn probe_app(&mut self, index: usize, facts: &SubmissionFacts, probe: &ProbeRequest) {
        self.update_apps();
        let (task, since, address) = match &self.apps[index].state {
            AppState::Ended { task, ending } => {
                let (task, finding) = (task.clone(), self.classify_ending(ending));
                let finding = self.explained(index, &task, finding).await;
                return self.finish(index, finding);
            }
            AppState::Running { task, since, address: Some(address) } => (task.clone(), *since, *address),
            _ => {
                let fault =
                    platform_fault(InterruptionCode::SlotFailed, "the task has no address in its slot");
                return self.finish(index, AppFinding::PlatformFault(fault));
            }
        };
        let mut result = probe.send(self.lease.relay(), address).await;
        let image = &self.apps[index].image;
        let right = |evidence| is_right(&self.context.challenge, &facts.submitted, image, evidence);
        if result.observed().is_some_and(right) {
            result = probe.send(self.lease.relay(), address).await;
        }
        let app = &mut self.apps[index];
        app.has_connected |= result.has_connected();
        let Some(conclusion) = probe.conclude(result, app.has_connected, since.elapsed()) else { return };
        let finding = match conclusion {
            ProbeConclusion::Answered(evidence) => AppFinding::Confirmed(evidence),
            ProbeConclusion::Failed { code, message, suspect } => {
                let failed = self.failed_unless_ended(index, &task, code, message).await;
                match suspect {
                    Some(suspect) => failed.suspected(suspect),
                    None => failed,
                }
            }
            ProbeConclusion::RelayFailed(why) => {
                AppFinding::PlatformFault(platform_fault(InterruptionCode::SlotFailed, &why))
            }
        };
        let finding = self.explained(index, &task, finding).await;
        self.finish(index, finding);
    }

    /// Returns the finding that the app failed, unless its container has ended or is being stopped. A
    /// container that ended a moment ago cannot be told from an app that hangs up or never listened, so this
    /// waits for a snapshot taken from now on. If the node cannot be reached at all, the failure is only
    /// suspected, because the node itself may have killed the app.
    async fn failed_unless_ended(
        &mut self,
        index: usize,
        task: &TaskId,
        code: FailureCode,
        message: String,
    ) -> AppFinding {
        let since = Instant::now();
        let ended = |snapshot: &TaskSnapshot| {
            let known = snapshot.tasks.iter().find(|known| known.id == *task);
            let has_ended = known.is_none_or(|known| matches!(known.phase, TaskPhase::Ended(_)));
            (snapshot.at > since && has_ended).then_some(())
        };
        if self.tasks.until(since + AFTERMATH, ended).await.is_some() {
            self.update_apps();
            return match &self.apps[index].state {
                AppState::Ended { ending, .. } => self.classify_ending(ending),
                _ => AppFinding::PlatformFault(platform_fault(
                    InterruptionCode::NodeLost,
                    "the task disappeared",
                )),
            };
        }
        match self.context.swarm.last_lines(task).await {
            Ok(LastLines { are_all: true, .. }) if self.tasks.now().at > since => {
                AppFinding::Confirmed(Evidence::Failure { code, message })
            }
            Ok(_) | Err(_) => AppFinding::Suspected { suspect: Suspect::LostNode, code, message },
        }
    }

    /// Returns the finding about an app whose container ended.
    fn classify_ending(&self, ending: &TaskEnding) -> AppFinding {
        if self.context.slots.is_well(&self.lease.node().id) {
            AppFinding::of_ending(ending, self.context.challenge.limits.memory_mib)
        } else {
            AppFinding::PlatformFault(node_lost(&self.lease.node().name))
        }
    }

    /// Adds an explanation to the finding about an app that failed while it ran.
    async fn explained(&self, index: usize, task: &TaskId, mut finding: AppFinding) -> AppFinding {
        let Some((code, text)) = finding.failure_to_explain() else { return finding };
        let output = match self.context.swarm.last_lines(task).await {
            Ok(lines) => Some(lines.text),
            Err(error) => {
                tracing::debug!(%error, "could not read the last lines of task {task}");
                None
            }
        };
        let app = &self.apps[index];
        let run = FailedRun {
            challenge: &self.context.challenge,
            grade: self.lease.grade(),
            image: &app.image.familiar(),
            exposed_ports: &app.resolved.exposed_ports,
            code,
            output: output.as_deref(),
        };
        text.push_str(&run.explanation());
        finding
    }

    /// Waits until each app is over or fulfils `condition`, at most until `deadline`.
    async fn wait_until_all(&mut self, condition: impl Fn(&AppRun) -> bool, deadline: Instant) {
        let (apps, slots) = (&mut self.apps, &self.context.slots);
        let (node, network) = (self.lease.node(), self.lease.network());
        let all = self.tasks.until(deadline, |snapshot| {
            let is_well = slots.is_well(&node.id);
            for app in apps.iter_mut() {
                app.update(snapshot, network);
                if !is_well && !app.is_over() {
                    app.state = AppState::Done(AppFinding::PlatformFault(node_lost(&node.name)));
                }
            }
            apps.iter().all(|app| app.is_over() || condition(app)).then_some(())
        });
        // The caller looks at each app's state, so the result is not needed.
        let _ = all.await;
    }

    fn update_apps(&mut self) {
        let snapshot = self.tasks.now();
        for app in &mut self.apps {
            app.update(&snapshot, self.lease.network());
        }
    }

    /// Ends the waiting for the apps that do not fulfil `condition` and are not over.
    fn give_up_unless(
        &mut self,
        condition: impl Fn(&AppRun) -> bool,
        why: impl Fn(&AppRun) -> PlatformFault,
    ) {
        let snapshot = self.tasks.now();
        for app in &mut self.apps {
            if app.is_over() || condition(app) {
                continue;
            }
            app.state = AppState::Done(AppFinding::PlatformFault(match &snapshot.error {
                Some(error) if snapshot.at.elapsed() > STALE => {
                    platform_fault(InterruptionCode::SwarmUnavailable, error)
                }
                _ => why(app),
            }));
        }
    }

    fn finish(&mut self, index: usize, finding: AppFinding) {
        self.apps[index].state = AppState::Done(finding);
    }

    fn is_decided(&self, facts: &SubmissionFacts, earlier: &[Observation]) -> bool {
        let mut observations = earlier.to_vec();
        for app in &self.apps {
            if let AppState::Done(AppFinding::Confirmed(evidence)) = &app.state {
                observations.push(Observation { image: app.image.clone(), evidence: evidence.clone() });
            }
        }
        self.context.challenge.judge(&facts.submitted, &observations).verdict.is_some()
    }

    fn findings(self) -> Vec<(ImageRef, AppFinding)> {
        let done = self.apps.into_iter().filter_map(|app| match app.state {
            AppState::Done(finding) => Some((app.image, finding)),
            _ => None,
        });
        done.collect()
    }
}

/// Returns true if the evidence shows that the app does as the challenge asks.
pub(super) fn is_right(
    challenge: &Challenge,
    submitted: &Submitted,
    image: &ImageRef,
    evidence: &Evidence,
) -> bool {
    let observation = Observation { image: image.clone(), evidence: evidence.clone() };
    let judgement = challenge.judge(submitted, &[observation]);
    judgement.probes.iter().all(|probe| probe.outcome == ProbeOutcome::Matched)
}

/// Returns the common beginning of the names of a slot run's services, short enough for a host name.
pub(crate) fn service_name(id: SubmissionId, attempt: u32, slot_run: u32) -> String {
    format!("muster-{}-{attempt}-{slot_run}", id.0.simple())
}

fn node_lost(name: &str) -> PlatformFault {
    platform_fault(InterruptionCode::NodeLost, &format!("{name} went away"))
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_services_name_is_short_enough_for_a_host() {
        let name = service_name(SubmissionId(uuid::Uuid::max()), u32::MAX, 2);
        assert!(format!("{name}-9").len() <= 63, "{name}");
    }
}
