//! Connections to servers: TCP without Nagle's algorithm, TLS if the address asks for it, and errors that name
//! the cause and the remedy.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore,
        SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    },
};
use tonic::{
    codegen::http::Uri,
    transport::{Channel, Endpoint},
};
use tower::service_fn;

use super::{
    ConnectError,
    address::{ServerAddress, ServerHost, TlsTerms},
};

/// The longest time until a connection stands, TLS included.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// The bytes that a server may send ahead on one call and on one connection. Calls share the connection, so that of the
/// connection has room for more calls than EventStoreDB takes, all of readers who do not read.
const WINDOWS: [u32; 2] = [512 * 1024, 64 * 1024 * 1024];

/// The way to connections with the servers of one address.
#[derive(Clone)]
pub(super) struct ServerConnector {
    tls: Option<TlsConnector>,
    keep_alive: [Duration; 2],
}

/// The reason why there is no connection, in words for an operator.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct ConnectFailure(String);

trait ServerStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ServerStream for T {}

impl ServerConnector {
    /// Reads the certificates that the address needs.
    pub(super) fn new(address: &ServerAddress) -> Result<Self, ConnectError> {
        let tls = address.tls.as_ref().map(tls_connector).transpose()?;
        Ok(Self { tls, keep_alive: [address.keep_alive_interval, address.keep_alive_timeout] })
    }

    /// Returns a channel that connects when it is first used, and again after each loss.
    pub(super) fn channel(&self, host: &ServerHost) -> Result<Channel, ConnectFailure> {
        let authority = host.authority();
        let invalid = |error: &dyn std::fmt::Display| ConnectFailure(format!("{authority}: {error}"));
        // The scheme that a request names must be that of the connection, or the server refuses it. The channel
        // itself must not know of TLS, because the connector does it.
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let origin: Uri = format!("{scheme}://{authority}").parse().map_err(|error| invalid(&error))?;
        let endpoint = Endpoint::from_shared(format!("http://{authority}"))
            .map_err(|error| invalid(&error))?
            .origin(origin)
            .initial_stream_window_size(WINDOWS[0])
            .initial_connection_window_size(WINDOWS[1])
            .http2_keep_alive_interval(self.keep_alive[0])
            .keep_alive_timeout(self.keep_alive[1]);
        let (connector, host) = (self.clone(), host.clone());
        Ok(endpoint.connect_with_connector_lazy(service_fn(move |_: Uri| {
            let (connector, host) = (connector.clone(), host.clone());
            async move {
                match timeout(CONNECT_DEADLINE, connector.connect(&host)).await {
                    Ok(connected) => connected.map(TokioIo::new),
                    Err(_) => Err(ConnectFailure(format!(
                        "{host} does not answer: no connection within {} s",
                        CONNECT_DEADLINE.as_secs()
                    ))),
                }
            }
        })))
    }

    async fn connect(&self, host: &ServerHost) -> Result<Box<dyn ServerStream>, ConnectFailure> {
        let stream = reach(host).await?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(host.host.clone()).map_err(|error| {
            ConnectFailure(format!("{host} cannot be the name in a certificate: {error}"))
        })?;
        let secured = tls.connect(name, stream).await.map_err(|error| tls_failure(host, &error))?;
        Ok(Box::new(secured))
    }
}

/// Connects over TCP. A call is two small writes, so the second must not wait until the first is acknowledged.
async fn reach(host: &ServerHost) -> Result<TcpStream, ConnectFailure> {
    let silent = |error: io::Error| ConnectFailure(format!("{host} does not answer: {error}"));
    let addresses = lookup_host((host.host.as_str(), host.port)).await.map_err(silent)?;
    let stream = connect_first(addresses).await.map_err(silent)?;
    stream
        .set_nodelay(true)
        .map_err(|error| ConnectFailure(format!("{host}: TCP_NODELAY cannot be set: {error}")))?;
    Ok(stream)
}

