//! Mutual TLS with engines: the authority of the engines' certificates, and the certificate of this client.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// The names of the files, as Docker's own client has them.
const AUTHORITY: &str = "ca.pem";
const CERTIFICATE: &str = "cert.pem";
const KEY: &str = "key.pem";

/// A certificate or key file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {why}", .path.display())]
pub(crate) struct CertificatesError {
    path: PathBuf,
    why: String,
}

/// Returns settings that trust only engines whose certificates were signed by the authority in `directory`,
/// and that present the client certificate from the same directory.
///
/// Names the cryptography explicitly, because a library must not set the process-wide default.
pub(super) fn config(directory: &Path) -> Result<ClientConfig, CertificatesError> {
    let error = |name: &str, why: String| CertificatesError { path: directory.join(name), why };
    let certificates = |name: &str| {
        let found = CertificateDer::pem_file_iter(directory.join(name))
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|why| error(name, why.to_string()))?;
        if found.is_empty() {
            Err(error(name, "the file holds no certificate".to_owned()))
        } else {
            Ok(found)
        }
    };
    let mut authority = RootCertStore::empty();
    for certificate in certificates(AUTHORITY)? {
        authority.add(certificate).map_err(|why| error(AUTHORITY, why.to_string()))?;
    }
    let key = PrivateKeyDer::from_pem_file(directory.join(KEY)).map_err(|why| error(KEY, why.to_string()))?;
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|why| error(AUTHORITY, why.to_string()))?
        .with_root_certificates(authority)
        .with_client_auth_cert(certificates(CERTIFICATE)?, key)
        .map_err(|why| error(CERTIFICATE, why.to_string()))
}
