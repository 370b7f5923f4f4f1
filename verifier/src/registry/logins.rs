//! Logins for private registries, in the format that `docker login` writes.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// The names under which a Docker client keeps the login for `docker.io`.
const DOCKER_IO: [&str; 3] = ["index.docker.io", "registry-1.docker.io", "docker.io"];

/// A login for each of some registries. Passwords are not shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistryLogins(BTreeMap<String, RegistryLogin>);

/// A user name and a password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RegistryLogin {
    pub(crate) user: String,
    pub(crate) password: String,
}

/// The reason why a text has no usable logins. Quotes nothing that may be a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginsError {
    /// The text is not a Docker client's `config.json`. Holds the line and the column.
    #[error("this is not a Docker client's config.json: line {0}, column {1}")]
    Syntax(usize, usize),
    /// The registry's password is kept elsewhere.
    #[error(
        "the password for {0} is kept by a credential helper, where it cannot be read: \
         run docker login with a config.json that names no credsStore"
    )]
    Elsewhere(String),
    /// The login for this registry cannot be read.
    #[error("the login for {0} is neither a user and a password nor the base64 of USER:PASSWORD")]
    Login(String),
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, DockerAuth>,
}

#[derive(Deserialize)]
struct DockerAuth {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
}

impl RegistryLogins {
    /// Reads the `auths` of a Docker client's `config.json`.
    ///
    /// # Errors
    /// If the text is not such a file, or if it names a registry without its password.
    pub fn parse(json: &str) -> Result<Self, LoginsError> {
        let config: DockerConfig =
            serde_json::from_str(json).map_err(|error| LoginsError::Syntax(error.line(), error.column()))?;
        let logins = config.auths.into_iter().map(|(address, auth)| {
            let registry = registry(&address);
            let login = login(&registry, auth)?;
            Ok((registry, login))
        });
        Ok(Self(logins.collect::<Result<_, _>>()?))
    }

    /// Returns the login for a registry, by its `host` or `host:port`.
    pub(crate) fn of(&self, registry: &str) -> Option<&RegistryLogin> {
        self.0.get(registry)
    }
}

impl RegistryLogin {
    /// Returns the value of the `Authorization` header.
    pub(crate) fn basic(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{}", self.user, self.password)))
    }
}

impl fmt::Debug for RegistryLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RegistryLogin({})", self.user)
    }
}

/// Returns the registry of an entry, which older clients write as a URL.
fn registry(address: &str) -> String {
    let place = address.split_once("://").map_or(address, |(_, place)| place);
    let authority = place.split('/').next().unwrap_or_default();
    // An address may hold a password, and the registry is named in messages.
    let host = authority.rsplit('@').next().unwrap_or_default();
    if DOCKER_IO.contains(&host) { "docker.io".to_owned() } else { host.to_owned() }
}

fn login(registry: &str, auth: DockerAuth) -> Result<RegistryLogin, LoginsError> {
    let DockerAuth { auth, username: user, password } = auth;
    if !user.is_empty() && !password.is_empty() {
        return Ok(RegistryLogin { user, password });
    }
    if auth.is_empty() {
        return Err(LoginsError::Elsewhere(registry.to_owned()));
    }
    let decoded = STANDARD.decode(auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    match decoded.as_deref().and_then(|text| text.split_once(':')) {
        Some((user, password)) if !user.is_empty() && !password.is_empty() => {
            Ok(RegistryLogin { user: user.to_owned(), password: password.to_owned() })
        }
        _ => Err(LoginsError::Login(registry.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_docker_client_is_read() {
        let logins = RegistryLogins::parse(
            r#"{"auths":{"https://index.docker.io/v1/":{"auth":"YWRhOnB3OjE="},
                "r.lan:5000":{"username":"bob","password":"pw"}},"HttpHeaders":{}}"#,
        )
        .unwrap();
        let hub = logins.of("docker.io").unwrap();
        assert_eq!((hub.user.as_str(), hub.password.as_str()), ("ada", "pw:1"));
        assert_eq!(logins.of("r.lan:5000").unwrap().basic(), "Basic Ym9iOnB3");
        assert_eq!(logins.of("r.lan"), None);
        assert!(!format!("{logins:?}").contains("pw"), "{logins:?}");
    }

    #[test]
    fn a_file_without_the_passwords_is_refused_and_the_registry_named() {
        let error = |text: &str| RegistryLogins::parse(text).unwrap_err().to_string();
        assert!(error(r#"{"auths":{"r.lan":{}},"credsStore":"pass"}"#).contains("r.lan"));
        assert!(error(r#"{"auths":{"r.lan":{"auth":"c2VjcmV0"}}}"#).contains("r.lan"));
        let with_password = error(r#"{"auths":{"https://ada:5ecret@r.lan/v2/":{}}}"#);
        assert!(with_password.contains("r.lan") && !with_password.contains("5ecret"), "{with_password}");
        for secret in [r#"{"auths":{"r.lan":{"auth":5ecret}}}"#, r#"{"auths":{"r.lan":"5ecret"}}"#] {
            assert!(!error(secret).contains("5ecret"), "{}", error(secret));
        }
    }
}
