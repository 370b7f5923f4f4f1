//! Looks at images in a scripted registry.

use std::collections::BTreeMap;

use domain::sandbox::FetchTarget;
use domain::submission::FailureCode;
use sha2::{Digest as _, Sha256};

use super::super::samples::ArchiveDraft;
use super::*;
use crate::fetching::FetchBoard;
use crate::registry::tests::{ScriptedRegistry, reply, scripted};
use crate::registry::{ImageDocuments, RegistryLogins};

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
        labels: Vec::new(),
        digest: sha(b"manifest"),
        size_bytes: layer.len() as u64,
        volumes: vec![],
        exposed_ports: vec![],
        working_dir: String::new(),
        layers: vec![ImageLayer { digest: sha(layer), size: layer.len() as u64 }],
        diff_ids: vec![sha(layer)],
        documents: ImageDocuments {
            manifest: (*b"{}").into(),
            config_digest: sha(b"config"),
            config: (*b"config").into(),
        },
    }
}

/// Returns the bytes of an image's layers, each once.
fn sizes_of(image: &ResolvedImage) -> u64 {
    let sizes: BTreeMap<String, u64> =
        image.layers.iter().map(|layer| (layer.digest.to_string(), layer.size)).collect();
    sizes.values().sum()
}

async fn look(
    gate: &LayerGate,
    registry: &ScriptedRegistry,
    image: &ResolvedImage,
) -> Result<(), LookupError> {
    look_holding(gate, registry, image).await.map(drop)
}

async fn look_holding(
    gate: &LayerGate,
    registry: &ScriptedRegistry,
    image: &ResolvedImage,
) -> Result<Option<ServedPass>, LookupError> {
    let client =
        RegistryClient::new([], RegistryLogins::default(), BTreeMap::new(), VerifierMetrics::default());
    let name = format!("{}/ada/app:v1", registry.address).parse().unwrap();
    let mut terms = LookTerms::of(&domain::Challenge::birthday());
    terms.limits.image_mib = 1;
    let room = gate.room_for(&[image]).await.map_err(LookupError::Platform)?.pop().flatten();
    let id = domain::SubmissionId(uuid::Uuid::nil());
    let way = FetchBoard::default().begin(id, &name, FetchTarget::Verifier, &image.layers);
    let looked = gate.look_into(&client, &way, &name, image, room, &terms).await;
    if looked.is_ok() {
        assert_eq!(way.bytes(), sizes_of(image));
    }
    looked
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
        (LayerGate::new(None, VerifierMetrics::default()), sending(layer.clone()), image_of(&layer));
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
    let (gate, registry) = (LayerGate::new(None, VerifierMetrics::default()), sending(layer.clone()));
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
    let (gate, registry) = (LayerGate::new(None, VerifierMetrics::default()), sending(layer.clone()));
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
    let (gate, registry) = (LayerGate::new(None, VerifierMetrics::default()), sending(layer.clone()));
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
    let gate = LayerGate::new(None, VerifierMetrics::default());
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
        look(&LayerGate::new(None, VerifierMetrics::default()), &sending(layer.clone()), &image_of(&layer))
            .await,
    );
    assert_eq!(code, FailureCode::ImageTooLarge);
}

/// Returns a gate that keeps layers in a directory, up to this number of bytes.
fn keeping(directory: &std::path::Path, bytes_max: u64) -> LayerGate {
    let blobs = BlobStore::open(directory, bytes_max).unwrap();
    LayerGate::new(Some(ServedImages::new("gate.lan:5000", blobs)), VerifierMetrics::default())
}

fn asked(registry: &ScriptedRegistry) -> usize {
    registry.asked.lock().unwrap().len()
}

#[tokio::test]
async fn a_layer_that_is_kept_is_not_fetched_again_also_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let layer = ArchiveDraft::new().file("app", b"x").end();
    let (registry, image) = (sending(layer.clone()), image_of(&layer));
    let gate = keeping(directory.path(), 1 << 20);
    let both = tokio::join!(look(&gate, &registry, &image), look(&gate, &registry, &image));
    assert_eq!((both, asked(&registry)), ((Ok(()), Ok(())), 1));
    drop(gate);

    let gate = keeping(directory.path(), 1 << 20);
    assert_eq!((look(&gate, &registry, &image).await, asked(&registry)), (Ok(()), 1));
    drop(gate);

    // A kept layer that is damaged is fetched again, and blamed on nobody.
    let kept = || {
        let mut files = std::fs::read_dir(directory.path().join("sha256")).unwrap();
        files.next().unwrap().unwrap().path()
    };
    std::fs::write(kept(), ArchiveDraft::new().fifo("etc/passwd").end()).unwrap();
    let gate = keeping(directory.path(), 1 << 20);
    assert_eq!((look(&gate, &registry, &image).await, asked(&registry)), (Ok(()), 2));
    assert_eq!(std::fs::read(kept()).unwrap(), layer);
}

#[tokio::test]
async fn a_layer_whose_bytes_went_is_fetched_again_and_one_in_hand_stays() {
    let directory = tempfile::tempdir().unwrap();
    let layers = [b"a", b"b", b"c"].map(|content| ArchiveDraft::new().file("app", content).end());
    let registries = layers.each_ref().map(|layer| sending(layer.clone()));
    let images = layers.each_ref().map(|layer| image_of(layer));
    // Two of the three have room.
    let gate = keeping(directory.path(), 2 * layers[0].len() as u64);
    let passes = [0, 1].map(|n| look_holding(&gate, &registries[n], &images[n]));
    let mut passes = futures::future::try_join_all(passes).await.unwrap();
    let third = look(&gate, &registries[2], &images[2]);
    let mut third = std::pin::pin!(third);
    let early = timeout(Duration::from_millis(100), &mut third).await;
    assert!(early.is_err() && asked(&registries[2]) == 0, "it waits for room");
    passes.pop();
    assert_eq!(third.await, Ok(()));
    // The first is in hand, and the second went.
    for n in [0, 1] {
        assert_eq!(look(&gate, &registries[n], &images[n]).await, Ok(()));
    }
    assert_eq!(registries.each_ref().map(asked), [1, 2, 1]);
}

#[tokio::test]
async fn what_is_refused_or_forged_is_not_kept() {
    let directory = tempfile::tempdir().unwrap();
    let gate = keeping(directory.path(), 1 << 20);
    let broken = b"no archive ".repeat(100);
    failure(look(&gate, &sending(broken.clone()), &image_of(&broken)).await);
    let layer = ArchiveDraft::new().end();
    fault(look(&gate, &sending(ArchiveDraft::new().file("x", b"x").end()), &image_of(&layer)).await);
    let mut said_to_be_small = image_of(&layer);
    said_to_be_small.layers[0].size = 1;
    let registry = sending(layer);
    for _ in 0..2 {
        failure(look(&gate, &registry, &said_to_be_small).await);
    }
    assert_eq!(asked(&registry), 1);
    for place in ["sha256", "partial"] {
        assert_eq!(std::fs::read_dir(directory.path().join(place)).unwrap().count(), 0, "{place}");
    }
}
