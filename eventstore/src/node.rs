//! The wire node: serves the embedded log in EventStoreDB's gRPC protocol, so that several processes, and
//! clients in any language, can use it. Calls that it does not support fail with `UNIMPLEMENTED`. The tests
//! compare its answers with those of a real server.
//!
//! ```text
//!   listener ──> http ──> auth ──> streams ──┬──> read, subscribe ──┬──> event_format, filter, convert, status
//!                                            └──> append, batch ────┘
//! ```

#![expect(clippy::result_large_err, reason = "it is the size of tonic's own error")]

mod append;
mod auth;
mod batch;
mod convert;
mod event_format;
mod features;
mod filter;
mod http;
mod listener;
#[cfg(feature = "testing")]
pub mod profiled;
pub(crate) mod proto;
mod read;
mod shared;
mod status;
mod streams;
mod subscribe;

pub use auth::NodeCredentials;

use std::{fmt, future::Future, net::SocketAddr, time::Duration};

use tokio::{net::TcpListener, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::{
    service::{Routes, interceptor::InterceptedService},
    transport::Server,
};

use self::{
    features::{GossipMember, SupportedFeatures},
    proto::{
        gossip::gossip_server::GossipServer, server_features::server_features_server::ServerFeaturesServer,
        streams::streams_server::StreamsServer,
    },
    shared::NodeContext,
};
use crate::{SqliteStore, TlsFiles, TlsFilesError};

/// The largest message, in bytes, as clients expect of an EventStoreDB.
const MAX_MESSAGE_BYTES: usize = 17 * 1024 * 1024;

/// The largest number of concurrent calls on one connection, subscriptions included.
const MAX_CALLS: u32 = 1024;

/// The interval of the pings to a silent client.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// The longest time that a client may take to answer a ping.
const PING_DEADLINE: Duration = Duration::from_secs(10);

/// The longest time that calls may take to finish when the node shuts down.
const GRACE: Duration = Duration::from_secs(5);

/// The settings of a node.
#[derive(Debug, Clone, Default)]
pub struct NodeConfig {
    /// The login that may read and write. Without it, any client may use the node.
    pub credentials: Option<NodeCredentials>,
    /// A second login, which may only read.
    pub reader: Option<NodeCredentials>,
    /// The node's certificate and key. Without them, the node does not encrypt.
    pub tls: Option<TlsFiles>,
    /// The host name or address that clients are told to connect to. Without it, they are told the
    /// address that the node listens on.
    pub advertise: Option<String>,
}

/// The reason why the node does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is no loopback address, and the node has no credentials or no TLS: any client that
    /// reaches the address could read and write the log.
    #[error("{0} can be reached from elsewhere: that needs a password and TLS")]
    Unprotected(SocketAddr),
    /// The certificate or the key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsFilesError),
    /// The listener has no address or failed to accept.
    #[error("the event log's node failed: {0}")]
    Listener(#[from] std::io::Error),
    /// The gRPC server failed.
    #[error("the event log's node failed: {0}")]
    Server(#[from] tonic::transport::Error),
}

/// Serves `store` on `listener` until `shutdown` completes. Subscriptions then end with an error, because
/// clients ignore a regular end.
///
/// # Errors
/// If the address is no loopback address and `config` has no credentials or no TLS, if the TLS files cannot
/// be used, or if the listener fails.
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
    let tls = config.tls.as_ref().map(|files| files.acceptor(&["h2", "http/1.1"])).transpose()?;
    let member = GossipMember {
        host: config.advertise.clone().unwrap_or_else(|| address.ip().to_string()),
        port: address.port(),
    };

    let stopping = CancellationToken::new();
    let _stop_when_dropped = stopping.clone().drop_guard();
    let node = StreamsServer::new(NodeContext { store, stopping: stopping.clone() })
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let interceptor = auth::interceptor(config.credentials, config.reader);
    let services = Routes::new(InterceptedService::new(node, interceptor))
        .add_service(ServerFeaturesServer::new(SupportedFeatures))
        .add_service(GossipServer::new(member));
    let served = Server::builder()
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .http2_keepalive_timeout(Some(PING_DEADLINE))
        .max_concurrent_streams(Some(MAX_CALLS))
        .initial_stream_window_size(Some(1024 * 1024))
        .initial_connection_window_size(Some(4 * 1024 * 1024))
        .accept_http1(true)
        .add_routes(http::with_plain_answers(services))
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
            tracing::warn!(
                grace_s = GRACE.as_secs(),
                "the event log's node cut off calls that did not finish in time"
            );
            Ok(())
        }
    }
}

impl fmt::Debug for NodeCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeCredentials").field("user", &self.user).finish_non_exhaustive()
    }
}
