//! The logins of a server that demands them: an administrator's, and that of a user in no special group.

use base64::{Engine, engine::general_purpose::STANDARD};
use tonic::{
    Status,
    metadata::{MetadataMap, MetadataValue},
};

/// The administrator's login, as a new server has it.
const ADMINISTRATOR: &str = "admin:changeit";

/// The login of a user in no special group.
const ANALYST: &str = "analyst:analystpw";

/// A user whom a server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServerUser {
    Administrator,
    /// May append to streams and read them, and read the whole log if an administrator granted that.
    Analyst,
}

impl ServerUser {
    /// Returns the user who makes a call.
    ///
    /// # Errors
    /// With the words of 23.10.8 if there is none, or if the login is wrong.
    pub(super) fn of(headers: &MetadataMap) -> Result<Self, Status> {
        let given = headers.get("authorization").and_then(|given| given.as_bytes().strip_prefix(b"Basic "));
        let given = given.ok_or_else(access_denied)?;
        match STANDARD.decode(given).ok().as_deref() {
            Some(login) if login == ADMINISTRATOR.as_bytes() => Ok(Self::Administrator),
            Some(login) if login == ANALYST.as_bytes() => Ok(Self::Analyst),
            _ => Err(Status::unauthenticated("Unauthenticated")),
        }
    }
}

pub(super) fn access_denied() -> Status {
    let mut status = Status::permission_denied("Access Denied");
    status.metadata_mut().insert("exception", MetadataValue::from_static("access-denied"));
    status
}
