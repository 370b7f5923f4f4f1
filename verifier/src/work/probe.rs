//! The probe: builds the request to an app, and classifies the response or the failure. The domain decides
//! what the evidence means.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ::relay::message::MAX_LOCATION;
use ::relay::request::{MAX_BODY, MAX_TOTAL};
use domain::challenge::{Evidence, ProbeRules, ResourceLimits};
use domain::submission::FailureCode;
use tokio::time::sleep;

use crate::relay::{
    AppRequest, AwaitedPart, RelayError, RequestError, RequestFailure, RequestLimits, RequestResult,
};
use crate::swarm::SlotRelay;

/// The longest wait for a connection. Within a cluster, connecting takes milliseconds.
const CONNECT: Duration = Duration::from_secs(2);

/// The shortest and the longest pause between two requests to an app that may still be starting.
const PAUSE_FIRST: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// The largest head of a response, bytes.
const HEAD_MAX: usize = 16 << 10;

/// The statuses with which servers and proxies answer while the app behind them starts.
const STARTING_STATUSES: [u16; 5] = [404, 500, 502, 503, 504];

/// The result of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ProbeResult {
    /// The app responded, or failed by its own fault.
    Observed(Evidence),
    /// The app may still be starting. The evidence counts once the time for a start is over.
    NotReady(Evidence),
    /// Nothing accepts connections, or not yet.
    ConnectionRefused,
    /// No connection could be made. The network may be at fault.
    Unreachable(String),
    RelayFailed(String),
}

/// The conclusion about an app from the result of a request.
#[derive(Debug)]
pub(crate) enum ProbeConclusion {
    /// The response is final.
    Answered(Evidence),
    /// The app failed, unless its container has ended. The platform may be at fault, if there is a suspect.
    Failed { code: FailureCode, message: String, suspect: Option<Suspect> },
    /// The relay failed, so nothing is known about the app.
    RelayFailed(String),
}

/// The part of the platform that may have caused a suspected failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suspect {
    /// The node may have been too slow. An app that fails in two slots is to blame, even if it fails in two
    /// different ways.
    SlowNode,
    /// The node may have killed the app, or cannot be reached.
    LostNode,
    /// The slot's network may have failed.
    Network,
}

/// The request that the challenge sends to every app.
pub(crate) struct ProbeRequest {
    path: String,
    host: String,
    port: u16,
    limits: RequestLimits,
    start: Duration,
}

/// Pauses that double each time, up to a limit.
pub(crate) struct Backoff(Duration);

impl ProbeRequest {
    pub(crate) fn new(probe: &ProbeRules, limits: &ResourceLimits) -> Self {
        let seconds = Duration::from_secs(limits.answer_s).min(MAX_TOTAL);
        let bytes = usize::try_from(limits.answer_kib << 10).unwrap_or(usize::MAX).min(MAX_BODY);
        let start_s = limits.start_s;
        let limits = RequestLimits {
            connect: CONNECT.min(seconds),
            total: seconds,
            max_head: HEAD_MAX,
            max_body: bytes,
        };
        let ProbeRules::Http(probe) = probe;
        let start = Duration::from_secs(start_s);
        Self { path: probe.path.clone(), host: probe.host_header(), port: probe.port, limits, start }
    }

    /// Returns the request to the app at this address.
    fn to(&self, address: IpAddr) -> Result<AppRequest, RequestError> {
        AppRequest::new(
            SocketAddr::new(address, self.port),
            self.path.clone(),
            self.host.clone(),
            self.limits,
        )
    }

