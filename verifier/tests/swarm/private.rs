//! A registry that refuses clients without a login: the verifier and the nodes use the operator's login,
//! and it appears nowhere else.

use anyhow::{Context, Result};
use bollard::query_parameters::ListServicesOptions;
use domain::Event;
use domain::submission::FailureCode;
use testbed::{App, Testbed};
use verifier::RegistryLogins;

use crate::stage::{Stage, answer, assert_nothing_left};

#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_a_private_registry_is_run_with_the_operators_login() -> Result<()> {
    let bed = Testbed::single().await?;
    let address = bed.registry.address();
    let image = format!("{address}/ada/app:latest");
    bed.registry.push("ada/app", &App::playing(&["late", "1"], &answer("ada", &[&image]))).await?;
    let (user, password) = bed.registry.lock().await?;

    let stage = Stage::start(&bed, "stranger", Some(1)).await?;
    let id = stage.submit("ada", &[&image]).await?;
    let refused = stage.verdict(id).await?;
    assert_eq!(refused.reasons[0].code, FailureCode::ImageForbidden);
    stage.stop().await?;

    let mut stage = Stage::prepared(&bed, "known", Some(1))?;
    let auths = serde_json::json!({ "auths": { address: { "username": user, "password": password } } });
    stage.settings.logins = RegistryLogins::parse(&auths.to_string())?;
    stage.run()?;
    let id = stage.submit("ada", &[&image]).await?;
    stage.event(id, |event| matches!(event, Event::ContainersStarted(_))).await?;
    let docker = bed.swarm.nodes()[0].docker();
    let services = docker.list_services(None::<ListServicesOptions>).await?;
    let service = serde_json::to_string(services.first().context("a service runs")?)?;
    let passed = stage.verdict(id).await?;
    assert!(passed.reasons.is_empty(), "{:#?}", passed.events);
    for seen in [service, format!("{:?}", passed.events), format!("{:?}", stage.settings)] {
        assert!(!seen.contains(password), "{seen}");
    }
    stage.stop().await?;
    assert_nothing_left(&bed).await?;
    bed.stop().await
}
