//! The id of each request, and a line of the log for each.

use std::net::IpAddr;
use std::time::Instant;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use uuid::Uuid;

use crate::client_address::Sender;

/// The header with the id of a request, in requests of proxies and in all responses.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is taken from a proxy.
const ID_LENGTH_MAX: usize = 64;

/// Gives the request an id, which the response carries, and writes a line about both at the level `debug` of the target
/// `access`. An id that a trusted proxy has given stays. The line has the path without the query, which may hold a venue's code.
pub(crate) async fn log_access(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let sender = Sender::of(request.extensions());
    let is_proxy = sender.as_ref().is_some_and(Sender::is_trusted_proxy);
    let id = request_id(request.headers(), is_proxy);
    // Most processes write no such lines, and gather nothing for them.
    let line = tracing::enabled!(target: "access", tracing::Level::DEBUG).then(|| {
        let client = sender.map(|sender| sender.client(request.headers()));
        (client, request.method().clone(), request.uri().path().to_owned())
    });

    let mut response = next.run(request).await;
    if let Some((client, method, path)) = line {
        tracing::debug!(
            target: "access",
            id = id.to_str().unwrap_or_default(),
            client = client.as_ref().map(IpAddr::to_string),
            %method,
            path,
            status = response.status().as_u16(),
            milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            "answered"
        );
    }
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// Returns the id that the proxy gave, if it is one, or a new id.
fn request_id(headers: &HeaderMap, from_proxy: bool) -> HeaderValue {
    let plain = |id: &&HeaderValue| {
        let id = id.as_bytes();
        (1..=ID_LENGTH_MAX).contains(&id.len()) && id.iter().all(|&byte| byte.is_ascii_graphic())
    };
    let given = headers.get(&REQUEST_ID).filter(|_| from_proxy).filter(plain);
    given.cloned().unwrap_or_else(|| {
        let mut text = Uuid::encode_buffer();
        let text: &str = Uuid::new_v4().hyphenated().encode_lower(&mut text);
        // Letters, digits and hyphens are a header's value.
        HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("-"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(id: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_static(id))])
    }

    #[test]
    fn an_id_of_a_proxy_stays_and_anything_else_gets_a_new_one() {
        assert_eq!(request_id(&with("edge-1/42"), true), "edge-1/42");
        let long = &*"x".repeat(ID_LENGTH_MAX + 1).leak();
        let fresh = [("edge-1/42", false), ("", true), ("two words", true), (long, true)]
            .map(|(id, from_proxy)| request_id(&with(id), from_proxy));
        for id in &fresh {
            assert!(id.to_str().unwrap().parse::<Uuid>().is_ok(), "{id:?}");
        }
        assert_ne!(fresh[0], fresh[1]);
    }
}
