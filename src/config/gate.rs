//! The settings of the gate, which nodes pull images from.

use std::path::Path;

use verifier::GateSettings;

use super::typed::TypedSettings;
use super::{SettingError, socket_address};

/// The directory within the data directory.
const DIRECTORY: &str = "blobs";

/// The bound of all layers that the gate keeps, MiB.
const SPACE_MIB: u64 = 20 << 10;

/// Returns `None` if nodes pull from the registries.
///
/// # Errors
/// If a setting is wrong, or other machines could connect without TLS.
pub(super) fn from_typed(
    typed: &mut TypedSettings,
    data: &Path,
) -> Result<Option<GateSettings>, SettingError> {
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
