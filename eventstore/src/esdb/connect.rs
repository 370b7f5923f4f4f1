//! The client's settings, and checks before it starts: each case in which the client would panic becomes a
//! [`ConnectError`].

use std::time::Duration;

use ::esdb::{Client, ClientSettings, Credentials, Error};
use percent_encoding::percent_decode_str;
use tokio::{sync::Mutex, time::timeout};
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};

/// The client's pause before each connect, in milliseconds. Its default of half a second would delay the
/// first call.
const DISCOVERY_INTERVAL: &str = "discoveryInterval=20";

/// An empty list of certificates, for connections without TLS. The client would read the system's
/// certificates all the same, and panic if they are invalid.
const NO_CERTIFICATES: &str = "tlsCaFile=/dev/null";

/// An address at which a client starts and gives up without a connection.
const NOWHERE: &str =
    "esdb://localhost:1?tls=false&maxDiscoverAttempts=1&discoveryInterval=0&tlsCaFile=/dev/null";

/// The longest time that the client may take to start.
const START_DEADLINE: Duration = Duration::from_secs(10);

/// True if the client has installed this process's default cryptography.
static CHOSEN: Mutex<bool> = Mutex::const_new(false);

/// The reason why a store cannot be connected to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The address is not the address of an EventStoreDB. The error does not show it, because it may contain
    /// a password.
    #[error("the event store's address is malformed: {0}")]
    Address(String),
    /// The certificates that the server's certificate is checked against cannot be read.
    #[error("{0}; install ca-certificates, or name a file with tlsCaFile=")]
    Certificates(String),
    /// Another library installed this process's default cryptography before the client did.
    #[error(
        "another library chose this process's TLS cryptography first; connect to EventStoreDB before using it"
    )]
    Cryptography,
    /// The client does not start.
    #[error("the EventStoreDB client does not start: {0}")]
    Client(String),
}

pub(super) fn settings(address: &str) -> Result<ClientSettings, ConnectError> {
    let asked = parse(address)?;
    let mut address = address.to_owned();
    let mut add = |parameter: &str| {
        address.push(if address.contains('?') { '&' } else { '?' });
        address.push_str(parameter);
    };
    add(DISCOVERY_INTERVAL);
    match (asked.is_secure_mode_enabled(), asked.tls_ca_file()) {
        (false, _) => add(NO_CERTIFICATES),
        (true, Some(file)) => check_file(file)?,
        (true, None) => check_system()?,
    }
    parse(&address)
}

/// Returns the user and the password of the address, percent-decoded. The client would send them undecoded.
pub(super) fn credentials(address: &str) -> Option<Credentials> {
    let (_, hosts) = address.split_once("://")?;
    let (user, _) = hosts.split(['/', '?']).next()?.rsplit_once('@')?;
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    Some(Credentials::new(decoded(user), decoded(password)))
}

/// Lets the client install the process's default cryptography, which it does when it first starts. The client
/// panics if another library was faster.
pub(super) async fn install_cryptography() -> Result<(), ConnectError> {
    let mut chosen = CHOSEN.lock().await;
    if *chosen {
        return Ok(());
    }
    let client = Client::new(parse(NOWHERE)?).map_err(|error| ConnectError::Client(error.to_string()))?;
    match timeout(START_DEADLINE, client.server_info()).await {
        // The client answers this if it panicked.
        Ok(Err(Error::ConnectionClosed)) => Err(ConnectError::Cryptography),
        Ok(_) => {
            *chosen = true;
            Ok(())
        }
        Err(_) => Err(ConnectError::Client(format!("it took longer than {} s", START_DEADLINE.as_secs()))),
    }
}

fn parse(address: &str) -> Result<ClientSettings, ConnectError> {
    address.parse::<ClientSettings>().map_err(|error| {
        let why = match error.error() {
            Some(why) => why.to_string(),
            None if error.message().contains(address) => "it cannot be read".to_owned(),
            None => error.message().to_owned(),
        };
        ConnectError::Address(why)
    })
}

fn check_file(file: &str) -> Result<(), ConnectError> {
    let certificates = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(()),
        Ok(_) => Err(ConnectError::Certificates(format!("{file} holds no certificate"))),
        Err(error) => Err(ConnectError::Certificates(format!("{file} cannot be read: {error}"))),
    }
}

fn check_system() -> Result<(), ConnectError> {
    let found = rustls_native_certs::load_native_certs();
    match found.errors.first() {
        Some(error) => Err(ConnectError::Certificates(format!("the system's certificates: {error}"))),
        None if found.certs.is_empty() => {
            Err(ConnectError::Certificates("the system has no certificates".to_owned()))
        }
        None => Ok(()),
    }
}
