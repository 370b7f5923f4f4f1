//! The meaning of a server's errors: which calls are worth repeating, and what an operator does about the others.

use std::{error::Error, iter};

use tonic::{Code, Status};

use super::{address::ServerHost, connector::ConnectFailure};
use crate::{AppendError, ReadError};

/// The reason why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CallError {
    /// The stream was deleted for good.
    StreamDeleted,
    /// The place that the call named is beyond the end of the log.
    BeyondEnd,
    /// The place that the call named is none of this log.
    OtherLog(String),
    /// The server refused, and would refuse the same call again.
    Refused(String),
    /// The server's log is damaged.
    Corrupt(String),
    /// No server answered in time.
    Unavailable(String),
}

/// What to do after a server's error.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CallVerdict {
    /// The same call would fail the same way again.
    Final(CallError),
    /// Another server is the leader.
    Redirected(ServerHost),
    /// The call is worth repeating; the text says why it failed.
    Repeat(String),
}

/// The part of the log that a call concerns, which decides the right that it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallSubject {
    Stream,
    /// The whole log, `$all`.
    Log,
}

impl CallVerdict {
    /// Judges an error. `user` is the name that the call was made with.
    pub(super) fn of(status: &Status, subject: CallSubject, user: Option<&str>) -> Self {
        let trailer = |name| status.metadata().get(name).and_then(|value| value.to_str().ok());
        let message = status.message();
        match (trailer("exception"), status.code()) {
            (Some("not-leader"), _) => {
                let port = trailer("leader-endpoint-port").and_then(|port| port.parse().ok());
                match trailer("leader-endpoint-host").zip(port) {
                    Some((host, port)) => Self::Redirected(ServerHost { host: host.to_owned(), port }),
                    None => Self::Repeat("the cluster has no leader at present".to_owned()),
                }
            }
            (Some("stream-deleted"), _) => Self::Final(CallError::StreamDeleted),
            (_, Code::DataLoss) => Self::Final(CallError::Corrupt(message.to_owned())),
            (_, Code::OutOfRange) => Self::Final(CallError::BeyondEnd),
            (_, Code::Unauthenticated) => refused(wrong_login(user)),
            (_, Code::PermissionDenied) => refused(no_right(subject, user)),
            (_, Code::InvalidArgument | Code::FailedPrecondition | Code::AlreadyExists) => {
                refused(message.to_owned())
            }
            (_, Code::Unimplemented) => refused(format!(
                "the server does not know this call; version 23.10 or later is needed ({message})"
            )),
            // What the servers say of an offset at which no event begins.
            (_, Code::Unknown)
                if message.contains("InvalidPosition") || message.contains("Unexpected ReadAllResult") =>
            {
                Self::Final(CallError::OtherLog(format!("no event stands there ({message})")))
            }
            _ => Self::Repeat(cause(status)),
        }
    }
}

/// Returns true if the server ended this call alone, and neither the connection nor its other calls.
pub(super) fn is_reset(status: &Status) -> bool {
    let causes = iter::successors(status.source(), |error| (**error).source());
    causes
        .filter_map(|error| error.downcast_ref::<h2::Error>())
        .any(|error| error.is_reset() && error.is_remote())
}

fn refused(why: String) -> CallVerdict {
    CallVerdict::Final(CallError::Refused(why))
}

fn wrong_login(user: Option<&str>) -> String {
    match user {
        Some(user) => format!(
            "the server does not know the user {user:?} with that password; \
             check the login in the event store's address"
        ),
        None => "the server wants a login; write USER:PASSWORD@ before the host in the event store's address"
            .to_owned(),
    }
}

fn no_right(subject: CallSubject, user: Option<&str>) -> String {
    let Some(user) = user else { return wrong_login(None) };
    match subject {
        CallSubject::Log => format!(
            "the user {user:?} may not read $all; an administrator grants it by appending a $metadata event with the data \
             {{\"$acl\": {{\"$r\": [\"{user}\", \"$admins\"]}}}} to the stream $$$all"
        ),
        CallSubject::Stream => format!(
            "the user {user:?} may not use this stream; an administrator grants it with the stream's $acl"
        ),
    }
}

