//! Requests of nodes, and of clients that are none.

use domain::ImageRef;
use reqwest::header::HeaderMap;
use reqwest::{Client, Method as ClientMethod, Response as ClientResponse};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::super::blob_store::BlobStore;
use super::super::served_images::{ImageSource, ServedPass};
use super::*;
use crate::registry::{ImageDocuments, ImageLayer, ResolvedImage, digest_of};

const LAYER: &[u8] = b"0123456789";

/// A gate that serves one image.
struct GateScene {
    base: String,
    digest: Digest,
    config: Digest,
    pass: Option<ServedPass>,
    images: ServedImages,
    serving: JoinHandle<()>,
    _directory: tempfile::TempDir,
}

fn sha(bytes: &[u8]) -> Digest {
    digest_of(&Sha256::digest(bytes))
}

async fn scene() -> GateScene {
    let directory = tempfile::tempdir().unwrap();
    let blobs = BlobStore::open(directory.path(), 1 << 20).unwrap();
    for bytes in [LAYER, b"secret"] {
        blobs.put(bytes);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let images = ServedImages::new(&address, blobs);
    let serving = tokio::spawn(serve(listener, None, images.clone()));
    let manifest = json!({ "schemaVersion": 2, "mediaType": DOCKER_MANIFEST }).to_string();
    let (digest, config) = (sha(manifest.as_bytes()), sha(b"{}"));
    let resolved = ResolvedImage {
        labels: Vec::new(),
        digest: digest.clone(),
        size_bytes: 0,
        volumes: vec![],
        exposed_ports: vec![],
        working_dir: String::new(),
        layers: vec![ImageLayer { digest: sha(LAYER), size: LAYER.len() as u64 }],
        diff_ids: vec![],
        documents: ImageDocuments {
            manifest: manifest.into_bytes().into(),
            config_digest: config.clone(),
            config: (*b"{}").into(),
        },
    };
    let image: ImageRef = "r.lan:5000/ada/app".parse().unwrap();
    let name = ImageSource::Gate(address.clone()).name(&image, &digest);
    let repository = name.strip_prefix(&format!("{address}/")).and_then(|rest| rest.split('@').next());
    let base = format!("http://{address}/v2/{}", repository.unwrap());
    let pass = Some(images.admit(&image, &resolved, images.hold(&resolved), None));
    GateScene { base, digest, config, pass, images, serving, _directory: directory }
}

impl GateScene {
    async fn ask(&self, method: ClientMethod, path: &str, range: &str) -> ClientResponse {
        let mut request = Client::builder().no_proxy().build().unwrap().request(method, self.url(path));
        if !range.is_empty() {
            request = request.header("range", range);
        }
        request.send().await.unwrap()
    }

    async fn get(&self, path: &str) -> (u16, HeaderMap, String) {
        let answer = self.ask(ClientMethod::GET, path, "").await;
        (answer.status().as_u16(), answer.headers().clone(), answer.text().await.unwrap())
    }

    fn url(&self, path: &str) -> String {
        match path.strip_prefix('/') {
            Some(path) => format!("{}{path}", self.base.split("v2").next().unwrap()),
            None => format!("{}/{path}", self.base),
        }
    }
}

#[tokio::test]
async fn an_image_that_passed_the_look_is_served_as_a_registry_does() {
    let gate = scene().await;
    let (status, headers, _) = gate.get("/v2/").await;
    assert_eq!(
        (status, &headers["docker-distribution-api-version"]),
        (200, &"registry/2.0".parse().unwrap())
    );
    let (status, headers, body) = gate.get(&format!("manifests/{}", gate.digest)).await;
    assert_eq!((status, headers["content-type"].to_str().unwrap()), (200, DOCKER_MANIFEST));
    assert_eq!(headers["docker-content-digest"].to_str().unwrap(), gate.digest.to_string());
    assert_eq!(sha(body.as_bytes()), gate.digest);
    assert_eq!(gate.get(&format!("blobs/{}", gate.config)).await.2, "{}");
    let layer = format!("blobs/{}", sha(LAYER));
    assert_eq!(gate.get(&layer).await.2.as_bytes(), LAYER);
    for path in [&layer, &format!("manifests/{}", gate.digest)] {
        let head = gate.ask(ClientMethod::HEAD, path, "").await;
        let length = head.headers()["content-length"].to_str().unwrap().to_owned();
        assert_eq!((head.status().as_u16(), length), (200, gate.get(path).await.2.len().to_string()));
    }
    assert_eq!(media_type(b"{}"), OCI_MANIFEST);
}

#[tokio::test]
async fn a_part_of_a_layer_is_served() {
    let gate = scene().await;
    let layer = format!("blobs/{}", sha(LAYER));
    for (range, status, body, told) in [
        ("bytes=3-5", 206, "345", "bytes 3-5/10"),
        ("bytes=7-", 206, "789", "bytes 7-9/10"),
        ("bytes=-2", 206, "89", "bytes 8-9/10"),
        ("bytes=8-99", 206, "89", "bytes 8-9/10"),
        ("bytes=0-", 200, "0123456789", ""),
        ("bytes=1-2,4-5", 200, "0123456789", ""),
        ("lines=1-2", 200, "0123456789", ""),
        ("bytes=10-", 416, "", "bytes */10"),
        ("bytes=-0", 416, "", "bytes */10"),
    ] {
        let answer = gate.ask(ClientMethod::GET, &layer, range).await;
        let header = answer.headers().get("content-range").map(|told| told.to_str().unwrap().to_owned());
        assert_eq!(
            (answer.status().as_u16(), header.unwrap_or_default().as_str()),
            (status, told),
            "{range}"
        );
        let text = answer.text().await.unwrap();
        assert!(status == 416 || text == body, "{range}: {text}");
    }
}

#[tokio::test]
async fn everything_else_is_refused_with_the_error_of_a_registry() {
    let mut gate = scene().await;
    let other = gate.base.replace("/ada/", "/bob/");
    let other = other.split("/v2/").last().unwrap().to_owned();
    let (manifest, layer) = (format!("manifests/{}", gate.digest), format!("blobs/{}", sha(LAYER)));
    let unknown = [
        ("manifests/latest".to_owned(), "MANIFEST_UNKNOWN"),
        (format!("manifests/{}", sha(b"x")), "MANIFEST_UNKNOWN"),
        (format!("/v2/{other}/{manifest}"), "MANIFEST_UNKNOWN"),
        (format!("/v2/{other}/{layer}"), "BLOB_UNKNOWN"),
        // The gate has these bytes, and no image with them.
        (format!("blobs/{}", sha(b"secret")), "BLOB_UNKNOWN"),
        (format!("blobs/{}", gate.digest), "BLOB_UNKNOWN"),
        ("blobs/../../etc/passwd".to_owned(), "UNSUPPORTED"),
        ("tags/list".to_owned(), "UNSUPPORTED"),
        ("/v2/_catalog".to_owned(), "UNSUPPORTED"),
        ("/".to_owned(), "UNSUPPORTED"),
    ];
    for (path, code) in unknown {
        let (status, _, body) = gate.get(&path).await;
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, body["errors"][0]["code"].as_str()), (404, Some(code)), "{path}");
    }
    for method in [ClientMethod::PUT, ClientMethod::POST, ClientMethod::DELETE, ClientMethod::PATCH] {
        let answer = gate.ask(method.clone(), &layer, "").await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["allow"]),
            (405, &"GET, HEAD".parse().unwrap())
        );
    }
    // After the attempts that needed it, nobody gets the image.
    gate.pass = None;
    for path in [&manifest, &layer, &format!("blobs/{}", gate.config)] {
        assert_eq!(gate.get(path).await.0, 404, "{path}");
    }
    assert!(gate.images.manifest("r.lan_5000/ada/app", &gate.digest).is_none());
}

#[tokio::test]
async fn one_node_cannot_take_every_connection_and_all_end_with_the_gate() {
    let gate = scene().await;
    let address = gate.base.split('/').nth(2).unwrap().to_owned();
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS_BY_NODE {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: gate\r\n\r\n").await.unwrap();
        let mut answer = [0; 15];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        open.push(stream);
    }
    let mut one_more = TcpStream::connect(&address).await.unwrap();
    assert!(!matches!(one_more.read(&mut [0; 8]).await, Ok(1..)), "it is closed");
    open.pop();
    let again = async {
        while Client::builder().no_proxy().build().unwrap().get(gate.url("/v2/")).send().await.is_err() {}
    };
    timeout(Duration::from_secs(20), again).await.expect("a place that became free is given");
    gate.serving.abort();
    let mut rest = Vec::new();
    let ended = open[0].read_to_end(&mut rest);
    let _ = timeout(Duration::from_secs(20), ended).await.expect("the connection ends");
}
