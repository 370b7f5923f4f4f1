//! Lookups in a misbehaving registry on the loopback, because a real one does not misbehave on demand.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use domain::Challenge;

use super::*;

/// A server that follows a script and records the requests.
pub(crate) struct ScriptedRegistry {
    pub(crate) address: String,
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
}

pub(crate) fn scripted<R: Into<Vec<u8>>>(
    replies: impl Fn(&str, &str) -> R + Send + 'static,
) -> ScriptedRegistry {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (heard, own) = (Arc::clone(&asked), address.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut chunk = [0; 2048];
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                let read = stream.read(&mut chunk).unwrap();
                request.extend_from_slice(&chunk[..read]);
            }
            let request = String::from_utf8(request).unwrap();
            heard.lock().unwrap().push(request.lines().next().unwrap().to_owned());
            // A client that has read enough closes the connection.
            let _ = stream.write_all(&replies(&request, &own).into());
        }
    });
    ScriptedRegistry { address, asked }
}

pub(crate) fn reply(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

/// An empty archive.
const LAYER: &str = match std::str::from_utf8(&[0; 1024]) {
    Ok(text) => text,
    Err(_) => "",
};

async fn look_up(registry: &ScriptedRegistry) -> Result<ResolvedImage> {
    look_up_with(
        &RegistryClient::new([], RegistryLogins::default(), BTreeMap::new(), VerifierMetrics::default()),
        registry,
    )
    .await
}

async fn look_up_with(client: &RegistryClient, registry: &ScriptedRegistry) -> Result<ResolvedImage> {
    let image = format!("{}/ada/app:v1", registry.address).parse().unwrap();
    client.look_up(&image, None, &Challenge::birthday().limits).await
}

async fn error_of(status: &'static str, headers: &'static str, body: &'static str) -> LookupError {
    look_up(&scripted(move |_, _| reply(status, headers, body))).await.unwrap_err()
}

fn fault(error: LookupError) -> InterruptionCode {
    match error {
        LookupError::Platform(fault) => fault.code,
        LookupError::Participant(code, message) => panic!("{code:?}: {message}"),
    }
}

fn failure(error: LookupError) -> (FailureCode, String) {
    match error {
        LookupError::Participant(code, message) => (code, message),
        LookupError::Platform(fault) => panic!("{fault:?}"),
    }
}

#[tokio::test]
async fn each_refusal_of_a_registry_has_its_own_name() {
    let unknown = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
    let (code, message) = failure(error_of("404 Not Found", "", unknown).await);
    assert_eq!(code, FailureCode::ImageNotFound);
    assert!(message.contains("ada/app:v1 (MANIFEST_UNKNOWN: manifest unknown)"), "{message}");

    assert_eq!(failure(error_of("403 Forbidden", "", "").await).0, FailureCode::ImageForbidden);
    assert_eq!(failure(error_of("401 Unauthorized", "", "").await).0, FailureCode::ImageForbidden);
    assert_eq!(fault(error_of("429 Too Many Requests", "", "").await), InterruptionCode::RateLimited);
    assert_eq!(
        fault(error_of("503 Service Unavailable", "", "").await),
        InterruptionCode::RegistryUnavailable
    );
    assert_eq!(fault(error_of("418 I'm a teapot", "", "").await), InterruptionCode::RegistryUnavailable);
    assert_eq!(failure(error_of("200 OK", "", "<html>").await).0, FailureCode::ImageRefused);
}

#[tokio::test]
async fn a_registry_that_does_not_answer_is_a_platform_fault() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let gone = ScriptedRegistry { address, asked: Arc::default() };
    assert_eq!(fault(look_up(&gone).await.unwrap_err()), InterruptionCode::RegistryUnavailable);
}

