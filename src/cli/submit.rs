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

    /// Short name of your venue, as its link has it: berlin
    #[arg(long, value_name = "NAME")]
    venue: Option<String>,

    /// Code that is told in your venue
    #[arg(long, value_name = "CODE")]
    venue_code: Option<String>,

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
        let entry = match self.with_venue(entry) {
            Ok(entry) => entry,
            Err(error) => {
                let file = self.file.display();
                return fail_with(format_args!("{file} is not a JSON object: {error}"), Exit::Refused);
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

    /// Sets the fields of the venue in an entry. Without a venue, the entry stays as it is, and the server says what is wrong.
    fn with_venue(&self, entry: Vec<u8>) -> serde_json::Result<Vec<u8>> {
        let fields = [("venue", &self.venue), ("venue_code", &self.venue_code)];
        if fields.iter().all(|(_, value)| value.is_none()) {
            return Ok(entry);
        }
        let text = entry.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&entry);
        let mut entry: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(text)?;
        for (field, value) in fields {
            if let Some(value) = value {
                entry.insert(field.to_owned(), value.clone().into());
            }
        }
        serde_json::to_vec(&entry)
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
