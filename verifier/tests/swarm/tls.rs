//! An engine that accepts only mutual TLS: the right certificates open it, and the pause reason names the
//! fault of all others.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use testbed::{App, Testbed};

use crate::stage::{Stage, answer, assert_nothing_left};

type Authority = CertifiedIssuer<'static, KeyPair>;

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_over_mutual_tls_is_used_and_a_wrong_certificate_is_named() -> Result<()> {
    let bed = Testbed::single().await?;
    let node = &bed.swarm.nodes()[0];
    let directory = tempfile::tempdir()?;
    let at = |name: &str| directory.path().join(name);
    let (ours, theirs) = (authority("ours")?, authority("theirs")?);
    write(&at("server"), &ours, &ours, &[node.address()], true)?;
    write(&at("client"), &ours, &ours, &[], true)?;
    write(&at("stranger"), &ours, &theirs, &[], true)?;
    write(&at("expired"), &ours, &ours, &[], false)?;
    write(&at("elsewhere"), &theirs, &ours, &[], true)?;
    write(&at("old-server"), &ours, &ours, &[node.address()], false)?;

    restart(node, &at("server")).await?;
    let engine = format!("tcp://{}:2376", node.address());
    let stage = |certificates: Option<&str>| -> Result<Stage> {
        let registry = bed.registry.address().to_owned();
        let mut stage = Stage::apart("secret", vec![engine.clone()], registry, Some(1))?;
        stage.settings.swarm_certificates = certificates.map(at);
        stage.run()?;
        Ok(stage)
    };
    let waits_for = async |certificates: Option<&str>, words: &str| -> Result<()> {
        let stage = stage(certificates)?;
        let is_why = |why: &String| why.contains(words) && why.contains(&engine);
        stage
            .health(|health| health.pause_reason.as_ref().is_some_and(is_why))
            .await
            .with_context(|| format!("{certificates:?}: {words}"))?;
        stage.stop().await
    };
    waits_for(None, "it speaks TLS, and no certificates are configured for it").await?;
    waits_for(Some("stranger"), "alert").await?;
    waits_for(Some("expired"), "alert").await?;
    waits_for(Some("elsewhere"), "UnknownIssuer").await?;

    let stage = stage(Some("client"))?;
    let image = format!("{}/ada/app:latest", bed.registry.address());
    bed.registry.push("ada/app", &App::good(&answer("ada", &[&image]))).await?;
    let id = stage.submit("ada", &[&image]).await?;
    assert!(stage.verdict(id).await?.reasons.is_empty());
    stage.stop().await?;
    assert_nothing_left(&bed).await?;

    restart(node, &at("old-server")).await?;
    waits_for(Some("client"), "certificate expired").await?;

    let missing = stage_of_nothing(&engine, directory.path())?;
    assert!(missing.contains("ca.pem") && missing.contains("No such file"), "{missing}");
    bed.stop().await
}

/// Returns the error of a verifier whose certificate directory is empty.
fn stage_of_nothing(engine: &str, directory: &Path) -> Result<String> {
    let mut stage = Stage::apart("nothing", vec![engine.to_owned()], "registry.invalid".into(), None)?;
    stage.settings.swarm_certificates = Some(directory.to_owned());
    Ok(stage.run().err().context("there are no certificates")?.to_string())
}

async fn restart(node: &testbed::Node, certificates: &Path) -> Result<()> {
    let file = |name: &str| certificates.join(name).display().to_string();
    node.kill().await?;
    node.restart_with(&[
        "--host=tcp://0.0.0.0:2376".to_owned(),
        "--tlsverify".to_owned(),
        format!("--tlscacert={}", file("ca.pem")),
        format!("--tlscert={}", file("cert.pem")),
        format!("--tlskey={}", file("key.pem")),
    ])
    .await
}

fn authority(name: &str) -> Result<Authority> {
    let mut params = CertificateParams::new(vec![])?;
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

/// Writes a directory of certificates: the authority to `trust`, and a certificate for these names from
/// `issuer`. The certificate has expired if `valid` is false.
fn write(to: &Path, trust: &Authority, issuer: &Authority, names: &[String], valid: bool) -> Result<()> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names)?;
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    if !valid {
        params.not_after = date_time_ymd(2016, 3, 21);
    }
    let certificate = params.signed_by(&key, issuer)?;
    fs::create_dir(to)?;
    fs::write(to.join("ca.pem"), trust.pem())?;
    fs::write(to.join("cert.pem"), certificate.pem())?;
    fs::write(to.join("key.pem"), key.serialize_pem())?;
    Ok(())
}
