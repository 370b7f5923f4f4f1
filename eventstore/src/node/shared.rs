//! The parts of the node that all its calls share.

use std::pin::Pin;

use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::SqliteStore;

/// The state that a call works on.
#[derive(Clone)]
pub(super) struct NodeContext {
    pub(super) store: SqliteStore,
    /// Cancelled when the node shuts down.
    pub(super) stopping: CancellationToken,
}

/// The responses of a call, produced as fast as the client takes them.
pub(super) type ResponseStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
