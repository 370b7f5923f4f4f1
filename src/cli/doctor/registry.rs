//! Checks the registries that the challenge allows images from: that they answer, their further hosts, and their limits.

use std::net::IpAddr;
use std::time::Duration;

use futures::future::join_all;
use http_edge::OrganiserToken;
use reqwest::header::{AUTHORIZATION, RETRY_AFTER};
use reqwest::{Response, StatusCode};

use super::DoctorFinding;
use super::engine::root;
use crate::config::Settings;

const DEADLINE: Duration = Duration::from_secs(5);

/// The time for Docker Hub to tell its limit, which takes a token and two requests.
const LIMIT_DEADLINE: Duration = Duration::from_secs(15);

/// The number of pulls below which Docker Hub's limit is near.
const PULLS_LOW: u64 = 20;

const DOCKER_HUB: &str = "docker.io";

/// The remedy for a limit of Docker Hub's.
const LOGIN: &str = "give a login with --registry-logins, and let the nodes use a pull-through cache";

/// The meaning of a registry's pause, where nothing can be done about it from here.
const WAITING: &str = "submissions with its images wait until it answers again";

/// The limits of registries as a Muster that runs here knows them, in the text of its metrics.
struct KnownLimits(String);

pub(super) async fn examine_all(settings: &Settings) -> Vec<DoctorFinding> {
    let images = &settings.challenge.images;
    let known = KnownLimits::of_running(settings).await;
    let mut findings = Vec::new();
    for registry in &images.registries {
        findings.push(examine(registry, &settings.insecure_registries).await);
        findings.extend(known.pause(registry));
        let told = if registry == DOCKER_HUB {
            let asked = verifier::docker_hub_pulls(settings.logins.clone());
            tokio::time::timeout(LIMIT_DEADLINE, asked).await.ok().flatten()
        } else {
            None
        };
        // A Muster that runs knows the last answer of the registry, which may be old.
        let pulls = told.map(|pulls| (pulls, "now"));
        let pulls = pulls.or_else(|| Some((known.pulls(registry)?, "when it told it last")));
        findings.extend(pulls.map(|(pulls, when)| limit(registry, pulls, when)));
        let hosts = images.registry_hosts.get(registry).into_iter().flatten();
        findings.extend(join_all(hosts.map(|host| examine_further(registry, host))).await);
    }
    findings
}

/// Checks that the registry answers. The images in it are the participants' concern.
async fn examine(registry: &str, insecure: &[String]) -> DoctorFinding {
    let host = if registry == DOCKER_HUB { "registry-1.docker.io" } else { registry };
    let scheme =
        if insecure.iter().any(|one| one == registry) || is_loopback(host) { "http" } else { "https" };
    match ask(&format!("{scheme}://{host}/v2/"), is_loopback(host), None).await {
        // A registry that requires a login answers 401.
        Ok(answer) if answer.status().is_success() || answer.status() == StatusCode::UNAUTHORIZED => {
            DoctorFinding::ok(format!("registry {registry}: answers"))
        }
        Ok(answer) if answer.status() == StatusCode::TOO_MANY_REQUESTS => {
            let after = answer.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok());
            let after = after.map(|after| format!(" (Retry-After: {after})")).unwrap_or_default();
            DoctorFinding::warn(format!("registry {registry}: limits requests{after}"), WAITING)
        }
        Ok(answer) => DoctorFinding::warn(
            format!(
                "registry {registry}: answered {}, which is not the answer of a registry",
                answer.status()
            ),
            "check the address; submissions with its images wait until a registry answers",
        ),
        Err(error) => DoctorFinding::warn(
            format!("registry {registry}: {}", root(&error)),
            "submissions with its images wait until it answers; name a registry without TLS in --insecure-registries",
        ),
    }
}

/// Checks a domain to which the challenge lets a registry send its clients. Any answer over TLS will do.
async fn examine_further(registry: &str, host: &str) -> DoctorFinding {
    match ask(&format!("https://{host}/"), is_loopback(host), None).await {
        Ok(_) => DoctorFinding::ok(format!("registry {registry}: its further host {host} answers")),
        Err(error) => DoctorFinding::unseen(
            format!("registry {registry}: its further host {host}: {}", root(&error)),
            "check the name in images.registry_hosts; if only hosts below this domain answer, all is well",
        ),
    }
}

async fn ask(url: &str, is_local: bool, token: Option<&OrganiserToken>) -> reqwest::Result<Response> {
    let mut http = reqwest::Client::builder().timeout(DEADLINE);
    if is_local {
        http = http.no_proxy();
    }
    let request = http.build()?.get(url);
    let request = match token {
        Some(token) => request.header(AUTHORIZATION, token.to_header()),
        None => request,
    };
    request.send().await
}

