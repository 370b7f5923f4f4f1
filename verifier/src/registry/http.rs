//! Requests to one registry. They are bounded, use a token or a login if the registry asks for one, and go
//! only to the registry's own hosts and to hosts that it is known to use. Redirects and token servers
//! elsewhere are refused.

mod auth_challenge;
mod hosts;
mod pauses;
mod tokens;

use std::collections::BTreeMap;
use std::time::Duration;

use domain::ImageRef;
use domain::sandbox::SandboxRegistry;
use domain::submission::{FailureCode, InterruptionCode, PlatformFault};
use jiff::Timestamp;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderName, LOCATION, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::metrics::VerifierMetrics;

use self::auth_challenge::AuthChallenge;
use self::hosts::REQUEST;
pub(super) use self::hosts::RegistryHosts;
use self::pauses::RegistryPauses;
use self::tokens::{HeldToken, TokenMemory};
use super::logins::{RegistryLogin, RegistryLogins};
use super::{LookupError, Result, unavailable};

const TOKEN_MAX: usize = 64 << 10;
const ERROR_MAX: usize = 16 << 10;
const REDIRECTS_MAX: usize = 3;
/// The longest quotation of a registry's error message, in characters.
const QUOTED_MAX: usize = 200;

/// The life of a token whose server does not tell it.
const TOKEN_LIFE: Duration = Duration::from_secs(60);
/// The time for which a password that a registry took is sent to it unasked.
const PASSWORD_LIFE: Duration = Duration::from_secs(600);

/// The header with the digest of a manifest.
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// The header with the pulls that Docker Hub permits until its limit.
const PULLS_LEFT: HeaderName = HeaderName::from_static("ratelimit-remaining");

/// The media types of all supported manifests.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

pub(super) struct RegistryHttp {
    hosts: RegistryHosts,
    logins: RegistryLogins,
    tokens: TokenMemory,
    pauses: RegistryPauses,
    metrics: VerifierMetrics,
}

/// Requests about one image.
pub(super) struct RegistrySession<'a> {
    http: &'a RegistryHttp,
    image: &'a ImageRef,
    login: Option<&'a RegistryLogin>,
}

/// What the parts of one request share.
struct RegistryAsk {
    method: Method,
    base: Url,
    /// The timeout, from the connection to the end of the body.
    limit: Duration,
}

pub(super) struct RegistryReply {
    pub(super) body: Vec<u8>,
}

/// The response of a token server, which has the token under one of two names, or under both.
#[derive(Deserialize)]
struct RegistryToken {
    token: Option<String>,
    access_token: Option<String>,
    /// The seconds for which the token is valid.
    #[serde(default)]
    expires_in: serde_json::Value,
}

#[derive(Deserialize)]
struct RegistryErrors {
    errors: Vec<RegistryMessage>,
}

#[derive(Deserialize)]
struct RegistryMessage {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl RegistryHttp {
    pub(super) fn new(hosts: RegistryHosts, logins: RegistryLogins, metrics: VerifierMetrics) -> Self {
        let (tokens, pauses) = (TokenMemory::default(), RegistryPauses::default());
        Self { hosts, logins, tokens, pauses, metrics }
    }

    pub(super) fn limited(&self) -> watch::Receiver<Vec<SandboxRegistry>> {
        self.pauses.limited()
    }

    /// Allows registries to send their clients to these further domains, too.
    pub(super) fn also_allow(&self, further: &BTreeMap<String, Vec<String>>) {
        self.hosts.also_allow(further);
    }

    pub(super) fn session<'a>(&'a self, image: &'a ImageRef) -> RegistrySession<'a> {
        RegistrySession { http: self, image, login: self.logins.of(image.registry()) }
    }
}

impl RegistrySession<'_> {
    /// Sends a GET request for `v2/<repository>/<path>`, and reads at most `max` bytes.
    pub(super) async fn get(&self, path: &str, max: usize) -> Result<RegistryReply> {
        self.patiently(async {
            let response = self.request(Method::GET, path, REQUEST).await?;
            Ok(RegistryReply { body: self.body(response, max).await? })
        })
        .await
    }

    /// Returns the digest that `v2/<repository>/<path>` has according to the registry, which counts no such request. If the
    /// request fails, a GET request tells why.
    pub(super) async fn digest(&self, path: &str) -> Option<String> {
        let response = self.patiently(self.request(Method::HEAD, path, REQUEST)).await.ok()?;
        header(response.headers(), CONTENT_DIGEST).map(str::to_owned)
    }

