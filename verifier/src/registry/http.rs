//! Requests to one registry. They are bounded, use a token or a login if the registry asks for one, and go
//! only to the registry's own hosts and to hosts that it is known to use. Redirects and token servers
//! elsewhere are refused.

mod hosts;

use std::collections::HashSet;

use domain::ImageRef;
use domain::submission::{FailureCode, InterruptionCode};
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderName, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Deserialize;
use tokio::time::timeout;

use self::hosts::{REQUEST, RegistryHosts};
use super::logins::{RegistryLogin, RegistryLogins};
use super::{LookupError, Result, platform, unavailable};

const TOKEN_MAX: usize = 64 << 10;
const ERROR_MAX: usize = 16 << 10;
const REDIRECTS_MAX: usize = 3;
/// The longest quotation of a registry's error message, in characters.
const QUOTED_MAX: usize = 200;

/// The media types of all supported manifests.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

pub(super) struct RegistryHttp {
    hosts: RegistryHosts,
    logins: RegistryLogins,
}

/// Requests about one image, which share one authorization.
pub(super) struct RegistrySession<'a> {
    http: &'a RegistryHttp,
    image: &'a ImageRef,
    login: Option<&'a RegistryLogin>,
    /// `Bearer …` or `Basic …`, once the registry asked for it.
    authorization: Option<String>,
}

/// The size of a blob, according to the registry.
pub(super) enum BlobSize {
    Bytes(u64),
    /// The registry does not have the blob.
    Missing,
    /// The registry did not report a size.
    Unknown,
}

pub(super) struct RegistryReply {
    pub(super) body: Vec<u8>,
}

/// The response of a token server, which has the token under one of two names, or under both.
#[derive(Deserialize)]
struct RegistryToken {
    token: Option<String>,
    access_token: Option<String>,
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
    pub(super) fn new(insecure: HashSet<String>, logins: RegistryLogins) -> Self {
        Self { hosts: RegistryHosts::new(insecure), logins }
    }

    pub(super) fn session<'a>(&'a self, image: &'a ImageRef) -> RegistrySession<'a> {
        RegistrySession { http: self, image, login: self.logins.of(image.registry()), authorization: None }
    }
}

