//! A registry on a host of its own, and the pushing of images.
//!
//! Images are pushed to the registry directly, without an engine. A layer that the registry has already is
//! only named, so the images of twenty owners cost little more than one.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::{Client, StatusCode, Url, header};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, OnceCell};

use crate::host::{Host, Process};
use crate::image::{App, PROGRAM_LAYER};
use crate::lan::Lan;
use crate::layer::Layer;
use crate::wait::until;

/// The deadline for the registry's start. It takes well under a second.
const START: Duration = Duration::from_secs(30);
const NUMBER: u8 = 2;
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The repository that holds the program's layer. Other repositories mount the layer from there.
const SHARED: &str = "testbed/program";

/// The user and the password of a locked registry, and the registry's hash of them.
const LOGIN: (&str, &str) = ("muster", "sesame");
const HTPASSWD: &str = "muster:$2b$05$x/yGnjlQyKLZ38P6OTuAAeI4y0SADrqcuis8lUyQNAV1bhKW4SzTS\n";

/// A registry that speaks plain HTTP, reachable from every host and from this machine.
pub struct Registry {
    host: Host,
    address: String,
    daemon: Mutex<Process>,
    client: Client,
    shared: OnceCell<()>,
}

impl Registry {
    pub(crate) async fn start(lan: &Lan, under: &Path) -> Result<Self> {
        let host = Host::start("registry", under).await?;
        lan.join(&host, NUMBER).await?;
        std::fs::write(settings_path(&host), settings(&host).to_string())?;
        let registry = Self {
            address: format!("{}:5000", lan.address(NUMBER)),
            daemon: Mutex::new(spawn_daemon(&host)?),
            // Connections are not kept: several runtimes use a shared testbed, and a connection dies with
            // the runtime that made it.
            client: Client::builder().no_proxy().timeout(START).pool_max_idle_per_host(0).build()?,
            shared: OnceCell::new(),
            host,
        };
        registry.answers().await?;
        Ok(registry)
    }

    /// Returns `HOST:PORT`, the first part of every reference to the registry's images.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Pushes an image as `NAMESPACE/NAME:TAG`. Returns the full reference to it.
    pub async fn push(&self, name: &str, app: &App) -> Result<String> {
        let (repository, tag) = name.rsplit_once(':').unwrap_or((name, "latest"));
        self.image(repository, tag, app).await?;
        Ok(format!("{}/{repository}:{tag}", self.address))
    }

    /// Pushes an index as `NAMESPACE/NAME:TAG`, with an image for each architecture, in this order.
    pub async fn push_index(&self, name: &str, parts: &[(&str, App)]) -> Result<String> {
        let (repository, tag) = name.rsplit_once(':').unwrap_or((name, "latest"));
        let mut manifests = Vec::new();
        for (architecture, app) in parts {
            let manifest = self.image(repository, tag, app).await?;
            manifests.push(json!({
                "mediaType": MANIFEST,
                "digest": digest(manifest.as_bytes()),
                "size": manifest.len(),
                "platform": { "os": "linux", "architecture": architecture },
            }));
        }
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
        self.manifest(repository, tag, INDEX, &index.to_string()).await?;
        Ok(format!("{}/{repository}:{tag}", self.address))
    }

