//! The address of a server or a cluster, as the clients of EventStoreDB and KurrentDB write it:
//! `esdb://user:password@host:2113,…?tls=true`. No error shows the address, because it may contain a password.

use std::{fmt, path::PathBuf, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use percent_encoding::percent_decode_str;

use super::ConnectError;

/// The schemes, and whether the address names one host that knows the cluster's members.
const SCHEMES: [(&str, bool); 8] = [
    ("esdb", false),
    ("esdb+discover", true),
    ("kurrentdb", false),
    ("kurrentdb+discover", true),
    ("kurrent", false),
    ("kurrent+discover", true),
    ("kdb", false),
    ("kdb+discover", true),
];

const DEFAULT_PORT: u16 = 2113;

/// The interval of pings, and the longest wait for their answers, if the address names none.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// The parameters that other clients know and that mean nothing here.
const IGNORED: [&str; 7] = [
    "maxdiscoverattempts",
    "discoveryinterval",
    "gossiptimeout",
    "nodepreference",
    "throwonappendfailure",
    "defaultdeadline",
    "dnsdiscover",
];

/// A server of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ServerHost {
    pub(super) host: String,
    pub(super) port: u16,
}

/// A server or a cluster, and the terms on which it is reached.
#[derive(Clone)]
pub(super) struct ServerAddress {
    pub(super) hosts: Vec<ServerHost>,
    /// True if the hosts are asked for the members of their cluster.
    pub(super) cluster: bool,
    pub(super) login: Option<ServerLogin>,
    /// The terms of TLS; `None` if the connection is not encrypted.
    pub(super) tls: Option<TlsTerms>,
    /// The name by which the server lists the connection.
    pub(super) connection_name: Option<String>,
    pub(super) keep_alive_interval: Duration,
    pub(super) keep_alive_timeout: Duration,
}

/// A user and the header that proves it.
#[derive(Clone)]
pub(super) struct ServerLogin {
    pub(super) user: String,
    pub(super) authorization: String,
}

/// The terms of a connection with TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TlsTerms {
    /// False if any certificate of the server will do.
    pub(super) verify: bool,
    /// The file of the authority that signed the server's certificate; without it, the system's authorities.
    pub(super) authority: Option<PathBuf>,
    /// The files of the client's own certificate and key.
    pub(super) client: Option<(PathBuf, PathBuf)>,
}

impl ServerAddress {
    /// Returns whether the scheme asks for discovery, and the rest of the address.
    pub(super) fn scheme(address: &str) -> Option<(bool, &str)> {
        let (scheme, rest) = address.split_once("://")?;
        let (_, discover) = SCHEMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(scheme))?;
        Some((*discover, rest))
    }

    pub(super) fn parse(address: &str) -> Result<Self, ConnectError> {
        let (discover, rest) =
            Self::scheme(address).ok_or_else(|| malformed("esdb:// or kurrentdb:// is expected"))?;
        let (authority, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let authority = authority.trim_end_matches('/');
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (Some(ServerLogin::parse(login)), hosts),
            None => (None, authority),
        };
        let hosts = hosts.split(',').map(ServerHost::parse).collect::<Result<Vec<_>, _>>()?;
        let mut parsed = Self {
            cluster: discover || hosts.len() > 1,
            hosts,
            login,
            tls: None,
            connection_name: None,
            keep_alive_interval: KEEP_ALIVE,
            keep_alive_timeout: KEEP_ALIVE,
        };
        parsed.tls = parsed.read_parameters(parameters)?;
        Ok(parsed)
    }

    fn read_parameters(&mut self, parameters: &str) -> Result<Option<TlsTerms>, ConnectError> {
        let (mut encrypted, mut verify, mut authority) = (true, true, None);
        let (mut certificate, mut key) = (None, None);
        let mut unknown = Vec::new();
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = decoded(value);
            match name.to_ascii_lowercase().as_str() {
                "tls" => encrypted = boolean(name, &value)?,
                "tlsverifycert" => verify = boolean(name, &value)?,
                "tlscafile" => authority = Some(PathBuf::from(value)),
                "usercertfile" => certificate = Some(PathBuf::from(value)),
                "userkeyfile" => key = Some(PathBuf::from(value)),
                "connectionname" => self.connection_name = Some(value),
                "keepaliveinterval" => self.keep_alive_interval = keep_alive(name, &value)?,
                "keepalivetimeout" => self.keep_alive_timeout = keep_alive(name, &value)?,
                // A password with a ? in it seems to have its end here.
                other if parameter.contains('@') || other.contains(':') => {
                    return Err(malformed("write : / ? # and @ in a password as %3A %2F %3F %23 and %40"));
                }
                known if IGNORED.contains(&known) => {}
                _ => unknown.push(name),
            }
        }
        // Only now is it certain that no name is a part of a password.
        for name in unknown {
            tracing::warn!("the event store's address has a parameter that nobody knows: {name}");
        }
        let client = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(malformed("userCertFile and userKeyFile belong together")),
        };
        Ok(encrypted.then_some(TlsTerms { verify, authority, client }))
    }
}

