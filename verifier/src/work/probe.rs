//! Asks the apps of one slot, one request at a time, until each has answered
//! or had its time. What is seen is told apart here; what it means, the domain
//! decides.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ::relay::request::{MAX_BODY, MAX_TOTAL};
use domain::challenge::{Evidence, ProbeRules, ResourceLimits};
use domain::submission::FailureCode;
use tokio::time::sleep;

use crate::relay::{Failure, Limits as RequestLimits, Part, RelayError, Request, RequestError, Response};

/// The longest wait for a connection; within one cluster it takes milliseconds.
const CONNECT: Duration = Duration::from_secs(2);

/// The pauses between two requests to an app that does not listen yet.
const PAUSE_FIRST: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// The largest head of an answer, bytes.
const HEAD_MAX: usize = 16 << 10;

/// What one request told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ProbeResult {
    /// This is what the image did.
    Observed(Evidence),
    /// Nothing accepts connections (yet).
    ConnectionRefused,
    /// No connection came about, which may be the network's fault.
    Unreachable(String),
    /// The relay failed.
    RelayFailed(String),
}

/// The request that the challenge makes of every app.
pub(crate) struct ProbeRequest {
    path: String,
    port: u16,
    limits: RequestLimits,
}

/// Waits a little longer each time.
pub(crate) struct Backoff(Duration);

impl ProbeRequest {
    pub(crate) fn new(probe: &ProbeRules, limits: &ResourceLimits) -> Self {
        let seconds = Duration::from_secs(limits.answer_s).min(MAX_TOTAL);
        let bytes = usize::try_from(limits.answer_kib << 10).unwrap_or(usize::MAX).min(MAX_BODY);
        let limits = RequestLimits {
            connect: CONNECT.min(seconds),
            total: seconds,
            max_head: HEAD_MAX,
            max_body: bytes,
        };
        Self { path: probe.path.clone(), port: probe.port, limits }
    }

    /// The request to the app at this address.
    pub(crate) fn to(&self, address: IpAddr) -> Result<Request, RequestError> {
        let host = if self.port == 80 { "app".to_owned() } else { format!("app:{}", self.port) };
        Request::new(SocketAddr::new(address, self.port), self.path.clone(), host, self.limits)
    }

    /// What came of it.
    pub(crate) fn told(&self, outcome: Result<Response, RelayError>) -> ProbeResult {
        let answer = match outcome {
            Ok(Ok(answer)) => answer,
            Ok(Err(Failure::Refused)) => return ProbeResult::ConnectionRefused,
            Ok(Err(failure @ (Failure::ConnectTimedOut | Failure::Unreachable))) => {
                return ProbeResult::Unreachable(failure.to_string());
            }
            Ok(Err(failure @ Failure::Local(_))) => return ProbeResult::RelayFailed(failure.to_string()),
            Ok(Err(failure)) => return ProbeResult::Observed(self.fault(failure)),
            Err(error) => return ProbeResult::RelayFailed(error.to_string()),
        };
        ProbeResult::Observed(Evidence::Http {
            status: answer.status,
            latency_ms: answer.latency.as_millis().try_into().unwrap_or(u64::MAX),
            redirect: answer.location,
            body: answer.body,
        })
    }

    /// What is held against an image that never listened.
    pub(crate) fn nothing_on_port(&self, start: Duration) -> String {
        let (port, seconds) = (self.port, start.as_secs());
        format!("The container runs, but nothing accepted connections on port {port} in {seconds} s.")
    }

    /// What is held against an image to which there was no way, if another slot
    /// shows the same.
    pub(crate) fn not_reached(&self, why: &str) -> String {
        format!("The container runs, but port {} was not reached from two networks: {why}.", self.port)
    }

    fn fault(&self, failure: Failure) -> Evidence {
        let asked = format!("GET {} on port {}", self.path, self.port);
        let seconds = self.limits.total.as_secs();
        let (code, message) = match failure {
            Failure::TimedOut(Part::Head) => {
                (FailureCode::TimedOut, format!("{asked} was not answered within {seconds} s."))
            }
            Failure::TimedOut(Part::Body) => {
                (FailureCode::TimedOut, format!("The answer to {asked} was not complete after {seconds} s."))
            }
            Failure::BodyTooLarge => {
                let max = self.limits.max_body >> 10;
                (FailureCode::AnswerTooLarge, format!("The answer to {asked} is longer than {max} KiB."))
            }
            Failure::ClosedEarly(part) => {
                (FailureCode::BadHttp, format!("The app hung up on {asked} before the {part} was complete."))
            }
            other => {
                (FailureCode::BadHttp, format!("{asked} was answered with what cannot be read: {other}."))
            }
        };
        Evidence::Failure { code, message }
    }
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self(PAUSE_FIRST)
    }

    /// Waits before the next try.
    pub(crate) async fn pause(&mut self) {
        sleep(self.0).await;
        self.0 = (self.0 * 2).min(PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use domain::Challenge;

    use super::*;
    use crate::relay::Violation;

    #[test]
    fn each_way_to_fail_is_told_apart() {
        let challenge = Challenge::birthday();
        let question = ProbeRequest::new(&challenge.probe, &challenge.limits);
        let code = |failure| match question.told(Ok(Err(failure))) {
            ProbeResult::Observed(Evidence::Failure { code, message }) => {
                assert!(message.contains("/getconfig"), "{message}");
                Some(code)
            }
            ProbeResult::Observed(Evidence::Http { .. }) => panic!("it did not answer"),
            ProbeResult::ConnectionRefused | ProbeResult::Unreachable(_) | ProbeResult::RelayFailed(_) => {
                None
            }
        };
        assert_eq!(code(Failure::TimedOut(Part::Head)), Some(FailureCode::TimedOut));
        assert_eq!(code(Failure::ClosedEarly(Part::Body)), Some(FailureCode::BadHttp));
        assert_eq!(code(Failure::BadHttp(Violation::Tls)), Some(FailureCode::BadHttp));
        assert_eq!(code(Failure::BodyTooLarge), Some(FailureCode::AnswerTooLarge));
        for nobodys in [Failure::Refused, Failure::ConnectTimedOut, Failure::Unreachable, Failure::Local(24)]
        {
            assert_eq!(code(nobodys), None, "{nobodys:?}");
        }
    }
}
