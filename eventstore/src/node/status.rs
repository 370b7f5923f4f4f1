//! Errors in the form that clients parse: a gRPC status, and trailers that
//! name the exception.

use tonic::{
    Code, Status,
    metadata::{Ascii, MetadataValue},
};
use uuid::Uuid;

use crate::{
    ReadError, Revision, StreamName,
    sqlite::{Condition, MAX_APPEND_BYTES, Rejected},
};

const APPEND_TOO_LARGE: &str = "maximum-append-size-exceeded";

pub(super) fn access_denied() -> Status {
    exception(Code::PermissionDenied, "Access Denied.", "access-denied", &[])
}

pub(super) fn stream_deleted(stream: &StreamName) -> Status {
    let message = format!("Event stream '{stream}' is deleted.");
    exception(Code::FailedPrecondition, &message, "stream-deleted", &[("stream-name", stream.as_str())])
}

/// A delete at the wrong revision. (An append answers that as a result.)
pub(super) fn wrong_expected_version(
    stream: &StreamName,
    expected: Condition,
    actual: Option<Revision>,
) -> Status {
    let expected = match expected {
        Condition::NoStream => "-1".to_owned(),
        Condition::Any => "-2".to_owned(),
        Condition::StreamExists => "-4".to_owned(),
        Condition::Exact(revision) => revision.to_string(),
    };
    let actual = actual.map_or("-1".to_owned(), |actual| actual.to_string());
    let message = format!(
        "Append failed due to WrongExpectedVersion. Stream: {stream}, Expected version: {expected}, Actual version: {actual}"
    );
    exception(
        Code::FailedPrecondition,
        &message,
        "wrong-expected-version",
        &[("stream-name", stream.as_str()), ("expected-version", &expected), ("actual-version", &actual)],
    )
}

pub(super) fn append_too_large() -> Status {
    exception(
        Code::InvalidArgument,
        &format!("Maximum Append Size of {MAX_APPEND_BYTES} Exceeded."),
        APPEND_TOO_LARGE,
        &[("maximum-append-size", &MAX_APPEND_BYTES.to_string())],
    )
}

pub(super) fn is_append_too_large(status: &Status) -> bool {
    status.metadata().get("exception").is_some_and(|name| name == APPEND_TOO_LARGE)
}

pub(super) fn missing_metadata(event: Uuid) -> Status {
    exception(
        Code::InvalidArgument,
        &format!("Required Metadata Property Missing of event {event}: type and content-type."),
        "missing-required-metadata-property",
        &[("required-metadata-properties", "type,content-type")],
    )
}

/// Why nothing was read.
pub(super) fn unreadable(error: &ReadError) -> Status {
    match error {
        ReadError::Unavailable(why) => Status::unavailable(why),
        ReadError::Refused(why) => Status::invalid_argument(why),
        ReadError::Undecodable { .. } => Status::data_loss(error.to_string()),
    }
}

/// Why nothing was written, unless an expectation was wrong.
pub(super) fn rejected(stream: &StreamName, condition: Condition, why: &Rejected) -> Status {
    match why {
        Rejected::Gone => stream_deleted(stream),
        Rejected::Conflict { actual } => wrong_expected_version(stream, condition, *actual),
        Rejected::Unavailable(why) => Status::unavailable(why),
    }
}

/// What ends a subscription when the node does. An error, because clients do
/// not expect one to end well: one of them would never stop asking.
pub(super) fn shutting_down() -> Status {
    Status::unavailable("the node is shutting down")
}

fn exception(code: Code, message: &str, name: &'static str, more: &[(&'static str, &str)]) -> Status {
    let mut status = Status::new(code, message);
    let trailers = status.metadata_mut();
    trailers.insert("exception", MetadataValue::from_static(name));
    for (key, value) in more {
        // A name that no header can carry is in the message all the same.
        if let Ok(value) = MetadataValue::<Ascii>::try_from(value.as_bytes()) {
            trailers.insert(*key, value);
        }
    }
    status
}
