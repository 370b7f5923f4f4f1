//! The throughput of a bare Swarm: a service for each container, one request from a relay in its network,
//! and the removal of the service. The difference from the bare engine is the cost of a Swarm. The
//! difference from Muster is the cost of Muster.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::future::try_join_all;
use reqwest::Client;
use serde_json::{Value, json};
use testbed::{Node, Testbed, until};
use tokio::time::sleep;
use verifier::relay::{AppRequest, Relay, RelaySpec, RequestFailure, RequestLimits};

/// The interval at which a task is polled.
const LOOK: Duration = Duration::from_millis(20);
/// The pause before a request is repeated, if the app does not listen yet.
const AGAIN: Duration = Duration::from_millis(5);
const ONE_MAX: Duration = Duration::from_secs(60);

/// A network on one node, with a relay in it. It runs one service at a time.
struct Lane<'a> {
    name: String,
    node: &'a Node,
    node_id: String,
    http: Client,
    network: String,
    relay: Relay,
}

/// Runs `image` again and again for `warm` and `lasting`, with `at_once` services at a time and the bare
/// engine's limits. Returns the number of runs in a second after `warm`, when removals have reached the
/// rate of creations.
pub(crate) async fn run_request_remove(
    bed: &Testbed,
    image: &str,
    at_once: usize,
    warm: Duration,
    lasting: Duration,
) -> Result<f64> {
    let nodes = bed.swarm.nodes();
    // The image is named by its digest, because otherwise the node would ask the registry each time.
    let image = &pinned(&nodes[0], image).await?;
    let mut lanes = Vec::new();
    for number in 0..at_once {
        lanes.push(Lane::open(&nodes[number % nodes.len()], format!("bare-{at_once}-{number}")).await?);
    }
    let began = Instant::now();
    let counted = try_join_all(lanes.iter_mut().map(async |lane| {
        let (mut done, mut counted) = (0u32, 0u32);
        while began.elapsed() < warm + lasting {
            let name = format!("{}-{done}", lane.name);
            tokio::time::timeout(ONE_MAX, lane.one(&name, image)).await.context("it takes too long")??;
            done += 1;
            counted += u32::from(began.elapsed() >= warm);
        }
        anyhow::Ok(counted)
    }));
    let counted: u32 = counted.await?.into_iter().sum();
    let rate = f64::from(counted) / (began.elapsed() - warm).as_secs_f64();
    try_join_all(lanes.into_iter().map(Lane::close)).await?;
    Ok(rate)
}

impl<'a> Lane<'a> {
    async fn open(node: &'a Node, name: String) -> Result<Self> {
        let http = client(node)?;
        let network = json!({ "Name": name, "Driver": "overlay", "Internal": true, "Attachable": true });
        let made = post(&http, "/networks/create", &network).await?;
        let network = made["Id"].as_str().context("a network's id")?.to_owned();
        let spec = RelaySpec { network: network.clone(), labels: [].into() };
        let relay = Relay::open(node.docker(), &spec).await?;
        let node_id = node.id().await;
        Ok(Self { name, node, node_id, http, network, relay })
    }

    async fn one(&mut self, name: &str, image: &str) -> Result<()> {
        let service = json!({
            "Name": name,
            "EndpointSpec": { "Mode": "dnsrr" },
            "TaskTemplate": {
                "ContainerSpec": {
                    "Image": image,
                    "ReadOnly": true,
                    "CapabilityDrop": ["ALL"],
                    "StopGracePeriod": 0,
                    "Mounts": [{ "Type": "tmpfs", "Target": "/tmp", "TmpfsOptions": { "SizeBytes": 16 << 20 } }],
                },
                "Resources": { "Limits": { "MemoryBytes": 64 << 20, "NanoCPUs": 500_000_000, "Pids": 64 } },
                "RestartPolicy": { "Condition": "none" },
                "Placement": { "Constraints": [format!("node.id=={}", self.node_id)] },
                "Networks": [{ "Target": self.network }],
            },
        });
        post(&self.http, "/services/create", &service).await?;
        let address = loop {
            if let Some(address) = self.running(name).await? {
                break address;
            }
            sleep(LOOK).await;
        };
        let request =
            AppRequest::new(format!("{address}:80").parse()?, "/getconfig", "app", RequestLimits::default())?;
        loop {
            match self.relay.probe(request.clone()).await? {
                Ok(answer) if answer.status == 200 => break,
                Err(RequestFailure::Refused) => sleep(AGAIN).await,
                other => bail!("{name} answers {other:?}"),
            }
        }
        self.http.delete(url(&format!("/services/{name}"))).send().await?.error_for_status()?;
        Ok(())
    }

    /// Returns the address of the service's task, or `None` until it runs.
    async fn running(&self, service: &str) -> Result<Option<String>> {
        let filters = json!({ "service": [service] }).to_string();
        let url = reqwest::Url::parse_with_params(&url("/tasks"), [("filters", filters)])?;
        let tasks: Value = self.http.get(url).send().await?.error_for_status()?.json().await?;
        let status = &tasks[0]["Status"];
        match status["State"].as_str() {
            Some("failed" | "rejected" | "complete") => bail!("{service} ended: {status}"),
            Some("running") => {
                let address = tasks[0]["NetworksAttachments"][0]["Addresses"][0].as_str();
                let (address, _) = address.and_then(|text| text.split_once('/')).context("no address")?;
                Ok(Some(address.to_owned()))
            }
            _ => Ok(None),
        }
    }

    async fn close(self) -> Result<()> {
        self.relay.close().await?;
        // The last containers of the network may not be gone yet.
        let what = format!("{} to be free on {}", self.name, self.node.name());
        until(&what, ONE_MAX, async || {
            let path = url(&format!("/networks/{}", self.network));
            let removed = self.http.delete(path).send().await.ok()?;
            removed.status().is_success().then_some(())
        })
        .await
    }
}

/// Returns the name of an image of the node, by its digest.
async fn pinned(node: &Node, image: &str) -> Result<String> {
    let found = client(node)?.get(url(&format!("/images/{image}/json"))).send().await?;
    let found: Value = found.error_for_status()?.json().await?;
    Ok(found["RepoDigests"][0].as_str().context("a digest")?.to_owned())
}

fn client(node: &Node) -> Result<Client> {
    Ok(Client::builder().unix_socket(node.endpoint().replace("unix://", "")).build()?)
}

async fn post(http: &Client, path: &str, body: &Value) -> Result<Value> {
    let made = http.post(url(path)).json(body).send().await?;
    let (status, said) = (made.status(), made.text().await?);
    if !status.is_success() {
        bail!("{path} answers {status}: {said}");
    }
    Ok(serde_json::from_str(&said)?)
}

fn url(path: &str) -> String {
    format!("http://engine{path}")
}
