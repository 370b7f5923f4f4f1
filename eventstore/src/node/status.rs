//! Errors in the form that clients of EventStoreDB parse: a gRPC status, and trailers that name the
//! exception.

use tonic::{
    Code, Status,
    metadata::{Ascii, MetadataValue},
};

use crate::{
    ReadError, Revision, StreamName,
    append_request::MAX_APPEND_BYTES,
    sqlite::{WriteCondition, WriteError},
};

const APPEND_TOO_LARGE: &str = "maximum-append-size-exceeded";

pub(super) fn access_denied() -> Status {
    exception(Code::PermissionDenied, "Access Denied.", "access-denied", &[])
}

pub(super) fn stream_deleted(stream: &StreamName) -> Status {
    let message = format!("Event stream '{stream}' is deleted.");
    exception(Code::FailedPrecondition, &message, "stream-deleted", &[("stream-name", stream.as_str())])
}

/// Returns the status of a delete at the wrong revision. An append answers with a result instead.
pub(super) fn wrong_expected_version(
    stream: &StreamName,
    expected: WriteCondition,
    actual: Option<Revision>,
) -> Status {
    let expected = match expected {
        WriteCondition::NoStream => "-1".to_owned(),
        WriteCondition::Any => "-2".to_owned(),
        WriteCondition::StreamExists => "-4".to_owned(),
        WriteCondition::Exact(revision) => revision.to_string(),
    };
    let actual = actual.map_or("-1".to_owned(), |actual| actual.to_string());
    let message = format!(
        "Delete failed due to WrongExpectedVersion. Stream: {stream}, Expected version: {expected}, Actual version: {actual}"
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

pub(super) fn missing_metadata(property: &str) -> Status {
    exception(
        Code::InvalidArgument,
        &format!("Required Metadata Property '{property}' is missing"),
        "missing-required-metadata-property",
        &[("required-metadata-properties", "type,content-type")],
    )
}

/// Returns the status of a failed read.
///
/// The EventStoreDB adapter tells these apart: it turns `DATA_LOSS` back into [`ReadError::Corrupt`], the
/// stream's deletion into [`ReadError::StreamDeleted`], and `INVALID_ARGUMENT` into [`ReadError::Refused`].
pub(super) fn read_failed(error: &ReadError) -> Status {
    match error {
        ReadError::Unavailable(why) => Status::unavailable(why),
        ReadError::StreamDeleted(stream) => stream_deleted(stream),
        ReadError::BeyondEnd { .. } => Status::out_of_range(error.to_string()),
        ReadError::OtherLog { .. } => Status::invalid_argument(error.to_string()),
        ReadError::Corrupt(why) => Status::data_loss(why),
        ReadError::DamagedEvent { place, why } => Status::data_loss(format!("{place}: {why}")),
        ReadError::Refused(why) => Status::invalid_argument(why),
        ReadError::Undecodable { .. } => Status::data_loss(error.to_string()),
    }
}

/// Returns the status of a failed write.
pub(super) fn write_failed(stream: &StreamName, condition: WriteCondition, error: &WriteError) -> Status {
    match error {
        WriteError::StreamDeleted => stream_deleted(stream),
        WriteError::Conflict { actual } => wrong_expected_version(stream, condition, *actual),
        WriteError::Corrupt(why) => Status::data_loss(why),
        WriteError::Unavailable(why) => Status::unavailable(why),
    }
}

/// Returns the status that ends a call when the node stops. Subscriptions too must end with an error: the
/// official client loops for ever if one ends well.
pub(super) fn shutting_down() -> Status {
    Status::unavailable("the node is shutting down")
}

fn exception(code: Code, message: &str, name: &'static str, more: &[(&'static str, &str)]) -> Status {
    let mut status = Status::new(code, message);
    let trailers = status.metadata_mut();
    trailers.insert("exception", MetadataValue::from_static(name));
    for (key, value) in more {
        // A stream name that no header can carry is still in the message.
        if let Ok(value) = MetadataValue::<Ascii>::try_from(value.as_bytes()) {
            trailers.insert(*key, value);
        }
    }
    status
}
