//! Requests to one registry: bounded, with a token or a login where one is
//! asked for, and to no host but the registry's own and those that it is known
//! to use. What a registry says of itself (redirects, token servers) is not
//! trusted any further.

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
/// What is quoted of a registry's own words, in characters.
const QUOTED_MAX: usize = 200;

/// Every form of a manifest that is understood.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

pub(super) struct RegistryHttp {
    hosts: RegistryHosts,
    logins: RegistryLogins,
}

/// Requests about one image; they share what lets them in.
pub(super) struct RegistrySession<'a> {
    http: &'a RegistryHttp,
    image: &'a ImageRef,
    login: Option<&'a RegistryLogin>,
    /// `Bearer …` or `Basic …`, once it was asked for.
    authorization: Option<String>,
}

/// How large a thing is.
pub(super) enum BlobSize {
    /// So many bytes.
    Of(u64),
    /// The registry does not have it.
    Gone,
    /// The registry does not say.
    Unknown,
}

pub(super) struct RegistryReply {
    pub(super) body: Vec<u8>,
}

/// Some servers say it under one name, some under the other, some under both.
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
    /// GETs `v2/<repository>/<path>`; at most `max` bytes.
    pub(super) async fn get(&mut self, path: &str, max: usize) -> Result<RegistryReply> {
        let patience = REQUEST * 3;
        timeout(patience, self.get_now(path, max)).await.unwrap_or_else(|_| {
            Err(unavailable(&format!("{} took more than {patience:?}", self.image.registry())))
        })
    }

    /// How large `v2/<repository>/<path>` is. What the registry does not say of
    /// a thing's size is no fault of the thing.
    pub(super) async fn size(&self, path: &str) -> BlobSize {
        let asked = async {
            let base = self.http.hosts.base(self.image.registry())?;
            self.follow(Method::HEAD, &base, self.send(Method::HEAD, self.url(&base, path)?).await?).await
        };
        let Ok(Ok(response)) = timeout(REQUEST, asked).await else { return BlobSize::Unknown };
        let length = header(response.headers(), CONTENT_LENGTH).and_then(|length| length.parse().ok());
        match (response.status(), length) {
            (StatusCode::NOT_FOUND, _) => BlobSize::Gone,
            (StatusCode::OK, Some(length)) => BlobSize::Of(length),
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
        let response = self.follow(Method::GET, &base, response).await?;
        if response.status().is_success() {
            return Ok(RegistryReply { body: self.body(response, max).await? });
        }
        Err(self.refusal(response).await)
    }

    fn url(&self, base: &Url, path: &str) -> Result<Url> {
        joined(base, &format!("/v2/{}/{path}", self.image.repository()))
    }

    /// Follows redirects, as far as the registry may lead.
    async fn follow(&self, method: Method, base: &Url, mut response: Response) -> Result<Response> {
        for _ in 0..REDIRECTS_MAX {
            if !response.status().is_redirection() {
                break;
            }
            let to = joined(response.url(), header(response.headers(), LOCATION).unwrap_or_default())?;
            if !self.http.hosts.may_lead_to(self.image.registry(), base, &to) {
                let host = to.host_str().unwrap_or("nowhere");
                return Err(unavailable(&format!(
                    "{} leads to {host}, which is not its own",
                    self.image.registry()
                )));
            }
            // What lets us in is for the registry alone.
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

    /// What lets us in, as the registry asks for it: our login, or a token from
    /// the server that it names, which gives one to everybody if there is no login.
    async fn authorized(&self, base: &Url, challenge: &str) -> Result<String> {
        let registry = self.image.registry();
        let Some((realm, service)) = bearer(challenge) else {
            let login = self.login.filter(|_| is_basic(challenge));
            let basic = login.map(RegistryLogin::basic);
            return basic.ok_or_else(|| forbidden(&format!("{registry} asks for a password")));
        };
        let mut url = Url::parse(realm).map_err(|error| unavailable(&error.to_string()))?;
        if !self.http.hosts.may_lead_to(registry, base, &url) {
            let host = url.host_str().unwrap_or("nowhere");
            return Err(unavailable(&format!("{registry} has its tokens at {host}, which is not its own")));
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
            .and_then(|said| said.token.or(said.access_token));
        token
            .filter(|token| token.bytes().all(|byte| byte.is_ascii_graphic()))
            .map(|token| format!("Bearer {token}"))
            .ok_or_else(|| unavailable(&format!("{registry} gave a token that is none")))
    }

    fn login_refused(&self) -> LookupError {
        unavailable(&format!("{} refuses the login that we have for it", self.image.registry()))
    }

    async fn body(&self, mut response: Response, max: usize) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            if body.len() + chunk.len() > max {
                return Err(super::refused(&format!("its description is larger than {max} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// What a status other than success means, with the registry's own words.
    async fn refusal(&self, response: Response) -> LookupError {
        let status = response.status();
        let after = header(response.headers(), RETRY_AFTER).and_then(|after| after.parse::<u64>().ok());
        let words = quoted(&self.body(response, ERROR_MAX).await.unwrap_or_default());
        let name = self.image.familiar();
        let registry = self.image.registry();
        match status {
            StatusCode::NOT_FOUND => LookupError::Participant(
                FailureCode::ImageNotFound,
                format!("{registry} has no image {name}{words}."),
            ),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => forbidden(&format!(
                "{registry} does not give {name} to everybody, or does not have it{words}"
            )),
            StatusCode::TOO_MANY_REQUESTS => {
                let after =
                    after.map_or_else(String::new, |s| format!("; it wants to be asked again in {s} s"));
                platform(InterruptionCode::RateLimited, format!("{registry} limits requests{words}{after}"))
            }
            status => unavailable(&format!("{registry} answers with {status}{words}")),
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
    base.join(to).map_err(|error| unavailable(&format!("{base} leads nowhere: {error}")))
}

/// The realm and the service of a `Bearer` challenge.
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

/// A registry's own words, to go behind ours: `` or ` (CODE: message)`.
fn quoted(body: &[u8]) -> String {
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
    fn a_challenge_is_read() {
        let challenge =
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="x""#;
        assert_eq!(bearer(challenge), Some(("https://auth.docker.io/token", "registry.docker.io")));
        assert_eq!(bearer(r#"Basic realm="x""#), None);
    }
}
