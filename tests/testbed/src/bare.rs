//! The throughput of a bare engine: run a container, request, remove. Verification is measured against this
//! figure.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bollard::Docker;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{CreateImageOptionsBuilder, RemoveContainerOptions};
use futures::{StreamExt, TryStreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ONE_MAX: Duration = Duration::from_secs(60);

/// Runs `image` for `lasting`, with `at_once` containers at a time: create, start, `GET /getconfig` until
/// it answers, remove. Returns the number of runs in a second.
///
/// The containers are reached over the engine's bridge, so this must be called inside the engine's network
/// namespace.
///
/// # Errors
///
/// Fails if the engine refuses, or if a container does not answer within a minute.
pub async fn run_request_remove(socket: &str, image: &str, at_once: usize, lasting: Duration) -> Result<f64> {
    let docker = Docker::connect_with_unix(socket, 120, bollard::API_DEFAULT_VERSION)?;
    let began = Instant::now();
    let workers = (0..at_once).map(|worker| {
        let docker = docker.clone();
        async move {
            let mut done = 0u32;
            while began.elapsed() < lasting {
                let name = format!("bare-{worker}-{done}");
                tokio::time::timeout(ONE_MAX, one(&docker, &name, image))
                    .await
                    .context("it takes too long")??;
                done += 1;
            }
            anyhow::Ok(done)
        }
    });
    let done: u32 = futures::future::try_join_all(workers).await?.into_iter().sum();
    Ok(f64::from(done) / began.elapsed().as_secs_f64())
}

/// Pulls each of `images`, runs it as [`run_request_remove`] does, and removes its container, with `at_once` at a time. Returns
/// the number of images in a second.
///
/// # Errors
///
/// As [`run_request_remove`], and if an image cannot be pulled.
pub async fn pull_run_request_remove(socket: &str, images: &[String], at_once: usize) -> Result<f64> {
    let docker = Docker::connect_with_unix(socket, 120, bollard::API_DEFAULT_VERSION)?;
    let began = Instant::now();
    let runs = futures::stream::iter(images.iter().enumerate()).map(Ok::<_, anyhow::Error>);
    runs.try_for_each_concurrent(at_once, |(number, image)| {
        let docker = docker.clone();
        async move {
            let options = CreateImageOptionsBuilder::default().from_image(image).build();
            docker.create_image(Some(options), None, None).try_collect::<Vec<_>>().await?;
            let name = format!("cold-{number}");
            tokio::time::timeout(ONE_MAX, one(&docker, &name, image)).await.context("it takes too long")?
        }
    })
    .await?;
    Ok(images.len() as f64 / began.elapsed().as_secs_f64())
}

async fn one(docker: &Docker, name: &str, image: &str) -> Result<()> {
    let host = HostConfig {
        memory: Some(64 << 20),
        nano_cpus: Some(500_000_000),
        pids_limit: Some(64),
        readonly_rootfs: Some(true),
        cap_drop: Some(vec!["ALL".into()]),
        tmpfs: Some(HashMap::from([("/tmp".into(), "size=16m".into())])),
        ..Default::default()
    };
    let body =
        ContainerCreateBody { image: Some(image.into()), host_config: Some(host), ..Default::default() };
    let options = bollard::query_parameters::CreateContainerOptionsBuilder::default().name(name).build();
    docker.create_container(Some(options), body).await?;
    docker.start_container(name, None).await?;
    let details = docker.inspect_container(name, None).await?;
    let networks = details.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
    let address =
        networks.into_values().find_map(|network| network.ip_address).context("it has no address")?;
    request(SocketAddr::new(address.parse()?, 80)).await?;
    docker.remove_container(name, Some(RemoveContainerOptions { force: true, ..Default::default() })).await?;
    Ok(())
}

/// Connects again and again until something listens. Then the first answer must be right.
async fn request(to: SocketAddr) -> Result<()> {
    let mut stream = loop {
        match TcpStream::connect(to).await {
            Ok(stream) => break stream,
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    stream.write_all(b"GET /getconfig HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    if !answer.starts_with(b"HTTP/1.1 200") {
        bail!("the answer is {:?}", String::from_utf8_lossy(&answer));
    }
    Ok(())
}
