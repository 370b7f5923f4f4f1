//! The layers that were looked into, as files by their digests: a registry is asked for each once, and nodes get it from here.

use std::collections::HashMap;
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use domain::Digest;

/// The directory of finished blobs, each named by the hexadecimal digits of its SHA-256 and the number of its file.
const FINISHED: &str = "sha256";

/// The directory of blobs that are being received. A process that was killed leaves some there.
const PARTIAL: &str = "partial";

/// The blobs on the disk, within a bound in bytes. Clones share them. Methods that say so wait for the disk, so they belong on a
/// thread that may block. None of them does so while it holds the lock.
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
    /// The number of uses and of files so far.
    uses: u64,
    files: u64,
}

#[derive(Debug)]
struct KeptBlob {
    size: u64,
    /// The number of the last use, which tells which blob was used last.
    used: u64,
    /// The number of its file. A blob that is removed and comes again has another file, which the removal does not meet.
    file: u64,
}

/// A blob that is being received. It disappears unless it is kept.
#[derive(Debug)]
pub(super) struct BlobDraft {
    store: BlobStore,
    number: u64,
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
    /// `bytes_max` bytes. Waits for the disk.
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
            let (name, metadata) = (entry.file_name(), entry.metadata()?);
            let Some((digest, file)) = name.to_str().and_then(blob_of) else { continue };
            found.push((metadata.modified()?, digest, file, metadata.len()));
        }
        found.sort_unstable_by_key(|(used, ..)| *used);
        let mut kept = KeptBlobs::default();
        let mut twice = Vec::new();
        for (_, digest, file, size) in found {
            kept.files = kept.files.max(file);
            // The process was killed between the removal of one file and the arrival of the next.
            twice.extend(kept.remove(&digest).map(|earlier| (digest.clone(), earlier.file)));
            kept.insert(digest, size, file);
        }
        let inner = StoreInner { directory: directory.to_owned(), bytes_max, kept: Mutex::new(kept) };
        let store = Self(Arc::new(inner));
        twice.extend(store.kept().make_room(0, bytes_max).unwrap_or_default());
        store.remove_files(&twice);
        Ok(store)
    }

    /// Returns the bound in bytes.
    pub(super) fn bytes_max(&self) -> u64 {
        self.0.bytes_max
    }

    /// Keeps a blob from being removed, now and when it comes.
    pub(crate) fn hold(&self, digest: &Digest) -> BlobHold {
        *self.kept().holders.entry(digest.clone()).or_default() += 1;
        BlobHold { store: self.clone(), digest: digest.clone() }
    }

    /// Returns true if the blob is here, and counts that as a use.
    pub(super) fn has(&self, digest: &Digest) -> bool {
        self.kept().touch(digest).is_some()
    }

    /// Opens a blob that is here, with its size. Waits for the disk.
    pub(super) fn read(&self, digest: &Digest) -> Option<(File, u64)> {
        let number = self.kept().touch(digest)?;
        let opened = File::open(self.finished(digest, number)).and_then(|file| {
            // The order of use holds over a restart. It is no loss if the time cannot be written.
            let _ = file.set_modified(SystemTime::now());
            let size = file.metadata()?.len();
            Ok((file, size))
        });
        if let Err(error) = &opened {
            tracing::warn!(%error, "the blob {digest} of the gate cannot be read");
            // One that is gone is fetched again. Too few file descriptors are no fault of the blob.
            if error.kind() == io::ErrorKind::NotFound {
                let mut kept = self.kept();
                if kept.by_digest.get(digest).is_some_and(|blob| blob.file == number) {
                    kept.remove(digest);
                }
            }
        }
        opened.ok()
    }

    /// Removes a blob that is not as its digest says. Waits for the disk.
    pub(super) fn remove(&self, digest: &Digest) {
        let removed = self.kept().remove(digest);
        if let Some(blob) = removed {
            self.remove_files(&[(digest.clone(), blob.file)]);
        }
    }

    /// Begins to receive a blob of this size. Removes the blobs that were used longest ago if there is no room, and none if that
    /// would not make enough. Waits for the disk.
    pub(super) fn begin(&self, size: u64) -> Result<BlobDraft, BlobStoreError> {
        let (removed, number) = {
            let mut kept = self.kept();
            let full = BlobStoreError::Full { needed: size, bytes_max: self.0.bytes_max };
            let removed = kept.make_room(size, self.0.bytes_max).ok_or(full)?;
            kept.bytes += size;
            kept.files += 1;
            (removed, kept.files)
        };
        self.remove_files(&removed);
        let opened = File::options().create_new(true).write(true).open(self.partial(number));
        let file = opened.inspect_err(|_| self.kept().bytes -= size)?;
        Ok(BlobDraft { store: self.clone(), number, file, size, written: 0, fault: None })
    }

    fn remove_files(&self, blobs: &[(Digest, u64)]) {
        for (digest, number) in blobs {
            if let Err(error) = std::fs::remove_file(self.finished(digest, *number)) {
                tracing::warn!(%error, "the blob {digest} of the gate cannot be removed");
            }
        }
    }

    fn finished(&self, digest: &Digest, number: u64) -> PathBuf {
        let text = digest.to_string();
        let hex = text.strip_prefix("sha256:").unwrap_or(&text);
        let name = if number == 0 { hex.to_owned() } else { format!("{hex}.{number}") };
        self.0.directory.join(FINISHED).join(name)
    }

    fn partial(&self, number: u64) -> PathBuf {
        self.0.directory.join(PARTIAL).join(number.to_string())
    }

    fn kept(&self) -> MutexGuard<'_, KeptBlobs> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the digest and the number of a blob's file. Files of earlier versions have no number.