    /// Returns the probe that follows a redirect within the rest of the time for an answer, or `None` if the
    /// result is no redirect to the same host and port.
    fn redirected(&self, result: &ProbeResult) -> Option<Self> {
        let ProbeResult::Observed(Evidence::Http { status, redirect: Some(location), latency_ms, .. }) =
            result
        else {
            return None;
        };
        // A relay cuts a longer location, and the rest would be another address.
        if !matches!(status, 301 | 302 | 303 | 307 | 308) || location.len() >= MAX_LOCATION {
            return None;
        }
        let path = self.path_on_same_host(location)?;
        let spent = Duration::from_millis(*latency_ms);
        let total = self.limits.total.saturating_sub(spent).max(Duration::from_millis(1));
        let limits = RequestLimits { total, ..self.limits };
        Some(Self { path, host: self.host.clone(), port: self.port, limits, start: self.start })
    }

    /// Returns the path of a `Location`, or `None` if it leads to another host, port or scheme.
    fn path_on_same_host(&self, location: &str) -> Option<String> {
        let base = reqwest::Url::parse(&format!("http://{}{}", self.host, self.path)).ok()?;
        let target = base.join(location).ok()?;
        let is_same = target.scheme() == "http"
            && target.host_str() == base.host_str()
            && target.port_or_known_default() == Some(self.port)
            && target.username().is_empty()
            && target.password().is_none();
        let query = target.query().map(|query| format!("?{query}")).unwrap_or_default();
        is_same.then(|| format!("{}{query}", target.path()))
    }

    /// Classifies a relay's answer to the request.
    fn classify(&self, outcome: Result<RequestResult, RelayError>) -> ProbeResult {
        let answer = match outcome {
            Ok(Ok(answer)) => answer,
            Ok(Err(RequestFailure::Refused)) => return ProbeResult::ConnectionRefused,
            Ok(Err(failure @ (RequestFailure::ConnectTimedOut | RequestFailure::Unreachable))) => {
                return ProbeResult::Unreachable(failure.to_string());
            }
            Ok(Err(failure @ RequestFailure::Local(_))) => {
                return ProbeResult::RelayFailed(failure.to_string());
            }
            Ok(Err(failure @ (RequestFailure::TimedOut(_) | RequestFailure::ClosedEarly(_)))) => {
                return ProbeResult::NotReady(self.failure(failure));
            }
            Ok(Err(failure)) => return ProbeResult::Observed(self.failure(failure)),
            Err(error) => return ProbeResult::RelayFailed(error.to_string()),
        };
        // The body of a redirect may be empty.
        let has_content = answer.location.is_some() || !answer.body.is_empty();
        let is_ready = has_content && !STARTING_STATUSES.contains(&answer.status);
        let evidence = Evidence::Http {
            status: answer.status,
            latency_ms: answer.latency.as_millis().try_into().unwrap_or(u64::MAX),
            redirect: answer.location,
            body: answer.body,
            probed_for_s: 0,
            explanation: String::new(),
        };
        if is_ready { ProbeResult::Observed(evidence) } else { ProbeResult::NotReady(evidence) }
    }

    /// Sends the request through the relay to the app at this address, follows one redirect to the same host and
    /// port, and classifies the response.
    pub(crate) async fn send(&self, relay: &mut dyn SlotRelay, address: IpAddr) -> ProbeResult {
        let result = match self.to(address) {
            Ok(request) => self.classify(relay.probe(request).await),
            Err(error) => return ProbeResult::RelayFailed(error.to_string()),
        };
        let Some(redirected) = self.redirected(&result) else { return result };
        match redirected.to(address) {
            Ok(request) => redirected.classify(relay.probe(request).await),
            // The app sent us to a path that cannot be asked for.
            Err(_) => result,
        }
    }

