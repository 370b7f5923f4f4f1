//! Thousands of verifications, one after the other: the resources in use must not grow. Prints a series,
//! and fails if its end is worse than its beginning by more than the bounds.

// The steps of a verification are measured by the other benchmark.
#[path = "support/muster.rs"]
#[expect(dead_code, reason = "the other benchmark uses the rest")]
mod muster;

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::json;
use testbed::{App, Node, Testbed, until};

use crate::muster::Muster;

/// The number of submissions, unless `MUSTER_SOAK` names another.
const ALL: usize = 10_000;
/// The number of verifications for each line of the series. The series has at least twelve lines.
const EVERY: usize = 500;
/// The number of submissions that wait at the same time, of enough owners to keep the slots busy.
const WAITING: usize = 60;
const OWNERS: usize = 12;
/// The longest time for one verification, after which a soak counts as stalled.
const EACH_MAX: Duration = Duration::from_secs(3);
/// The deadline for the leftovers of the last verifications to disappear.
const CLEARED: Duration = Duration::from_secs(60);

/// A line of the series.
struct Sample {
    verified: usize,
    /// Verifications a second since the previous line.
    per_second: f64,
    /// The memory and the open files of the process.
    muster: Process,
    dockerd: Process,
    /// The size of the engine's files, in MiB.
    disk_mib: u64,
    /// Network namespaces and links on the node, and the Swarm's networks.
    namespaces: u64,
    links: u64,
    networks: u64,
    services: u64,
    tasks: u64,
    containers: u64,
}

#[derive(Clone, Copy)]
struct Process {
    rss_mib: u64,
    files: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let all = match std::env::var("MUSTER_SOAK") {
        Ok(number) => number.parse().context("MUSTER_SOAK is a number")?,
        Err(_) => ALL,
    };
    let every = EVERY.min(all / 12).max(1);
    let bed = Testbed::single().await?;
    let node = &bed.swarm.nodes()[0];
    let answer = json!({ "name": "Ada Lovelace", "vote": "Rust" });
    let mut images = Vec::new();
    for number in 0..OWNERS {
        images.push(bed.registry.push(&format!("owner{number}/app:latest"), &App::good(&answer)).await?);
    }
    let muster = Muster::start(&bed, &["name", "vote"], &[]).await?;
    println!("{all} verifications, a line for each {every}");
    println!("{}", Sample::HEAD);
    let (mut submitted, mut series) = (0, Vec::new());
    let (began, mut last) = (Instant::now(), (Instant::now(), 0));
    while last.1 < all {
        let wanted = (last.1 + every).min(all);
        until("the next verdicts", EACH_MAX * u32::try_from(every)?, async || {
            let (passed, failed) = muster.verdicts().await.ok()?;
            if failed > 0 {
                return Some(Err(anyhow::anyhow!("{failed} failed")));
            }
            while submitted < all.min(passed + WAITING) {
                if let Err(error) = muster.submit(&images[submitted % OWNERS], &answer).await {
                    return Some(Err(error));
                }
                submitted += 1;
            }
            (passed >= wanted).then_some(Ok(()))
        })
        .await??;
        let per_second = (wanted - last.1) as f64 / last.0.elapsed().as_secs_f64();
        let sample = Sample::take(node, &muster, wanted, per_second).await?;
        println!("{sample}");
        series.push(sample);
        last = (Instant::now(), wanted);
    }
    println!("in {:.0} s", began.elapsed().as_secs_f64());
    // Submissions under way rightly use resources. Only resources that remain afterwards count.
    let cleared = until("services and tasks to go", CLEARED, async || {
        let idle = Sample::take(node, &muster, all, 0.0).await.ok()?;
        (idle.services + idle.tasks + idle.containers == 0).then_some(())
    });
    let cleared = cleared.await;
    muster.stop().await?;
    let worse = Sample::worse(&series);
    bed.stop().await?;
    cleared?;
    if !worse.is_empty() {
        bail!("the end is not as the beginning: {}", worse.join("; "));
    }
    Ok(())
}

impl Sample {
    const HEAD: &str = "verified    /s   muster MiB  files   dockerd MiB  files   disk MiB   namespaces  links  \
         networks   services  tasks  containers";

