//! The wire node: serves the embedded log in EventStoreDB's own gRPC
//! protocol, so that several processes, and any client in any language, can
//! use it. What it leaves out answers UNIMPLEMENTED.

#![expect(clippy::result_large_err, reason = "it is the size of tonic's own error")]

mod append;
mod auth;
mod batch;
mod convert;
mod features;
mod filter;
mod listener;
pub(crate) mod proto;
mod read;
mod status;
mod streams;
mod subscribe;

pub use auth::NodeCredentials;

use std::{fmt, future::Future, net::SocketAddr, path::PathBuf, time::Duration};

use tokio::{net::TcpListener, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::{service::interceptor::InterceptedService, transport::Server};

use self::{
    features::{About, Member},
    proto::{
        gossip::gossip_server::GossipServer, server_features::server_features_server::ServerFeaturesServer,
        streams::streams_server::StreamsServer,
    },
    streams::Node,
};
use crate::SqliteStore;

/// The largest message taken; what clients expect of a server.
const MAX_MESSAGE_BYTES: usize = 17 * 1024 * 1024;

/// The most calls at a time on one connection, subscriptions included.
const MAX_CALLS: u32 = 1024;

/// How often a silent client is asked whether it is there, and how long it
/// may take to say so.
const KEEP_ALIVE: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(10)];

/// How long calls may take to finish once the node shuts down.
const GRACE: Duration = Duration::from_secs(5);

/// How the node is reached, and by whom.
#[derive(Debug, Clone, Default)]
pub struct NodeConfig {
    /// Who may use it; everybody, when there are none.
    pub credentials: Option<NodeCredentials>,
    /// What it proves its name with; without, it speaks in the clear.
    pub tls: Option<TlsFiles>,
    /// The host name or address that clients are told to reach it by; that
    /// which it listens on, when not given.
    pub advertise: Option<String>,
}

/// The files of a certificate chain and its private key, both PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The chain, the node's own certificate first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Why the node does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Whoever reaches such an address could read and write everything.
    #[error("{0} can be reached from elsewhere: that needs a password and TLS")]
    Unprotected(SocketAddr),
    /// The certificate or the key is of no use.
    #[error("{}: {why}", path.display())]
    Tls {
        /// Which of the two files.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The listener failed.
    #[error("the event store cannot be served: {0}")]
    Listener(#[from] std::io::Error),
    /// The server failed.
    #[error("the event store cannot be served: {0}")]
    Server(#[from] tonic::transport::Error),
}

/// Serves `store` on `listener` until `shutdown` is done. Subscriptions then
/// end with an error, because clients take a regular end for one to ignore.
///
/// # Errors
/// When the address is no loopback and there is no password or no TLS, when
/// the TLS files are of no use, or when the listener fails.
pub async fn serve(
    listener: TcpListener,
    store: SqliteStore,
    config: NodeConfig,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() && (config.credentials.is_none() || config.tls.is_none()) {
        return Err(ServeError::Unprotected(address));
    }
    let tls = config.tls.as_ref().map(listener::acceptor).transpose()?;
    let member = Member {
        host: config.advertise.clone().unwrap_or_else(|| address.ip().to_string()),
        port: address.port(),
    };

    let stopping = CancellationToken::new();
    let _stop_when_dropped = stopping.clone().drop_guard();
    let node = StreamsServer::new(Node::new(store, stopping.clone()))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let served = Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE[0]))
        .http2_keepalive_timeout(Some(KEEP_ALIVE[1]))
        .max_concurrent_streams(Some(MAX_CALLS))
        .initial_stream_window_size(Some(1024 * 1024))
        .initial_connection_window_size(Some(4 * 1024 * 1024))
        .add_service(InterceptedService::new(node, auth::check(config.credentials)))
        .add_service(ServerFeaturesServer::new(About))
        .add_service(GossipServer::new(member))
        .serve_with_incoming_shutdown(
            listener::connections(listener, tls),
            stopping.clone().cancelled_owned(),
        );
    tokio::pin!(served);
    tokio::select! {
        result = &mut served => return Ok(result?),
        () = shutdown => stopping.cancel(),
    }
    match timeout(GRACE, served).await {
        Ok(result) => Ok(result?),
        Err(_) => {
            tracing::warn!(grace_s = GRACE.as_secs(), "calls were cut off, for they did not finish");
            Ok(())
        }
    }
}

impl fmt::Debug for NodeCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeCredentials").field("user", &self.user).finish_non_exhaustive()
    }
}
