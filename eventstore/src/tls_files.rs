//! A server's certificate and key, as files, and the acceptor of TLS connections that they make.

use std::{path::PathBuf, sync::Arc};

use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

/// The files of a certificate chain and its private key, both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The path of the chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// The path of the private key.
    pub key: PathBuf,
}

/// The reason why a certificate or a key cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct TlsFilesError {
    /// The path of the certificate or of the key.
    pub path: PathBuf,
    /// The cause, as the TLS library reports it.
    pub why: String,
}

impl TlsFiles {
    /// Makes the acceptor of connections that speak these protocols, named as TLS negotiates them.
    ///
    /// It names its cryptography provider, because the process-wide default is not ours to install: clients of
    /// other protocols in this process insist on installing it.
    ///
    /// # Errors
    /// If a file cannot be read, or if the two do not fit each other.
    pub fn acceptor(&self, protocols: &[&str]) -> Result<TlsAcceptor, TlsFilesError> {
        let of_certificate = |why: String| TlsFilesError { path: self.certificate.clone(), why };
        let chain = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| of_certificate(error.to_string()))?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| TlsFilesError { path: self.key.clone(), why: error.to_string() })?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| of_certificate(error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| of_certificate(error.to_string()))?;
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}