    async fn take(node: &Node, muster: &Muster, verified: usize, per_second: f64) -> anyhow::Result<Self> {
        let endpoint = node.endpoint();
        let data = endpoint.replace("unix://", "").replace("docker.sock", "data");
        // The script prints one line of numbers. The engine's process number is the one inside its host.
        let script = format!(
            r#"docker() {{ command docker --host {endpoint} "$@"; }}
            pid=$(cat /run/docker.pid)
            awk '/^VmRSS/ {{ print int($2 / 1024) }}' /proc/$pid/status
            ls /proc/$pid/fd | wc -l
            du -sxm {data} | cut -f1
            ls /run/docker/netns | wc -l
            ls /sys/class/net | wc -l
            docker network ls --quiet --filter label=muster.verifier | wc -l
            docker service ls --quiet | wc -l
            docker node ps --quiet $(docker node ls --quiet) | wc -l
            docker ps --all --quiet --filter label=com.docker.swarm.service.name | wc -l"#
        );
        let said = node.run(&["sh", "-c", &script]).await?;
        let numbers: Result<Vec<u64>, _> = said.split_whitespace().map(str::parse).collect();
        let numbers = numbers.with_context(|| said.clone())?;
        let [rss_mib, files, disk_mib, namespaces, links, networks, services, tasks, containers] =
            numbers[..]
        else {
            bail!("nine numbers: {said}");
        };
        Ok(Self {
            verified,
            per_second,
            muster: Process::of(muster.program.id())?,
            dockerd: Process { rss_mib, files },
            disk_mib,
            namespaces,
            links,
            networks,
            services,
            tasks,
            containers,
        })
    }

    /// Returns every figure that is worse in the last third of the series than in its first. The first line
    /// is left out, because the slots were created then. The bounds allow for the views in memory, which
    /// grow with each submission, and for the engine's own log, which is truncated sometimes.
    fn worse(series: &[Self]) -> Vec<String> {
        let third = (series.len() / 3).max(1);
        let (first, last) = (series.iter().skip(1).take(third), series.iter().rev().take(third));
        let verified = series.last().map_or(0, |sample| sample.verified) as f64;
        let mut worse = Vec::new();
        let mut hold = |what: &str, of: fn(&Self) -> f64, most: &dyn Fn(f64) -> f64| {
            let before = first.clone().map(of).fold(0.0, f64::max);
            let after = last.clone().map(of).fold(f64::INFINITY, f64::min);
            if after > most(before) {
                worse.push(format!("{what}: {before:.1}, then {after:.1}, at most {:.1}", most(before)));
            }
        };
        hold("seconds for each", |s| 1.0 / s.per_second, &|before| before * 1.25);
        hold("muster's memory, MiB", |s| s.muster.rss_mib as f64, &|before| {
            before * 1.25 + 16.0 + verified * 0.01
        });
        hold("muster's files", |s| s.muster.files as f64, &|before| before + 16.0);
        hold("dockerd's memory, MiB", |s| s.dockerd.rss_mib as f64, &|before| before * 1.5 + 64.0);
        hold("dockerd's files", |s| s.dockerd.files as f64, &|before| before * 1.1 + 32.0);
        hold("disk, MiB", |s| s.disk_mib as f64, &|before| before + 256.0);
        hold("network namespaces", |s| s.namespaces as f64, &|before| before * 1.1 + 8.0);
        hold("links", |s| s.links as f64, &|before| before * 1.1 + 8.0);
        hold("networks", |s| s.networks as f64, &|before| before * 1.1 + 4.0);
        hold("services", |s| s.services as f64, &|before| before + 8.0);
        hold("tasks", |s| s.tasks as f64, &|before| before * 1.25 + 16.0);
        hold("containers", |s| s.containers as f64, &|before| before * 1.25 + 16.0);
        worse
    }
}

impl std::fmt::Display for Sample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:>8} {:>5.2}   {:>10} {:>6}   {:>11} {:>6}   {:>8}   {:>10} {:>6}  {:>8}   {:>8} {:>6}  {:>10}",
            self.verified,
            self.per_second,
            self.muster.rss_mib,
            self.muster.files,
            self.dockerd.rss_mib,
            self.dockerd.files,
            self.disk_mib,
            self.namespaces,
            self.links,
            self.networks,
            self.services,
            self.tasks,
            self.containers,
        )
    }
}

impl Process {
    /// Measures a process of this machine.
    fn of(pid: u32) -> anyhow::Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        let kib: u64 = rss.trim().trim_end_matches(" kB").parse()?;
        let files = std::fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64;
        Ok(Self { rss_mib: kib >> 10, files })
    }
}
