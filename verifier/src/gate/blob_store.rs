//! The layers that were looked into, as files by their digests: a registry is asked for each once, and nodes get it from here.

use std::collections::HashMap;
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use domain::Digest;

/// The directory of finished blobs, each named by the hexadecimal digits of its SHA-256.
const FINISHED: &str = "sha256";

/// The directory of blobs that are being received. A process that was killed leaves some there.
const PARTIAL: &str = "partial";

/// The blobs on the disk, within a bound in bytes. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct BlobStore(Arc<StoreInner>);

#[derive(Debug)]
struct StoreInner {
    directory: PathBuf,
    bytes_max: u64,
    kept: Mutex<KeptBlobs>,
}

#[derive(Debug, Default)]
struct KeptBlobs {
    by_digest: HashMap<Digest, KeptBlob>,
    /// The number of attempts in hand that need a blob, which may not be here yet.
    holders: HashMap<Digest, usize>,
    /// The bytes of all blobs, and those that are set aside for blobs that are being received.
    bytes: u64,
    /// The number of uses and of drafts so far.
    uses: u64,
    drafts: u64,
}

#[derive(Debug)]
struct KeptBlob {
    size: u64,
    /// The number of the last use, which tells which blob was used last.
    used: u64,
}

/// A blob that is being received. It disappears unless it is kept.
#[derive(Debug)]
pub(super) struct BlobDraft {
    store: BlobStore,
    path: PathBuf,
    file: File,
    /// The bytes that are set aside for it.
    size: u64,
    written: u64,
    fault: Option<io::Error>,
}

/// The wish that a blob stays, until it is dropped.
#[derive(Debug)]
pub(crate) struct BlobHold {
    store: BlobStore,
    digest: Digest,
}

/// The reason why a blob is not kept. Never a participant's fault.
#[derive(Debug, thiserror::Error)]
pub(super) enum BlobStoreError {
    #[error(
        "{needed} bytes do not fit into the {bytes_max} bytes of the gate beside what attempts in hand need"
    )]
    Full { needed: u64, bytes_max: u64 },
    #[error("the gate cannot write to its disk: {0}")]
    Disk(#[from] io::Error),
}

