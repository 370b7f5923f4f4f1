//! The batch append: many appends in one call, each with an id and an answer of its own. The appends are
//! written in the order in which they came, several at a time.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use async_stream::stream;
use futures::{StreamExt, stream::FuturesOrdered};
use prost::Message;
use prost_types::Any;
use tokio::time::{Instant, timeout_at};
use tonic::{Code, Status, Streaming};
use uuid::Uuid;

use super::{
    append::IncomingEvents,
    convert,
    proto::{
        rpc,
        shared::{self, AllStreamPosition, StreamIdentifier},
        streams::{
            BatchAppendReq, BatchAppendResp,
            batch_append_req::{
                Options,
                options::{DeadlineOption, ExpectedStreamPosition},
            },
            batch_append_resp::{
                Result as Outcome, Success,
                success::{CurrentRevisionOption, PositionOption},
            },
        },
    },
    shared::{NodeContext, ResponseStream},
    status,
};
use crate::{
    append_request::MAX_APPEND_BYTES,
    sqlite::{StreamWrite, WriteCondition, WriteError, WriteReceipt},
};

const BAD_REQUEST: &str = "BadRequest";
const TIMEOUT: &str = "Timeout";
const TOO_LARGE: &str = "MaximumAppendSizeExceeded";

/// The largest number of appends of one call that are written at the same time.
const MAX_IN_FLIGHT: usize = 64;

/// The largest number of appends of one call that have begun and are not complete.
const MAX_OPEN: usize = 64;

pub(super) fn append(
    node: NodeContext,
    mut requests: Streaming<BatchAppendReq>,
) -> ResponseStream<BatchAppendResp> {
    Box::pin(stream! {
        let mut open: HashMap<Uuid, OpenAppend> = HashMap::new();
        let mut in_flight = FuturesOrdered::new();
        let mut more = true;
        while more || !in_flight.is_empty() {
            let request = tokio::select! {
                () = node.stopping.cancelled() => {
                    yield Err(status::shutting_down());
                    return;
                }
                Some(answer) = in_flight.next(), if !in_flight.is_empty() => {
                    yield Ok(answer);
                    continue;
                }
                request = requests.message(), if more && in_flight.len() < MAX_IN_FLIGHT => request,
            };
            let request = match request {
                Ok(Some(request)) => request,
                Ok(None) => {
                    more = false;
                    continue;
                }
                Err(error) => {
                    yield Err(error);
                    return;
                }
            };
            match receive(&mut open, request) {
                Ok(Some(complete)) => in_flight.push_back(write(node.clone(), complete)),
                Ok(None) => {}
                Err(error) => {
                    yield Err(error);
                    return;
                }
            }
        }
    })
}

/// An append whose events are still being received. If it is invalid, the client hears so when the append
/// is complete.
struct OpenAppend {
    /// The append's id in the form that the client sent, which its answer repeats.
    correlation_id: Option<shared::Uuid>,
    options: Options,
    events: Result<IncomingEvents, Status>,
    /// `None` if the client set no deadline.
    deadline: Option<Instant>,
}

/// Adds a part to its append. Returns the append if that was its last part.
fn receive(
    open: &mut HashMap<Uuid, OpenAppend>,
    request: BatchAppendReq,
) -> Result<Option<OpenAppend>, Status> {
    let id = convert::parse_id(request.correlation_id.clone())?;
    if let Some(options) = request.options {
        let deadline = deadline(options.deadline_option);
        let (correlation_id, events) = (request.correlation_id, Ok(IncomingEvents::default()));
        open.insert(id, OpenAppend { correlation_id, options, events, deadline });
    }
    if open.len() > MAX_OPEN {
        return Err(Status::resource_exhausted(format!(
            "at most {MAX_OPEN} appends of a call may be incomplete"
        )));
    }
    let Some(append) = open.get_mut(&id) else {
        return Err(Status::invalid_argument("the first part of an append must have its options"));
    };
    for message in request.proposed_messages {
        let added = match &mut append.events {
            Ok(events) => convert::proposed(message).and_then(|event| events.push(event)),
            // The rest of an invalid append is dropped.
            Err(_) => break,
        };
        if let Err(error) = added {
            append.events = Err(error);
        }
    }
    Ok(if request.is_final { open.remove(&id) } else { None })
}