impl ServerHost {
    fn parse(text: &str) -> Result<Self, ConnectError> {
        let invalid = || malformed("each host is written HOST or HOST:PORT");
        let (host, port) = match text.strip_prefix('[') {
            Some(v6) => {
                let (host, port) = v6.split_once(']').ok_or_else(invalid)?;
                (host, port.strip_prefix(':').or(port.is_empty().then_some("")))
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, Some("")),
            },
        };
        let port = match port.ok_or_else(invalid)? {
            "" if !text.ends_with(':') => DEFAULT_PORT,
            port => port.parse().map_err(|_| invalid())?,
        };
        let named = !host.is_empty() && !host.contains(['/', '@', ' ']);
        named.then(|| Self { host: host.to_owned(), port }).ok_or_else(invalid)
    }

    /// Returns the host and the port as a URI has them.
    pub(super) fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for ServerHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority())
    }
}

impl ServerLogin {
    fn parse(text: &str) -> Self {
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        let (user, password) = (decoded(user), decoded(password));
        Self { authorization: format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))), user }
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn boolean(name: &str, value: &str) -> Result<bool, ConnectError> {
    match value.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(malformed(&format!("{name} is true or false"))),
    }
}

/// Reads milliseconds; -1 means never.
fn keep_alive(name: &str, value: &str) -> Result<Duration, ConnectError> {
    match value.parse::<i64>() {
        Ok(-1) => Ok(Duration::from_secs(u64::from(u32::MAX))),
        Ok(ms @ 1..) => Ok(Duration::from_millis(ms.cast_unsigned())),
        _ => Err(malformed(&format!("{name} is a number of milliseconds, or -1"))),
    }
}

fn malformed(why: &str) -> ConnectError {
    ConnectError::Address(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_the_clients_of_both_names_write_them() {
        let host = |host: &str, port| ServerHost { host: host.to_owned(), port };
        for (address, hosts, cluster) in [
            ("esdb://a?tls=false", vec![host("a", 2113)], false),
            ("kurrentdb://a:1/", vec![host("a", 1)], false),
            ("kurrentdb+discover://a:1", vec![host("a", 1)], true),
            ("esdb+discover://u:p@a", vec![host("a", 2113)], true),
            ("kurrent://[::1]:2,b", vec![host("::1", 2), host("b", 2113)], true),
            ("KDB://a", vec![host("a", 2113)], false),
        ] {
            let parsed = ServerAddress::parse(address).unwrap();
            assert_eq!((parsed.hosts, parsed.cluster), (hosts, cluster), "{address}");
        }
        let parsed = ServerAddress::parse(
            "esdb://a%3Ab:p%40%25@h?tlsCAFile=/ca%20.pem&TLSVERIFYCERT=False&nodePreference=x",
        )
        .unwrap();
        let login = parsed.login.unwrap();
        assert_eq!((login.user.as_str(), login.authorization.as_str()), ("a:b", "Basic YTpiOnBAJQ=="));
        let tls = TlsTerms { verify: false, authority: Some("/ca .pem".into()), client: None };
        assert_eq!(parsed.tls, Some(tls));
    }

    #[test]
    fn a_malformed_address_is_refused_without_its_text() {
        for address in [
            "secret",
            "http://secret",
            "esdb://u:secret@",
            "esdb://u:secret@:2113",
            "esdb://h:secret",
            "esdb://h:",
            "esdb://[::1secret",
            "esdb://h,?secret",
            "esdb://h?tls=secret",
            "esdb://h?userCertFile=secret",
            "esdb://u:21?secret@h:2113",
            "esdb://u:21?secret=x@h:2113",
            "esdb://u:21?secret&x=y@h:2113",
            "esdb://h?keepAliveInterval=secret",
        ] {
            let error = ServerAddress::parse(address).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains("malformed") && !error.contains("secret"), "{address}: {error}");
        }
    }
}
