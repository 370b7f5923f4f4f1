//! The requests of a test to a system, and the system's log.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;
use testbed::until;

use super::{Part, System};
use crate::support::front::Front;

impl System {
    /// Returns the URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        let site = self.front.as_ref().map_or(self.parts[0].as_str(), Front::address);
        format!("http://{site}{path}")
    }

    /// Returns the URL of a path at one of several processes, without the proxy in front.
    pub(crate) fn part_url(&self, part: Part, path: &str) -> String {
        format!("http://{}{path}", self.parts[part as usize])
    }

    /// Returns the setting that names the views.
    pub(crate) fn views(&self) -> &str {
        &self.views
    }

    /// Returns the process number of the single process.
    pub(crate) fn pid(&self) -> u32 {
        let [(_, process)] = &self.processes[..] else { panic!("one process does everything") };
        process.id()
    }

    /// Returns the address and port of the log in EventStoreDB's protocol.
    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    pub(crate) fn files(&self) -> &Path {
        self.files.path()
    }

    /// Submits, and tries again with the same key until the server accepts. Returns the id.
    pub(crate) async fn submit(&self, key: &str, body: &Value) -> String {
        let accepted = until("a submission to be accepted", Duration::from_secs(60), async || {
            let post = self.http.post(self.url("/api/v1/submissions")).header("Idempotency-Key", key);
            let answer = post.json(body).send().await.ok()?;
            let status = answer.status();
            let answer: Value = answer.json().await.ok()?;
            assert_eq!(status, StatusCode::ACCEPTED, "{answer:#}");
            Some(answer["id"].as_str().unwrap().to_owned())
        });
        accepted.await.unwrap_or_else(|error| panic!("{error}\n{}", self.log_tail()))
    }

    /// Returns the status of a submission, or `None` if the server does not answer.
    pub(crate) async fn status(&self, id: &str) -> Option<Value> {
        let answer = self.http.get(self.url(&format!("/api/v1/submissions/{id}"))).send().await.ok()?;
        answer.error_for_status().ok()?.json().await.ok()
    }

    /// Waits for the verdict. Returns the status.
    pub(crate) async fn verdict(&self, id: &str, within: Duration) -> Value {
        let mut last = Value::Null;
        let verdict = until("a verdict", within, async || {
            last = self.status(id).await?;
            matches!(last["status"].as_str(), Some("passed" | "failed")).then(|| last.clone())
        })
        .await;
        verdict.unwrap_or_else(|error| panic!("{error}: {last:#}\n{}", self.log_tail()))
    }

    /// Returns a public document.
    pub(crate) async fn get(&self, path: &str) -> Value {
        self.http.get(self.url(path)).send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
    }

    /// Waits until the totals are right, because the views may be a little behind the log. Returns the
    /// totals.
    pub(crate) async fn stats(&self, are_right: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let right = until("the totals to be right", Duration::from_secs(20), async || {
            last = self.get("/api/v1/stats").await;
            are_right(&last).then(|| last.clone())
        });
        right.await.unwrap_or_else(|error| panic!("{error}: {last:#}\n{}", self.log_tail()))
    }

    /// Returns the logs of all processes.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    pub(crate) fn log_tail(&self) -> String {
        let log = self.said();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.files.path().join("muster.log")
    }
}
