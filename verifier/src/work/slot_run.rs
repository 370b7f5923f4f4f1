//! One run of some images in one slot: deployed, pulled, started, asked.

mod app;
mod finding;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use domain::challenge::{Evidence, Observation};
use domain::submission::{
    FailureCode, InterruptionCode, PlatformFault, ProbeOutcome, PulledImage, StartedImage, SubmissionFacts,
};
use domain::{Challenge, ImageRef, SubmissionId};
use futures::future::join_all;
use tokio::time::Instant;

use self::app::{AppRun, Running};
pub(crate) use self::finding::AppFinding;
use self::finding::fault;
use crate::registry::ResolvedImage;
use crate::sandbox::slots::{SlotLease, Slots};
use crate::sandbox::tasks::{TaskSnapshot, TaskWatcher};
use crate::swarm::{Deployment, Labels, LastLines, Swarm, TaskEnding, TaskPhase, label};
use crate::work::probe::{Backoff, ProbeRequest, ProbeResult};
use crate::work::sanitise::{last_lines, quoted};

/// How long the Swarm may take to give a task its node and its address.
const PLACING: Duration = Duration::from_secs(20);
/// How long a node may take to start a container whose image it has.
const STARTING: Duration = Duration::from_secs(30);
/// An agent tells within this that a container ended.
const AFTERMATH: Duration = Duration::from_millis(800);
/// A look at the tasks that is older shows nothing.
const BLIND: Duration = Duration::from_secs(5);

/// The code of a process that the kernel killed, as it does for want of memory.
const KILLED: i64 = 137;
/// Codes above this one are of processes that a signal ended, or that an engine
/// lost sight of: one that is started anew kills what it ran.
const SIGNALLED: i64 = 128;

/// What a trial needs beside its slot.
pub(crate) struct RunContext {
    pub(crate) challenge: Arc<Challenge>,
    pub(crate) swarm: Arc<dyn Swarm>,
    pub(crate) slots: Slots,
}

/// A run of some images in one slot.
pub(crate) struct SlotRun<'a> {
    context: &'a RunContext,
    lease: &'a mut SlotLease,
    tasks: TaskWatcher,
    apps: Vec<AppRun>,
}

impl<'a> SlotRun<'a> {
    /// Begins to run `images` in the slot; `name` is the services' common name.
    pub(crate) async fn begin(
        context: &'a RunContext,
        lease: &'a mut SlotLease,
        name: &str,
        labels: &Labels,
        images: Vec<(ImageRef, ResolvedImage)>,
    ) -> Self {
        let began = Instant::now();
        let mut labels = labels.clone();
        labels.insert(label::SLOT.to_owned(), lease.name().to_owned());
        let deployed: Vec<_> = images
            .into_iter()
            .enumerate()
            .map(|(index, (image, found))| {
                let service = lease.deploy(Deployment {
                    name: format!("{name}-{index}"),
                    image: image.pinned(found.digest.clone()).to_string(),
                    labels: labels.clone(),
                    node: lease.node().id.clone(),
                    network: lease.network().to_owned(),
                    volumes: found.volumes.clone(),
                    limits: context.challenge.limits.clone(),
                });
                async move { (image, found, service.await) }
            })
            .collect();
        let apps = join_all(deployed).await.into_iter().map(|(image, found, service)| {
            let (service, finding) = match service {
                Ok(service) => (service, None),
                Err(error) => (String::new(), Some(AppFinding::PlatformFault(error.into()))),
            };
            let task = String::new();
            AppRun { image, found, service, began, phase: None, task, pulled: None, running: None, finding }
        });
        let apps = apps.collect();
        Self { context, tasks: lease.tasks(), lease, apps }
    }

    /// Waits until the images are on the node, and says which.
    pub(crate) async fn pulled(&mut self) -> Vec<PulledImage> {
        let limit = Duration::from_secs(self.context.challenge.limits.pull_s);
        let began = Instant::now();
        let is_placed = |app: &AppRun| !matches!(app.phase, None | Some(TaskPhase::Placing(_)));
        self.wait(began + PLACING.min(limit), is_placed).await;
        self.give_up(is_placed, |app| match &app.phase {
            Some(TaskPhase::Placing(Some(why))) => fault(InterruptionCode::NoCapacity, why),
            Some(_) => fault(InterruptionCode::SlotFailed, "the task was given neither node nor address"),
            None => fault(InterruptionCode::SwarmUnavailable, "the service was given no task"),
        });
        let is_pulled = |app: &AppRun| app.pulled.is_some();
        self.wait(began + limit, is_pulled).await;
        let late = format!("it did not arrive on the node within {} s", limit.as_secs());
        self.give_up(is_pulled, |_| fault(InterruptionCode::PullFailed, &late));
        let node = &self.lease.node().name;
        let pulled = self.apps.iter().filter_map(|app| {
            Some(PulledImage {
                image: app.image.clone(),
                digest: app.found.digest.clone(),
                size_bytes: app.found.size_bytes,
                node: node.clone(),
                took_ms: millis(app.pulled?),
            })
        });
        pulled.collect()
    }