fn limit(registry: &str, pulls: u64, when: &str) -> DoctorFinding {
    let subject = format!("registry {registry}: {pulls} more pulls permitted {when}");
    if pulls < PULLS_LOW { DoctorFinding::warn(subject, LOGIN) } else { DoctorFinding::ok(subject) }
}

impl KnownLimits {
    /// Asks the Muster that serves at the address in the settings. It knows nothing if none does.
    async fn of_running(settings: &Settings) -> Self {
        let address = settings.listen.unwrap_or_else(|| settings.api());
        Self::at(&format!("http://{address}/metrics"), settings.token.as_ref()).await
    }

    async fn at(url: &str, token: Option<&OrganiserToken>) -> Self {
        let text = match ask(url, true, token).await {
            Ok(answer) => answer.text().await,
            Err(error) => Err(error),
        };
        Self(text.unwrap_or_default())
    }

    /// Returns the finding that Muster does not ask a registry at present, if it does not.
    fn pause(&self, registry: &str) -> Option<DoctorFinding> {
        let seconds = self.figure("registry_pause_seconds", registry).filter(|seconds| *seconds > 0)?;
        let subject = format!(
            "registry {registry}: limits requests or is unavailable, and Muster does not ask it for {seconds} s"
        );
        Some(DoctorFinding::warn(subject, if registry == DOCKER_HUB { LOGIN } else { WAITING }))
    }

    fn pulls(&self, registry: &str) -> Option<u64> {
        self.figure("registry_pulls_remaining", registry)
    }

    fn figure(&self, name: &str, registry: &str) -> Option<u64> {
        let series = format!("muster_verifier_{name}{{registry=\"{registry}\"}} ");
        self.0.lines().find_map(|line| line.strip_prefix(series.as_str())?.trim().parse().ok())
    }
}

fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_matches(['[', ']']);
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::super::FindingState;
    use super::*;

    /// Serves one answer to every request, and returns the address.
    async fn answering(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        address
    }

    #[test]
    fn a_loopback_host_is_recognised_with_and_without_a_port() {
        assert!(
            ["localhost", "localhost:5000", "127.0.0.1:5000", "[::1]:5000"]
                .iter()
                .all(|host| is_loopback(host))
        );
        assert!(["docker.io", "localhost.example", "10.0.0.1:5000"].iter().all(|host| !is_loopback(host)));
    }

    #[tokio::test]
    async fn a_registry_that_limits_requests_is_told_from_one_that_is_none() {
        let limits = answering(
            "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 90\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        )
        .await;
        let finding = examine(&limits, &[]).await;
        assert_eq!(finding.state, FindingState::Warn);
        assert!(finding.subject.ends_with("limits requests (Retry-After: 90)"), "{finding}");
        let other =
            answering("HTTP/1.1 418 I am a teapot\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
        assert!(examine(&other, &[]).await.subject.contains("418"));
    }

    #[tokio::test]
    async fn a_further_host_that_does_not_answer_over_tls_is_named() {
        let plain = answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
        let finding = examine_further("harbor.lan", &plain).await;
        assert_eq!(finding.state, FindingState::Unseen);
        assert!(
            finding.subject.starts_with(&format!("registry harbor.lan: its further host {plain}: ")),
            "{finding}"
        );
    }

    #[tokio::test]
    async fn the_limits_that_a_running_muster_knows_are_shown() {
        let metrics = concat!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
            "muster_verifier_registry_pause_seconds{registry=\"docker.io\"} 1740\n",
            "muster_verifier_registry_pause_seconds{registry=\"ghcr.io\"} 0\n",
            "muster_verifier_registry_pulls_remaining{registry=\"docker.io\"} 3\n",
        );
        let known = KnownLimits::at(&format!("http://{}/metrics", answering(metrics).await), None).await;
        let paused = known.pause("docker.io").unwrap();
        assert!(paused.subject.contains("does not ask it for 1740 s"), "{paused}");
        assert_eq!((known.pause("ghcr.io"), known.pause("quay.io")), (None, None));
        assert_eq!((known.pulls("docker.io"), known.pulls("ghcr.io")), (Some(3), None));
        assert_eq!(limit("docker.io", 3, "now").state, FindingState::Warn);
        assert_eq!(limit("docker.io", 90, "now").state, FindingState::Ok);
        let nobody = KnownLimits::at("http://127.0.0.1:9/metrics", None).await;
        assert_eq!(nobody.pulls("docker.io"), None);
    }
}
