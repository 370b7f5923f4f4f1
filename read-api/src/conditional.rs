//! Conditional requests: a response carries an `ETag`, and `If-None-Match` saves sending it again.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use event_store::{LogCheckpoint, Position, Revision};
use projections::ViewQueries;
use serde::Serialize;

/// The version of this program.
const PROGRAM: &str = env!("CARGO_PKG_VERSION");

/// The identity of one state of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ETag(String);

impl ETag {
    /// Creates the tag of a response that shows these views at `position`. Another version of the program may show the same
    /// events differently, and another log, or one that was restored, has other events up to the same position.
    pub(crate) fn of_views(views: &dyn ViewQueries, place: &LogCheckpoint, position: Position) -> Self {
        let mut hasher = DefaultHasher::new();
        (PROGRAM, views.representation()).hash(&mut hasher);
        (place.log, place.position, place.event).hash(&mut hasher);
        Self(format!("\"{position}-{:016x}\"", hasher.finish()))
    }

    /// Creates the tag of exactly this content.
    pub(crate) fn from_content(content: &[u8]) -> Self {
        Self(format!("\"{:016x}\"", digest(content)))
    }

    /// Creates the tag of exactly this body, which shows a submission at `revision`.
    pub(crate) fn from_body(revision: Revision, body: &[u8]) -> Self {
        Self(format!("\"{revision}-{:016x}\"", digest(body)))
    }

    pub(crate) fn to_header(&self) -> HeaderValue {
        HeaderValue::try_from(&self.0).expect("a tag has digits, letters and quotes only")
    }

    /// Returns true if the client names this tag in `If-None-Match`, so has the response already.
    pub(crate) fn matches(&self, request: &HeaderMap) -> bool {
        tags(request).any(|tag| tag == "*" || tag == self.0)
    }
}

/// Returns the revision that the client has, from a tag made by [`ETag::from_body`].
pub(crate) fn known_revision(request: &HeaderMap) -> Option<Revision> {
    tags(request).find_map(|tag| tag.trim_matches('"').split_once('-')?.0.parse().ok())
}

/// Returns `body` as a JSON response, or 304 if the client has it already.
pub(crate) fn json(request: &HeaderMap, etag: ETag, body: impl FnOnce() -> Vec<u8>) -> Response {
    // The client may keep the response but asks each time, because it can change at any moment.
    let cache = HeaderValue::from_static("no-cache");
    let headers = [(header::ETAG, etag.to_header()), (header::CACHE_CONTROL, cache)];
    if etag.matches(request) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    let json = HeaderValue::from_static("application/json");
    (headers, [(header::CONTENT_TYPE, json)], body()).into_response()
}

pub(crate) fn to_json(data: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(data).expect("responses are plain data with text keys")
}

fn digest(content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}

/// Returns the tags of `If-None-Match`. The comparison is weak (RFC 9110, 13.1.2), so the prefix `W/` is dropped.
fn tags(request: &HeaderMap) -> impl Iterator<Item = &str> {
    request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn if_none_match(tags: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_static(tags))])
    }

    #[test]
    fn a_client_may_send_several_tags_and_weak_tags() {
        let etag = ETag("\"7\"".to_owned());
        assert!(etag.matches(&if_none_match("\"7\"")));
        assert!(etag.matches(&if_none_match("\"6\", W/\"7\"")));
        assert!(etag.matches(&if_none_match("*")));
        assert!(!etag.matches(&if_none_match("\"6\"")));
        assert!(!etag.matches(&HeaderMap::new()));
    }

    #[test]
    fn a_tag_of_a_body_contains_its_revision() {
        let ETag(tag) = ETag::from_body(12, b"{}");
        let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::try_from(tag).unwrap())]);
        assert_eq!(known_revision(&headers), Some(12));
        assert_eq!(known_revision(&if_none_match("\"7\"")), None);
        assert_eq!(known_revision(&if_none_match("rubbish")), None);
    }

    #[test]
    fn different_bodies_have_different_tags() {
        assert_ne!(ETag::from_body(1, b"{}"), ETag::from_body(1, b"[]"));
    }
}