    /// Sends a GET request for `v2/<repository>/<path>`, whose response may take until `limit`.
    pub(super) async fn open(&self, path: &str, limit: Duration) -> Result<Response> {
        self.request(Method::GET, path, limit).await
    }

    async fn patiently<T>(&self, asked: impl Future<Output = Result<T>>) -> Result<T> {
        let patience = REQUEST * 3;
        timeout(patience, asked).await.unwrap_or_else(|_| {
            Err(unavailable(&format!("{} did not answer within {patience:?}", self.image.registry())))
        })
    }

    /// Sends a request, with an authorization if the registry asks for one.
    async fn request(&self, method: Method, path: &str, limit: Duration) -> Result<Response> {
        let (registry, repository) = (self.image.registry(), self.image.repository());
        self.http.pauses.wait(registry).await.map_err(LookupError::Platform)?;
        let base = self.http.hosts.base(registry)?;
        let url = self.url(&base, path)?;
        let ask = RegistryAsk { method, base, limit };
        let held = self.http.tokens.recall(registry, repository);
        let mut response = self.send(&ask, url.clone(), held.as_deref()).await?;
        let mut used = held;
        if response.status() == StatusCode::UNAUTHORIZED
            && let Some(challenge) = auth_challenge::preferred(response.headers())
        {
            let token = self.authorized(&ask.base, &challenge).await?;
            response = self.send(&ask, url, Some(&token.authorization)).await?;
            // A registry with tokens answers so to a name that it does not have, or that the login may not read.
            if response.status() != StatusCode::UNAUTHORIZED {
                used = Some(token.authorization.clone());
                // A token that may not read is not kept: the participant may make the image public meanwhile.
                if response.status() != StatusCode::FORBIDDEN {
                    self.http.tokens.remember(registry, repository, token);
                }
            } else if challenge == AuthChallenge::Basic {
                return Err(self.login_refused());
            }
        }
        let response = self.follow_redirects(&ask, response, used.as_deref()).await?;
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(response).await) }
    }

    fn url(&self, base: &Url, path: &str) -> Result<Url> {
        joined(base, &format!("/v2/{}/{path}", self.image.repository()))
    }

    /// Follows redirects to hosts that belong to the registry.
    async fn follow_redirects(
        &self,
        ask: &RegistryAsk,
        mut response: Response,
        authorization: Option<&str>,
    ) -> Result<Response> {
        for _ in 0..REDIRECTS_MAX {
            if !response.status().is_redirection() {
                break;
            }
            let to = joined(response.url(), header(response.headers(), LOCATION).unwrap_or_default())?;
            if !self.http.hosts.may_lead_to(self.image.registry(), &ask.base, &to) {
                let host = to.host_str().unwrap_or("nowhere");
                return Err(unavailable(&format!(
                    "{} redirects to {host}, which is not one of its hosts",
                    self.image.registry()
                )));
            }
            // The authorization is sent to the registry itself only.
            let authorization = authorization.filter(|_| to.origin() == ask.base.origin());
            response = self.send(ask, to, authorization).await?;
        }
        Ok(response)
    }

    async fn send(&self, ask: &RegistryAsk, url: Url, authorization: Option<&str>) -> Result<Response> {
        let client = self.http.hosts.client(&url);
        let mut request =
            client.request(ask.method.clone(), url).header(ACCEPT, MANIFESTS).timeout(ask.limit);
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        self.answer(request).await
    }

    /// Sends a request and counts its answer.
    async fn answer(&self, request: RequestBuilder) -> Result<Response> {
        let answer = request.send().await;
        self.http.metrics.count_request(answer.as_ref().ok().map(Response::status));
        if let Ok(answer) = &answer
            && let Some(pulls) = header(answer.headers(), PULLS_LEFT).and_then(pauses::pulls_left)
        {
            self.http.metrics.set_pulls_left(self.image.registry(), pulls);
            self.http.pauses.note_pulls(self.image.registry(), pulls);
        }
        answer.map_err(|error| self.unreachable(&error))
    }

    /// Returns the authorization that the registry asks for: the login, or a token from the server that the
    /// registry names. Without a login the token is anonymous.
    async fn authorized(&self, base: &Url, challenge: &AuthChallenge) -> Result<HeldToken> {
        let registry = self.image.registry();
        let (realm, service) = match challenge {
            AuthChallenge::Bearer { realm, service } => (realm, service),
            AuthChallenge::Basic => {
                let Some(login) = self.login else {
                    return Err(forbidden(&format!("{registry} asks for a password: make the image public")));
                };
                return Ok(HeldToken::new(login.basic(), PASSWORD_LIFE));
            }
        };
        let mut url = Url::parse(realm).map_err(|error| unavailable(&error.to_string()))?;
        if !self.http.hosts.may_lead_to(registry, base, &url) {
            let host = url.host_str().unwrap_or("nowhere");
            return Err(unavailable(&format!(
                "{registry} names the token server {host}, which is not one of its hosts"
            )));
        }
        let scope = format!("repository:{}:pull", self.image.repository());
        url.query_pairs_mut().append_pair("service", service).append_pair("scope", &scope);
        let mut request = self.http.hosts.client(&url).get(url).timeout(REQUEST);
        if let Some(login) = self.login {
            request = request.header(AUTHORIZATION, login.basic());
        }
        let response = self.answer(request).await?;
        if response.status() == StatusCode::UNAUTHORIZED && self.login.is_some() {
            return Err(self.login_refused());
        }
        if !response.status().is_success() {
            return Err(self.refusal(response).await);
        }
        let body = self.body(response, TOKEN_MAX).await?;
        let answer = serde_json::from_slice::<RegistryToken>(&body).ok();
        let life = answer.as_ref().and_then(|answer| answer.expires_in.as_u64());
        let token = answer.and_then(|answer| answer.token.or(answer.access_token));
        token
            .filter(|token| token.bytes().all(|byte| byte.is_ascii_graphic()))
            .map(|token| {
                HeldToken::new(format!("Bearer {token}"), life.map_or(TOKEN_LIFE, Duration::from_secs))
            })
            .ok_or_else(|| unavailable(&format!("the token server of {registry} sent no valid token")))
    }

    fn login_refused(&self) -> LookupError {
        unavailable(&format!("{} refuses the configured login", self.image.registry()))
    }

    async fn body(&self, mut response: Response, max: usize) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            if body.len() + chunk.len() > max {
                return Err(super::refused(&format!(
                    "its manifest or configuration is longer than {max} bytes"
                )));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// Returns the error for a status other than success, with the registry's own message.
    async fn refusal(&self, response: Response) -> LookupError {
        let status = response.status();
        let after = header(response.headers(), RETRY_AFTER);
        let after = after.and_then(|after| pauses::retry_after(after, Timestamp::now()));
        let quotation = quotation(&self.body(response, ERROR_MAX).await.unwrap_or_default());
        let name = self.image.familiar();
        let registry = self.image.registry();
        match status {
            StatusCode::NOT_FOUND => LookupError::Participant(
                FailureCode::ImageNotFound,
                format!("{registry} has no image {name}{quotation}."),
            ),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                forbidden(&format!("{name} is private on {registry}, or does not exist there{quotation}"))
            }
            StatusCode::TOO_MANY_REQUESTS => {
                let why = format!("{registry} limits requests{quotation}");
                self.paused(after, InterruptionCode::RateLimited, &why)
            }
            StatusCode::SERVICE_UNAVAILABLE if after.is_some() => {
                let why = format!("{registry} answers with {status}{quotation}");
                self.paused(after, InterruptionCode::RegistryUnavailable, &why)
            }
            status => unavailable(&format!("{registry} answers with {status}{quotation}")),
        }
    }

    fn paused(&self, after: Option<Duration>, code: InterruptionCode, why: &str) -> LookupError {
        let length = self.http.pauses.begin(self.image.registry(), after, code, why);
        let message = format!("{why}; it is asked again in {} s", length.as_secs());
        LookupError::Platform(PlatformFault { pause: Some(length), ..PlatformFault::new(code, message) })
    }

    /// Returns the fault of a request or a response that broke off.
    pub(super) fn unreachable(&self, error: &reqwest::Error) -> LookupError {
        use std::error::Error as _;
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            text = format!("{text}: {inner}");
            cause = inner.source();
        }
        unavailable(&format!("{} does not answer: {text}", self.image.registry()))
    }
}

fn forbidden(why: &str) -> LookupError {
    LookupError::Participant(FailureCode::ImageForbidden, format!("{why}."))
}

fn header(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn joined(base: &Url, to: &str) -> Result<Url> {
    base.join(to).map_err(|error| unavailable(&format!("{base} redirects to an invalid address: {error}")))
}

/// Returns a registry's own error message as ` (CODE: message)`, or an empty text if there is none.
fn quotation(body: &[u8]) -> String {
    let Ok(RegistryErrors { errors }) = serde_json::from_slice(body) else {
        return String::new();
    };
    let Some(RegistryMessage { code, message }) = errors.first() else {
        return String::new();
    };
    let text: String = format!("{code}: {message}").chars().filter(|c| !c.is_control()).collect();
    format!(" ({})", text.chars().take(QUOTED_MAX).collect::<String>())
}
