//! The body of a request: one JSON object, of bounded size, within a bounded time.

use std::{fmt, time::Duration};

use axum::{
    body::Body,
    extract::{FromRequest, Request},
    http::{HeaderMap, StatusCode, header},
};
use futures::StreamExt;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::problem::Problem;

/// The largest body that is taken.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// How much of a larger one is read and thrown away: a client that is still
/// sending when the connection closes would not see why.
const DRAINED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long a body may take to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// The fields of a JSON object, each given once.
#[derive(Debug)]
pub(super) struct Fields(pub(super) Map<String, Value>);

impl<S: Sync> FromRequest<S> for Fields {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let is_json = is_json(request.headers());
        let body = timeout(BODY_DEADLINE, read(request.into_body())).await.map_err(|_| {
            let detail = format!("The body did not arrive within {} s.", BODY_DEADLINE.as_secs());
            Problem::new(StatusCode::REQUEST_TIMEOUT, detail)
        })??;
        if !is_json {
            let detail = "The body is JSON: send it with Content-Type: application/json.";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        serde_json::from_slice(&body).map_err(|error| {
            Problem::new(StatusCode::BAD_REQUEST, format!("The body is not a JSON object: {error}."))
        })
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EachOnce;

        impl<'de> Visitor<'de> for EachOnce {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Fields, A::Error> {
                let mut fields = Map::new();
                while let Some((field, value)) = entries.next_entry::<String, Value>()? {
                    if fields.contains_key(&field) {
                        return Err(A::Error::custom(format_args!("the field {field:?} is given twice")));
                    }
                    fields.insert(field, value);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(EachOnce)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

async fn read(body: Body) -> Result<Vec<u8>, Problem> {
    let mut chunks = body.into_data_stream();
    let (mut taken, mut size) = (Vec::new(), 0);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| {
            Problem::new(StatusCode::BAD_REQUEST, format!("The body broke off: {error}."))
        })?;
        size += chunk.len();
        if size > DRAINED_BYTES_MAX {
            break;
        } else if size <= BODY_BYTES_MAX {
            taken.extend_from_slice(&chunk);
        } else {
            taken = Vec::new();
        }
    }
    if size > BODY_BYTES_MAX {
        let detail = format!("The body is larger than {} KiB.", BODY_BYTES_MAX / 1024);
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    Ok(taken)
}
