//! The check of the node's logins, if it has them: one that may do everything, and one that may only read.

use base64::{Engine, engine::general_purpose::STANDARD};
use tonic::{Request, Status};

use super::status;

/// A user of a node and the user's password, which clients send by HTTP's Basic scheme.
#[derive(Clone)]
pub struct NodeCredentials {
    /// The user's name, without a colon.
    pub user: String,
    /// The user's password, in plain text.
    pub password: String,
}

/// The rights of a client, noted in the extensions of each of its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientRights {
    ReadOnly,
    ReadAndWrite,
}

/// Returns the interceptor that notes the rights of each call's client. Without any login every client has all rights.
pub(super) fn interceptor(
    credentials: Option<NodeCredentials>,
    reader: Option<NodeCredentials>,
) -> impl FnMut(Request<()>) -> Result<Request<()>, Status> + Clone {
    let logins: Vec<_> = [(credentials, ClientRights::ReadAndWrite), (reader, ClientRights::ReadOnly)]
        .into_iter()
        .filter_map(|(login, rights)| Some((login?.header_content(), rights)))
        .collect();
    move |mut request| {
        let rights = if logins.is_empty() { ClientRights::ReadAndWrite } else { rights(&logins, &request)? };
        request.extensions_mut().insert(rights);
        Ok(request)
    }
}

/// Notes all rights on a request, in place of the interceptor.
#[cfg(feature = "testing")]
pub(super) fn admit<T>(request: &mut Request<T>) {
    request.extensions_mut().insert(ClientRights::ReadAndWrite);
}

/// Fails if the client of a request may only read.
pub(super) fn check_may_write<T>(request: &Request<T>) -> Result<(), Status> {
    match request.extensions().get() {
        Some(ClientRights::ReadAndWrite) => Ok(()),
        Some(ClientRights::ReadOnly) | None => Err(status::access_denied()),
    }
}

fn rights(logins: &[(String, ClientRights)], request: &Request<()>) -> Result<ClientRights, Status> {
    let given = request.metadata().get("authorization").ok_or_else(status::access_denied)?;
    let given = given.as_bytes().strip_prefix(b"Basic ").and_then(|given| STANDARD.decode(given).ok());
    let given = given.unwrap_or_default();
    logins
        .iter()
        .find(|(expected, _)| equal_in_constant_time(&given, expected.as_bytes()))
        .map(|(_, rights)| *rights)
        .ok_or_else(|| Status::unauthenticated("the user or the password is wrong"))
}

impl NodeCredentials {
    /// Returns the content of the header that a client sends, before it is encoded.
    fn header_content(self) -> String {
        format!("{}:{}", self.user, self.password)
    }
}

/// Compares two texts in a time that depends on their lengths alone, so that it reveals nothing else.
fn equal_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
}
