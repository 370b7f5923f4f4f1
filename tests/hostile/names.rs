//! Attacks in the names of images. Each is refused when it is submitted, with a message that names the
//! fault.

use std::time::Instant;

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::attack::{Deserves, Ended, submission};
use super::scene::Scene;

/// Names, and a part of the refusal's message. `REGISTRY` stands for an allowed registry.
const NAMES: &[(&str, &str)] = &[
    ("", "empty"),
    ("scratch", "not allowed here"),
    ("localhost:2375/mallory/app", "not allowed here"),
    ("127.0.0.1:5000/mallory/app", "not allowed here"),
    ("2130706433:5000/mallory/app", "not allowed here"),
    ("0x7f000001/mallory/app", "not allowed here"),
    ("169.254.169.254/mallory/app", "not allowed here"),
    ("manager.internal:5000/mallory/app", "not allowed here"),
    ("[::1]:5000/mallory/app", "not an image name"),
    ("mallory@REGISTRY/mallory/app", "not an image name"),
    ("http://REGISTRY/mallory/app", "web address"),
    ("REGISTRY/app", "nobody's own"),
    ("REGISTRY/mallory/../../containers/json?all=1", "not an image name"),
    ("REGISTRY/mallory/../victim", "not an image name"),
    ("REGISTRY/mallory/app%2f..%2fvictim", "not an image name"),
    ("REGISTRY/mallory/%2e%2e/victim", "not an image name"),
    ("REGISTRY/mallory/app#x", "not an image name"),
    ("REGISTRY/mallory/app?x=y", "not an image name"),
    ("REGISTRY/mallory/app\\..\\victim", "not an image name"),
    ("REGISTRY/mallory/app\nHost: x", "not an image name"),
    ("REGISTRY/mallory/a\u{0}b", "not an image name"),
    ("REGISTRY/mallory/\u{202e}ppa", "not an image name"),
    ("REGISTRY/mallory/{{.Node.Hostname}}", "not an image name"),
    ("REGISTRY/Mallory/App", "not an image name"),
    ("REGISTRY/mallory/app:-tag", "not an image name"),
    ("REGISTRY/mallory/app@sha256:12", "not an image name"),
    ("REGISTRY/mallory/app@md5:00000000000000000000000000000000", "not an image name"),
    ("sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "not allowed here"),
    ("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "image's id"),
    ("docker.\u{456}o/mallory/app", "not an image name"),
    ("REGISTRY:0/mallory/app", "not an image name"),
];

/// Submits each name, a name that is too long, and a JSON object in place of a text.
pub(crate) async fn submit_all(scene: &Scene<'_>) -> Vec<Ended> {
    let registry = scene.bed.registry.address();
    let mut ended = Vec::new();
    for (name, words) in NAMES {
        let body = submission("mallory", &name.replace("REGISTRY", registry));
        let name = format!("name {:?}", name.replace("REGISTRY", "…"));
        ended.push(refused(scene, name, &body, words).await);
    }
    let long = submission("mallory", &format!("{registry}/mallory/{}", "a".repeat(10_000)));
    ended.push(refused(scene, "name of 10,000 letters".to_owned(), &long, "too long").await);
    let mut query = submission("mallory", "x");
    query["images"] = json!([{ "$ne": null }]);
    ended.push(refused(scene, "name that is a query".to_owned(), &query, "").await);
    ended
}

async fn refused(scene: &Scene<'_>, name: String, body: &Value, words: &'static str) -> Ended {
    let began = Instant::now();
    let answer = scene.system.http().post(scene.system.url("/api/v1/submissions")).json(body).send();
    let answer = answer.await.unwrap();
    let code = answer.status();
    let status: Value = answer.json().await.unwrap_or_default();
    let field = status["errors"][0]["field"].as_str().unwrap_or_default();
    let message = status["errors"][0]["message"].as_str().unwrap_or_default();
    let fine = matches!(code, StatusCode::UNPROCESSABLE_ENTITY | StatusCode::BAD_REQUEST)
        && field.starts_with("images")
        && message.contains(words);
    let wrong = (!fine).then(|| format!("{code}: {status:#}"));
    Ended { name, deserved: Deserves::Refusal(words), status, took: began.elapsed(), wrong }
}
