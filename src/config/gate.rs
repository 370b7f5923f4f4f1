//! The settings of the gate, which nodes pull images from: one in the verifier's process, or one elsewhere.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use http_edge::OrganiserToken;
use reqwest::Url;
use verifier::{GateChoice, GateSecret, GateSettings, RemoteGateSettings};

use super::typed::TypedSettings;
use super::{SettingError, socket_address};

/// The directory within the data directory.
const DIRECTORY: &str = "blobs";

/// The bound of all layers that the gate keeps, MiB.
const SPACE_MIB: u64 = 20 << 10;

/// The address at which a gate in a process of its own is asked.
const VERIFIERS: &str = "127.0.0.1:5444";

/// The terms of `muster serve gate` for verifiers.
#[derive(Debug, Clone)]
pub(crate) struct GateForVerifiers {
    pub(crate) listen: SocketAddr,
    /// `None` if nobody may ask it.
    pub(crate) secret: Option<GateSecret>,
}

/// Returns the gate of a verifier, and the terms of a gate for other verifiers.
///
/// # Errors
/// If a setting is wrong, or other machines could connect without TLS.
pub(super) fn from_typed(
    typed: &mut TypedSettings,
    data: &Path,
) -> Result<(GateChoice, GateForVerifiers), SettingError> {
    let own = own(typed, data)?;
    let secret = typed.parse_hidden("gate-secret", None, secret)?;
    let verifiers: Option<SocketAddr> =
        typed.parse("gate-verifiers", None, |text| socket_address(text).map(Some))?;
    if let Some(verifiers) = verifiers
        && !verifiers.ip().is_loopback()
        && own.as_ref().is_none_or(|own| own.tls.is_none())
    {
        let why = "other machines can reach this address, so it needs --gate-tls";
        return Err(SettingError::invalid("gate-verifiers", &verifiers, why));
    }
    let remote = remote(typed, secret.as_ref())?;
    let choice = match (own, remote) {
        (Some(own), Some(_)) => {
            let why = "a verifier has one gate: leave out --gate or --gate-listen";
            return Err(SettingError::invalid("gate-listen", &own.listen, why));
        }
        (Some(own), None) => GateChoice::Own(own),
        (None, Some(remote)) => GateChoice::Remote(remote),
        (None, None) => GateChoice::Registries,
    };
    let listen = match verifiers {
        Some(listen) => listen,
        None => socket_address(VERIFIERS)
            .map_err(|why| SettingError::invalid("gate-verifiers", &VERIFIERS, &why))?,
    };
    Ok((choice, GateForVerifiers { listen, secret }))
}

/// Returns the gate of this process, or `None` if it has none that nodes pull from.
fn own(typed: &mut TypedSettings, data: &Path) -> Result<Option<GateSettings>, SettingError> {
    let listen = typed.parse("gate-listen", None, |text| socket_address(text).map(Some))?;
    let address = typed.text("gate-address")?;
    let tls = typed.tls_files("gate-tls")?;
    let space_mib = typed.parse("gate-space-mib", SPACE_MIB, |text| match text.parse() {
        Ok(mib) if mib > 0 => Ok(mib),
        _ => Err("a number of MiB above 0 is expected"),
    })?;
    let Some(listen) = listen else { return Ok(None) };
    if !listen.ip().is_loopback() && tls.is_none() {
        let why = "other machines can reach this address, so it needs --gate-tls";
        return Err(SettingError::invalid("gate-listen", &listen, why));
    }
    if listen.ip().is_unspecified() && address.is_none() {
        let why = "nodes cannot reach the gate by this address; name another with --gate-address HOST:PORT";
        return Err(SettingError::invalid("gate-listen", &listen, why));
    }
    let directory = data.join(DIRECTORY);
    Ok(Some(GateSettings { listen, address, tls, directory, space_mib }))
}

/// Returns the gate in another process that this verifier asks.
fn remote(
    typed: &mut TypedSettings,
    secret: Option<&GateSecret>,
) -> Result<Option<RemoteGateSettings>, SettingError> {
    let authority = typed.text("gate-authority")?;
    let url = typed.parse_hidden("gate", None, |url| gate_url(url).map(Some))?;
    let Some(url) = url else {
        return match authority {
            Some(file) => {
                Err(SettingError::invalid("gate-authority", &file, "it needs --gate (MUSTER_GATE)"))
            }
            None => Ok(None),
        };
    };
    let Some(secret) = secret.cloned() else {
        let why = "it needs --gate-secret (MUSTER_GATE_SECRET), the same as the gate has";
        return Err(SettingError::invalid("gate", &url, why));
    };
    Ok(Some(RemoteGateSettings { url, secret, authority: authority.map(PathBuf::from) }))
}

fn gate_url(text: &str) -> Result<String, &'static str> {
    let expected = "https://HOST:PORT is expected, or http://HOST:PORT on this machine";
    let url = Url::parse(text).map_err(|_| expected)?;
    let is_plain =
        url.path() == "/" && url.query().is_none() && url.username().is_empty() && url.password().is_none();
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match url.scheme() {
        "https" | "http" if !is_plain => Err(expected),
        "https" => Ok(text.trim_end_matches('/').to_owned()),
        "http" if is_here => Ok(text.trim_end_matches('/').to_owned()),
        "http" => Err("requests would go over the network in the clear: use https://"),
        _ => Err(expected),
    }
}

/// Takes a secret that is as hard to guess as an organiser's token.
fn secret(text: &str) -> Result<Option<GateSecret>, http_edge::WeakTokenError> {
    text.parse::<OrganiserToken>().map(|_| Some(GateSecret::new(text)))
}
