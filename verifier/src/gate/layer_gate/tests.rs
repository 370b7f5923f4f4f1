//! Looks at images in a scripted registry.

use std::collections::BTreeMap;

use domain::submission::FailureCode;
use sha2::{Digest as _, Sha256};

use super::super::samples::ArchiveDraft;
use super::*;
use crate::registry::RegistryLogins;
use crate::registry::tests::{ScriptedRegistry, reply, scripted};

fn sha(bytes: &[u8]) -> Digest {
    digest_of(&Sha256::digest(bytes))
}

/// Starts a registry that sends these bytes for each layer.
fn sending(bytes: Vec<u8>) -> ScriptedRegistry {
    scripted(move |_, _| {
        let length = bytes.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
        [head.as_bytes(), &bytes].concat()
    })
}

/// Returns an image of one layer.
fn image_of(layer: &[u8]) -> ResolvedImage {
    ResolvedImage {
        digest: sha(b"manifest"),
        size_bytes: layer.len() as u64,
        volumes: vec![],
        exposed_ports: vec![],
        working_dir: String::new(),
        layers: vec![ImageLayer { digest: sha(layer), size: layer.len() as u64 }],
        diff_ids: vec![sha(layer)],
    }
}

async fn look(
    gate: &LayerGate,
    registry: &ScriptedRegistry,
    image: &ResolvedImage,
) -> Result<(), LookupError> {
    let client =
        RegistryClient::new([], RegistryLogins::default(), BTreeMap::new(), VerifierMetrics::default());
    let name = format!("{}/ada/app:v1", registry.address).parse().unwrap();
    let mut challenge = Challenge::birthday();
    challenge.limits.image_mib = 1;
    gate.look_into(&client, &name, image, &challenge).await
}

fn failure(looked: Result<(), LookupError>) -> (FailureCode, String) {
    match looked.unwrap_err() {
        LookupError::Participant(code, message) => (code, message),
        LookupError::Platform(fault) => panic!("{fault:?}"),
    }
}

fn fault(looked: Result<(), LookupError>) -> String {
    match looked.unwrap_err() {
        LookupError::Platform(fault) => fault.message,
        LookupError::Participant(code, message) => panic!("{code:?}: {message}"),
    }
}

#[tokio::test]
async fn a_layer_is_fetched_once_for_all_images_that_have_it() {
    let layer = ArchiveDraft::new().file("app", b"x").end();
    let (gate, registry, image) =
        (LayerGate::new(VerifierMetrics::default()), sending(layer.clone()), image_of(&layer));
    let mut twice = image.clone();
    twice.layers.push(twice.layers[0].clone());
    twice.diff_ids.push(twice.diff_ids[0].clone());
    let all = tokio::join!(look(&gate, &registry, &image), look(&gate, &registry, &twice));
    assert_eq!(all, (Ok(()), Ok(())));
    assert_eq!(look(&gate, &registry, &image).await, Ok(()));
    assert_eq!(registry.asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_flaw_is_the_participants_and_is_remembered() {
    let layer = ArchiveDraft::new().fifo("etc/passwd").end();
    let (gate, registry) = (LayerGate::new(VerifierMetrics::default()), sending(layer.clone()));
    let (code, message) = failure(look(&gate, &registry, &image_of(&layer)).await);
    assert_eq!(code, FailureCode::ImageRefused);
    assert!(message.contains("/etc/passwd is a FIFO"), "{message}");

    let broken = b"no archive ".repeat(100);
    let registry = sending(broken.clone());
    for _ in 0..2 {
        let (code, message) = failure(look(&gate, &registry, &image_of(&broken)).await);
        assert_eq!(code, FailureCode::ImageRefused);
        assert!(message.contains("cannot be unpacked") && message.contains("no archive"), "{message}");
    }
    assert_eq!(registry.asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_bomb_is_too_large_however_its_layers_share_it() {
    let layer = ArchiveDraft::new().file("zeros", &vec![0; 900 << 10]).end();
    let (gate, registry) = (LayerGate::new(VerifierMetrics::default()), sending(layer.clone()));
    let mut image = image_of(&layer);
    image.layers = vec![image.layers[0].clone(); 5];
    image.diff_ids = vec![image.diff_ids[0].clone(); 5];
    let (code, message) = failure(look(&gate, &registry, &image).await);
    assert_eq!(code, FailureCode::ImageTooLarge);
    assert!(message.contains("4 MiB when it is unpacked"), "{message}");
}

/// The participant pushed the manifest, and the registry only keeps it.
#[tokio::test]
async fn a_false_claim_of_the_image_is_the_participants() {
    let layer = ArchiveDraft::new().end();
    let (gate, registry) = (LayerGate::new(VerifierMetrics::default()), sending(layer.clone()));
    let mut said_to_be_small = image_of(&layer);
    said_to_be_small.layers[0].size = 1;
    let mut another_archive = image_of(&layer);
    another_archive.diff_ids[0] = sha(b"x");
    let mut one_more = image_of(&layer);
    one_more.diff_ids.push(sha(b"x"));
    for (image, words) in [
        (said_to_be_small, "has 1 bytes, but it has 1024"),
        (another_archive, "when it is decompressed"),
        (one_more, "it has 1 layers, and its configuration names 2"),
    ] {
        let (code, message) = failure(look(&gate, &registry, &image).await);
        assert_eq!(code, FailureCode::ImageRefused);
        assert!(message.contains(words), "{message}");
    }
}

#[tokio::test]
async fn a_registry_that_sends_something_else_is_at_fault_itself() {
    let gate = LayerGate::new(VerifierMetrics::default());
    let layer = ArchiveDraft::new().end();
    let forged = ArchiveDraft::new().fifo("etc/passwd").end();
    let told = fault(look(&gate, &sending(forged), &image_of(&layer)).await);
    assert!(told.contains("instead of layer"), "{told}");
    let cut = scripted(|_, _| "HTTP/1.1 200 OK\r\nContent-Length: 1024\r\nConnection: close\r\n\r\nx");
    assert!(fault(look(&gate, &cut, &image_of(&layer)).await).contains("does not answer"));
    let gone = scripted(|_, _| reply("404 Not Found", "", ""));
    assert!(fault(look(&gate, &gone, &image_of(&layer)).await).contains("push the image again"));
    // None of it is remembered.
    assert_eq!(look(&gate, &sending(layer.clone()), &image_of(&layer)).await, Ok(()));
}

#[tokio::test]
async fn a_layer_that_is_longer_than_any_image_is_cut_off() {
    let layer = vec![1; 3 << 20];
    let (code, _) = failure(
        look(&LayerGate::new(VerifierMetrics::default()), &sending(layer.clone()), &image_of(&layer)).await,
    );
    assert_eq!(code, FailureCode::ImageTooLarge);
}
