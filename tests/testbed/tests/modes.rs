//! The modes of participants' images, seen from the host that runs them.

use std::time::Duration;

use anyhow::Result;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures::TryStreamExt;
use serde_json::json;
use testbed::{App, Testbed, until};

const LIMIT: Duration = Duration::from_secs(30);

/// The exit codes of curl for requests without a response.
const REFUSED: &str = "7";
const NO_ANSWER_IN_TIME: &str = "28";

#[tokio::test]
async fn each_mode_of_the_participant_behaves_as_named() -> Result<()> {
    let bed = Testbed::single().await?;
    let answer = json!({ "name": "Alice", "vote": "Rust" });
    let good = serde_json::to_string_pretty(&answer)?;
    let wrong = serde_json::to_string_pretty(&json!({ "name": "Alice", "vote": "something else" }))?;
    let elsewhere = "http://169.254.169.254/latest";

    for (name, app, expected) in [
        ("good", App::good(&answer), format!("{good} 200  0")),
        ("wrong", App::wrong(&answer, "vote"), format!("{wrong} 200  0")),
        ("not-json", App::playing(&["not-json"], &answer), "<!doctype html><h1>It works!</h1> 200  0".into()),
        ("status", App::playing(&["status", "500"], &answer), "no\n 500  0".into()),
        ("redirect", App::redirects(elsewhere), format!(" 302 {elsewhere} 0")),
        ("slow", App::slow(&answer, Duration::from_secs(9)), format!(" 000  {NO_ANSWER_IN_TIME}")),
        ("hang", App::playing(&["hang"], &answer), format!(" 000  {NO_ANSWER_IN_TIME}")),
        ("silent", App::playing(&["silent"], &answer), format!(" 000  {REFUSED}")),
        ("port", App::playing(&["wrong-port", "8080"], &answer), format!(" 000  {REFUSED}")),
        ("chroot", App::playing(&["needs-capability"], &answer), format!("{good} 200  0")),
    ] {
        let container = start(&bed, name, &app, vec![]).await?;
        // An app that answers may need a moment until it listens.
        let answers = !expected.contains(" 000 ");
        let seen = until(name, LIMIT, async || {
            let seen = ask(&bed, &container).await;
            seen.map(|seen| (!answers || !seen.ends_with(REFUSED)).then_some(seen)).transpose()
        })
        .await??;
        assert_eq!(seen, expected, "{name}");
    }
    bed.stop().await
}

#[tokio::test]
async fn a_container_that_ends_at_once_leaves_its_exit_code_and_last_line() -> Result<()> {
    let bed = Testbed::shared().await?;
    for (name, app, dropped, code, line) in [
        ("exit", App::exits(3, "cannot read /data"), vec![], 3, "cannot read /data"),
        (
            "bare",
            App::playing(&["needs-capability"], &json!({})),
            vec!["ALL".to_owned()],
            1,
            "CAP_SYS_CHROOT",
        ),
    ] {
        let container = start(bed, name, &app, dropped).await?;
        let docker = bed.swarm.nodes()[0].docker();
        let state = until("the container to end", LIMIT, async || {
            let state = docker.inspect_container(&container, None).await.ok()?.state?;
            (state.running == Some(false)).then_some(state)
        })
        .await?;
        assert_eq!(state.exit_code, Some(code), "{name}");
        let options = bollard::query_parameters::LogsOptionsBuilder::new().stderr(true).build();
        let said: Vec<_> = docker.logs(&container, Some(options)).try_collect().await?;
        let last = said.last().map(ToString::to_string).unwrap_or_default();
        assert!(last.contains(line), "{name}: {last}");
    }
    Ok(())
}

/// Runs an app in a container on the first node. Returns the container's id.
async fn start(bed: &Testbed, name: &str, app: &App, cap_drop: Vec<String>) -> Result<String> {
    let image = bed.registry.push(&format!("alice/{name}"), app).await?;
    let docker = bed.swarm.nodes()[0].docker();
    let pull = CreateImageOptionsBuilder::new().from_image(&image).build();
    docker.create_image(Some(pull), None, None).try_for_each(|_| std::future::ready(Ok(()))).await?;
    let body = ContainerCreateBody {
        image: Some(image),
        host_config: Some(HostConfig { cap_drop: Some(cap_drop), ..Default::default() }),
        ..Default::default()
    };
    let container = docker.create_container(None, body).await?.id;
    docker.start_container(&container, None).await?;
    Ok(container)
}

/// Sends one request from the host. Returns the body, the status, the redirect and curl's exit code.
async fn ask(bed: &Testbed, container: &str) -> Result<String> {
    const ASK: &str =
        r#"curl -s --noproxy '*' -m 2 -w ' %{http_code} %{redirect_url}' "$1"; printf ' %s' $?"#;
    let node = &bed.swarm.nodes()[0];
    let networks = node.docker().inspect_container(container, None).await?.network_settings;
    let address = networks
        .and_then(|settings| settings.networks?.get("bridge")?.ip_address.clone())
        .unwrap_or_default();
    node.run(&["sh", "-c", ASK, "ask", &format!("http://{address}/getconfig")]).await
}
