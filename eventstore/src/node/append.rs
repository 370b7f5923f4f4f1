//! The calls that write to one stream: append, delete and tombstone.

use std::time::Duration;

use tokio::time::timeout;
use tonic::{Status, Streaming};

use super::{
    convert::{self, NOTHING},
    proto::{
        shared::{Empty, StreamIdentifier},
        streams::{
            AppendReq, AppendResp, DeleteReq, DeleteResp, TombstoneReq, TombstoneResp,
            append_req::{Content, options::ExpectedStreamRevision as Appending},
            append_resp::{
                Position as WirePosition, Result as Outcome, Success, WrongExpectedVersion,
                success::{CurrentRevisionOption, PositionOption},
                wrong_expected_version::{
                    CurrentRevisionOption as Current, CurrentRevisionOption2060 as Current2060,
                    ExpectedRevisionOption as ExpectedOption,
                    ExpectedRevisionOption2060 as ExpectedOption2060,
                },
            },
            delete_req::options::ExpectedStreamRevision as Deleting,
            delete_resp,
            tombstone_req::options::ExpectedStreamRevision as Tombstoning,
            tombstone_resp,
        },
    },
    status,
};
use crate::{
    Position, Revision, SqliteStore, StreamName,
    append_request::{MAX_APPEND_BYTES, MAX_APPEND_EVENTS, ProposedEvent},
    sqlite::{StreamWrite, WriteAction, WriteCondition, WriteError, WriteReceipt},
};

/// The longest time that a client may take to send an append.
const RECEIVE_DEADLINE: Duration = Duration::from_secs(60);

pub(super) async fn append(
    store: &SqliteStore,
    mut messages: Streaming<AppendReq>,
) -> Result<AppendResp, Status> {
    let received = timeout(RECEIVE_DEADLINE, receive(&mut messages)).await;
    let (stream, condition, events) =
        received.map_err(|_| Status::deadline_exceeded("the append was not complete in time"))??;
    let write = StreamWrite { stream: stream.clone(), condition, action: events.into_action() };
    let outcome = match store.write(write).await {
        Ok(receipt) => Outcome::Success(success(receipt)),
        Err(WriteError::Conflict { actual }) => {
            Outcome::WrongExpectedVersion(wrong_version(condition, actual))
        }
        Err(error) => return Err(status::write_failed(&stream, condition, &error)),
    };
    Ok(AppendResp { result: Some(outcome) })
}

/// Receives all messages of an append.
async fn receive(
    messages: &mut Streaming<AppendReq>,
) -> Result<(StreamName, WriteCondition, IncomingEvents), Status> {
    let first = messages.message().await?.and_then(|message| message.content);
    let Some(Content::Options(options)) = first else {
        return Err(Status::invalid_argument("the first message of an append must be its options"));
    };
    let stream = convert::stream_name(options.stream_identifier)?;
    let condition = match options.expected_stream_revision {
        Some(Appending::Revision(revision)) => convert::expected_revision(revision),
        Some(Appending::NoStream(_)) => WriteCondition::NoStream,
        Some(Appending::Any(_)) => WriteCondition::Any,
        Some(Appending::StreamExists(_)) => WriteCondition::StreamExists,
        None => return Err(Status::invalid_argument("the request has no expected revision")),
    };
    let mut events = IncomingEvents::default();
    while let Some(message) = messages.message().await? {
        let Some(Content::ProposedMessage(message)) = message.content else {
            return Err(Status::invalid_argument("only the first message of an append may be its options"));
        };
        events.push(convert::proposed(message)?)?;
    }
    Ok((stream, condition, events))
}

pub(super) async fn delete(store: &SqliteStore, request: DeleteReq) -> Result<DeleteResp, Status> {
    let options = request.options.ok_or_else(|| Status::invalid_argument("the request has no options"))?;
    let condition = match options.expected_stream_revision {
        Some(Deleting::Revision(revision)) => convert::expected_revision(revision),
        Some(Deleting::NoStream(_)) => WriteCondition::NoStream,
        Some(Deleting::Any(_)) => WriteCondition::Any,
        Some(Deleting::StreamExists(_)) => WriteCondition::StreamExists,
        None => return Err(Status::invalid_argument("the request has no expected revision")),
    };
    let receipt = remove(store, options.stream_identifier, condition, WriteAction::Delete).await?;
    let Position(at) = receipt.position;
    let position = delete_resp::PositionOption::Position(delete_resp::Position {
        commit_position: at,
        prepare_position: at,
    });
    Ok(DeleteResp { position_option: Some(position) })
}

