//! The check of the node's one user and password, if it has them.

use base64::{Engine, engine::general_purpose::STANDARD};
use tonic::{Request, Status};

use super::status;

/// The user and the password of a node, which clients send by HTTP's Basic scheme.
#[derive(Clone)]
pub struct NodeCredentials {
    /// The user's name, without a colon.
    pub user: String,
    /// The user's password, in plain text.
    pub password: String,
}

/// Returns the interceptor that checks each call. Without credentials it admits every client.
pub(super) fn interceptor(
    credentials: Option<NodeCredentials>,
) -> impl FnMut(Request<()>) -> Result<Request<()>, Status> + Clone {
    let expected = credentials.map(|NodeCredentials { user, password }| format!("{user}:{password}"));
    move |request| {
        let Some(expected) = &expected else { return Ok(request) };
        let Some(given) = request.metadata().get("authorization") else {
            return Err(status::access_denied());
        };
        let given = given.as_bytes().strip_prefix(b"Basic ").and_then(|given| STANDARD.decode(given).ok());
        if given.is_some_and(|given| equal_in_constant_time(&given, expected.as_bytes())) {
            Ok(request)
        } else {
            Err(Status::unauthenticated("the user or the password is wrong"))
        }
    }
}

/// Compares two texts in a time that depends on their lengths alone, so that it reveals nothing else.
fn equal_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
}
