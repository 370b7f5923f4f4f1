//! The verifier on a real engine in Swarm mode, with a real registry: each way in which a submission can
//! end, with the right reason, and nothing left behind.

use std::time::Duration;

use crate::stage::{Stage, answer, assert_nothing_left};
use anyhow::Result;
use bollard::query_parameters::ListImagesOptions;
use domain::submission::FailureCode;
use serde_json::{Value, json};
use testbed::{App, Layer, Testbed};

/// The image of a kind, as it is pushed.
enum PushedImage {
    /// Nothing is pushed, so the registry does not have it.
    None,
    App(App),
    /// An index whose parts are for these architectures.
    Index(Vec<(&'static str, App)>),
}

/// A kind's name, its image for a given answer, and the expected failure: its code and a word of its message.
type ImageKind = (&'static str, fn(&Value) -> PushedImage, Option<(FailureCode, &'static str)>);

fn kinds() -> [ImageKind; 19] {
    use FailureCode as Code;
    use PushedImage::App as Pushed;
    [
        ("good", |answer| Pushed(App::good(answer)), None),
        ("slow", |answer| Pushed(App::slow(answer, Duration::from_secs(2))), None),
        // An engine would take the first part for our platform, too.
        (
            "index",
            |answer| {
                PushedImage::Index(vec![("x86_64", App::exits(3, "the other")), ("amd64", App::good(answer))])
            },
            None,
        ),
        ("volume", |answer| Pushed(with(App::good(answer), "Volumes", json!({ "/data": {} }))), None),
        ("missing", |_| PushedImage::None, Some((Code::ImageNotFound, "missing/app"))),
        ("wrong", |answer| Pushed(App::wrong(answer, "vote")), Some((Code::Mismatch, "vote"))),
        (
            "wrong-port",
            |answer| {
                let app = App::playing(&["wrong-port", "8080"], answer);
                Pushed(with(app, "ExposedPorts", json!({ "8080/tcp": {} })))
            },
            Some((Code::NothingOnPort, "exposes port 8080 (EXPOSE), and the challenge asks on port 80")),
        ),
        ("silent", |answer| playing(&["silent"], answer), Some((Code::NothingOnPort, "port 80"))),
        ("exits", |_| Pushed(App::exits(3, "no database")), Some((Code::ExitedEarly, "no database"))),
        ("hang", |answer| playing(&["hang"], answer), Some((Code::TimedOut, "3 s"))),
        ("not-json", |answer| playing(&["not-json"], answer), Some((Code::NotJson, "It works"))),
        ("status", |answer| playing(&["status", "500"], answer), Some((Code::BadStatus, "500"))),
        (
            "redirects",
            |_| Pushed(App::redirects("http://169.254.169.254/")),
            Some((Code::Redirected, "169.254.169.254")),
        ),
        (
            "capability",
            |answer| playing(&["needs-capability"], answer),
            Some((Code::ExitedEarly, "CAP_SYS_CHROOT")),
        ),
        (
            "arm",
            |answer| Pushed(App { architecture: "arm64".into(), ..App::good(answer) }),
            Some((Code::WrongPlatform, "arm64")),
        ),
        (
            "no-program",
            |answer| Pushed(with(App::good(answer), "Entrypoint", json!(["/nope"]))),
            Some((Code::DidNotStart, "/nope")),
        ),
        ("memory", |answer| playing(&["memory"], answer), Some((Code::OutOfMemory, "64 MiB"))),
        (
            "too-large",
            |answer| Pushed(App::good(answer).with_layers([ballast(17)])),
            Some((Code::ImageTooLarge, "16 MiB are allowed")),
        ),
        (
            "workdir",
            |answer| Pushed(with(App::good(answer), "WorkingDir", json!("/proc/self/fd/7"))),
            Some((Code::ImageRefused, "WORKDIR")),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_image_gets_its_own_verdict() -> Result<()> {
    let bed = Testbed::single().await?;
    let stage = Stage::start(&bed, "kinds", None).await?;
    let address = bed.registry.address().to_owned();
    let mut submitted = Vec::new();
    for (owner, image_for, expected) in kinds() {
        let name = format!("{owner}/app");
        let image = format!("{address}/{name}:latest");
        match image_for(&answer(owner, &[&image])) {
            PushedImage::None => {}
            PushedImage::App(app) => drop(bed.registry.push(&name, &app).await?),
            PushedImage::Index(parts) => drop(bed.registry.push_index(&name, &parts).await?),
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
                let has_output =
                    message.contains("\nIts last output:\n") || message.contains(" It wrote nothing.");
                let is_explained = message.contains("docker run --rm") && has_output;
                assert_eq!(is_explained, ran(code), "{owner}: {message}");
            }
            (expected, found) => panic!("{owner}: {expected:?}, but {found:?}"),
        }
    }
    // The image that is too large was refused without being pulled.
    let images = bed.swarm.nodes()[0].docker().list_images(None::<ListImagesOptions>).await?;
    let pulled = |owner: &str| {
        images
            .iter()
            .flat_map(|image| &image.repo_digests)
            .any(|digest| digest.contains(&format!("/{owner}/")))
    };
    assert!(pulled("memory") && !pulled("too-large"), "{images:#?}");

    // The second image is missing. The submission passes, because the first one is right.
    let two = [format!("{address}/pair/app:latest"), format!("{address}/pair/gone:latest")];
    let two = [two[0].as_str(), two[1].as_str()];
    bed.registry.push("pair/app", &App::good(&answer("pair", &two))).await?;
    let pair = stage.submit("pair", &two).await?;
    assert!(stage.verdict(pair).await?.reasons.is_empty());

    stage.stop().await?;
    assert_nothing_left(&bed).await?;
    bed.stop().await
}

/// Returns true if an app with this failure ran, and its output may explain the failure.
fn ran(code: FailureCode) -> bool {
    use FailureCode as Code;
    matches!(
        code,
        Code::ExitedEarly | Code::OutOfMemory | Code::NothingOnPort | Code::TimedOut | Code::BadStatus
    )
}

fn playing(arguments: &[&str], answer: &Value) -> PushedImage {
    PushedImage::App(App::playing(arguments, answer))
}

/// Returns a layer of this size in MiB, not compressed.
fn ballast(mib: usize) -> Layer {
    Layer::files(&[("ballast", 0o644, &vec![0; mib << 20])]).expect("zeros make a layer")
}

/// Returns the app with a field of the image's configuration set.
fn with(mut app: App, field: &str, value: Value) -> App {
    app.extra.insert(field.to_owned(), value);
    app
}