impl RegistrySession<'_> {
    /// Sends a GET request for `v2/<repository>/<path>`, and reads at most `max` bytes.
    pub(super) async fn get(&mut self, path: &str, max: usize) -> Result<RegistryReply> {
        let patience = REQUEST * 3;
        timeout(patience, self.get_now(path, max)).await.unwrap_or_else(|_| {
            Err(unavailable(&format!("{} did not answer within {patience:?}", self.image.registry())))
        })
    }

    /// Returns the size of `v2/<repository>/<path>`. If the request fails, the size is unknown, because that
    /// is no fault of the image.
    pub(super) async fn size(&self, path: &str) -> BlobSize {
        let asked = async {
            let base = self.http.hosts.base(self.image.registry())?;
            self.follow_redirects(Method::HEAD, &base, self.send(Method::HEAD, self.url(&base, path)?).await?)
                .await
        };
        let Ok(Ok(response)) = timeout(REQUEST, asked).await else { return BlobSize::Unknown };
        let length = header(response.headers(), CONTENT_LENGTH).and_then(|length| length.parse().ok());
        match (response.status(), length) {
            (StatusCode::NOT_FOUND, _) => BlobSize::Missing,
            (StatusCode::OK, Some(length)) => BlobSize::Bytes(length),
            _ => BlobSize::Unknown,
        }
    }

    async fn get_now(&mut self, path: &str, max: usize) -> Result<RegistryReply> {
        let base = self.http.hosts.base(self.image.registry())?;
        let url = self.url(&base, path)?;
        let mut response = self.send(Method::GET, url.clone()).await?;
        if response.status() == StatusCode::UNAUTHORIZED
            && self.authorization.is_none()
            && let Some(challenge) = response.headers().get(WWW_AUTHENTICATE)
        {
            let challenge = challenge.to_str().unwrap_or_default().to_owned();
            self.authorization = Some(self.authorized(&base, &challenge).await?);
            response = self.send(Method::GET, url).await?;
            if response.status() == StatusCode::UNAUTHORIZED && self.login.is_some() {
                return Err(self.login_refused());
            }
        }
        let response = self.follow_redirects(Method::GET, &base, response).await?;
        if response.status().is_success() {
            return Ok(RegistryReply { body: self.body(response, max).await? });
        }
        Err(self.refusal(response).await)
    }

    fn url(&self, base: &Url, path: &str) -> Result<Url> {
        joined(base, &format!("/v2/{}/{path}", self.image.repository()))
    }

    /// Follows redirects to hosts that belong to the registry.
    async fn follow_redirects(&self, method: Method, base: &Url, mut response: Response) -> Result<Response> {
        for _ in 0..REDIRECTS_MAX {
            if !response.status().is_redirection() {
                break;
            }
            let to = joined(response.url(), header(response.headers(), LOCATION).unwrap_or_default())?;
            if !self.http.hosts.may_lead_to(self.image.registry(), base, &to) {
                let host = to.host_str().unwrap_or("nowhere");
                return Err(unavailable(&format!(
                    "{} redirects to {host}, which is not one of its hosts",
                    self.image.registry()
                )));
            }
            // The authorization is sent to the registry itself only.
            response = if to.origin() == base.origin() {
                self.send(method.clone(), to).await?
            } else {
                let request = self.http.hosts.client(&to).request(method.clone(), to);
                request.send().await.map_err(|error| self.unreachable(&error))?
            };
        }
        Ok(response)
    }

    async fn send(&self, method: Method, url: Url) -> Result<Response> {
        let mut request = self.http.hosts.client(&url).request(method, url).header(ACCEPT, MANIFESTS);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.send().await.map_err(|error| self.unreachable(&error))
    }

    /// Returns the authorization that the registry asks for: the login, or a token from the server that the
    /// registry names. Without a login the token is anonymous.
    async fn authorized(&self, base: &Url, challenge: &str) -> Result<String> {
        let registry = self.image.registry();
        let Some((realm, service)) = bearer(challenge) else {
            let login = self.login.filter(|_| is_basic(challenge));
            let basic = login.map(RegistryLogin::basic);
            return basic
                .ok_or_else(|| forbidden(&format!("{registry} asks for a password: make the image public")));
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
        let mut request = self.http.hosts.client(&url).get(url);
        if let Some(login) = self.login {
            request = request.header(AUTHORIZATION, login.basic());
        }
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        if response.status() == StatusCode::UNAUTHORIZED && self.login.is_some() {
            return Err(self.login_refused());
        }
        if !response.status().is_success() {
            return Err(self.refusal(response).await);
        }
        let body = self.body(response, TOKEN_MAX).await?;
        let token = serde_json::from_slice::<RegistryToken>(&body)
            .ok()
            .and_then(|answer| answer.token.or(answer.access_token));
        token
            .filter(|token| token.bytes().all(|byte| byte.is_ascii_graphic()))
            .map(|token| format!("Bearer {token}"))
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
        let after = header(response.headers(), RETRY_AFTER).and_then(|after| after.parse::<u64>().ok());
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
                let after =
                    after.map_or_else(String::new, |s| format!("; it permits the next request in {s} s"));
                platform(
                    InterruptionCode::RateLimited,
                    format!("{registry} limits requests{quotation}{after}"),
                )
            }
            status => unavailable(&format!("{registry} answers with {status}{quotation}")),
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> LookupError {
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

fn is_basic(challenge: &str) -> bool {
    challenge.split(' ').next().is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic"))
}

fn joined(base: &Url, to: &str) -> Result<Url> {
    base.join(to).map_err(|error| unavailable(&format!("{base} redirects to an invalid address: {error}")))
}

/// Returns the realm and the service of a `Bearer` challenge.
fn bearer(challenge: &str) -> Option<(&str, &str)> {
    let (scheme, parameters) = challenge.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let value = |name: &str| {
        let (_, rest) = parameters.split_once(&format!("{name}=\""))?;
        rest.split_once('"').map(|(value, _)| value)
    };
    Some((value("realm")?, value("service").unwrap_or_default()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_realm_and_the_service_of_a_bearer_challenge_are_read() {
        let challenge =
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="x""#;
        assert_eq!(bearer(challenge), Some(("https://auth.docker.io/token", "registry.docker.io")));
        assert_eq!(bearer(r#"Basic realm="x""#), None);
    }
}
