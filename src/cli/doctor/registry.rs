//! Checks a registry that the challenge allows images from.

use std::net::IpAddr;
use std::time::Duration;

use super::DoctorFinding;
use super::engine::root;

const DEADLINE: Duration = Duration::from_secs(5);

/// Checks that the registry answers. The images in it are the participants' concern.
pub(super) async fn examine(registry: &str, insecure: &[String]) -> DoctorFinding {
    let host = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
    let scheme =
        if insecure.iter().any(|one| one == registry) || is_loopback(host) { "http" } else { "https" };
    let mut http = reqwest::Client::builder().timeout(DEADLINE);
    if is_loopback(host) {
        http = http.no_proxy();
    }
    let answer = match http.build() {
        Ok(http) => http.get(format!("{scheme}://{host}/v2/")).send().await,
        Err(error) => Err(error),
    };
    match answer {
        // A registry that requires a login answers 401.
        Ok(answer) if answer.status().is_success() || answer.status() == 401 => {
            DoctorFinding::ok(format!("registry {registry}: answers"))
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
    use super::*;

    #[test]
    fn a_loopback_host_is_recognised_with_and_without_a_port() {
        assert!(
            ["localhost", "localhost:5000", "127.0.0.1:5000", "[::1]:5000"]
                .iter()
                .all(|host| is_loopback(host))
        );
        assert!(["docker.io", "localhost.example", "10.0.0.1:5000"].iter().all(|host| !is_loopback(host)));
    }
}
