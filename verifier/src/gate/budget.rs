//! What the layers of one image may use together when they are unpacked, and the reader that counts it.

use std::fmt;
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{Context, SHA256};

use super::LayerFlaw;

/// The number of files and directories that an image may have. The largest ordinary images have about 300,000.
const ENTRIES_MAX: u64 = 500_000;

/// The ratio of the unpacked size to the compressed size that a challenge allows. Ordinary layers have about 3.
const UNPACKED_RATIO: u64 = 4;

const MIB: u64 = 1 << 20;

/// The bytes and files that the layers of one image may still use. Its layers are read side by side.
#[derive(Debug)]
pub(crate) struct UnpackBudget {
    bytes_max: u64,
    entries_max: u64,
    bytes: AtomicU64,
    entries: AtomicU64,
}

/// Counts and hashes what is read, and fails when the budget is used up.
pub(super) struct MeteredReader<'a, R> {
    inner: R,
    budget: &'a UnpackBudget,
    hash: Context,
    read: u64,
}

/// The error of a reader whose budget is used up.
#[derive(Debug)]
struct BudgetSpent;

impl UnpackBudget {
    /// Returns the budget of an image in a challenge that allows `image_mib` MiB compressed.
    pub(crate) fn of_image(image_mib: u64) -> Self {
        Self::new(image_mib.saturating_mul(UNPACKED_RATIO * MIB), ENTRIES_MAX)
    }

    pub(super) fn new(bytes_max: u64, entries_max: u64) -> Self {
        let (bytes, entries) = (bytes_max.into(), entries_max.into());
        Self { bytes_max, entries_max, bytes, entries }
    }

    /// Counts a layer that was read before.
    pub(super) fn spend(&self, bytes: u64, entries: u64) -> Result<(), LayerFlaw> {
        if !take(&self.bytes, bytes) {
            return Err(self.too_many_bytes());
        }
        self.spend_entries(entries)
    }

    /// Counts files and directories.
    pub(super) fn spend_entries(&self, entries: u64) -> Result<(), LayerFlaw> {
        if take(&self.entries, entries) {
            return Ok(());
        }
        Err(LayerFlaw::TooLarge(format!(
            "has more than {} files and directories, which is the most that is unpacked here",
            self.entries_max
        )))
    }

    fn too_many_bytes(&self) -> LayerFlaw {
        let mib = self.bytes_max / MIB;
        LayerFlaw::TooLarge(format!("has more than {mib} MiB when it is unpacked; {mib} MiB are allowed"))
    }

    /// Returns the flaw that a failure to read means.
    pub(super) fn flaw(&self, error: &io::Error) -> LayerFlaw {
        if error.get_ref().is_some_and(|inner| inner.is::<BudgetSpent>()) {
            return self.too_many_bytes();
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof => LayerFlaw::Broken("a layer ends too early".to_owned()),
            _ => LayerFlaw::Broken(format!("a layer cannot be decompressed ({error})")),
        }
    }
}

impl<'a, R: Read> MeteredReader<'a, R> {
    pub(super) fn new(inner: R, budget: &'a UnpackBudget) -> Self {
        Self { inner, budget, hash: Context::new(&SHA256), read: 0 }
    }

    /// Returns the number of bytes that were read, and their SHA-256.
    pub(super) fn finish(self) -> (u64, [u8; 32]) {
        (self.read, finished(self.hash))
    }
}

impl<R: Read> Read for MeteredReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if !take(&self.budget.bytes, read as u64) {
            return Err(io::Error::other(BudgetSpent));
        }
        self.hash.update(&buffer[..read]);
        self.read += read as u64;
        Ok(read)
    }
}

impl fmt::Display for BudgetSpent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the budget is used up")
    }
}

impl std::error::Error for BudgetSpent {}

/// Returns the SHA-256.
pub(super) fn finished(hash: Context) -> [u8; 32] {
    let mut sum = [0; 32];
    sum.copy_from_slice(hash.finish().as_ref());
    sum
}

fn take(left: &AtomicU64, amount: u64) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(amount)).is_ok()
}
