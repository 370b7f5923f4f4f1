//! The verifier on a real engine in Swarm mode, with a real registry: each way
//! that a submission can end, with its right reason, and nothing left behind.

use std::time::Duration;

use crate::stage::{Stage, answer, assert_nothing_left};
use anyhow::Result;
use bollard::query_parameters::ListImagesOptions;
use domain::submission::FailureCode;
use testbed::{App, Layer, Testbed};

/// Each kind of image, what it must be told, and a word that the message has.
#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_image_gets_its_own_verdict() -> Result<()> {
    let bed = Testbed::single().await?;
    let stage = Stage::start(&bed, "kinds", None).await?;
    let address = bed.registry.address().to_owned();
    let kinds: Vec<(&str, Option<(FailureCode, &str)>)> = vec![
        ("good", None),
        ("slow", None),
        ("index", None),
        ("missing", Some((FailureCode::ImageNotFound, "missing/app"))),
        ("wrong", Some((FailureCode::Mismatch, "vote"))),
        ("wrong-port", Some((FailureCode::NothingOnPort, "port 80"))),
        ("silent", Some((FailureCode::NothingOnPort, "port 80"))),
        ("exits", Some((FailureCode::ExitedEarly, "no database"))),
        ("hang", Some((FailureCode::TimedOut, "3 s"))),
        ("not-json", Some((FailureCode::NotJson, "It works"))),
        ("status", Some((FailureCode::BadStatus, "500"))),
        ("redirects", Some((FailureCode::Redirected, "169.254.169.254"))),
        ("capability", Some((FailureCode::ExitedEarly, "CAP_SYS_CHROOT"))),
        ("arm", Some((FailureCode::WrongPlatform, "arm64"))),
        ("no-program", Some((FailureCode::DidNotStart, "/nope"))),
        ("volume", None),
        ("memory", Some((FailureCode::OutOfMemory, "64 MiB"))),
        ("too-large", Some((FailureCode::ImageTooLarge, "16 MiB are allowed"))),
        ("workdir", Some((FailureCode::ImageRefused, "WORKDIR"))),
    ];
    let mut submitted = Vec::new();
    for (owner, expected) in kinds {
        let name = format!("{owner}/app");
        let image = format!("{address}/{name}:latest");
        let answer = answer(owner, &[&image]);
        let app = match owner {
            "good" => Some(App::good(&answer)),
            "slow" => Some(App::slow(&answer, Duration::from_secs(2))),
            "missing" => None,
            // An engine would take the first part for our platform, too.
            "index" => {
                let parts = [("x86_64", App::exits(3, "the other")), ("amd64", App::good(&answer))];
                bed.registry.push_index(&name, &parts).await?;
                None
            }
            "wrong" => Some(App::wrong(&answer, "vote")),
            "wrong-port" => Some(App::playing(&["wrong-port", "8080"], &answer)),
            "silent" => Some(App::playing(&["silent"], &answer)),
            "exits" => Some(App::exits(3, "no database")),
            "hang" => Some(App::playing(&["hang"], &answer)),
            "not-json" => Some(App::playing(&["not-json"], &answer)),
            "status" => Some(App::playing(&["status", "500"], &answer)),
            "redirects" => Some(App::redirects("http://169.254.169.254/")),
            "capability" => Some(App::playing(&["needs-capability"], &answer)),
            "arm" => Some(App { architecture: "arm64".into(), ..App::good(&answer) }),
            "no-program" => Some(with(App::good(&answer), "Entrypoint", serde_json::json!(["/nope"]))),
            "volume" => Some(with(App::good(&answer), "Volumes", serde_json::json!({ "/data": {} }))),
            "memory" => Some(App::playing(&["memory"], &answer)),
            "too-large" => Some(App::good(&answer).with_layers([ballast(17)?])),
            "workdir" => Some(with(App::good(&answer), "WorkingDir", serde_json::json!("/proc/self/fd/7"))),
            other => panic!("{other}"),
        };
        if let Some(app) = app {
            bed.registry.push(&name, &app).await?;
        }
        submitted.push((owner, stage.submit(owner, &[&image]).await?, expected));
    }
    for (owner, id, expected) in submitted {
        let verdict = stage.verdict(id).await?;
        let found = verdict.reasons.first().map(|reason| (reason.code, reason.message.as_str()));
        match (expected, found) {
            (None, None) => {}
            (Some((code, word)), Some((found, message))) => {
                assert_eq!(found, code, "{owner}: {message}");
                assert!(message.contains(word), "{owner}: {message}");
            }
            (expected, found) => panic!("{owner}: {expected:?}, but {found:?}"),
        }
    }
    // What is too large was not pulled to find it out.
    let images = bed.swarm.nodes()[0].docker().list_images(None::<ListImagesOptions>).await?;
    let pulled = |owner: &str| {
        images
            .iter()
            .flat_map(|image| &image.repo_digests)
            .any(|digest| digest.contains(&format!("/{owner}/")))
    };
    assert!(pulled("memory") && !pulled("too-large"), "{images:#?}");

    // Of two images one is missing, and the other is right: that is enough.
    let two = [format!("{address}/pair/app:latest"), format!("{address}/pair/gone:latest")];
    let two = [two[0].as_str(), two[1].as_str()];
    bed.registry.push("pair/app", &App::good(&answer("pair", &two))).await?;
    let pair = stage.submit("pair", &two).await?;
    assert!(stage.verdict(pair).await?.reasons.is_empty());

    stage.stop().await?;
    assert_nothing_left(&bed).await?;
    bed.stop().await
}

/// So many MiB, not compressed.
fn ballast(mib: usize) -> Result<Layer> {
    Layer::files(&[("ballast", 0o644, &vec![0; mib << 20])])
}

fn with(mut app: App, field: &str, value: serde_json::Value) -> App {
    app.extra.insert(field.to_owned(), value);
    app
}
