//! Answers that a client need not be sent again: `ETag` and `If-None-Match`.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use event_store::Revision;
use serde::Serialize;

/// What identifies one state of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ETag(String);

impl ETag {
    /// Of an answer that is determined by a number, such as a position.
    pub(crate) fn of_number(number: u64) -> Self {
        Self(format!("\"{number}\""))
    }

    /// Of this very content.
    pub(crate) fn of_content(content: &[u8]) -> Self {
        Self(format!("\"{:016x}\"", digest(content)))
    }

    /// Of this very body, which shows a submission at `revision`.
    pub(crate) fn of_body(revision: Revision, body: &[u8]) -> Self {
        Self(format!("\"{revision}-{:016x}\"", digest(body)))
    }

    /// As the header's value.
    pub(crate) fn header(&self) -> HeaderValue {
        HeaderValue::try_from(&self.0).expect("a tag is digits, letters and quotes")
    }

    /// Whether the client says that it has this.
    pub(crate) fn is_known(&self, request: &HeaderMap) -> bool {
        tags(request).any(|tag| tag == "*" || tag == self.0)
    }
}

/// The revision that the client says it has, from a tag made by [`ETag::of_body`].
pub(crate) fn known_revision(request: &HeaderMap) -> Option<Revision> {
    tags(request).find_map(|tag| tag.trim_matches('"').split_once('-')?.0.parse().ok())
}

/// `body` as JSON, or 304 when the client has it already.
pub(crate) fn json(request: &HeaderMap, etag: ETag, body: impl FnOnce() -> Vec<u8>) -> Response {
    // Kept, but asked for again each time: it changes at any moment.
    let cache = HeaderValue::from_static("no-cache");
    let headers = [(header::ETAG, etag.header()), (header::CACHE_CONTROL, cache)];
    if etag.is_known(request) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    let json = HeaderValue::from_static("application/json");
    (headers, [(header::CONTENT_TYPE, json)], body()).into_response()
}

/// The JSON of plain data.
pub(crate) fn to_json(data: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(data).expect("answers are plain data with text keys")
}

fn digest(content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}

fn tags(request: &HeaderMap) -> impl Iterator<Item = &str> {
    request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        // Weak comparison: W/ makes no difference here.
        .map(|tag| tag.trim().trim_start_matches("W/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn having(tags: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_static(tags))])
    }

    #[test]
    fn a_client_may_name_several_and_weak_ones() {
        let etag = ETag::of_number(7);
        assert!(etag.is_known(&having("\"7\"")));
        assert!(etag.is_known(&having("\"6\", W/\"7\"")));
        assert!(etag.is_known(&having("*")));
        assert!(!etag.is_known(&having("\"6\"")));
        assert!(!etag.is_known(&HeaderMap::new()));
    }

    #[test]
    fn a_tag_says_the_revision_it_was_made_of() {
        let ETag(tag) = ETag::of_body(12, b"{}");
        let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::try_from(tag).unwrap())]);
        assert_eq!(known_revision(&headers), Some(12));
        assert_eq!(known_revision(&having("\"7\"")), None);
        assert_eq!(known_revision(&having("rubbish")), None);
    }

    #[test]
    fn another_body_has_another_tag() {
        assert_ne!(ETag::of_body(1, b"{}"), ETag::of_body(1, b"[]"));
    }
}
