//! The body of a request: one JSON object, of bounded size, within a bounded time.

use std::fmt;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use futures::StreamExt;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::Problem;

/// The largest body that is accepted.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// The part of a larger body that is read and dropped. A client that still sends when the connection closes would not
/// see the answer.
const DRAINED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The time within which a body must arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// The UTF-8 byte-order mark.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The fields of a JSON object. An object that has a key twice is refused, because parsers differ in which value counts.
#[derive(Debug)]
pub struct JsonObject(pub Map<String, Value>);

impl<S: Sync> FromRequest<S> for JsonObject {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let is_json = is_json(request.headers());
        let body = timeout(BODY_DEADLINE, read(request.into_body())).await.map_err(|_| {
            let detail = format!("The body did not arrive within {} s.", BODY_DEADLINE.as_secs());
            Problem::new(StatusCode::REQUEST_TIMEOUT, detail)
        })??;
        if !is_json {
            let detail = "The body must be JSON; send it with Content-Type: application/json.";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        Self::from_json(&body).map_err(|error| {
            Problem::new(StatusCode::BAD_REQUEST, format!("The body is not a JSON object: {error}."))
        })
    }
}

impl JsonObject {
    /// Reads an object. A byte-order mark before it is passed over: editors and spreadsheets write it unasked.
    ///
    /// # Errors
    /// If this is not a JSON object, or a field is given twice.
    pub fn from_json(json: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(json.strip_prefix(BYTE_ORDER_MARK).unwrap_or(json))
    }
}

impl<'de> Deserialize<'de> for JsonObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(UniqueFields).map(Self)
    }
}

struct UniqueFields;

impl<'de> Visitor<'de> for UniqueFields {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut fields = Map::new();
        while let Some((field, value)) = entries.next_entry::<String, Value>()? {
            if fields.contains_key(&field) {
                return Err(A::Error::custom(format_args!("the field {field:?} is given twice")));
            }
            fields.insert(field, value);
        }
        Ok(fields)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let media_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

async fn read(body: Body) -> Result<Vec<u8>, Problem> {
    let mut chunks = body.into_data_stream();
    let (mut kept, mut size) = (Vec::new(), 0);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| {
            Problem::new(StatusCode::BAD_REQUEST, format!("The body ended early: {error}."))
        })?;
        size += chunk.len();
        if size > DRAINED_BYTES_MAX {
            break;
        } else if size <= BODY_BYTES_MAX {
            kept.extend_from_slice(&chunk);
        } else {
            kept = Vec::new();
        }
    }
    if size > BODY_BYTES_MAX {
        let detail = format!("The body is larger than {} KiB.", BODY_BYTES_MAX / 1024);
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    Ok(kept)
}