/// Returns the deepest known cause of an error: why there is no connection, or else the server's message.
fn cause(status: &Status) -> String {
    let mut source = status.source();
    while let Some(error) = source {
        if let Some(failure) = error.downcast_ref::<ConnectFailure>() {
            return failure.to_string();
        }
        source = error.source();
    }
    format!("{} ({:?})", status.message(), status.code())
}

impl From<CallError> for ReadError {
    fn from(error: CallError) -> Self {
        match error {
            // The caller that names a stream or a position tells these apart itself.
            CallError::StreamDeleted => Self::Refused("the stream was deleted for good".to_owned()),
            CallError::BeyondEnd => {
                Self::Refused("the position is beyond the end of the event log".to_owned())
            }
            CallError::OtherLog(why) | CallError::Refused(why) => Self::Refused(why),
            CallError::Corrupt(why) => Self::Corrupt(why),
            CallError::Unavailable(why) => Self::Unavailable(why),
        }
    }
}

impl From<CallError> for AppendError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::StreamDeleted => Self::Refused("the stream was deleted for good".to_owned()),
            CallError::BeyondEnd => {
                Self::Refused("the position is beyond the end of the event log".to_owned())
            }
            CallError::OtherLog(why) | CallError::Refused(why) => Self::Refused(why),
            CallError::Corrupt(why) => Self::Corrupt(why),
            CallError::Unavailable(why) => Self::Unavailable(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: Status, user: Option<&str>) -> String {
        match CallVerdict::of(&status, CallSubject::Log, user) {
            CallVerdict::Final(CallError::Refused(why) | CallError::OtherLog(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_data_loss_means_that_the_log_is_damaged() {
        let judged = |status: Status| CallVerdict::of(&status, CallSubject::Stream, None);
        assert_eq!(
            judged(Status::data_loss("page 7 is damaged")),
            CallVerdict::Final(CallError::Corrupt("page 7 is damaged".to_owned()))
        );
        for status in [
            Status::unavailable("DataLoss"),
            Status::internal("x"),
            Status::unknown("Exception was thrown by handler."),
            Status::aborted("Operation timed out: Commit phase timeout."),
            Status::not_found("Leader info available"),
        ] {
            assert!(matches!(judged(status.clone()), CallVerdict::Repeat(_)), "{status:?}");
        }
    }

    #[test]
    fn a_refusal_names_its_cause_and_its_remedy() {
        let why = judged(Status::unauthenticated("Unauthenticated"), Some("ada"));
        assert!(why.contains("\"ada\"") && why.contains("check the login"), "{why}");
        let why = judged(Status::permission_denied("Access Denied"), Some("ada"));
        assert!(
            why.contains("may not read $all") && why.contains("{\"$acl\": {\"$r\": [\"ada\", \"$admins\"]}}"),
            "{why}"
        );
        let why = judged(Status::permission_denied("Access Denied"), None);
        assert!(why.contains("USER:PASSWORD@"), "{why}");
    }

    #[test]
    fn an_offset_without_an_event_is_refused_and_not_repeated() {
        for message in ["Unexpected ReadAllResult: Error", "Unexpected ReadAllResult: InvalidPosition"] {
            assert!(judged(Status::unknown(message), None).contains("no event stands there"), "{message}");
        }
    }

    #[test]
    fn a_follower_names_the_leader() {
        let mut status = Status::not_found("Leader info available");
        for (name, value) in [
            ("exception", "not-leader"),
            ("leader-endpoint-host", "127.0.0.1"),
            ("leader-endpoint-port", "2213"),
        ] {
            status.metadata_mut().insert(name, value.parse().unwrap());
        }
        let leader = ServerHost { host: "127.0.0.1".to_owned(), port: 2213 };
        assert_eq!(CallVerdict::of(&status, CallSubject::Log, None), CallVerdict::Redirected(leader));
    }
}
