//! Checks the gate: that it answers, and that each engine gets through to it by the name that nodes use.

use std::time::Duration;

use futures::future::join_all;
use verifier::{GateChoice, GateReach, GateSettings, gate_reach, remote_gate_address};

use super::DoctorFinding;
use super::engine::root;
use crate::config::Settings;

const DEADLINE: Duration = Duration::from_secs(5);

pub(super) async fn examine(settings: &Settings) -> Vec<DoctorFinding> {
    let (address, has_tls) = match &settings.gate {
        GateChoice::Registries => {
            return vec![DoctorFinding::warn(
                "gate: none, so the nodes pull from the registries, and get the logins for them",
                "let the nodes pull from Muster alone with --gate-listen; docs/security.md says how",
            )];
        }
        GateChoice::Own(gate) => {
            let address = gate.address.clone().unwrap_or_else(|| gate.listen.to_string());
            if let Err(why) = answers(gate, &address).await {
                return vec![DoctorFinding::unseen(
                    format!("gate {address}: {why}"),
                    "start Muster, and run `muster doctor` again",
                )];
            }
            (address, gate.tls.is_some())
        }
        GateChoice::Remote(gate) => match remote_gate_address(gate).await {
            Ok(address) => (address, gate.url.starts_with("https://")),
            Err(why) => {
                let cure =
                    "start `muster serve gate`, let this machine reach it, and run `muster doctor` again";
                return vec![DoctorFinding::missing(format!("gate: {why}"), cure)];
            }
        },
    };
    let certificates = settings.swarm_certificates.as_deref();
    let asked = settings.swarm.iter().map(|engine| gate_reach(engine, certificates, &address));
    let engines = settings.swarm.iter().zip(join_all(asked).await);
    let mut findings = vec![DoctorFinding::ok(format!("gate {address}: answers"))];
    findings.extend(engines.map(|(engine, reach)| of_engine(engine, &address, has_tls, reach)));
    findings
}

/// Asks the gate itself. Its certificate is for the engines to check, which know its authority.
async fn answers(gate: &GateSettings, address: &str) -> Result<(), String> {
    let scheme = if gate.tls.is_some() { "https" } else { "http" };
    let http = reqwest::Client::builder().timeout(DEADLINE).no_proxy().tls_danger_accept_invalid_certs(true);
    let http = http.build().map_err(|error| root(&error))?;
    let answer = http.get(format!("{scheme}://{address}/v2/")).send().await.map_err(|error| root(&error))?;
    let is_gate = answer.status().is_success()
        && answer
            .headers()
            .get("docker-distribution-api-version")
            .is_some_and(|version| version == "registry/2.0");
    if is_gate {
        Ok(())
    } else {
        Err(format!("answered {}, which is not the gate's answer", answer.status()))
    }
}

fn of_engine(engine: &str, address: &str, has_tls: bool, reach: GateReach) -> DoctorFinding {
    match reach {
        GateReach::Answered => DoctorFinding::ok(format!("gate {address}: {engine} can pull from it")),
        GateReach::Failed(why) => {
            let cure = if has_tls {
                format!(
                    "let that host reach {address}, and put the authority's certificate into /etc/docker/certs.d/{address}/ca.crt there"
                )
            } else {
                format!("let that host reach {address}; engines speak plain HTTP only with 127.0.0.0/8")
            };
            DoctorFinding::missing(format!("gate {address}: {engine} cannot pull from it: {why}"), cure)
        }
        GateReach::NoEngine(why) => DoctorFinding::unseen(
            format!("gate {address}: {engine} was not asked: {why}"),
            "make sure that the engine answers, and run `muster doctor` again",
        ),
    }
}

#[cfg(test)]
mod tests {
    use verifier::{GateSecret, RemoteGateSettings};

    use super::super::FindingState;
    use super::*;

    #[tokio::test]
    async fn a_gate_that_does_not_answer_is_named_and_so_is_a_missing_one() {
        let mut settings = Settings::read(&crate::config::AllOptions::default()).unwrap();
        let none = examine(&settings).await;
        assert_eq!(none[0].state, FindingState::Warn);
        settings.gate = GateChoice::Own(GateSettings {
            listen: "127.0.0.1:9".parse().unwrap(),
            address: None,
            tls: None,
            directory: "blobs".into(),
            space_mib: 1,
        });
        let [finding] = &examine(&settings).await[..] else { panic!("one finding") };
        assert_eq!(finding.state, FindingState::Unseen);
        assert!(finding.subject.starts_with("gate 127.0.0.1:9: "), "{finding}");
        settings.gate = GateChoice::Remote(RemoteGateSettings {
            url: "http://127.0.0.1:9".into(),
            secret: GateSecret::new("0c8a41e7d29b5f63"),
            authority: None,
        });
        let [finding] = &examine(&settings).await[..] else { panic!("one finding") };
        assert_eq!(finding.state, FindingState::Missing);
        assert!(finding.subject.contains("the gate at http://127.0.0.1:9 does not answer"), "{finding}");
    }

    #[test]
    fn the_remedy_for_an_engine_names_the_certificate_if_there_is_one() {
        let failed = |has_tls| {
            of_engine("unix:///e", "gate.lan:5443", has_tls, GateReach::Failed("x509".into())).to_string()
        };
        assert!(failed(true).contains("/etc/docker/certs.d/gate.lan:5443/ca.crt"), "{}", failed(true));
        assert!(failed(false).contains("127.0.0.0/8"), "{}", failed(false));
    }
}
