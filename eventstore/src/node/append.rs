//! Calls that write to one stream: append, delete, tombstone.

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
                Position, Result as Outcome, Success, WrongExpectedVersion,
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
    Revision, SqliteStore, StreamName,
    sqlite::{Action, Condition, MAX_APPEND_BYTES, Proposed, Rejected, Write, Written},
};

/// How long a client may take to send an append.
const RECEIVE_DEADLINE: Duration = Duration::from_secs(60);

pub(super) async fn append(
    store: &SqliteStore,
    mut messages: Streaming<AppendReq>,
) -> Result<AppendResp, Status> {
    let received = timeout(RECEIVE_DEADLINE, receive(&mut messages)).await;
    let (stream, condition, events) =
        received.map_err(|_| Status::deadline_exceeded("the append did not come to its end"))??;
    let write = Write { stream: stream.clone(), condition, action: events.into_action() };
    let outcome = match store.write(write).await {
        Ok(written) => Outcome::Success(success(written)),
        Err(Rejected::Conflict { actual }) => Outcome::WrongExpectedVersion(wrong_version(condition, actual)),
        Err(why) => return Err(status::rejected(&stream, condition, &why)),
    };
    Ok(AppendResp { result: Some(outcome) })
}

/// Takes in a whole append.
async fn receive(messages: &mut Streaming<AppendReq>) -> Result<(StreamName, Condition, Events), Status> {
    let first = messages.message().await?.and_then(|message| message.content);
    let Some(Content::Options(options)) = first else {
        return Err(Status::invalid_argument("an append begins with its options"));
    };
    let stream = convert::stream_name(options.stream_identifier)?;
    let condition = match options.expected_stream_revision {
        Some(Appending::Revision(revision)) => Condition::Exact(revision),
        Some(Appending::NoStream(_)) => Condition::NoStream,
        Some(Appending::Any(_)) => Condition::Any,
        Some(Appending::StreamExists(_)) => Condition::StreamExists,
        None => return Err(Status::invalid_argument("the expected revision is missing")),
    };
    let mut events = Events::default();
    while let Some(message) = messages.message().await? {
        let Some(Content::ProposedMessage(message)) = message.content else {
            return Err(Status::invalid_argument("options come once, then events"));
        };
        events.push(convert::proposed(message)?)?;
    }
    Ok((stream, condition, events))
}

pub(super) async fn delete(store: &SqliteStore, request: DeleteReq) -> Result<DeleteResp, Status> {
    let options = request.options.ok_or_else(|| Status::invalid_argument("the options are missing"))?;
    let condition = match options.expected_stream_revision {
        Some(Deleting::Revision(revision)) => Condition::Exact(revision),
        Some(Deleting::NoStream(_)) => Condition::NoStream,
        Some(Deleting::Any(_)) => Condition::Any,
        Some(Deleting::StreamExists(_)) => Condition::StreamExists,
        None => return Err(Status::invalid_argument("the expected revision is missing")),
    };
    let written = remove(store, options.stream_identifier, condition, Action::Delete).await?;
    let position = match written.position {
        Some(at) => delete_resp::PositionOption::Position(delete_resp::Position {
            commit_position: at.0,
            prepare_position: at.0,
        }),
        None => delete_resp::PositionOption::NoPosition(NOTHING),
    };
    Ok(DeleteResp { position_option: Some(position) })
}

pub(super) async fn tombstone(store: &SqliteStore, request: TombstoneReq) -> Result<TombstoneResp, Status> {
    let options = request.options.ok_or_else(|| Status::invalid_argument("the options are missing"))?;
    let condition = match options.expected_stream_revision {
        Some(Tombstoning::Revision(revision)) => Condition::Exact(revision),
        Some(Tombstoning::NoStream(_)) => Condition::NoStream,
        Some(Tombstoning::Any(_)) => Condition::Any,
        Some(Tombstoning::StreamExists(_)) => Condition::StreamExists,
        None => return Err(Status::invalid_argument("the expected revision is missing")),
    };
    let written = remove(store, options.stream_identifier, condition, Action::Tombstone).await?;
    let position = match written.position {
        Some(at) => tombstone_resp::PositionOption::Position(tombstone_resp::Position {
            commit_position: at.0,
            prepare_position: at.0,
        }),
        None => tombstone_resp::PositionOption::NoPosition(NOTHING),
    };
    Ok(TombstoneResp { position_option: Some(position) })
}

async fn remove(
    store: &SqliteStore,
    stream: Option<StreamIdentifier>,
    condition: Condition,
    action: Action,
) -> Result<Written, Status> {
    let stream: StreamName = convert::stream_name(stream)?;
    let write = Write { stream: stream.clone(), condition, action };
    store.write(write).await.map_err(|why| status::rejected(&stream, condition, &why))
}

/// Events on their way in, never more than an append may carry.
#[derive(Default)]
pub(super) struct Events {
    events: Vec<Proposed>,
    bytes: usize,
}

impl Events {
    pub(super) fn push(&mut self, event: Proposed) -> Result<(), Status> {
        self.bytes += event.size();
        if self.bytes > MAX_APPEND_BYTES {
            return Err(status::append_too_large());
        }
        self.events.push(event);
        Ok(())
    }

    pub(super) fn into_action(self) -> Action {
        Action::Append(self.events)
    }
}

fn success(written: Written) -> Success {
    Success {
        current_revision_option: Some(match written.revision {
            Some(revision) => CurrentRevisionOption::CurrentRevision(revision),
            None => CurrentRevisionOption::NoStream(NOTHING),
        }),
        position_option: Some(match written.position {
            Some(at) => PositionOption::Position(Position { commit_position: at.0, prepare_position: at.0 }),
            None => PositionOption::NoPosition(NOTHING),
        }),
    }
}

/// Said twice, for clients of before 20.6.1 read the older fields. Those knew
/// no word for a stream that must not exist.
fn wrong_version(expected: Condition, actual: Option<Revision>) -> WrongExpectedVersion {
    const EMPTY: Empty = NOTHING;
    let (expected, expected_2060) = match expected {
        Condition::Exact(revision) => (
            ExpectedOption::ExpectedRevision(revision),
            Some(ExpectedOption2060::ExpectedRevision2060(revision)),
        ),
        Condition::Any => (ExpectedOption::ExpectedAny(EMPTY), Some(ExpectedOption2060::Any2060(EMPTY))),
        Condition::StreamExists => {
            (ExpectedOption::ExpectedStreamExists(EMPTY), Some(ExpectedOption2060::StreamExists2060(EMPTY)))
        }
        Condition::NoStream => (ExpectedOption::ExpectedNoStream(EMPTY), None),
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
