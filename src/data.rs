//! The data directory: the event log, and the secret from which the ids of submissions with an idempotency key are
//! derived.

use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, bail};
use uuid::Uuid;

/// The characters of the host's name that the verifier's name takes, because that name is limited.
const HOST_CHARS_MAX: usize = 20;

/// The name of the secret's file.
const KEY_SPACE: &str = "key-space";

/// Creates the directory, for this user alone, if it does not exist.
pub(crate) fn ensure_directory(path: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("the data directory {} cannot be created", path.display()))
}

/// Returns the secret, and draws it when the directory is used for the first time.
pub(crate) fn key_space(directory: &Path) -> anyhow::Result<Uuid> {
    let path = directory.join(KEY_SPACE);
    let read = || std::fs::read_to_string(&path);
    let text = match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            place_key_space(directory, Uuid::new_v4()).and_then(|()| read())
        }
        read => read,
    };
    let text = text.with_context(|| format!("the secret {} cannot be read or written", path.display()))?;
    match text.trim().parse() {
        Ok(key_space) => Ok(key_space),
        Err(_) => bail!(
            "{} is damaged; restore it, because without it a repeated Idempotency-Key submits again",
            path.display()
        ),
    }
}

/// Copies the secret of one directory to another, if the first has one.
///
/// # Errors
/// If the other directory has another secret, or the secret cannot be read or written.
pub(crate) fn copy_key_space(from: &Path, to: &Path) -> anyhow::Result<()> {
    let path = from.join(KEY_SPACE);
    if !path.try_exists().with_context(|| format!("the secret {} cannot be read", path.display()))? {
        return Ok(());
    }
    let secret = key_space(from)?;
    let path = to.join(KEY_SPACE);
    place_key_space(to, secret)
        .with_context(|| format!("the secret {} cannot be written", path.display()))?;
    if key_space(to)? != secret {
        bail!(
            "{} has the secret of another data directory than {}; use another directory",
            to.display(),
            from.display()
        );
    }
    Ok(())
}

/// Returns the verifier's name, made of the host's name and a hash of this directory's secret. Restarts keep it.
pub(crate) fn verifier_name(key_space: Uuid) -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    let parts = host.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty());
    let host: String = parts.collect::<Vec<_>>().join("-").chars().take(HOST_CHARS_MAX).collect();
    let own = Uuid::new_v5(&key_space, b"verifier").simple().to_string();
    format!("{}-{}", host.trim_matches('-'), &own[..8]).trim_start_matches('-').to_owned()
}

/// Writes the file of a secret atomically. If there is one already, it stays, also if two processes do it.
fn place_key_space(directory: &Path, secret: Uuid) -> io::Result<()> {
    let draft = directory.join(format!("{KEY_SPACE}.{}", std::process::id()));
    let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&draft)?;
    writeln!(file, "{secret}")?;
    file.sync_all()?;
    let placed = std::fs::hard_link(&draft, directory.join(KEY_SPACE));
    std::fs::remove_file(&draft)?;
    match placed {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => File::open(directory)?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_drawn_once_and_only_this_user_can_read_it() {
        use std::os::unix::fs::PermissionsExt;

        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("a/b");
        ensure_directory(&directory).unwrap();
        let drawn = key_space(&directory).unwrap();
        assert_eq!(key_space(&directory).unwrap(), drawn);
        assert_ne!(key_space(home.path()).unwrap(), drawn);
        let mode = directory.join(KEY_SPACE).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
    }

    #[test]
    fn a_secret_is_copied_and_never_replaced() {
        let [one, two, backup] = [(); 3].map(|()| tempfile::tempdir().unwrap());
        copy_key_space(one.path(), backup.path()).unwrap();
        assert!(!backup.path().join(KEY_SPACE).exists(), "a directory that was never used has none");
        let secret = key_space(one.path()).unwrap();
        for _ in 0..2 {
            copy_key_space(one.path(), backup.path()).unwrap();
            assert_eq!(key_space(backup.path()).unwrap(), secret);
        }
        key_space(two.path()).unwrap();
        let refused = copy_key_space(two.path(), backup.path()).unwrap_err().to_string();
        assert!(refused.contains("the secret of another data directory"), "{refused}");
        assert_eq!(key_space(backup.path()).unwrap(), secret);
    }

    #[test]
    fn a_damaged_secret_is_named() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(KEY_SPACE), "").unwrap();
        assert!(key_space(directory.path()).unwrap_err().to_string().contains("key-space is damaged"));
    }
}