    /// Waits until the containers run, and says which.
    pub(crate) async fn started(&mut self) -> Vec<StartedImage> {
        let is_running = |app: &AppRun| app.running.is_some();
        self.wait(Instant::now() + STARTING, is_running).await;
        let late = format!("the node did not start it within {} s", STARTING.as_secs());
        self.give_up(is_running, |_| fault(InterruptionCode::NodeIll, &late));
        let node = &self.lease.node().name;
        let started = self.apps.iter().filter_map(|app| {
            let took = app.running.as_ref()?.since.duration_since(app.began);
            Some(StartedImage { image: app.image.clone(), node: node.clone(), took_ms: millis(took) })
        });
        started.collect()
    }

    /// Asks the apps until each has answered or had its time, or until those
    /// that have decide, together with what was `seen` of others; what was found.
    pub(crate) async fn asked(
        mut self,
        facts: &SubmissionFacts,
        seen: &[Observation],
    ) -> Vec<(ImageRef, AppFinding)> {
        let question = ProbeRequest::new(&self.context.challenge.probe, &self.context.challenge.limits);
        let mut patience = Backoff::new();
        loop {
            for index in 0..self.apps.len() {
                if self.apps[index].finding.is_none() {
                    self.ask(index, facts, &question).await;
                }
                if self.is_decided(facts, seen) {
                    return self.findings();
                }
            }
            if self.apps.iter().all(|app| app.finding.is_some()) {
                return self.findings();
            }
            patience.pause().await;
        }
    }

    /// Asks one app, and once more if it answers as it should: what is right only
    /// once may be chance, or meant for us alone.
    async fn ask(&mut self, index: usize, facts: &SubmissionFacts, question: &ProbeRequest) {
        self.take_note();
        let start = Duration::from_secs(self.context.challenge.limits.start_s);
        let app = &self.apps[index];
        if matches!(app.phase, Some(TaskPhase::Ended(_))) {
            self.apps[index].finding = Some(self.ending(index).await);
            return;
        }
        let Some(Running { since, address: Some(address) }) = app.running else {
            let fault = fault(InterruptionCode::SlotFailed, "the task has no address in its slot");
            self.apps[index].finding = Some(AppFinding::PlatformFault(fault));
            return;
        };
        let mut told = self.tell(question, address).await;
        if self.is_right(index, facts, &told) {
            told = self.tell(question, address).await;
        }
        let had_its_time = since.elapsed() >= start;
        let finding = match told {
            ProbeResult::ConnectionRefused | ProbeResult::Unreachable(_) if !had_its_time => return,
            ProbeResult::Observed(evidence @ Evidence::Http { .. }) => AppFinding::Confirmed(evidence),
            ProbeResult::Observed(Evidence::Failure { code, message }) => {
                self.unless_ended(index, code, message).await
            }
            ProbeResult::ConnectionRefused => {
                let message = question.nothing_on_port(start);
                self.unless_ended(index, FailureCode::NothingOnPort, message).await
            }
            ProbeResult::Unreachable(why) => {
                let message = question.not_reached(&why);
                match self.unless_ended(index, FailureCode::NothingOnPort, message).await {
                    AppFinding::Confirmed(Evidence::Failure { code, message }) => {
                        AppFinding::Suspected(code, message)
                    }
                    known => known,
                }
            }
            ProbeResult::RelayFailed(why) => {
                AppFinding::PlatformFault(fault(InterruptionCode::SlotFailed, &why))
            }
        };
        self.apps[index].finding = Some(finding);
    }

    /// What one request to an app tells.
    async fn tell(&mut self, question: &ProbeRequest, address: IpAddr) -> ProbeResult {
        match question.to(address) {
            Ok(request) => question.told(self.lease.relay().probe(request).await),
            Err(error) => ProbeResult::RelayFailed(error.to_string()),
        }
    }

    fn is_right(&self, index: usize, facts: &SubmissionFacts, told: &ProbeResult) -> bool {
        let ProbeResult::Observed(evidence) = told else { return false };
        let seen = Observation { image: self.apps[index].image.clone(), evidence: evidence.clone() };
        let judgement = self.context.challenge.judge(&facts.submitted, &[seen]);
        judgement.probes.iter().all(|probe| probe.outcome == ProbeOutcome::Matched)
    }

    /// What is held against an app, unless its container turns out to have ended
    /// or to be stopped: one that did a moment ago cannot be told from one that
    /// hangs up or never listened, until a look from now on shows it. A node that
    /// says nothing at all may have killed it itself.
    async fn unless_ended(&mut self, index: usize, code: FailureCode, message: String) -> AppFinding {
        let (task, since) = (self.apps[index].task.clone(), Instant::now());
        let ended = |seen: &TaskSnapshot| {
            let known = seen.tasks.iter().find(|known| known.id == task);
            let has_ended = known.is_none_or(|known| matches!(known.phase, TaskPhase::Ended(_)));
            (seen.at > since && has_ended).then_some(())
        };
        if self.tasks.until(since + AFTERMATH, ended).await.is_some() {
            self.take_note();
            return self.ending(index).await;
        }
        match self.context.swarm.last_lines(&task).await {
            Ok(LastLines { are_all: true, .. }) if self.tasks.now().at > since => {
                AppFinding::Confirmed(Evidence::Failure { code, message })
            }
            Ok(_) | Err(_) => AppFinding::Suspected(code, message),
        }
    }