#[tokio::test]
async fn no_redirect_and_no_token_server_leads_elsewhere() {
    let victim = scripted(|_, _| reply("200 OK", "", "{}"));
    let to = victim.address.clone();
    let redirecting = scripted(move |_, _| reply("307 Moved", &format!("Location: http://{to}/x\r\n"), ""));
    assert_eq!(fault(look_up(&redirecting).await.unwrap_err()), InterruptionCode::RegistryUnavailable);

    let to = victim.address.clone();
    let realm = format!("WWW-Authenticate: Bearer realm=\"http://{to}/token\",service=\"s\"\r\n");
    let asking = scripted(move |_, _| reply("401 Unauthorized", &realm, ""));
    assert_eq!(fault(look_up(&asking).await.unwrap_err()), InterruptionCode::RegistryUnavailable);

    assert_eq!(*victim.asked.lock().unwrap(), Vec::<String>::new());
}

/// Returns the manifest and the configuration of an image that can be run. Its layer is [`LAYER`].
fn image() -> (String, String) {
    image_of(LAYER)
}

/// Returns the manifest and the configuration of an image with this layer.
fn image_of(layer: &str) -> (String, String) {
    let config = format!(
        r#"{{"os":"linux","architecture":"amd64","config":{{"Cmd":["/app"],"Volumes":{{"/data":{{}}}}}},
        "rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        sha(layer),
    );
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},
        "layers":[{{"mediaType":"l","digest":"{}","size":{}}}]}}"#,
        sha(&config),
        config.len(),
        sha(layer),
        layer.len(),
    );
    (manifest, config)
}