pub(super) async fn tombstone(store: &SqliteStore, request: TombstoneReq) -> Result<TombstoneResp, Status> {
    let options = request.options.ok_or_else(|| Status::invalid_argument("the request has no options"))?;
    let condition = match options.expected_stream_revision {
        Some(Tombstoning::Revision(revision)) => convert::expected_revision(revision),
        Some(Tombstoning::NoStream(_)) => WriteCondition::NoStream,
        Some(Tombstoning::Any(_)) => WriteCondition::Any,
        Some(Tombstoning::StreamExists(_)) => WriteCondition::StreamExists,
        None => return Err(Status::invalid_argument("the request has no expected revision")),
    };
    let receipt = remove(store, options.stream_identifier, condition, WriteAction::Tombstone).await?;
    let Position(at) = receipt.position;
    let position = tombstone_resp::PositionOption::Position(tombstone_resp::Position {
        commit_position: at,
        prepare_position: at,
    });
    Ok(TombstoneResp { position_option: Some(position) })
}

async fn remove(
    store: &SqliteStore,
    stream: Option<StreamIdentifier>,
    condition: WriteCondition,
    action: WriteAction,
) -> Result<WriteReceipt, Status> {
    let stream: StreamName = convert::stream_name(stream)?;
    let write = StreamWrite { stream: stream.clone(), condition, action };
    store.write(write).await.map_err(|error| status::write_failed(&stream, condition, &error))
}

/// The events of an append that is being received, never more than an append may carry.
#[derive(Default)]
pub(super) struct IncomingEvents {
    events: Vec<ProposedEvent>,
    bytes: usize,
}

impl IncomingEvents {
    pub(super) fn push(&mut self, event: ProposedEvent) -> Result<(), Status> {
        self.bytes += event.size();
        if self.bytes > MAX_APPEND_BYTES {
            return Err(status::append_too_large());
        }
        if self.events.len() == MAX_APPEND_EVENTS {
            return Err(Status::invalid_argument(format!(
                "an append has at most {MAX_APPEND_EVENTS} events"
            )));
        }
        self.events.push(event);
        Ok(())
    }

    pub(super) fn into_action(self) -> WriteAction {
        WriteAction::Append(self.events)
    }
}

fn success(receipt: WriteReceipt) -> Success {
    Success {
        current_revision_option: Some(match receipt.revision {
            Some(revision) => CurrentRevisionOption::CurrentRevision(revision),
            None => CurrentRevisionOption::NoStream(NOTHING),
        }),
        position_option: Some(PositionOption::Position(WirePosition {
            commit_position: receipt.position.0,
            prepare_position: receipt.position.0,
        })),
    }
}

/// Fills in the result twice, because clients before 20.6.1 read the older fields.
fn wrong_version(expected: WriteCondition, actual: Option<Revision>) -> WrongExpectedVersion {
    const EMPTY: Empty = NOTHING;
    let (expected, expected_2060) = match expected {
        WriteCondition::Exact(revision) => (
            ExpectedOption::ExpectedRevision(revision),
            Some(ExpectedOption2060::ExpectedRevision2060(revision)),
        ),
        WriteCondition::Any => (ExpectedOption::ExpectedAny(EMPTY), Some(ExpectedOption2060::Any2060(EMPTY))),
        WriteCondition::StreamExists => {
            (ExpectedOption::ExpectedStreamExists(EMPTY), Some(ExpectedOption2060::StreamExists2060(EMPTY)))
        }
        WriteCondition::NoStream => (
            ExpectedOption::ExpectedNoStream(EMPTY),
            Some(ExpectedOption2060::ExpectedRevision2060(Revision::MAX)),
        ),
    };
    let (current, current_2060) = match actual {
        Some(revision) => (Current::CurrentRevision(revision), Current2060::CurrentRevision2060(revision)),
        None => (Current::CurrentNoStream(EMPTY), Current2060::NoStream2060(EMPTY)),
    };
    WrongExpectedVersion {
        current_revision_option_20_6_0: Some(current_2060),
        expected_revision_option_20_6_0: expected_2060,
        current_revision_option: Some(current),
        expected_revision_option: Some(expected),
    }
}