    /// What it means that a container ended.
    async fn ending(&self, index: usize) -> AppFinding {
        let AppRun { phase, task, .. } = &self.apps[index];
        let Some(TaskPhase::Ended(ending)) = phase else {
            return AppFinding::PlatformFault(fault(InterruptionCode::NodeLost, "the task is gone"));
        };
        if !self.context.slots.is_well(&self.lease.node().id) {
            let why = format!("{} went away", self.lease.node().name);
            return AppFinding::PlatformFault(fault(InterruptionCode::NodeLost, &why));
        }
        let (code, message) = match ending {
            TaskEnding::PlatformFault(code, why) => return AppFinding::PlatformFault(fault(*code, why)),
            TaskEnding::WrongPlatform(why) => {
                (FailureCode::WrongPlatform, format!("The node cannot run the image: {}", quoted(why)))
            }
            TaskEnding::NotStarted(why) => {
                (FailureCode::DidNotStart, format!("The container did not start: {}", quoted(why)))
            }
            TaskEnding::Exited(KILLED) => {
                let limit = self.context.challenge.limits.memory_mib;
                let words = self.last_words(task).await;
                let message = format!(
                    "The app was killed (exit code 137), as happens beyond {limit} MiB of memory.{words}"
                );
                return AppFinding::Suspected(FailureCode::OutOfMemory, message);
            }
            TaskEnding::Exited(code) => {
                let words = self.last_words(task).await;
                let message = format!("The app ended by itself with exit code {code}.{words}");
                if *code > SIGNALLED {
                    return AppFinding::Suspected(FailureCode::ExitedEarly, message);
                }
                (FailureCode::ExitedEarly, message)
            }
        };
        AppFinding::Confirmed(Evidence::Failure { code, message })
    }

    async fn last_words(&self, task: &str) -> String {
        match self.context.swarm.last_lines(task).await {
            Ok(said) => last_lines(&said.text),
            Err(error) => {
                tracing::debug!(task, %error, "the last lines of an app are not known");
                String::new()
            }
        }
    }

    /// Waits until each app has reached it, or never will.
    async fn wait(&mut self, deadline: Instant, reached: impl Fn(&AppRun) -> bool) {
        let (apps, slots) = (&mut self.apps, &self.context.slots);
        let (node, network) = (self.lease.node(), self.lease.network());
        let all = self.tasks.until(deadline, |seen| {
            let is_well = slots.is_well(&node.id);
            for app in apps.iter_mut() {
                app.take_note(seen, network);
                if !is_well && !app.is_over() {
                    let why = format!("{} went away", node.name);
                    app.finding = Some(AppFinding::PlatformFault(fault(InterruptionCode::NodeLost, &why)));
                }
            }
            apps.iter().all(|app| app.is_over() || reached(app)).then_some(())
        });
        // At the deadline, each is asked how far it came.
        let _ = all.await;
    }

    fn take_note(&mut self) {
        let seen = self.tasks.now();
        for app in &mut self.apps {
            app.take_note(&seen, self.lease.network());
        }
    }

    /// Gives up on the apps that have not `reached` it and still might.
    fn give_up(&mut self, reached: impl Fn(&AppRun) -> bool, why: impl Fn(&AppRun) -> PlatformFault) {
        let seen = self.tasks.now();
        for app in &mut self.apps {
            if app.is_over() || reached(app) {
                continue;
            }
            app.finding = Some(AppFinding::PlatformFault(match &seen.blind {
                Some(blind) if seen.at.elapsed() > BLIND => fault(InterruptionCode::SwarmUnavailable, blind),
                _ => why(app),
            }));
        }
    }

    fn is_decided(&self, facts: &SubmissionFacts, seen: &[Observation]) -> bool {
        let mut observations = seen.to_vec();
        for app in &self.apps {
            if let Some(AppFinding::Confirmed(evidence)) = &app.finding {
                observations.push(Observation { image: app.image.clone(), evidence: evidence.clone() });
            }
        }
        self.context.challenge.judge(&facts.submitted, &observations).verdict.is_some()
    }

    fn findings(self) -> Vec<(ImageRef, AppFinding)> {
        self.apps.into_iter().filter_map(|app| Some((app.image, app.finding?))).collect()
    }
}

/// The common name of the services of one trial: short enough for a host name.
pub(crate) fn service_name(id: SubmissionId, attempt: u32, trial: u32) -> String {
    format!("muster-{}-{attempt}-{trial}", id.0.simple())
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
