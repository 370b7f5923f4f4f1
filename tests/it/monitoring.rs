//! The files of `deploy/` for Prometheus and Grafana: the alerts fire when they should, and every metric that a rule or a panel
//! asks for is one that Muster has.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use testbed::until;

use crate::support::system::TOKEN;
use crate::support::{Shape, System, ada};

const ALERTS: &str = include_str!("../../deploy/prometheus/alerts.yml");
const DASHBOARD: &str = include_str!("../../deploy/grafana/muster.json");

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs promtool in the folder of the rules.
fn promtool(arguments: &[&str]) {
    let promtool: PathBuf = repository().join(".muster/cache/promtool");
    assert!(promtool.exists(), "promtool is missing: scripts/fetch-promtool");
    let folder = repository().join("deploy/prometheus");
    let output = Command::new(promtool).args(arguments).current_dir(folder).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "promtool {arguments:?}: {}", String::from_utf8_lossy(&said));
}

/// Returns the queries of the dashboard's panels.
fn queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

/// Returns the names of Muster's metrics in a text.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("muster_")).map(str::to_owned).collect()
}

#[test]
fn each_alert_fires_when_it_should_and_none_does_on_a_good_evening() {
    promtool(&["check", "config", "--syntax-only", "prometheus.yml"]);
    promtool(&["check", "rules", "alerts.yml"]);
    promtool(&["test", "rules", "alerts_test.yml"]);
    let tests = include_str!("../../deploy/prometheus/alerts_test.yml");
    for alert in ALERTS.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        let fires = format!("alertname: {alert}\n        exp_alerts:");
        assert!(tests.contains(&fires), "no test makes {alert} fire");
    }
}

#[test]
fn prometheus_can_read_every_query_of_the_dashboard() {
    let queries = queries();
    assert!(!queries.is_empty());
    let rules: String = queries
        .iter()
        .enumerate()
        .map(|(number, query)| format!("  - record: query_{number}\n    expr: '{query}'\n"))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.yml");
    std::fs::write(&file, format!("groups:\n- name: dashboard\n  rules:\n{rules}")).unwrap();
    promtool(&["check", "rules", "--lint-fatal", file.to_str().unwrap()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_system_has_every_metric_that_is_asked_for() {
    let system = System::without_a_swarm(Shape::OneProcess).await;
    system.submit("ada", &ada()).await;
    let wanted: BTreeSet<String> =
        queries().iter().map(String::as_str).chain([ALERTS]).flat_map(names).collect();
    assert!(wanted.len() > 15, "{wanted:?}");
    // The verifier has some metrics from its first look at the queue on.
    let mut missing = Vec::new();
    let metrics = until("the metrics that are asked for", Duration::from_secs(60), async || {
        let asked = system.http().get(system.url("/metrics")).bearer_auth(TOKEN);
        let metrics = asked.send().await.ok()?.error_for_status().ok()?.text().await.ok()?;
        missing = wanted.difference(&names(&metrics)).cloned().collect();
        missing.is_empty().then_some(metrics)
    });
    let metrics = metrics.await.unwrap_or_else(|error| panic!("{error}: {missing:?}"));

    // The values of labels, such as `outcome="passed"`, exist too, but for those of answers, which come with time.
    let texts = queries().join("\n") + ALERTS;
    for label in ["outcome", "state"] {
        for asked in [format!("{label}=\""), format!("{label}=~\"")] {
            let values = texts.split(&asked).skip(1).filter_map(|rest| rest.split('"').next());
            for value in values.flat_map(|values| values.split('|')) {
                let wanted = format!("{label}=\"{value}\"");
                assert!(metrics.contains(&wanted), "no metric has {wanted}");
            }
        }
    }
}