impl BlobStore {
    /// Opens a directory, and finds the blobs that are there. The least recently used ones are removed if there are more than
    /// `bytes_max` bytes.
    ///
    /// # Errors
    /// If the directory cannot be created, read or cleaned.
    pub(crate) fn open(directory: &Path, bytes_max: u64) -> io::Result<Self> {
        let make = |path: &Path| DirBuilder::new().recursive(true).mode(0o700).create(path);
        let (finished, partial) = (directory.join(FINISHED), directory.join(PARTIAL));
        make(&finished)?;
        make(&partial)?;
        for left in std::fs::read_dir(&partial)? {
            std::fs::remove_file(left?.path())?;
        }
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&finished)? {
            let entry = entry?;
            let digest = entry.file_name().to_str().and_then(|hex| format!("sha256:{hex}").parse().ok());
            let (Some(digest), metadata) = (digest, entry.metadata()?) else { continue };
            found.push((metadata.modified()?, digest, metadata.len()));
        }
        found.sort_unstable_by_key(|(used, ..)| *used);
        let mut kept = KeptBlobs::default();
        for (_, digest, size) in found {
            kept.insert(digest, size);
        }
        let inner = StoreInner { directory: directory.to_owned(), bytes_max, kept: Mutex::new(kept) };
        let store = Self(Arc::new(inner));
        store.make_room(&mut store.kept(), 0);
        Ok(store)
    }

    /// Keeps a blob from being removed, now and when it comes.
    pub(crate) fn hold(&self, digest: &Digest) -> BlobHold {
        *self.kept().holders.entry(digest.clone()).or_default() += 1;
        BlobHold { store: self.clone(), digest: digest.clone() }
    }

    /// Returns true if the blob is here, and counts that as a use.
    pub(super) fn has(&self, digest: &Digest) -> bool {
        self.kept().touch(digest)
    }

    /// Opens a blob that is here, with its size.
    pub(super) fn read(&self, digest: &Digest) -> Option<(File, u64)> {
        if !self.has(digest) {
            return None;
        }
        let opened = File::open(self.path(digest)).and_then(|file| {
            // The order of use holds over a restart. It is no loss if the time cannot be written.
            let _ = file.set_modified(SystemTime::now());
            let size = file.metadata()?.len();
            Ok((file, size))
        });
        if let Err(error) = &opened {
            tracing::warn!(%error, "the blob {digest} of the gate cannot be read");
            // One that is gone is fetched again. Too few file descriptors are no fault of the blob.
            if error.kind() == io::ErrorKind::NotFound {
                self.remove(digest);
            }
        }
        opened.ok()
    }

    /// Removes a blob that is not as its digest says.
    pub(super) fn remove(&self, digest: &Digest) {
        self.delete(&mut self.kept(), digest);
    }

    /// Begins to receive a blob of this size. Removes the blobs that were used longest ago if there is no room.
    pub(super) fn begin(&self, size: u64) -> Result<BlobDraft, BlobStoreError> {
        let mut kept = self.kept();
        if !self.make_room(&mut kept, size) {
            return Err(BlobStoreError::Full { needed: size, bytes_max: self.0.bytes_max });
        }
        kept.drafts += 1;
        let path = self.0.directory.join(PARTIAL).join(kept.drafts.to_string());
        let file = File::options().create_new(true).write(true).open(&path)?;
        kept.bytes += size;
        Ok(BlobDraft { store: self.clone(), path, file, size, written: 0, fault: None })
    }

    /// Removes blobs until `size` more bytes fit. Returns false if they do not.
    fn make_room(&self, kept: &mut KeptBlobs, size: u64) -> bool {
        while kept.bytes.saturating_add(size) > self.0.bytes_max {
            let unused = kept.by_digest.iter().filter(|(digest, _)| !kept.holders.contains_key(*digest));
            let Some(oldest) = unused.min_by_key(|(_, blob)| blob.used).map(|(digest, _)| digest.clone())
            else {
                return false;
            };
            self.delete(kept, &oldest);
        }
        true
    }

    fn delete(&self, kept: &mut KeptBlobs, digest: &Digest) {
        let Some(blob) = kept.by_digest.remove(digest) else { return };
        kept.bytes -= blob.size;
        if let Err(error) = std::fs::remove_file(self.path(digest)) {
            tracing::warn!(%error, "the blob {digest} of the gate cannot be removed");
        }
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        let text = digest.to_string();
        self.0.directory.join(FINISHED).join(text.strip_prefix("sha256:").unwrap_or(&text))
    }

    fn kept(&self) -> MutexGuard<'_, KeptBlobs> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeptBlobs {
    fn touch(&mut self, digest: &Digest) -> bool {
        self.uses += 1;
        let used = self.uses;
        self.by_digest.get_mut(digest).map(|blob| blob.used = used).is_some()
    }

    fn insert(&mut self, digest: Digest, size: u64) {
        self.uses += 1;
        self.bytes += size;
        self.by_digest.insert(digest, KeptBlob { size, used: self.uses });
    }
}

impl BlobDraft {
    /// Writes the next bytes. A fault is told at the end. Bytes beyond the announced size are not written, because the image is
    /// refused for them.
    fn write(&mut self, bytes: &[u8]) {
        self.written = self.written.saturating_add(bytes.len() as u64);
        if self.fault.is_none() && self.written <= self.size {
            self.fault = self.file.write_all(bytes).err();
        }
    }

    /// Puts the blob in its place. The caller has checked its digest.
    pub(super) fn keep(mut self, digest: &Digest) -> Result<(), BlobStoreError> {
        if let Some(fault) = self.fault.take() {
            return Err(fault.into());
        }
        if self.written != self.size {
            return Err(io::Error::other("another number of bytes came than was announced").into());
        }
        let mut kept = self.store.kept();
        if !kept.by_digest.contains_key(digest) {
            std::fs::rename(&self.path, self.store.path(digest))?;
            kept.insert(digest.clone(), self.size);
        }
        Ok(())
    }
}

impl Drop for BlobDraft {
    fn drop(&mut self) {
        // A draft that was kept has another name by now.
        let _ = std::fs::remove_file(&self.path);
        self.store.kept().bytes -= self.size;
    }
}

impl Drop for BlobHold {
    fn drop(&mut self) {
        let mut kept = self.store.kept();
        if let Some(holders) = kept.holders.get_mut(&self.digest) {
            *holders -= 1;
            if *holders == 0 {
                kept.holders.remove(&self.digest);
            }
        }
    }
}

/// A reader that also writes all that it reads to a draft, if there is one.
pub(super) struct KeptReader<R> {
    inner: R,
    draft: Option<BlobDraft>,
}

