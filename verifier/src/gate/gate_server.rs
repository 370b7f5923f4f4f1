//! The gate's settings, and its start: the socket, the certificate and the blobs that an earlier process left.

use std::net::SocketAddr;
use std::path::PathBuf;

use domain::{Challenge, ImageRef};
use event_store::TlsFiles;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::blob_store::BlobStore;
use super::image_room::SHARES;
use super::listener;
use super::served_images::ServedImages;

/// The settings of the gate that nodes pull images from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateSettings {
    /// The address that the gate listens on. Port 0 takes any free port.
    pub listen: SocketAddr,
    /// The `HOST:PORT` by which nodes reach the gate. `None` for the address that it listens on.
    pub address: Option<String>,
    /// The files of its certificate chain and of its private key, in PEM. `None` for plain HTTP.
    pub tls: Option<TlsFiles>,
    /// The directory of the layers that it keeps.
    pub directory: PathBuf,
    /// The bound of what it keeps, MiB.
    pub space_mib: u64,
}

/// The gate with its socket, before it serves.
pub(crate) struct GateServer {
    listener: std::net::TcpListener,
    tls: Option<TlsAcceptor>,
    images: ServedImages,
    address: String,
}

impl GateServer {
    /// Opens the gate's directory and its socket.
    ///
    /// # Errors
    /// The reason why a setting cannot be used.
    pub(crate) fn open(settings: &GateSettings, challenge: &Challenge) -> Result<Self, String> {
        let GateSettings { listen, address, tls, directory, space_mib } = settings;
        let (image_mib, images) = (challenge.limits.image_mib, SHARES.max(challenge.images.max as u64));
        if *space_mib < image_mib.saturating_mul(images) {
            // A submission whose images never have room together would never run.
            return Err(format!(
                "the gate may keep {space_mib} MiB, the challenge allows images of {image_mib} MiB, and {images} need room"
            ));
        }
        let unusable = |what: String, why: &dyn std::fmt::Display| format!("{what}: {why}");
        let listener = std::net::TcpListener::bind(listen)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(|error| unusable(format!("the gate cannot listen on {listen}"), &error))?;
        let own = listener.local_addr().map_err(|error| error.to_string())?;
        let address = address.clone().unwrap_or_else(|| own.to_string());
        if own.ip().is_unspecified() && settings.address.is_none() {
            return Err(format!("the gate listens on {own}, which is no address that nodes can reach it by"));
        }
        if !is_address(&address) {
            return Err(format!("engines cannot read the gate's address {address:?}: HOST:PORT is expected"));
        }
        let acceptor = |files: &TlsFiles| {
            files.acceptor(&["http/1.1"]).map_err(|error| format!("the gate's certificate and key: {error}"))
        };
        let tls = tls.as_ref().map(acceptor).transpose()?;
        let blobs = BlobStore::open(directory, space_mib << 20)
            .map_err(|error| unusable(format!("the gate's directory {}", directory.display()), &error))?;
        let images = ServedImages::new(&address, blobs);
        Ok(Self { listener, tls, images, address })
    }

    pub(crate) fn images(&self) -> ServedImages {
        self.images.clone()
    }

    /// Returns the `HOST:PORT` by which nodes reach the gate.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Returns the means to speak TLS with the gate's certificate.
    pub(super) fn tls(&self) -> Option<TlsAcceptor> {
        self.tls.clone()
    }

    /// Serves nodes until it is dropped.
    pub(crate) async fn serve(self) {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        match TcpListener::from_std(self.listener) {
            Ok(listener) => {
                tracing::info!("nodes get images at {scheme}://{}", self.address);
                listener::serve(listener, self.tls, self.images).await;
            }
            Err(error) => tracing::error!(%error, "the gate cannot serve, and no image arrives on a node"),
        }
    }
}

/// Returns true if engines read the address as the registry of an image's name.
fn is_address(address: &str) -> bool {
    let named = format!("{address}/muster/image").parse::<ImageRef>();
    address.contains(':') && named.is_ok_and(|image| image.registry() == address)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rcgen::generate_simple_self_signed;
    use reqwest::{Certificate, Client};

    use super::*;

    fn settings(directory: &Path) -> GateSettings {
        GateSettings {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            address: None,
            tls: None,
            directory: directory.to_owned(),
            space_mib: 3072,
        }
    }

    fn open(settings: &GateSettings) -> Result<GateServer, String> {
        GateServer::open(settings, &Challenge::birthday())
    }

    #[tokio::test]
    async fn a_client_that_trusts_the_certificate_is_served_over_tls() {
        let directory = tempfile::tempdir().unwrap();
        let made = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let files = TlsFiles {
            certificate: directory.path().join("cert.pem"),
            key: directory.path().join("key.pem"),
        };
        std::fs::write(&files.certificate, made.cert.pem()).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        let settings = GateSettings { tls: Some(files), ..settings(&directory.path().join("blobs")) };
        let gate = open(&settings).unwrap();
        let port = gate.listener.local_addr().unwrap().port();
        let serving = tokio::spawn(gate.serve());

        let authority = Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
        let knows = Client::builder().no_proxy().tls_certs_only([authority]).build().unwrap();
        let answer = knows.get(format!("https://localhost:{port}/v2/")).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let stranger = Client::builder().no_proxy().build().unwrap();
        assert!(stranger.get(format!("https://localhost:{port}/v2/")).send().await.is_err());
        assert!(stranger.get(format!("http://localhost:{port}/v2/")).send().await.is_err());
        serving.abort();
    }

    #[test]
    fn a_setting_that_cannot_be_used_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let usual = settings(directory.path());
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let tls = Some(TlsFiles { certificate: "/nowhere.pem".into(), key: "/nowhere.pem".into() });
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        for (wrong, words) in [
            (GateSettings { space_mib: 3071, ..usual.clone() }, "allows images of 1024 MiB, and 3 need room"),
            (GateSettings { address: Some("gate".into()), ..usual.clone() }, "HOST:PORT is expected"),
            (
                GateSettings { address: Some("Gate.lan:5443/x".into()), ..usual.clone() },
                "HOST:PORT is expected",
            ),
            (GateSettings { listen: taken.local_addr().unwrap(), ..usual.clone() }, "cannot listen on"),
            (GateSettings { tls, ..usual.clone() }, "/nowhere.pem"),
            (GateSettings { directory: file, ..usual.clone() }, "the gate's directory"),
        ] {
            let why = open(&wrong).err().unwrap();
            assert!(why.contains(words), "{why}");
        }
        assert!(open(&usual).unwrap().address.starts_with("127.0.0.1:"));
    }
}
