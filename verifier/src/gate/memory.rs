//! What is remembered about layers, by their digests. Most images share their lower layers with others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::Digest;

use super::LayerFlaw;
use super::layer_tree::LayerTree;

/// A layer that was read, and is as its digest says.
#[derive(Debug, Clone)]
pub(super) struct KnownLayer {
    /// The size of the compressed stream, bytes.
    pub(super) size: u64,
    pub(super) content: Result<KnownContent, LayerFlaw>,
}

#[derive(Debug, Clone)]
pub(super) struct KnownContent {
    pub(super) tree: Arc<LayerTree>,
    /// The digest and the size of the archive.
    pub(super) diff_id: Digest,
    pub(super) unpacked: u64,
    pub(super) entries: u64,
}

/// The layers that are remembered, within a bound in memory.
#[derive(Debug)]
pub(super) struct LayerMemory {
    weight_max: usize,
    known: Mutex<RememberedLayers>,
}

#[derive(Debug, Default)]
struct RememberedLayers {
    by_digest: HashMap<Digest, (KnownLayer, u64)>,
    weight: usize,
    /// The number of uses so far, which tells which layer was used last.
    uses: u64,
}

impl KnownLayer {
    fn weight(&self) -> usize {
        self.content.as_ref().map_or(1024, |content| content.tree.weight())
    }
}

impl LayerMemory {
    pub(super) fn new(weight_max: usize) -> Self {
        Self { weight_max, known: Mutex::default() }
    }

    pub(super) fn recall(&self, digest: &Digest) -> Option<KnownLayer> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.uses += 1;
        let uses = known.uses;
        let (layer, used) = known.by_digest.get_mut(digest)?;
        *used = uses;
        Some(layer.clone())
    }

    /// Remembers a layer, and forgets those that were used longest ago if there is no room.
    pub(super) fn remember(&self, digest: Digest, layer: KnownLayer) {
        let weight = layer.weight();
        if weight > self.weight_max {
            return;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.forget(&digest);
        while known.weight + weight > self.weight_max {
            let oldest = known.by_digest.iter().min_by_key(|(_, (_, used))| *used);
            let Some(oldest) = oldest.map(|(digest, _)| digest.clone()) else { break };
            known.forget(&oldest);
        }
        known.uses += 1;
        known.weight += weight;
        let used = known.uses;
        known.by_digest.insert(digest, (layer, used));
    }
}

impl RememberedLayers {
    fn forget(&mut self, digest: &Digest) {
        if let Some((layer, _)) = self.by_digest.remove(digest) {
            self.weight -= layer.weight();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layer_that_was_used_longest_ago_is_forgotten_first() {
        let memory = LayerMemory::new(2 * 1024);
        let digest = |n: u8| -> Digest { format!("sha256:{n:064x}").parse().unwrap() };
        let broken = KnownLayer { size: 1, content: Err(LayerFlaw::Broken("x".into())) };
        memory.remember(digest(1), broken.clone());
        memory.remember(digest(2), broken.clone());
        assert!(memory.recall(&digest(1)).is_some());
        memory.remember(digest(3), broken.clone());
        memory.remember(digest(3), broken);
        let known = [1, 2, 3].map(|n| memory.recall(&digest(n)).is_some());
        assert_eq!(known, [true, false, true]);
    }
}