impl<R> KeptReader<R> {
    pub(super) fn new(inner: R, draft: Option<BlobDraft>) -> Self {
        Self { inner, draft }
    }

    pub(super) fn into_draft(self) -> Option<BlobDraft> {
        self.draft
    }
}

impl<R: Read> Read for KeptReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if let Some(draft) = &mut self.draft {
            draft.write(&buffer[..read]);
        }
        Ok(read)
    }
}

#[cfg(test)]
impl BlobStore {
    /// Keeps these bytes.
    pub(super) fn put(&self, bytes: &[u8]) {
        use sha2::Digest as _;
        let mut draft = self.begin(bytes.len() as u64).unwrap();
        draft.write(bytes);
        draft.keep(&crate::registry::digest_of(&sha2::Sha256::digest(bytes))).unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::digest_of;

    fn digest(n: u8) -> Digest {
        digest_of(&[n; 32])
    }

    fn put(store: &BlobStore, n: u8, size: usize) -> Result<(), BlobStoreError> {
        let mut draft = store.begin(size as u64)?;
        draft.write(&vec![n; size]);
        draft.keep(&digest(n))
    }

    fn there(store: &BlobStore, numbers: &[u8]) -> Vec<bool> {
        numbers.iter().map(|n| store.kept().by_digest.contains_key(&digest(*n))).collect()
    }

    fn files(directory: &Path) -> usize {
        [FINISHED, PARTIAL].map(|name| std::fs::read_dir(directory.join(name)).unwrap().count()).iter().sum()
    }

    #[test]
    fn the_blob_that_was_used_longest_ago_goes_first_and_never_one_that_is_held() {
        let directory = tempfile::tempdir().unwrap();
        let store = BlobStore::open(directory.path(), 30).unwrap();
        let hold = store.hold(&digest(1));
        for n in 1..=3 {
            put(&store, n, 10).unwrap();
        }
        assert!(store.has(&digest(2)));
        put(&store, 4, 10).unwrap();
        assert_eq!(there(&store, &[1, 2, 3, 4]), [true, true, false, true]);
        put(&store, 5, 20).unwrap();
        assert_eq!(there(&store, &[1, 2, 4, 5]), [true, false, false, true]);
        assert!(matches!(put(&store, 6, 25), Err(BlobStoreError::Full { .. })));
        drop(hold);
        put(&store, 6, 25).unwrap();
        assert_eq!((files(directory.path()), store.kept().bytes), (1, 25));
    }

    #[test]
    fn what_is_being_received_counts_and_leaves_nothing_if_it_is_not_kept() {
        let directory = tempfile::tempdir().unwrap();
        let store = BlobStore::open(directory.path(), 30).unwrap();
        let draft = store.begin(20).unwrap();
        assert!(matches!(store.begin(11), Err(BlobStoreError::Full { .. })));
        drop(draft);
        let mut short = store.begin(20).unwrap();
        short.write(b"x");
        assert!(short.keep(&digest(1)).is_err());
        let mut long = store.begin(1).unwrap();
        long.write(&[0; 100]);
        assert!(long.keep(&digest(1)).is_err());
        assert_eq!((files(directory.path()), store.kept().bytes), (0, 0));
        // Two that receive the same blob keep it once.
        let drafts = [(); 2].map(|()| store.begin(3).unwrap());
        for mut draft in drafts {
            draft.write(b"abc");
            draft.keep(&digest(1)).unwrap();
        }
        assert_eq!((files(directory.path()), store.kept().bytes), (1, 3));
    }

    #[test]
    fn a_restart_finds_the_blobs_in_their_order_and_clears_the_rest_away() {
        let directory = tempfile::tempdir().unwrap();
        let store = BlobStore::open(directory.path(), 100).unwrap();
        for n in 1..=3 {
            put(&store, n, 10).unwrap();
            let age = std::time::Duration::from_secs(100 - u64::from(n));
            let file = File::options().write(true).open(store.path(&digest(n))).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        }
        assert!(store.read(&digest(1)).is_some());
        let draft = store.begin(50).unwrap();
        std::mem::forget((draft, store));

        let store = BlobStore::open(directory.path(), 20).unwrap();
        assert_eq!(there(&store, &[1, 2, 3]), [true, false, true]);
        assert_eq!((files(directory.path()), store.kept().bytes), (2, 20));
        // A blob that somebody removed is not here.
        std::fs::remove_file(store.path(&digest(1))).unwrap();
        assert!(store.read(&digest(1)).is_none() && !store.has(&digest(1)));
    }
}
