//! The setting for a server of map tiles, the only thing that a page may load from another origin.

use axum::http::Uri;
use serde::Serialize;
use utoipa::ToSchema;

/// The parts of the URL that the map fills in.
const PLACEHOLDERS: [&str; 3] = ["{z}", "{x}", "{y}"];

const ATTRIBUTION_CHARS_MAX: usize = 200;

/// A server of map tiles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct MapTiles {
    /// The URL of a tile, with `{z}`, `{x}` and `{y}` for the map to fill in.
    url: String,
    /// The makers of the tiles, shown in the corner of the map.
    attribution: String,
    /// The scheme, host and port, for the pages' content security policy.
    #[serde(skip)]
    #[schema(ignore)]
    origin: String,
}

/// An error in the setting for map tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MapTilesError {
    #[error(
        "write https://HOST/…/{{z}}/{{x}}/{{y}}.png: one host, each of the three placeholders once, no user, no other braces"
    )]
    Url,
    #[error("write 1 to {ATTRIBUTION_CHARS_MAX} characters that name the makers of the tiles")]
    Attribution,
}

impl MapTiles {
    /// Creates the setting from the URL of a tile, with its placeholders, and the makers of the tiles.
    ///
    /// # Errors
    /// If the URL is not the URL of a tile, or the attribution is empty, too long or not plain text.
    pub fn new(url: &str, attribution: &str) -> Result<Self, MapTilesError> {
        let origin = origin(url).ok_or(MapTilesError::Url)?;
        let attribution = attribution.trim();
        let chars = attribution.chars().count();
        if chars == 0 || chars > ATTRIBUTION_CHARS_MAX || attribution.contains(char::is_control) {
            return Err(MapTilesError::Attribution);
        }
        Ok(Self { url: url.to_owned(), attribution: attribution.to_owned(), origin })
    }

    /// Returns the origin that a page must be allowed to load pictures from.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }
}

/// Returns the origin of a tile's URL. The origin becomes part of a header, so it is built from the parsed URL and not
/// copied from the text.
fn origin(url: &str) -> Option<String> {
    let filled_in = PLACEHOLDERS.iter().try_fold(url.to_owned(), |url, placeholder| {
        (url.matches(placeholder).count() == 1).then(|| url.replace(placeholder, "0"))
    })?;
    if filled_in.contains(['{', '}']) {
        return None;
    }
    let uri: Uri = filled_in.parse().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
    let host = authority.host();
    let is_host_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':' | '[' | ']');
    // The placeholders must be in the path, so that the map cannot choose the host.
    let (typed_origin, _) = url.split_once("://")?.1.split_once('/')?;
    if host.is_empty() || !host.chars().all(is_host_char) || typed_origin.contains('{') {
        return None;
    }
    let port = authority.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{scheme}://{host}{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tile_url_has_one_origin() {
        let origin = |url| MapTiles::new(url, "© somebody").map(|tiles| tiles.origin);
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
            assert_eq!(origin(url), Err(MapTilesError::Url), "{url}");
        }
    }

    #[test]
    fn an_attribution_is_plain_text_of_bounded_length() {
        let tiles = |attribution: &str| MapTiles::new("https://example.org/{z}/{x}/{y}", attribution);
        assert!(tiles("© OpenStreetMap contributors").is_ok());
        for attribution in ["", " ", "a\nb", &"x".repeat(201)] {
            assert_eq!(tiles(attribution), Err(MapTilesError::Attribution), "{attribution:?}");
        }
    }
}
