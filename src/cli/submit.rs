//! `muster submit`: submits an entry and shows its progress up to the verdict.

use std::path::{Path, PathBuf};

use tokio::io::AsyncReadExt;

use super::client::ServerOption;
use super::{Exit, fail_with, progress};

/// The bytes read from the file. No server accepts a larger entry.
const ENTRY_BYTES_MAX: u64 = 1024 * 1024;

/// Submits an entry and shows its progress up to the verdict.
///
/// Exit codes: 0 passed, 1 failed or withdrawn, 2 the entry was refused, 3 the server cannot be reached.
#[derive(Debug, clap::Args)]
pub(super) struct SubmitCommand {
    /// File with the entry, a JSON object; - for standard input
    file: PathBuf,

    #[command(flatten)]
    server: ServerOption,
}

impl SubmitCommand {
    pub(super) async fn run(self) -> Exit {
        let entry = match read_entry_file(&self.file).await {
            Ok(entry) => entry,
            Err(error) => {
                return fail_with(
                    format_args!("{} cannot be read: {error}", self.file.display()),
                    Exit::Refused,
                );
            }
        };
        let client = match self.server.client() {
            Ok(client) => client,
            Err(error) => return error.fail(),
        };
        match client.submit(entry).await {
            Ok(id) => progress::follow(&client, id).await,
            Err(error) => error.fail(),
        }
    }
}

/// Reads the file with an entry, or the standard input if the file is `-`.
pub(super) async fn read_entry_file(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut entry = Vec::new();
    if file.as_os_str() == "-" {
        tokio::io::stdin().take(ENTRY_BYTES_MAX).read_to_end(&mut entry).await?;
    } else {
        let file = tokio::fs::File::open(file).await?;
        file.take(ENTRY_BYTES_MAX).read_to_end(&mut entry).await?;
    }
    Ok(entry)
}
