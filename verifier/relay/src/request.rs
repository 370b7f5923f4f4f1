//! The request that the verifier asks for: one GET with its limits.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// The largest allowed limit of a body, in bytes.
pub const MAX_BODY: usize = 256 * 1024;
/// The largest allowed limit of a response head, in bytes.
pub const MAX_HEAD: usize = 64 * 1024;
/// The largest allowed duration of a request.
pub const MAX_TOTAL: Duration = Duration::from_secs(60);

const MAX_PATH: usize = 2048;
const MAX_HOST: usize = 255;

/// One GET. Its path and host have no spaces and no line ends, so they can be
/// written as HTTP without escaping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppRequest {
    address: SocketAddr,
    path: String,
    host: String,
    limits: RequestLimits,
}

/// The limits of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// The time for the connection, within `total`.
    pub connect: Duration,
    /// The time from the first packet to the last byte of the body, at most
    /// [`MAX_TOTAL`].
    pub total: Duration,
    /// The bytes of all heads and trailers together, at most [`MAX_HEAD`].
    pub max_head: usize,
    /// The bytes of the decoded body, at most [`MAX_BODY`].
    pub max_body: usize,
}

impl Default for RequestLimits {
    /// Returns limits that are generous for an app in the same rack.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            total: Duration::from_secs(5),
            max_head: 16 * 1024,
            max_body: 64 * 1024,
        }
    }
}

/// The reason why the relay refuses a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// The path does not start with `/`, is over 2048 bytes, or has characters
    /// other than visible ASCII.
    Path,
    /// The host is empty, over 255 bytes, or has characters other than visible ASCII.
    Host,
    /// A limit is zero or above its maximum.
    Limits,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Path => "the path of a probe must be `/` and visible ASCII, at most 2048 bytes",
            Self::Host => "the host of a probe must be visible ASCII, at most 255 bytes",
            Self::Limits => "a limit of the probe is zero or above its maximum",
        })
    }
}

impl std::error::Error for RequestError {}

impl AppRequest {
    /// Creates a GET of `path` at `address`, with `host` as its Host header.
    ///
    /// # Errors
    /// [`RequestError`] names the part that cannot be sent.
    pub fn new(
        address: SocketAddr,
        path: impl Into<String>,
        host: impl Into<String>,
        limits: RequestLimits,
    ) -> Result<Self, RequestError> {
        let (path, host) = (path.into(), host.into());
        if !path.starts_with('/') || path.len() > MAX_PATH || !is_visible(&path) {
            return Err(RequestError::Path);
        }
        if host.is_empty() || host.len() > MAX_HOST || !is_visible(&host) {
            return Err(RequestError::Host);
        }
        let times = Duration::from_millis(1)..=MAX_TOTAL;
        if !times.contains(&limits.connect)
            || !times.contains(&limits.total)
            || !(1..=MAX_HEAD).contains(&limits.max_head)
            || !(1..=MAX_BODY).contains(&limits.max_body)
        {
            return Err(RequestError::Limits);
        }
        Ok(Self { address, path, host, limits })
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the request target, which starts with `/`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the value of the Host header.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    #[must_use]
    pub fn limits(&self) -> RequestLimits {
        self.limits
    }
}

fn is_visible(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(path: &str, host: &str, limits: RequestLimits) -> Result<AppRequest, RequestError> {
        AppRequest::new(([127, 0, 0, 1], 80).into(), path, host, limits)
    }

    #[test]
    fn nothing_can_be_smuggled_into_a_request() {
        for path in ["", "getconfig", "/a b", "/a\r\nX: y", "/\u{e9}", "/\0"] {
            assert_eq!(with(path, "app", RequestLimits::default()), Err(RequestError::Path));
        }
        for host in ["", "a b", "a\r\nX: y", "\u{e9}"] {
            assert_eq!(with("/", host, RequestLimits::default()), Err(RequestError::Host));
        }
        assert_eq!(with(&"/".repeat(2049), "app", RequestLimits::default()), Err(RequestError::Path));
    }

    #[test]
    fn no_limit_can_be_switched_off() {
        let fine = RequestLimits::default();
        assert!(with("/", "app", fine).is_ok());
        for limits in [
            RequestLimits { connect: Duration::ZERO, ..fine },
            RequestLimits { total: Duration::from_secs(61), ..fine },
            RequestLimits { max_head: 0, ..fine },
            RequestLimits { max_body: MAX_BODY + 1, ..fine },
        ] {
            assert_eq!(with("/", "app", limits), Err(RequestError::Limits));
        }
    }
}