    /// Concludes from the result of a request to an app that has run for some time. Returns `None` while the app may
    /// still be starting. `has_connected` is true if the app has ever accepted a connection.
    pub(crate) fn conclude(
        &self,
        result: ProbeResult,
        has_connected: bool,
        running: Duration,
    ) -> Option<ProbeConclusion> {
        let (port, start) = (self.port, self.start.as_secs());
        let nothing = |message: String, suspect| {
            Some(ProbeConclusion::Failed { code: FailureCode::NothingOnPort, message, suspect })
        };
        match result {
            ProbeResult::ConnectionRefused | ProbeResult::Unreachable(_) | ProbeResult::NotReady(_)
                if running < self.start =>
            {
                None
            }
            ProbeResult::Observed(Evidence::Failure { code, message }) => {
                Some(ProbeConclusion::Failed { code, message, suspect: None })
            }
            ProbeResult::Observed(evidence) => Some(ProbeConclusion::Answered(evidence)),
            // A loaded node may be the reason.
            ProbeResult::NotReady(Evidence::Failure { code, message }) => {
                Some(ProbeConclusion::Failed { code, message, suspect: Some(Suspect::SlowNode) })
            }
            ProbeResult::NotReady(Evidence::Http {
                status, latency_ms, redirect, body, explanation, ..
            }) => {
                let probed_for_s = start;
                Some(ProbeConclusion::Answered(Evidence::Http {
                    status,
                    latency_ms,
                    redirect,
                    body,
                    probed_for_s,
                    explanation,
                }))
            }
            ProbeResult::ConnectionRefused if has_connected => nothing(
                format!("The app accepted connections on port {port} at first, but not after {start} s."),
                Some(Suspect::SlowNode),
            ),
            ProbeResult::ConnectionRefused => nothing(
                format!("The container runs, but nothing accepted connections on port {port} in {start} s."),
                None,
            ),
            ProbeResult::Unreachable(why) => nothing(
                format!("The container runs, but port {port} could not be reached: {why}."),
                Some(Suspect::Network),
            ),
            ProbeResult::RelayFailed(why) => Some(ProbeConclusion::RelayFailed(why)),
        }
    }

    /// Returns the evidence for a failure of the app itself.
    fn failure(&self, failure: RequestFailure) -> Evidence {
        let request = format!("GET {} on port {}", self.path, self.port);
        let seconds = self.limits.total.as_secs();
        let (code, message) = match failure {
            RequestFailure::TimedOut(AwaitedPart::Head) => {
                (FailureCode::TimedOut, format!("{request} was not answered within {seconds} s."))
            }
            RequestFailure::TimedOut(AwaitedPart::Body) => (
                FailureCode::TimedOut,
                format!("The answer to {request} was not complete after {seconds} s."),
            ),
            RequestFailure::BodyTooLarge => {
                let max = self.limits.max_body >> 10;
                (FailureCode::AnswerTooLarge, format!("The answer to {request} is longer than {max} KiB."))
            }
            RequestFailure::ClosedEarly(part) => (
                FailureCode::BadHttp,
                format!("The app closed the connection of {request} before the {part} was complete."),
            ),
            other => (FailureCode::BadHttp, format!("The answer to {request} cannot be read: {other}.")),
        };
        Evidence::Failure { code, message }
    }
}

impl ProbeResult {
    /// Returns the evidence of a final response or failure.
    pub(crate) fn observed(&self) -> Option<&Evidence> {
        match self {
            Self::Observed(evidence) => Some(evidence),
            _ => None,
        }
    }