fn sha(text: &str) -> String {
    let hex: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Starts a registry that has the same image under every name.
pub(crate) fn generous() -> ScriptedRegistry {
    sending(LAYER.to_owned())
}

/// Starts a registry that has an image with this layer under every name.
pub(crate) fn sending(layer: String) -> ScriptedRegistry {
    let (manifest, config) = image_of(&layer);
    let digest = sha(&layer);
    scripted(move |request, _| {
        let body = match request {
            request if request.contains("/manifests/") => &manifest,
            request if request.contains(&digest) => &layer,
            _ => &config,
        };
        reply("200 OK", "", body)
    })
}

#[tokio::test]
async fn an_image_is_looked_up_with_an_anonymous_token() {
    let (manifest, config) = image();
    let content = HashMap::from([
        ("/v2/ada/app/manifests/v1".to_owned(), manifest.clone()),
        (format!("/v2/ada/app/blobs/{}", sha(&config)), config.clone()),
    ]);
    let registry = scripted(move |request, own| {
        let path = request.split(' ').nth(1).unwrap();
        if path.starts_with("/token") {
            assert!(path.contains("scope=repository%3Aada%2Fapp%3Apull"), "{path}");
            return reply("200 OK", "", r#"{"token":"t0ken"}"#);
        }
        if !request.to_lowercase().contains("authorization: bearer t0ken") {
            let realm = format!("WWW-Authenticate: Bearer realm=\"http://{own}/token\",service=\"s\"\r\n");
            return reply("401 Unauthorized", &realm, "");
        }
        content.get(path).map_or_else(|| reply("404 Not Found", "", ""), |body| reply("200 OK", "", body))
    });
    let found = look_up(&registry).await.unwrap();
    assert_eq!(found.digest.to_string(), sha(&manifest));
    assert_eq!(found.volumes, ["/data"]);
    assert_eq!(found.size_bytes, (LAYER.len() + config.len()) as u64);

    // A digest that is known from an earlier attempt is looked up instead of the tag.
    let image = format!("{}/ada/app:v1", registry.address).parse().unwrap();
    let known = sha("what it was").parse().unwrap();
    let looked_up =
        RegistryClient::new([], RegistryLogins::default(), BTreeMap::new(), VerifierMetrics::default())
            .look_up(&image, Some(&known), &Challenge::birthday().limits)
            .await;
    assert_eq!(failure(looked_up.unwrap_err()).0, FailureCode::ImageNotFound);
}

#[tokio::test]
async fn a_login_is_shown_where_it_is_asked_for_and_nowhere_else() {
    let (manifest, config) = image();
    let asking = |scheme: &'static str| {
        let (manifest, config) = (manifest.clone(), config.clone());
        scripted(move |request, own| {
            let request = request.to_lowercase();
            let authorized = request.contains("authorization: basic yxq6chc=");
            if request.contains("/token") {
                let token = r#"{"token":"t0ken"}"#;
                return if authorized { reply("200 OK", "", token) } else { reply("401 No", "", "") };
            }
            if scheme == "Basic" && !authorized || scheme == "Bearer" && !request.contains("bearer t0ken") {
                let wanted =
                    format!("WWW-Authenticate: {scheme} realm=\"http://{own}/token\",service=\"s\"\r\n");
                return reply("401 Unauthorized", &wanted, "");
            }
            reply("200 OK", "", if request.contains("/manifests/") { &manifest } else { &config })
        })
    };
    for scheme in ["Basic", "Bearer"] {
        let registry = asking(scheme);
        let image = format!("{}/ada/app:v1", registry.address).parse().unwrap();
        let limits = Challenge::birthday().limits;
        let with = async |auths: &str| {
            let logins = RegistryLogins::parse(&format!(r#"{{"auths":{{{auths}}}}}"#)).unwrap();
            RegistryClient::new([], logins, BTreeMap::new(), VerifierMetrics::default())
                .look_up(&image, None, &limits)
                .await
        };
        let ours =
            |password: &str| format!(r#""{}":{{"username":"at","password":"{password}"}}"#, registry.address);
        assert!(with(&ours("pw")).await.is_ok(), "{scheme}");
        // A wrong login is the operator's fault. Without a login, the image is private.
        assert_eq!(fault(with(&ours("wrong")).await.unwrap_err()), InterruptionCode::RegistryUnavailable);
        let elsewhere = r#""elsewhere.invalid":{"username":"at","password":"pw"}"#;
        assert_eq!(failure(with(elsewhere).await.unwrap_err()).0, FailureCode::ImageForbidden);
    }
}

#[tokio::test]
async fn a_registry_that_does_not_serve_a_part_is_at_fault_itself() {
    for (status, body) in [
        ("404 Not Found", r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown"}]}"#),
        ("403 Forbidden", "the signature has expired"),
    ] {
        let (manifest, _) = image();
        let registry = scripted(move |request, _| match request.contains("/manifests/") {
            true => reply("200 OK", "", &manifest),
            false => reply(status, "", body),
        });
        let error = look_up(&registry).await.unwrap_err();
        assert_eq!(fault(error), InterruptionCode::RegistryUnavailable, "{status}");
    }
}

/// An engine would also accept `x86_64`, and take the first of several matches.
#[tokio::test]
async fn the_part_of_an_index_that_was_checked_is_the_one_that_is_run() {
    let (manifest, config) = image();
    let (good, other) = (sha(&manifest), sha("another"));
    let part = |digest: &str, size: usize, architecture: &str| {
        let platform = serde_json::json!({ "os": "linux", "architecture": architecture });
        serde_json::json!({ "mediaType": "m", "digest": digest, "size": size, "platform": platform })
    };
    let parts = [part(&other, 10, "x86_64"), part(&good, manifest.len(), "amd64")];
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": parts }).to_string();
    let registry = scripted(move |request, _| match request {
        request if request.contains("/manifests/v1") => reply("200 OK", "", &index),
        request if request.contains("/manifests/") => reply("200 OK", "", &manifest),
        _ => reply("200 OK", "", &config),
    });
    assert_eq!(look_up(&registry).await.unwrap().digest.to_string(), good);
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let body = "x".repeat(MANIFEST_MAX + 1);
    let registry = scripted(move |_, _| reply("200 OK", "", &body));
    assert_eq!(failure(look_up(&registry).await.unwrap_err()).0, FailureCode::ImageRefused);
}

/// A registry with tokens answers with 401 to the name of an image that does not exist, also to a login that is right.
#[tokio::test]
async fn a_name_that_a_token_cannot_read_is_the_participants_fault() {
    let registry = scripted(|request, own| {
        if request.contains("/token") {
            return reply("200 OK", "", r#"{"token":"t0ken","expires_in":300}"#);
        }
        let wanted = format!(
            "WWW-Authenticate: Basic realm=\"x\"\r\nWWW-Authenticate: Bearer realm=http://{own}/token,service=s\r\n"
        );
        reply(
            "401 Unauthorized",
            &wanted,
            r#"{"errors":[{"code":"UNAUTHORIZED","message":"insufficient_scope"}]}"#,
        )
    });
    let login = format!(r#"{{"auths":{{"{}":{{"username":"at","password":"pw"}}}}}}"#, registry.address);
    let client = RegistryClient::new(
        [],
        RegistryLogins::parse(&login).unwrap(),
        BTreeMap::new(),
        VerifierMetrics::default(),
    );
    let (code, message) = failure(look_up_with(&client, &registry).await.unwrap_err());
    assert_eq!(code, FailureCode::ImageForbidden);
    assert!(message.contains("insufficient_scope"), "{message}");
}

#[tokio::test]
async fn what_a_registry_counts_is_asked_for_once() {
    let (manifest, config) = image();
    let digest = format!("Docker-Content-Digest: {}\r\n", sha(&manifest));
    let registry = scripted(move |request, own| {
        if request.contains("/token") {
            return reply("200 OK", "", r#"{"access_token":"t0ken","expires_in":300}"#);
        }
        if !request.to_lowercase().contains("authorization: bearer t0ken") {
            let realm = format!("WWW-Authenticate: Bearer realm=\"http://{own}/token\"\r\n");
            return reply("401 Unauthorized", &realm, "");
        }
        match request {
            request if request.starts_with("HEAD ") => {
                format!("HTTP/1.1 200 OK\r\n{digest}Content-Length: 9\r\nConnection: close\r\n\r\n")
            }
            request if request.contains("/manifests/") => reply("200 OK", "", &manifest),
            _ => reply("200 OK", "", &config),
        }
    });
    let client =
        RegistryClient::new([], RegistryLogins::default(), BTreeMap::new(), VerifierMetrics::default());
    let first = look_up_with(&client, &registry).await.unwrap();
    assert_eq!(look_up_with(&client, &registry).await.unwrap(), first);
    let asked = registry.asked.lock().unwrap();
    let count = |start: &str| asked.iter().filter(|line| line.starts_with(start)).count();
    // The first GET got the request for a token.
    assert_eq!(count("GET /v2/ada/app/manifests/"), 2, "{asked:?}");
    assert_eq!(count("HEAD /v2/ada/app/manifests/"), 1, "{asked:?}");
    assert_eq!(count("GET /v2/ada/app/blobs/"), 1, "{asked:?}");
    assert_eq!(count("GET /token"), 1, "{asked:?}");
}

#[tokio::test]
async fn a_registry_that_limits_requests_is_left_alone() {
    let limit = "Retry-After: 600\r\nRateLimit-Remaining: 0;w=21600\r\n";
    let registry = scripted(move |_, _| reply("429 Too Many Requests", limit, ""));
    let client =
        RegistryClient::new([], RegistryLogins::default(), BTreeMap::new(), VerifierMetrics::default());
    for _ in 0..3 {
        assert_eq!(fault(look_up_with(&client, &registry).await.unwrap_err()), InterruptionCode::RateLimited);
    }
    assert_eq!(registry.asked.lock().unwrap().len(), 1);
    // Operators are told.
    let limited = client.limited();
    let told = &limited.borrow()[0];
    let pause = told.pause.as_ref().unwrap();
    assert!(
        pause.reason.contains("limits requests")
            && pause.until > jiff::Timestamp::now() + Duration::from_secs(590),
        "{told:?}"
    );
    assert_eq!(told.pulls_remaining, Some(0));
}

#[tokio::test]
async fn an_image_without_a_platform_in_its_index_is_known_by_its_configuration() {
    let (manifest, config) = image();
    let (other_manifest, other_config) = {
        let other = config.replace("amd64", "arm64");
        let manifest = manifest.replace(&sha(&config), &sha(&other));
        (manifest, other)
    };
    let part = |manifest: &str| serde_json::json!({ "mediaType": "m", "digest": sha(manifest), "size": manifest.len() });
    let parts = [part(&other_manifest), part(&manifest)];
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": parts }).to_string();
    let good = sha(&manifest);
    let contents = [index, manifest, config, other_manifest, other_config];
    let registry = scripted(move |request, _| {
        let named = contents.iter().find(|content| request.contains(&sha(content)));
        reply("200 OK", "", named.unwrap_or(&contents[0]))
    });
    assert_eq!(look_up(&registry).await.unwrap().digest.to_string(), good);
}
