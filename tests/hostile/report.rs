//! The report on the attacks: a table for people, and the final check.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use domain::sandbox::SandboxGrade;
use testbed::until;

use super::attack::{Deserves, Ended, entries};
use super::bystanders::Met;
use super::nodes::Nodes;

/// The variable with the directory for the files of the tables. If it is not set, the tables are only printed.
const KEEP: &str = "MUSTER_ATTACK_TABLES";

/// The resources that a process may use in addition after all attacks.
const MORE_MEMORY_MIB: u64 = 64;
/// The number of files besides the connections to the relays. If each attack leaked one, there would be six
/// times as many.
const MORE_FILES: u64 = 16;
/// The largest memory that the process may have used at any time, in MiB.
const PEAK_MIB: u64 = 256;
/// The size of two files of 32 KiB, each with one line more, and of a file that is being created.
const LOG_KIB: u64 = 128;
/// Half of the entries from which the kernel's ARP table refuses more, if nobody has raised the limit.
const NEIGHBOURS: u64 = 512;
/// The longest time that an honest submission may wait beside attacks.
const HONEST: Duration = Duration::from_secs(60);

/// The results of all attacks and honest submissions.
pub(crate) struct Report {
    pub(crate) grade: SandboxGrade,
    pub(crate) ended: Vec<Ended>,
    pub(crate) alone: Met,
    pub(crate) beside: Met,
    pub(crate) before: Usage,
    pub(crate) after: Usage,
    pub(crate) log_kib: u64,
    pub(crate) neighbours: u64,
}

/// The resources that a process uses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    memory_mib: u64,
    peak_mib: u64,
    /// The open files, without the connection of each slot to its relay, because slots are created and
    /// removed.
    files: u64,
}

impl Usage {
    pub(crate) async fn of(pid: u32, nodes: &Nodes<'_>) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let mib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
        };
        let slots = nodes.relays().await;
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64;
        let files = files.saturating_sub(slots);
        Self { memory_mib: mib("VmRSS:"), peak_mib: mib("VmHWM:"), files }
    }

    /// Returns the usage after the last attack was cleaned up, or after half a minute.
    pub(crate) async fn settled(pid: u32, nodes: &Nodes<'_>, before: &Self) -> Self {
        let _ = until("files to be closed", Duration::from_secs(30), async || {
            (Self::of(pid, nodes).await.files <= before.files + MORE_FILES).then_some(())
        })
        .await;
        Self::of(pid, nodes).await
    }
}

/// Returns true if the tables are written to files.
pub(crate) fn is_kept() -> bool {
    std::env::var_os(KEEP).is_some()
}

impl Report {
    /// Prints the report to the standard output directly, because the test runner hides the prints of a
    /// test that passes.
    pub(crate) fn print(&self) {
        std::io::stdout().write_all(self.told().as_bytes()).unwrap();
    }

    /// Writes the table of the grade to its file, if [`KEEP`] names a directory.
    pub(crate) fn keep(&self) {
        if let Some(directory) = std::env::var_os(KEEP) {
            let name = format!("attacks-{}.md", self.grade_name());
            std::fs::write(Path::new(&directory).join(name), self.page()).unwrap();
        }
    }

    pub(crate) fn assert_fine(&self) {
        let wrong = self.wrong();
        assert!(wrong.is_empty(), "these do not end as they deserve:\n{wrong}");
        for met in [&self.alone, &self.beside] {
            assert!(met.wronged.is_empty(), "honest ones were wronged: {:#?}", met.wronged);
        }
        assert!(self.beside.longest() < HONEST, "an honest one waited {:?}", self.beside.longest());
        assert!(self.after.memory_mib <= self.before.memory_mib + MORE_MEMORY_MIB, "{:?}", self.after);
        assert!(self.after.peak_mib <= PEAK_MIB, "{:?}", self.after);
        assert!(self.after.files <= self.before.files + MORE_FILES, "{:?}", self.after);
        assert!(self.neighbours <= NEIGHBOURS, "the kernel's ARP table had {} entries", self.neighbours);
        assert!(self.log_kib <= LOG_KIB, "a log grew to {} KiB", self.log_kib);
    }

    /// Returns each attack that has another end than it deserves, and the end.
    fn wrong(&self) -> String {
        let wrong = self.ended.iter().filter_map(|ended| Some((&ended.name, ended.wrong.as_ref()?)));
        wrong.map(|(name, wrong)| format!("{name} does not end as it deserves: {wrong}\n")).collect()
    }

    fn told(&self) -> String {
        let wrong = self.wrong();
        let Self { alone, beside, before, after, log_kib, .. } = self;
        format!(
            "\n{}\n{wrong}honest alone: median {:.2?}, longest {:.2?}\nhonest beside: {} of them, median {:.2?}, \
             longest {:.2?}; {:.1} times as long as alone\nbefore: {before:?}; after: {after:?}; largest log {log_kib} \
             KiB\n",
            self.table(),
            alone.median(),
            alone.longest(),
            beside.waits.len(),
            beside.median(),
            beside.longest(),
            beside.median().as_secs_f64() / alone.median().as_secs_f64(),
        )
    }

    fn page(&self) -> String {
        format!(
            "# Attacks on {} nodes\n\nWritten by `tests/hostile/`, which submits each of these through the public \
             API to a Swarm of three nodes\nbeside honest submissions: `{KEEP}=docs make test`. \
             [security.md](security.md) describes the walls.\n\n{}",
            self.grade_name(),
            self.table()
        )
    }

    fn grade_name(&self) -> String {
        self.grade.as_str().replace('_', "-")
    }

    fn table(&self) -> String {
        let mut table = String::from("| attack | ends | as | after |\n|---|---|---|---|\n");
        let mut ended: Vec<&Ended> = self.ended.iter().collect();
        ended.sort_by_key(|ended| &ended.name);
        for Ended { name, deserved, status, took, .. } in ended {
            let code = status["reasons"][0]["code"].as_str().unwrap_or_default();
            let (how, why) = match deserved {
                Deserves::Refusal(_) => {
                    ("refused", status["errors"][0]["message"].as_str().unwrap_or_default().to_owned())
                }
                _ => {
                    let waited = entries(status, "VerificationInterrupted");
                    let waited = waited.iter().filter_map(|entry| entry["data"]["code"].as_str());
                    let why: Vec<&str> = waited.chain((!code.is_empty()).then_some(code)).collect();
                    (status["status"].as_str().unwrap_or_default(), why.join(", then "))
                }
            };
            let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
            let _ =
                writeln!(table, "| {} | {how} | {} | {:.1} s |", cell(name), cell(&why), took.as_secs_f64());
        }
        table
    }
}