    /// Pushes an image. Returns its manifest.
    async fn image(&self, repository: &str, tag: &str, app: &App) -> Result<String> {
        self.shared.get_or_try_init(|| self.blob(SHARED, &PROGRAM_LAYER.blob)).await?;
        let layers = app.all_layers()?;
        let config = serde_json::to_vec(&app.config(&layers))?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": digest(&config),
                "size": config.len(),
            },
            "layers": layers.iter().map(Layer::descriptor).collect::<Vec<_>>(),
        });
        let mut sent = HashSet::new();
        for blob in layers.iter().map(|layer| &*layer.blob).chain([&*config]) {
            if sent.insert(digest(blob)) {
                self.blob(repository, blob).await?;
            }
        }
        let manifest = manifest.to_string();
        self.manifest(repository, tag, MANIFEST, &manifest).await?;
        Ok(manifest)
    }

    /// Ends the registry. Its images stay.
    pub async fn stop(&self) -> Result<()> {
        self.daemon.lock().await.kill(&self.host).await
    }

    /// Starts the registry again after [`Registry::stop`].
    pub async fn restart(&self) -> Result<()> {
        *self.daemon.lock().await = spawn_daemon(&self.host)?;
        self.answers().await
    }

    /// Refuses all clients without a login from now on. Returns the user and the password.
    pub async fn lock(&self) -> Result<(&'static str, &'static str)> {
        let known = self.host.directory().join("htpasswd");
        std::fs::write(&known, HTPASSWD)?;
        let mut settings = settings(&self.host);
        settings["auth"] = json!({ "htpasswd": { "realm": "testbed", "path": known } });
        std::fs::write(settings_path(&self.host), settings.to_string())?;
        self.stop().await?;
        self.restart().await?;
        Ok(LOGIN)
    }

    async fn manifest(&self, repository: &str, tag: &str, media_type: &str, manifest: &str) -> Result<()> {
        let reply = self
            .client
            .put(self.url(&format!("{repository}/manifests/{tag}")))
            .header(header::CONTENT_TYPE, media_type)
            .body(manifest.to_owned())
            .send()
            .await?;
        expect(reply, StatusCode::CREATED, "the manifest").await
    }

    /// Uploads a blob, or mounts it if the shared repository has it.
    async fn blob(&self, repository: &str, bytes: &[u8]) -> Result<()> {
        let digest = digest(bytes);
        let uploads = Url::parse_with_params(
            &self.url(&format!("{repository}/blobs/uploads/")),
            [("mount", digest.as_str()), ("from", SHARED)],
        )?;
        let reply = self.client.post(uploads.clone()).send().await?;
        if reply.status() == StatusCode::CREATED {
            return Ok(());
        }
        let location = reply
            .headers()
            .get(header::LOCATION)
            .and_then(|location| location.to_str().ok())
            .context("the registry names no place for an upload")?;
        let mut place = uploads.join(location)?;
        place.query_pairs_mut().append_pair("digest", &digest);
        let reply = self
            .client
            .put(place)
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .body(bytes.to_vec())
            .send()
            .await?;
        expect(reply, StatusCode::CREATED, "a blob").await
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/v2/{path}", self.address)
    }

    async fn answers(&self) -> Result<()> {
        until("the registry", START, async || {
            let mut daemon = self.daemon.lock().await;
            match daemon.exited() {
                Ok(None) => self.client.get(self.url("")).send().await.ok().map(|_| Ok(())),
                _ => Some(Err(anyhow::anyhow!("the registry ended: {}", daemon.last_words()))),
            }
        })
        .await?
    }
}

/// Returns the digest of some bytes: `sha256:HEX`.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let sum = Sha256::digest(bytes);
    sum.iter().fold(String::from("sha256:"), |text, byte| text + &format!("{byte:02x}"))
}

async fn expect(reply: reqwest::Response, status: StatusCode, what: &str) -> Result<()> {
    if reply.status() == status {
        return Ok(());
    }
    let got = reply.status();
    bail!("the registry refused {what}: {got}: {}", reply.text().await?)
}

fn settings(host: &Host) -> serde_json::Value {
    json!({
        "version": 0.1,
        "log": { "level": "warn" },
        "storage": {
            "filesystem": { "rootdirectory": host.directory().join("storage") },
            "delete": { "enabled": true },
        },
        "http": { "addr": "0.0.0.0:5000" },
    })
}

fn settings_path(host: &Host) -> std::path::PathBuf {
    host.directory().join("registry.yml")
}

fn spawn_daemon(host: &Host) -> Result<Process> {
    let settings = settings_path(host);
    let settings = settings.to_str().context("the path is plain")?;
    host.spawn("docker-registry", &["docker-registry", "serve", settings])
}
