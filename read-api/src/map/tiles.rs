//! Where the map's tiles come from, if somebody sets that: the one thing that
//! a page may load from elsewhere.

use axum::http::Uri;
use serde::Serialize;
use utoipa::ToSchema;

/// The parts of an address that the map fills in.
const PARTS: [&str; 3] = ["{z}", "{x}", "{y}"];

const ATTRIBUTION_CHARS_MAX: usize = 200;

/// A server of map tiles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Tiles {
    /// The address of a tile, with `{z}`, `{x}` and `{y}` for the map to fill in.
    url: String,
    /// Who made them, for the corner of the map.
    attribution: String,
    /// What a page may load pictures from: scheme, host and port.
    #[serde(skip)]
    #[schema(ignore)]
    origin: String,
}

/// Why tiles cannot be had so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TilesError {
    /// The address.
    #[error(
        "https://HOST/…/{{z}}/{{x}}/{{y}}.png is expected: one host, each of the three once, no user, nothing else in braces"
    )]
    Address,
    /// The attribution.
    #[error("1 to {ATTRIBUTION_CHARS_MAX} characters are expected that say who made the tiles")]
    Attribution,
}

impl Tiles {
    /// Takes the address of the tiles, and who made them.
    ///
    /// # Errors
    /// When either cannot be that.
    pub fn new(url: &str, attribution: &str) -> Result<Self, TilesError> {
        let origin = origin(url).ok_or(TilesError::Address)?;
        let attribution = attribution.trim();
        let chars = attribution.chars().count();
        if chars == 0 || chars > ATTRIBUTION_CHARS_MAX || attribution.contains(char::is_control) {
            return Err(TilesError::Attribution);
        }
        Ok(Self { url: url.to_owned(), attribution: attribution.to_owned(), origin })
    }

    /// The one origin that a page needs to load tiles from.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }
}

/// The origin of a tile's address. It becomes a part of a header, so it is made
/// of what was understood, not of what was typed.
fn origin(url: &str) -> Option<String> {
    let rest = PARTS.iter().try_fold(url.to_owned(), |rest, part| {
        (rest.matches(part).count() == 1).then(|| rest.replace(part, "0"))
    })?;
    if rest.contains(['{', '}']) {
        return None;
    }
    let uri: Uri = rest.parse().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
    let host = authority.host();
    let of_a_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':' | '[' | ']');
    // What the map fills in is within the path: it chooses no host.
    let (typed_origin, _) = url.split_once("://")?.1.split_once('/')?;
    if host.is_empty() || !host.chars().all(of_a_host) || typed_origin.contains('{') {
        return None;
    }
    let port = authority.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{scheme}://{host}{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_have_one_origin() {
        let origin = |url| Tiles::new(url, "© somebody").map(|tiles| tiles.origin);
        for (url, expected) in [
            ("https://tiles.example.org/{z}/{x}/{y}.png", "https://tiles.example.org"),
            ("https://tiles.example.org:8443/a/{z}/{y}/{x}?key=1", "https://tiles.example.org:8443"),
            ("http://[::1]:80/{z}/{x}/{y}", "http://[::1]:80"),
        ] {
            assert_eq!(origin(url).unwrap(), expected);
        }
        for url in [
            "",
            "tiles",
            "/{z}/{x}/{y}.png",
            "https://tiles.example.org/{z}/{x}.png",
            "https://tiles.example.org/{z}/{x}/{y}/{y}.png",
            "https://{s}.example.org/{z}/{x}/{y}.png",
            "https://{z}.example.org/{x}/{y}.png",
            "https://user:password@example.org/{z}/{x}/{y}.png",
            "https://example.org;script-src/{z}/{x}/{y}.png",
            "https://*/{z}/{x}/{y}.png",
            "https://a b/{z}/{x}/{y}.png",
            "ftp://example.org/{z}/{x}/{y}.png",
            "javascript:{z}{x}{y}",
        ] {
            assert_eq!(origin(url), Err(TilesError::Address), "{url}");
        }
    }

    #[test]
    fn whoever_made_them_is_named() {
        let named = |attribution: &str| Tiles::new("https://example.org/{z}/{x}/{y}", attribution);
        assert!(named("© OpenStreetMap contributors").is_ok());
        for attribution in ["", " ", "a\nb", &"x".repeat(201)] {
            assert_eq!(named(attribution), Err(TilesError::Attribution), "{attribution:?}");
        }
    }
}
