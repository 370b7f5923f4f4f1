//! Tries to fill a writable directory, to see whether anything bounds what an app can write there.
//!
//! A child process writes, because the bound may be the container's memory, and then the kernel kills the
//! process that writes. The file has no name, so its space is free again as soon as the child ends.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// The argument by which the program runs as the child.
pub const ARGUMENT: &str = "fill";

/// The number of bytes that the child writes at a time.
const BLOCK: usize = 1 << 20;

/// The exit code of a child whose write failed.
const REFUSED: u8 = 3;

/// Tries to write `bytes` bytes to a new file in the directory. Returns `killed` or `refused` if there is a
/// bound, `none` if all could be written, and otherwise the reason why the directory could not be tried.
#[must_use]
pub fn bound_of(directory: &str, bytes: u64) -> String {
    let child = Command::new("/proc/self/exe")
        .args([ARGUMENT, directory, &bytes.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    match child {
        Ok(status) if status.success() => "none".to_owned(),
        Ok(status) => match status.code() {
            None => "killed".to_owned(),
            Some(code) if code == i32::from(REFUSED) => "refused".to_owned(),
            Some(code) => format!("the trial ended with code {code}"),
        },
        Err(error) => format!("the trial did not start: {error}"),
    }
}

/// Runs as the child: writes until all is written or a write fails.
#[must_use]
pub fn run(directory: &str, bytes: &str) -> ExitCode {
    // If memory is the bound, the kernel kills this process and not its parent.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    let Ok(bytes) = bytes.parse() else { return ExitCode::FAILURE };
    let Ok(file) = nameless(Path::new(directory)) else { return ExitCode::FAILURE };
    match write(file, bytes) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(REFUSED),
    }
}

fn nameless(directory: &Path) -> io::Result<File> {
    let path = directory.join(".muster-inspector-fill");
    let file = File::create(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

fn write(mut file: File, bytes: u64) -> io::Result<()> {
    // Not zeroes, which a file system might not store.
    let block = vec![0x5a; BLOCK];
    let mut left = bytes;
    while left > 0 {
        let size = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
        file.write_all(block.get(..size).unwrap_or_default())?;
        left -= size as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_any_size_is_written_and_leaves_nothing() {
        let directory = std::env::temp_dir().join(format!("muster-fill-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        write(nameless(&directory).unwrap(), BLOCK as u64 + 1).unwrap();
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
        fs::remove_dir(&directory).unwrap();
    }
}
