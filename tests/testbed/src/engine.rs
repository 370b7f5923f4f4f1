//! The versions of the engine: the installed one, and a newer one.
//!
//! The newer engine is that of Debian 13, which `tests/testbed/newer-engine.sh` unpacks and does not install. A host shows
//! its programs in front of this machine's own, so that all else on the host is as beside the installed engine. The root
//! stays a mount point, which runc demands.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::host::Host;

/// The variable that gives every testbed another engine, if it is `newer`.
const VARIABLE: &str = "MUSTER_TEST_ENGINE";
/// The folder of the newer engine's files.
const NEWER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.muster/cache/newer-engine");

/// A version of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineVersion {
    /// The engine of this machine: 20.10.24 on Debian 12.
    Installed,
    /// The engine of Debian 13: 26.1.5.
    Newer,
}

impl EngineVersion {
    /// Returns the version that the environment asks for.
    ///
    /// # Errors
    ///
    /// Fails if the variable has another value than `newer`.
    pub(crate) fn chosen() -> Result<Self> {
        match std::env::var(VARIABLE) {
            Err(_) => Ok(Self::Installed),
            Ok(value) => {
                ensure!(value == "newer", "{VARIABLE} is {value:?}, and may only be \"newer\"");
                Ok(Self::Newer)
            }
        }
    }

    /// Makes this version the one that a host starts.
    pub(crate) async fn put_on(self, host: &Host) -> Result<()> {
        if self == Self::Installed {
            return Ok(());
        }
        let missing = "the newer engine is missing: tests/testbed/newer-engine.sh .muster/cache/newer-engine";
        let programs = Path::new(NEWER).join("usr").canonicalize().context(missing)?;
        let folders = format!("lowerdir={}:/usr", programs.display());
        host.run(&["mount", "-t", "overlay", "overlay", "-o", &folders, "/usr"]).await?;
        Ok(())
    }
}
