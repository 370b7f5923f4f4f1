//! A node that does not trust the authority of the gate's certificate: its images do not arrive, nobody is blamed, and the
//! submission passes when the node trusts it.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use domain::Event;
use domain::submission::InterruptionCode;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use testbed::{App, Testbed};
use verifier::{GateChoice, GateReach, GateSettings, gate_reach};

use crate::private::beside;
use crate::stage::{Stage, answer, assert_nothing_left};

/// The gate's name for the node. The engine takes the testbed's own addresses for insecure ones, and asks those for no authority.
const HOST: &str = "198.18.0.1";

/// Gives an engine the authority of a registry, in its own part of this machine's files: AUTHORITY ADDRESS.
const TRUST: &str = r#"
mkdir -p /etc/docker && mount -t tmpfs tmpfs /etc/docker && mkdir -p "/etc/docker/certs.d/$2"
cp "$1" "/etc/docker/certs.d/$2/ca.crt"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_blamed_for_a_node_that_does_not_trust_the_gate() -> Result<()> {
    let bed = Testbed::single().await?;
    let node = &bed.swarm.nodes()[0];
    let listen = beside(bed.registry.address())?;
    let address = format!("{HOST}:{}", listen.port());
    lead_to(node, listen).await?;
    let kept = tempfile::tempdir()?;
    let file = |name: &str| kept.path().join(name);
    let authority = write_certificate(kept.path())?;
    let mut stage = Stage::prepared(&bed, "trusted", Some(1))?;
    stage.settings.gate = GateChoice::Own(GateSettings {
        listen,
        address: Some(address.clone()),
        tls: Some(event_store::TlsFiles { certificate: file("gate.pem"), key: file("key.pem") }),
        directory: kept.path().join("blobs"),
        space_mib: 64,
    });
    stage.run()?;
    let image = format!("{}/ada/app:latest", bed.registry.address());
    bed.registry.push("ada/app", &App::good(&answer("ada", &[&image]))).await?;
    let id = stage.submit("ada", &[&image]).await?;
    let events = stage.event(id, |event| matches!(event, Event::VerificationInterrupted(_))).await?;
    let interrupted = events.iter().find_map(|event| match event {
        Event::VerificationInterrupted(interrupted) => Some(interrupted),
        _ => None,
    });
    let interrupted = interrupted.context("it was interrupted")?;
    assert_eq!(interrupted.code, InterruptionCode::PullFailed, "{interrupted:?}");
    assert!(interrupted.message.contains("x509"), "the reason is told: {interrupted:?}");
    let reach = gate_reach(&node.endpoint(), None, &address).await;
    assert!(matches!(&reach, GateReach::Failed(why) if why.contains("x509")), "{reach:?}");

    node.run(&["sh", "-c", TRUST, "trust", &authority, &address]).await?;
    assert_eq!(gate_reach(&node.endpoint(), None, &address).await, GateReach::Answered);
    let passed = stage.verdict(id).await?;
    assert!(passed.reasons.is_empty(), "{:#?}", passed.events);
    stage.stop().await?;
    assert_nothing_left(&bed).await?;
    bed.stop().await
}

/// Leads a node's packets for the gate's name to this machine.
async fn lead_to(node: &testbed::Node, listen: SocketAddr) -> Result<()> {
    let (port, to) = (listen.port().to_string(), listen.to_string());
    let rule = ["-p", "tcp", "-d", HOST, "--dport", &port, "-j", "DNAT", "--to-destination", &to];
    node.run(&[&["iptables", "-w", "-t", "nat", "-A", "OUTPUT"], &rule[..]].concat()).await?;
    Ok(())
}

/// Writes the gate's certificate and key. Returns the path of their authority.
fn write_certificate(folder: &std::path::Path) -> Result<String> {
    let mut params = CertificateParams::new([])?;
    params.distinguished_name.push(DnType::CommonName, "the gate's authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let (params, key) = (CertificateParams::new([HOST.to_owned()])?, KeyPair::generate()?);
    let certificate = params.signed_by(&key, &authority)?;
    for (name, pem) in
        [("ca.pem", authority.pem()), ("gate.pem", certificate.pem()), ("key.pem", key.serialize_pem())]
    {
        std::fs::write(folder.join(name), pem)?;
    }
    Ok(folder.join("ca.pem").display().to_string())
}
