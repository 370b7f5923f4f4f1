//! A host for processes of a test, so that their attempts to reach the world are counted like the nodes'.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::host::Host;
use crate::lan::Lan;

const NUMBER: u8 = 4;

/// A host in the testbed's network that runs nothing yet.
pub struct Guest {
    host: Host,
    address: Ipv4Addr,
}

impl Guest {
    pub(crate) async fn start(lan: &Lan, under: &Path) -> Result<Self> {
        let host = Host::start("guest", under).await?;
        lan.join(&host, NUMBER).await?;
        Ok(Self { host, address: lan.address(NUMBER) })
    }

    /// Returns the host's address in the testbed's network, where this machine reaches the host.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Returns the directory of the host's files, whose path is the same inside and outside.
    pub fn directory(&self) -> &Path {
        self.host.directory()
    }

    /// Runs a command on the host to its end. Returns its standard output.
    ///
    /// # Errors
    ///
    /// Fails if the command does.
    pub async fn run(&self, argv: &[&str]) -> Result<String> {
        self.host.run(argv).await
    }

    /// Returns the path of the host's network namespace, for `nsenter --net=…`.
    ///
    /// # Errors
    ///
    /// Fails if the host is gone.
    pub fn network(&self) -> Result<PathBuf> {
        Ok(format!("/proc/{}/ns/net", self.host.pid()?).into())
    }
}
