//! Who may use the node: whoever knows the one password, or everybody.

use base64::{Engine, engine::general_purpose::STANDARD};
use tonic::{Request, Status};

use super::status;

/// A user and a password, as HTTP's Basic scheme sends them.
#[derive(Clone)]
pub struct NodeCredentials {
    /// The user's name; without a colon.
    pub user: String,
    /// The password.
    pub password: String,
}

/// What looks at a call before it is served.
pub(super) fn check(
    credentials: Option<NodeCredentials>,
) -> impl FnMut(Request<()>) -> Result<Request<()>, Status> + Clone {
    let expected = credentials.map(|NodeCredentials { user, password }| format!("{user}:{password}"));
    move |request| {
        let Some(expected) = &expected else { return Ok(request) };
        let Some(given) = request.metadata().get("authorization") else {
            return Err(status::access_denied());
        };
        let given = given.as_bytes().strip_prefix(b"Basic ").and_then(|given| STANDARD.decode(given).ok());
        if given.is_some_and(|given| same(&given, expected.as_bytes())) {
            Ok(request)
        } else {
            Err(Status::unauthenticated("the user or the password is wrong"))
        }
    }
}

/// Compares in a time that does not tell how much was right.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
}