async fn write(node: NodeContext, append: OpenAppend) -> BatchAppendResp {
    let OpenAppend { correlation_id, options, events, deadline } = append;
    let stream_identifier = options.stream_identifier.clone();
    let condition = match options.expected_stream_position {
        Some(ExpectedStreamPosition::StreamPosition(revision)) => Ok(convert::expected_revision(revision)),
        Some(ExpectedStreamPosition::NoStream(())) => Ok(WriteCondition::NoStream),
        Some(ExpectedStreamPosition::StreamExists(())) => Ok(WriteCondition::StreamExists),
        Some(ExpectedStreamPosition::Any(())) => Ok(WriteCondition::Any),
        None => Err(Status::invalid_argument("the append has no expected position")),
    };
    let written = match (convert::stream_name(options.stream_identifier), condition, events) {
        _ if deadline.is_some_and(|deadline| deadline <= Instant::now()) => Err(too_late()),
        (Ok(stream), Ok(condition), Ok(events)) => {
            let write = StreamWrite { stream, condition, action: events.into_action() };
            let outcome = match deadline {
                Some(deadline) => timeout_at(deadline, node.store.write(write)).await,
                None => Ok(node.store.write(write).await),
            };
            match outcome {
                Ok(Ok(receipt)) => Ok(receipt),
                Ok(Err(error)) => Err(write_failed(&error, condition, stream_identifier.clone())),
                Err(_) => Err(too_late()),
            }
        }
        (Err(error), _, _) | (_, Err(error), _) | (_, _, Err(error)) => Err(invalid(&error)),
    };
    BatchAppendResp {
        correlation_id,
        result: Some(match written {
            Ok(receipt) => Outcome::Success(success(receipt)),
            Err(status) => Outcome::Error(status),
        }),
        stream_identifier: Some(stream_identifier.unwrap_or_default()),
        // EventStoreDB leaves it out too.
        expected_stream_position: None,
    }
}

/// Returns the moment at which an append is given up. A deadline that is too far away is none.
fn deadline(option: Option<DeadlineOption>) -> Option<Instant> {
    let left = match option? {
        DeadlineOption::Deadline(duration) => Duration::try_from(duration).unwrap_or_default(),
        DeadlineOption::Deadline21100(moment) => {
            let moment = SystemTime::try_from(moment).ok()?;
            moment.duration_since(SystemTime::now()).unwrap_or_default()
        }
    };
    Instant::now().checked_add(left)
}

fn success(receipt: WriteReceipt) -> Success {
    Success {
        current_revision_option: Some(match receipt.revision {
            Some(revision) => CurrentRevisionOption::CurrentRevision(revision),
            None => CurrentRevisionOption::NoStream(()),
        }),
        position_option: Some(PositionOption::Position(AllStreamPosition {
            commit_position: receipt.position.0,
            prepare_position: receipt.position.0,
        })),
    }
}

fn write_failed(
    failure: &WriteError,
    expected: WriteCondition,
    stream: Option<StreamIdentifier>,
) -> rpc::Status {
    use shared::wrong_expected_version::{
        CurrentStreamRevisionOption as Current, ExpectedStreamPositionOption as ExpectedOption,
    };
    match failure {
        WriteError::Conflict { actual } => {
            let details = shared::WrongExpectedVersion {
                current_stream_revision_option: Some(match actual {
                    Some(revision) => Current::CurrentStreamRevision(*revision),
                    None => Current::CurrentNoStream(()),
                }),
                expected_stream_position_option: Some(match expected {
                    WriteCondition::Exact(revision) => ExpectedOption::ExpectedStreamPosition(revision),
                    WriteCondition::Any => ExpectedOption::ExpectedAny(()),
                    WriteCondition::StreamExists => ExpectedOption::ExpectedStreamExists(()),
                    WriteCondition::NoStream => ExpectedOption::ExpectedNoStream(()),
                }),
            };
            error(Code::AlreadyExists, "WrongExpectedVersion", "WrongExpectedVersion", &details)
        }
        WriteError::StreamDeleted => {
            let details = shared::StreamDeleted { stream_identifier: stream };
            error(Code::NotFound, "StreamDeleted", "StreamDeleted", &details)
        }
        WriteError::Corrupt(why) => {
            rpc::Status { code: Code::DataLoss.into(), message: why.clone(), details: None }
        }
        WriteError::Unavailable(why) => error(Code::DeadlineExceeded, why, TIMEOUT, &shared::Timeout {}),
    }
}

fn invalid(why: &Status) -> rpc::Status {
    if status::is_append_too_large(why) {
        let details = shared::MaximumAppendSizeExceeded { max_append_size: MAX_APPEND_BYTES as u32 };
        return error(Code::InvalidArgument, TOO_LARGE, TOO_LARGE, &details);
    }
    let details = shared::BadRequest { message: why.message().to_owned() };
    error(Code::InvalidArgument, BAD_REQUEST, BAD_REQUEST, &details)
}

fn too_late() -> rpc::Status {
    error(Code::DeadlineExceeded, TIMEOUT, TIMEOUT, &shared::Timeout {})
}

fn error(code: Code, message: &str, kind: &str, details: &impl Message) -> rpc::Status {
    let type_url = format!("type.googleapis.com/event_store.client.{kind}");
    let details = Some(Any { type_url, value: details.encode_to_vec() });
    rpc::Status { code: code.into(), message: message.to_owned(), details }
}
