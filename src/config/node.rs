//! The settings of the embedded log's node, which serves it in EventStoreDB's protocol.

use std::net::SocketAddr;

use event_store::node::{NodeConfig, NodeCredentials};

use super::typed::TypedSettings;
use super::{SettingError, socket_address};

/// The address of the node, and its terms for clients.
#[derive(Debug, Clone)]
pub struct NodeSettings {
    /// Port 0 takes any free port.
    pub listen: SocketAddr,
    pub config: NodeConfig,
}

impl NodeSettings {
    /// Returns `None` if the log is not served.
    ///
    /// # Errors
    /// If a setting is wrong, or other machines could connect without a login and TLS.
    pub(super) fn from_typed(typed: &mut TypedSettings) -> Result<Option<Self>, SettingError> {
        let listen = typed.parse("eventstore-listen", None, |text| socket_address(text).map(Some))?;
        let config = NodeConfig {
            credentials: login(typed, "eventstore-login")?,
            reader: login(typed, "eventstore-reader")?,
            tls: typed.tls_files("eventstore-tls")?,
            advertise: typed.text("eventstore-advertise")?,
        };
        if config.reader.is_some() && config.credentials.is_none() {
            let why = "without --eventstore-login every client may write: give both";
            return Err(SettingError::hidden("eventstore-reader", why));
        }
        let Some(listen) = listen else { return Ok(None) };
        if !listen.ip().is_loopback() && (config.credentials.is_none() || config.tls.is_none()) {
            return Err(SettingError::invalid(
                "eventstore-listen",
                &listen,
                "other machines can reach this address, so it needs --eventstore-login and --eventstore-tls",
            ));
        }
        Ok(Some(Self { listen, config }))
    }
}

fn login(typed: &mut TypedSettings, setting: &'static str) -> Result<Option<NodeCredentials>, SettingError> {
    let Some(login) = typed.text(setting)? else { return Ok(None) };
    match login.split_once(':') {
        Some((user, password)) if !user.is_empty() && !password.is_empty() => {
            Ok(Some(NodeCredentials { user: user.to_owned(), password: password.to_owned() }))
        }
        _ => Err(SettingError::hidden(setting, "USER:PASSWORD is expected")),
    }
}