/// Connects to the addresses of one name at the same time, because a dead one among them may never answer. Returns the
/// first connection that stands.
async fn connect_first(addresses: impl Iterator<Item = SocketAddr>) -> io::Result<TcpStream> {
    let mut tries: FuturesUnordered<_> = addresses.map(TcpStream::connect).collect();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    while let Some(tried) = tries.next().await {
        match tried {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Returns the cause of a failed handshake, and what to do about it.
fn tls_failure(host: &ServerHost, error: &io::Error) -> ConnectFailure {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<TlsError>());
    let why = match cause {
        // The signature is bad if a known authority has the same name as the unknown one.
        Some(TlsError::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        )) => {
            "the server's certificate is of an unknown authority; name the authority's file with tlsCaFile= in the address"
                .to_owned()
        }
        Some(TlsError::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => "the server's certificate is for another name; write the address with a name that the certificate has".to_owned(),
        Some(TlsError::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => "the server's certificate has expired; renew it, or set this machine's clock".to_owned(),
        Some(error) => format!("TLS failed: {error}"),
        None => format!("TLS failed: {error}; if the server does not encrypt, write tls=false in the address"),
    };
    ConnectFailure(format!("{host}: {why}"))
}

fn tls_connector(terms: &TlsTerms) -> Result<TlsConnector, ConnectError> {
    // The provider is named, because the process-wide default is not ours to install.
    let provider = Arc::new(aws_lc_rs::default_provider());
    let unusable = |error: TlsError| ConnectError::Certificates(error.to_string());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let config = if terms.verify {
        config.with_root_certificates(authorities(terms)?)
    } else {
        config.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
    };
    let mut config = match &terms.client {
        Some((certificate, key)) => {
            let unreadable = |path: &std::path::Path, error: &dyn std::fmt::Display| {
                ConnectError::Certificates(format!("{} cannot be read: {error}", path.display()))
            };
            let chain = CertificateDer::pem_file_iter(certificate)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| unreadable(certificate, &error))?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, &error))?;
            config.with_client_auth_cert(chain, key).map_err(unusable)?
        }
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Returns the authorities that a server's certificate is checked against: those of the file, or the system's.
fn authorities(terms: &TlsTerms) -> Result<RootCertStore, ConnectError> {
    let mut roots = RootCertStore::empty();
    let Some(file) = &terms.authority else {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        let why = match found.errors.first() {
            Some(error) => format!("the system's certificates: {error}"),
            None => "the system has no certificates".to_owned(),
        };
        if roots.is_empty() {
            return Err(ConnectError::Certificates(format!(
                "{why}; install ca-certificates, or name a file with tlsCaFile="
            )));
        }
        if !found.errors.is_empty() {
            tracing::warn!("some authorities cannot be read and are left out: {why}");
        }
        return Ok(roots);
    };
    let path = file.display();
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates =
        read.map_err(|error| ConnectError::Certificates(format!("{path} cannot be read: {error}")))?;
    for certificate in certificates {
        roots
            .add(certificate)
            .map_err(|error| ConnectError::Certificates(format!("{path} cannot be read: {error}")))?;
    }
    if roots.is_empty() {
        return Err(ConnectError::Certificates(format!("{path} holds no certificate")));
    }
    Ok(roots)
}

/// Accepts every certificate, as `tlsVerifyCert=false` asks.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, future::pending};

    use tokio::net::{TcpListener, TcpSocket};

    use super::*;
    use crate::{
        SqliteStore, TlsFiles,
        node::{self, NodeConfig},
    };

    async fn failure(address: &str) -> String {
        let address = ServerAddress::parse(address).unwrap();
        let connected = ServerConnector::new(&address).unwrap().connect(&address.hosts[0]).await;
        connected.map(|_| ()).unwrap_err().to_string()
    }

    #[tokio::test]
    async fn a_connection_that_fails_names_the_cause_and_the_remedy() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = |name: &str| folder.path().join(name);
        let made = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let (ours, other) = (made("localhost"), made("localhost"));
        fs::write(file("node.crt"), ours.cert.pem()).unwrap();
        fs::write(file("node.key"), ours.signing_key.serialize_pem()).unwrap();
        fs::write(file("other.crt"), other.cert.pem()).unwrap();
        let tls = TlsFiles { certificate: file("node.crt"), key: file("node.key") };
        let log = SqliteStore::open(file("log.db")).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(node::serve(
            listener,
            log,
            NodeConfig { tls: Some(tls), ..NodeConfig::default() },
            pending(),
        ));
        let (own, other) = (file("node.crt").display().to_string(), file("other.crt").display().to_string());

        let why = failure(&format!("esdb://u:secret@localhost:{port}?tlsCaFile={other}")).await;
        assert!(why.contains("unknown authority") && why.contains("tlsCaFile="), "{why}");
        let why = failure(&format!("esdb://u:secret@127.0.0.1:{port}?tlsCaFile={own}")).await;
        assert!(why.contains("another name"), "{why}");
        let why = failure("esdb://u:secret@127.0.0.1:1?tls=false").await;
        assert!(why.starts_with("127.0.0.1:1 does not answer: ") && !why.contains("secret"), "{why}");
        for address in [
            format!("esdb://localhost:{port}?tlsCaFile={own}"),
            format!("esdb://127.0.0.1:{port}?tlsVerifyCert=false"),
        ] {
            let address = ServerAddress::parse(&address).unwrap();
            ServerConnector::new(&address).unwrap().connect(&address.hosts[0]).await.map(|_| ()).unwrap();
        }
    }

    #[tokio::test]
    async fn a_connection_sends_small_writes_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["127.0.0.1", "localhost"] {
            let stream = reach(&ServerHost { host: host.to_owned(), port }).await.unwrap();
            assert!(stream.nodelay().unwrap(), "{host}");
        }
    }

    #[tokio::test]
    async fn a_dead_address_of_a_name_hides_no_other() {
        let full = TcpSocket::new_v4().unwrap();
        full.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let full = full.listen(1).unwrap();
        let dead = full.local_addr().unwrap();
        // When its queue is full, the system answers no further connection.
        let mut waiting = Vec::new();
        while let Ok(stream) = timeout(Duration::from_millis(300), TcpStream::connect(dead)).await {
            waiting.push(stream.unwrap());
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let alive = listener.local_addr().unwrap();
        let reached = timeout(CONNECT_DEADLINE, connect_first([dead, alive].into_iter())).await;
        assert_eq!(reached.expect("in time").unwrap().peer_addr().unwrap(), alive);
    }
}
