//! How the embedded log is served in EventStoreDB's protocol.

use std::net::SocketAddr;

use event_store::node::{NodeConfig, NodeCredentials, TlsFiles};

use super::{List, SettingError, Text, listen, setting};

/// Where the log is served, and to whom.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it listens; port 0 takes any that is free.
    pub listen: SocketAddr,
    /// How it is reached, and by whom.
    pub config: NodeConfig,
}

impl Node {
    pub(super) fn read(
        address: Option<Text>,
        login: Option<Text>,
        tls: Option<List>,
        advertise: Option<Text>,
    ) -> Result<Option<Self>, SettingError> {
        let address = setting("eventstore-listen", address, None, |text| listen(text).map(Some))?;
        let Some(address) = address else { return Ok(None) };
        let config = NodeConfig {
            credentials: login.map(credentials).transpose()?,
            tls: tls.map(files).transpose()?,
            advertise: advertise.map(|Text(host)| host),
        };
        if !address.ip().is_loopback() && (config.credentials.is_none() || config.tls.is_none()) {
            return Err(SettingError(format!(
                "the setting eventstore-listen (--eventstore-listen, MUSTER_EVENTSTORE_LISTEN) is {address}, \
                 which can be reached from elsewhere: that needs --eventstore-login and --eventstore-tls"
            )));
        }
        Ok(Some(Self { listen: address, config }))
    }
}

/// What was typed is not shown again, for it may be the password.
fn credentials(Text(login): Text) -> Result<NodeCredentials, SettingError> {
    match login.split_once(':') {
        Some((user, password)) if !user.is_empty() && !password.is_empty() => {
            Ok(NodeCredentials { user: user.to_owned(), password: password.to_owned() })
        }
        _ => Err(SettingError(
            "the setting eventstore-login (--eventstore-login, MUSTER_EVENTSTORE_LOGIN): \
             USER:PASSWORD is expected"
                .to_owned(),
        )),
    }
}

fn files(List(files): List) -> Result<TlsFiles, SettingError> {
    match &files[..] {
        [certificate, key] => Ok(TlsFiles { certificate: certificate.into(), key: key.into() }),
        _ => Err(SettingError(
            "the setting eventstore-tls (--eventstore-tls, MUSTER_EVENTSTORE_TLS): \
             two files are expected, CERTIFICATE,KEY"
                .to_owned(),
        )),
    }
}