fn blob_of(name: &str) -> Option<(Digest, u64)> {
    let (hex, number) = name.split_once('.').unwrap_or((name, "0"));
    Some((format!("sha256:{hex}").parse().ok()?, number.parse().ok()?))
}

impl KeptBlobs {
    /// Counts a use of a blob that is here, and returns the number of its file.
    fn touch(&mut self, digest: &Digest) -> Option<u64> {
        self.uses += 1;
        let blob = self.by_digest.get_mut(digest)?;
        blob.used = self.uses;
        Some(blob.file)
    }

    fn insert(&mut self, digest: Digest, size: u64, file: u64) {
        self.uses += 1;
        self.bytes += size;
        self.by_digest.insert(digest, KeptBlob { size, used: self.uses, file });
    }

    fn remove(&mut self, digest: &Digest) -> Option<KeptBlob> {
        let blob = self.by_digest.remove(digest)?;
        self.bytes -= blob.size;
        Some(blob)
    }

    /// Takes blobs out until `size` more bytes fit, and returns their files. Returns `None`, and takes none out, if they would not
    /// fit without all blobs that nobody holds.
    fn make_room(&mut self, size: u64, bytes_max: u64) -> Option<Vec<(Digest, u64)>> {
        let excess = self.bytes.saturating_add(size).saturating_sub(bytes_max);
        if excess == 0 {
            return Some(Vec::new());
        }
        let unused = self.by_digest.iter().filter(|(digest, _)| !self.holders.contains_key(*digest));
        let mut unused: Vec<_> =
            unused.map(|(digest, blob)| (blob.used, blob.size, digest.clone())).collect();
        unused.sort_unstable_by_key(|(used, ..)| *used);
        let (mut gained, mut chosen) = (0_u64, Vec::new());
        for (_, size, digest) in unused {
            if gained >= excess {
                break;
            }
            gained += size;
            chosen.push(digest);
        }
        if gained < excess {
            return None;
        }
        Some(
            chosen
                .into_iter()
                .filter_map(|digest| Some((digest.clone(), self.remove(&digest)?.file)))
                .collect(),
        )
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

    /// Puts the blob in its place. The caller has checked its digest. Waits for the disk.
    pub(super) fn keep(mut self, digest: &Digest) -> Result<(), BlobStoreError> {
        if let Some(fault) = self.fault.take() {
            return Err(fault.into());
        }
        if self.written != self.size {
            return Err(io::Error::other("another number of bytes came than was announced").into());
        }
        let (store, number) = (self.store.clone(), self.number);
        std::fs::rename(store.partial(number), store.finished(digest, number))?;
        let is_new = {
            let mut kept = store.kept();
            let is_new = !kept.by_digest.contains_key(digest);
            if is_new {
                kept.insert(digest.clone(), self.size, number);
            }
            is_new
        };
        if !is_new {
            store.remove_files(&[(digest.clone(), number)]);
        }
        Ok(())
    }
}

impl Drop for BlobDraft {
    fn drop(&mut self) {
        // A draft that was kept has another name by now.
        let _ = std::fs::remove_file(self.store.partial(self.number));
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
mod tests;