    /// Returns true if the app accepted a connection.
    pub(crate) fn has_connected(&self) -> bool {
        matches!(self, Self::Observed(_) | Self::NotReady(_))
    }
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self(PAUSE_FIRST)
    }

    /// Waits for the current pause and doubles it.
    pub(crate) async fn pause(&mut self) {
        sleep(self.0).await;
        self.0 = (self.0 * 2).min(PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use domain::Challenge;

    use super::*;
    use crate::relay::HttpViolation;

    #[test]
    fn each_kind_of_failure_has_its_own_code() {
        let challenge = Challenge::birthday();
        let probe = ProbeRequest::new(&challenge.probe, &challenge.limits);
        let code = |failure| match probe.classify(Ok(Err(failure))) {
            ProbeResult::Observed(Evidence::Failure { code, message })
            | ProbeResult::NotReady(Evidence::Failure { code, message }) => {
                assert!(message.contains("/getconfig"), "{message}");
                Some(code)
            }
            ProbeResult::Observed(Evidence::Http { .. }) | ProbeResult::NotReady(Evidence::Http { .. }) => {
                panic!("the app did not answer")
            }
            ProbeResult::ConnectionRefused | ProbeResult::Unreachable(_) | ProbeResult::RelayFailed(_) => {
                None
            }
        };
        assert_eq!(code(RequestFailure::TimedOut(AwaitedPart::Head)), Some(FailureCode::TimedOut));
        assert_eq!(code(RequestFailure::ClosedEarly(AwaitedPart::Body)), Some(FailureCode::BadHttp));
        assert_eq!(code(RequestFailure::BadHttp(HttpViolation::Tls)), Some(FailureCode::BadHttp));
        assert_eq!(code(RequestFailure::BodyTooLarge), Some(FailureCode::AnswerTooLarge));
        for not_the_apps in [
            RequestFailure::Refused,
            RequestFailure::ConnectTimedOut,
            RequestFailure::Unreachable,
            RequestFailure::Local(24),
        ] {
            assert_eq!(code(not_the_apps), None, "{not_the_apps:?}");
        }
    }

    fn answered(status: u16, location: Option<&str>, body: &str) -> Result<RequestResult, RelayError> {
        Ok(Ok(crate::relay::AppResponse {
            status,
            content_type: None,
            location: location.map(Into::into),
            latency: Duration::from_millis(1),
            body: body.into(),
        }))
    }

    #[test]
    fn an_answer_of_a_server_that_starts_is_not_final() {
        let challenge = Challenge::birthday();
        let probe = ProbeRequest::new(&challenge.probe, &challenge.limits);
        let is_final =
            |status, body| matches!(probe.classify(answered(status, None, body)), ProbeResult::Observed(_));
        for (status, body) in [(404, "no"), (500, "no"), (502, "no"), (503, "no"), (504, "no"), (200, "")] {
            assert!(!is_final(status, body), "{status}");
        }
        for (status, body) in [(200, "{}"), (200, "<html>"), (400, "no"), (403, "no")] {
            assert!(is_final(status, body), "{status}");
        }
    }

    #[test]
    fn a_redirect_is_followed_to_the_same_host_and_port_alone() {
        let mut challenge = Challenge::birthday();
        let ProbeRules::Http(rules) = &mut challenge.probe;
        rules.port = 8080;
        let probe = ProbeRequest::new(&challenge.probe, &challenge.limits);
        let address = IpAddr::from([10, 0, 0, 2]);
        let path = |status, location| {
            let result = probe.classify(answered(status, Some(location), ""));
            let request = probe.redirected(&result)?.to(address).ok()?;
            assert_eq!(request.host(), "localhost:8080");
            assert_eq!(request.address(), SocketAddr::new(address, 8080));
            Some(request.path().to_owned())
        };
        for (location, expected) in [
            ("/getconfig/", "/getconfig/"),
            ("getconfig/?a=b#c", "/getconfig/?a=b"),
            ("http://localhost:8080/getconfig/", "/getconfig/"),
            ("http://LOCALHOST:8080/x y", "/x%20y"),
            ("//localhost:8080/getconfig/", "/getconfig/"),
        ] {
            assert_eq!(path(301, location).as_deref(), Some(expected), "{location}");
            assert_eq!(path(308, location).as_deref(), Some(expected), "{location}");
            assert_eq!(path(304, location), None);
        }
        for elsewhere in [
            "http://169.254.169.254/",
            "http://localhost/getconfig/",
            "https://localhost:8080/getconfig/",
            "//other/getconfig",
            "http://user@localhost:8080/",
            "http://10.0.0.2:8080/",
            "ftp://localhost:8080/",
            &format!("/{}", "x".repeat(MAX_LOCATION)),
            "http://",
        ] {
            assert_eq!(path(302, elsewhere), None, "{elsewhere}");
        }
    }
}
