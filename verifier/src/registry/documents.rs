//! The manifests and configurations that registries sent, by repository and digest. They never change, and some registries
//! count each request for one.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use domain::Digest;

/// The memory for all documents. One has a few kilobytes.
const BYTES_MAX: usize = 32 << 20;

/// The documents that are remembered, within a bound in memory.
#[derive(Debug, Default)]
pub(super) struct DocumentMemory(Mutex<RememberedDocuments>);

#[derive(Debug, Default)]
struct RememberedDocuments {
    by_repository: HashMap<String, HashMap<Digest, Arc<[u8]>>>,
    /// The documents, the oldest first.
    order: VecDeque<(String, Digest)>,
    bytes: usize,
}

impl DocumentMemory {
    /// Returns true if a document of the repository is remembered.
    pub(super) fn knows(&self, repository: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).by_repository.contains_key(repository)
    }

    pub(super) fn recall(&self, repository: &str, digest: &Digest) -> Option<Arc<[u8]>> {
        let documents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        documents.by_repository.get(repository)?.get(digest).cloned()
    }

    /// Remembers a document whose digest was verified, and forgets the oldest ones if there is no room.
    pub(super) fn remember(&self, repository: &str, digest: &Digest, body: &[u8]) {
        let mut documents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = documents.by_repository.entry(repository.to_owned()).or_default();
        if known.insert(digest.clone(), body.into()).is_some() {
            return;
        }
        documents.bytes += body.len();
        documents.order.push_back((repository.to_owned(), digest.clone()));
        while documents.bytes > BYTES_MAX {
            let Some((repository, digest)) = documents.order.pop_front() else { break };
            let Some(known) = documents.by_repository.get_mut(&repository) else { continue };
            let freed = known.remove(&digest).map_or(0, |body| body.len());
            if known.is_empty() {
                documents.by_repository.remove(&repository);
            }
            documents.bytes -= freed;
        }
    }
}
