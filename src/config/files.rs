//! Reads the files that settings name. The errors are reasons in words, and the caller adds the setting.

use std::fs;
use std::path::Path;

use commands::{Gazetteer, place_venues};
use domain::Challenge;
use domain::challenge::PlacedVenue;
use verifier::RegistryLogins;

use crate::webhooks::WebhookSettings;

/// Reads the file that describes a challenge.
///
/// # Errors
/// The reason why the file cannot be read or is wrong.
pub fn read_challenge(path: &Path) -> Result<Challenge, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    Challenge::parse(&text).map_err(|error| error.to_string())
}

/// Reads the file that describes a challenge, and finds its venues' places.
pub(super) fn challenge(path: &str) -> Result<(Challenge, Vec<PlacedVenue>), String> {
    let challenge = read_challenge(Path::new(path))?;
    let venues = place_venues(&challenge.venues, Gazetteer::shipped()).map_err(|error| error.to_string())?;
    Ok((challenge, venues))
}

pub(super) fn logins(path: &str) -> Result<RegistryLogins, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    RegistryLogins::parse(&text).map_err(|error| error.to_string())
}

pub(super) fn webhooks(path: &str) -> Result<Option<WebhookSettings>, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    WebhookSettings::parse(&text).map(Some).map_err(|error| error.to_string())
}
