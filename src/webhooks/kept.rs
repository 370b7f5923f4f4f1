//! The files that keep the hooks' queues over restarts: `webhooks/<name>.json` in the data directory, one for each hook.

use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::queue::KeptQueue;

/// The file of one hook's queue.
#[derive(Debug, Clone)]
pub(super) struct KeptFile {
    directory: PathBuf,
    name: String,
}

impl KeptFile {
    pub(super) fn new(data: &Path, hook: &str) -> Self {
        Self { directory: data.join("webhooks"), name: format!("{hook}.json") }
    }

    /// Reads the queue, or returns `None` if the hook is new.
    ///
    /// # Errors
    /// If the file cannot be read, or is damaged.
    pub(super) fn load(&self) -> io::Result<Option<KeptQueue>> {
        match std::fs::read(self.path()) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                let shown = self.path();
                let why = format!(
                    "{} is damaged ({error}); remove it, and the hook begins with what happens next",
                    shown.display()
                );
                io::Error::new(ErrorKind::InvalidData, why)
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the file atomically. When it returns, the queue is on disk.
    pub(super) fn save(&self, kept: &KeptQueue) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        let draft = self.directory.join(format!("{}.new", self.name));
        let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&draft)?;
        file.write_all(&serde_json::to_vec(kept)?)?;
        file.sync_all()?;
        std::fs::rename(&draft, self.path())?;
        File::open(&self.directory)?.sync_all()
    }

    fn path(&self) -> PathBuf {
        self.directory.join(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_kept_and_a_damaged_file_is_named() {
        let data = tempfile::tempdir().unwrap();
        let file = KeptFile::new(data.path(), "ops");
        assert!(file.load().unwrap().is_none());
        file.save(&KeptQueue { delivered_count: 7, ..KeptQueue::default() }).unwrap();
        assert_eq!(file.load().unwrap().unwrap().delivered_count, 7);
        std::fs::write(data.path().join("webhooks/ops.json"), "{").unwrap();
        assert!(file.load().unwrap_err().to_string().contains("ops.json is damaged"));
    }
}
