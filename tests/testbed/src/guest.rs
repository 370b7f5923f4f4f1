//! A host for processes of the test's own: those whose attempts to reach the
//! world are to be counted as the nodes' are.

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

    /// Its address in the testbed's network, where this machine reaches it.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Its network, for `nsenter --net=…` to start a process in.
    ///
    /// # Errors
    ///
    /// When the host is gone.
    pub fn network(&self) -> Result<PathBuf> {
        Ok(format!("/proc/{}/ns/net", self.host.pid()?).into())
    }
}
