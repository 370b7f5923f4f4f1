//! The trouble that a test puts a server in, with the words of a real one.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;
use tonic::{Code, Status, metadata::MetadataMap};

use super::{
    logins::{ServerUser, access_denied},
    offsets::{OffsetKind, kind_of},
};
use crate::Position;

/// Puts a running server in trouble. Clones share the server.
#[derive(Clone, Default)]
pub struct ServerTrouble {
    shared: Arc<SharedTrouble>,
}

#[derive(Default)]
struct SharedTrouble {
    refusal: Mutex<CallRefusal>,
    scavenged: Mutex<BTreeSet<Position>>,
    logins: Mutex<DemandedLogins>,
    /// The number of times that live subscribers were cut off.
    cut_off: watch::Sender<u64>,
}

/// The logins that a server demands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum DemandedLogins {
    #[default]
    None,
    /// `admin:changeit`, who may do everything, and `analyst:analystpw`, who may not read the whole log.
    Demanded,
    /// The same, and an administrator let the analyst read the whole log.
    Granted,
}

#[derive(Default)]
enum CallRefusal {
    #[default]
    None,
    NotReady,
    /// Counts the appends since the quorum was lost.
    QuorumLost(u32),
    Follower {
        host: String,
        port: u16,
    },
}

impl ServerTrouble {
    /// Serves all calls again.
    pub fn end(&self) {
        *self.refusal() = CallRefusal::None;
    }

    /// Demands the login `admin:changeit`, or `analyst:analystpw`, who may not read the whole log.
    pub fn demand_logins(&self) {
        *self.logins() = DemandedLogins::Demanded;
    }

    /// Lets the analyst read the whole log, as an administrator can.
    pub fn grant_log_to_analyst(&self) {
        *self.logins() = DemandedLogins::Granted;
    }

    /// Refuses every append, as a server that has just started.
    pub fn be_not_ready(&self) {
        *self.refusal() = CallRefusal::NotReady;
    }

    /// Refuses every append, as a leader that has lost its followers. Reads and subscriptions go on.
    pub fn lose_quorum(&self) {
        *self.refusal() = CallRefusal::QuorumLost(0);
    }

    /// Refuses every call that requires a leader, and names the leader.
    pub fn follow(&self, host: &str, port: u16) {
        *self.refusal() = CallRefusal::Follower { host: host.to_owned(), port };
    }

    /// Ends every live subscription as if its client were too slow.
    pub fn cut_off_subscribers(&self) {
        self.shared.cut_off.send_modify(|times| *times += 1);
    }

    /// Removes the events at these positions of the server.
    pub fn scavenge(&self, positions: impl IntoIterator<Item = Position>) {
        let removed = positions.into_iter().filter_map(|Position(at)| match kind_of(at, Position(at)) {
            OffsetKind::Place(position) => Some(position),
            OffsetKind::Between | OffsetKind::BeyondEnd(_) => None,
        });
        self.scavenged().extend(removed);
    }

    pub(super) fn is_scavenged(&self, position: Position) -> bool {
        self.scavenged().contains(&position)
    }

    /// Returns the first position after `position` whose event was not removed.
    pub(super) fn next_kept(&self, position: Position) -> Position {
        let scavenged = self.scavenged();
        let mut next = Position(position.0 + 1);
        while scavenged.contains(&next) {
            next.0 += 1;
        }
        next
    }

    /// Returns the position from which a read that asks for `position` begins: events that were removed do not count.
    pub(super) fn kept(&self, position: Position, backwards: bool) -> Position {
        let scavenged = self.scavenged();
        let mut kept = position;
        match backwards {
            true => {
                while kept.0 > 1 && scavenged.contains(&Position(kept.0 - 1)) {
                    kept.0 -= 1;
                }
            }
            false => {
                while scavenged.contains(&kept) {
                    kept.0 += 1;
                }
            }
        }
        kept
    }

    pub(super) fn watch_cut_off(&self) -> watch::Receiver<u64> {
        self.shared.cut_off.subscribe()
    }

    /// Checks the login of a call that reads the whole log or not.
    pub(super) fn check_login(&self, headers: &MetadataMap, reads_log: bool) -> Result<(), Status> {
        let demanded = *self.logins();
        if demanded == DemandedLogins::None {
            return Ok(());
        }
        match ServerUser::of(headers)? {
            ServerUser::Analyst if reads_log && demanded == DemandedLogins::Demanded => Err(access_denied()),
            _ => Ok(()),
        }
    }

    pub(super) fn check_read(&self, headers: &MetadataMap) -> Result<(), Status> {
        match &*self.refusal() {
            CallRefusal::Follower { host, port } if requires_leader(headers) => Err(not_leader(host, *port)),
            _ => Ok(()),
        }
    }

    pub(super) fn check_write(&self, headers: &MetadataMap) -> Result<(), Status> {
        self.check_login(headers, false)?;
        match &mut *self.refusal() {
            CallRefusal::None => Ok(()),
            CallRefusal::NotReady => Err(not_ready()),
            CallRefusal::QuorumLost(appends) => {
                *appends += 1;
                Err(match appends {
                    1 => Status::aborted("Operation timed out: Commit phase timeout."),
                    2 => Status::aborted("Operation timed out: Request canceled by server"),
                    _ => not_ready(),
                })
            }
            CallRefusal::Follower { host, port } if requires_leader(headers) => Err(not_leader(host, *port)),
            // A follower passes other appends on to the leader.
            CallRefusal::Follower { .. } => Ok(()),
        }
    }

    fn logins(&self) -> MutexGuard<'_, DemandedLogins> {
        self.shared.logins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refusal(&self) -> MutexGuard<'_, CallRefusal> {
        self.shared.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn scavenged(&self) -> MutexGuard<'_, BTreeSet<Position>> {
        self.shared.scavenged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn requires_leader(headers: &MetadataMap) -> bool {
    headers.get("requires-leader").is_some_and(|required| required.as_bytes().eq_ignore_ascii_case(b"true"))
}

fn not_ready() -> Status {
    Status::unavailable("Server Is Not Ready")
}

fn not_leader(host: &str, port: u16) -> Status {
    let mut status = Status::new(Code::NotFound, "Leader info available");
    let fields = [
        ("exception", "not-leader".to_owned()),
        ("leader-endpoint-host", host.to_owned()),
        ("leader-endpoint-port", port.to_string()),
    ];
    for (key, value) in fields {
        if let Ok(value) = value.parse() {
            status.metadata_mut().insert(key, value);
        }
    }
    status
}
