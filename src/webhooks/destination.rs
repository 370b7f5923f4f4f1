//! The places that webhooks are sent to. None of them is inside, unless the operator allows it by name or by network.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::net::lookup_host;

use super::address::is_inside;

/// The longest URL of a webhook, in bytes.
const URL_BYTES_MAX: usize = 2000;

/// The URL of a receiver. Part of it may be a secret, so its `Debug` form shows the host only.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct WebhookUrl(Url);

/// The hosts and networks inside that the operator allows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AllowedInside {
    names: Vec<String>,
    networks: Vec<IpNet>,
}

impl WebhookUrl {
    /// Reads a URL. The error does not show it.
    ///
    /// # Errors
    /// If it is no URL, has a login, needs TLS and is without, or its host is an address inside that is not allowed.
    pub(crate) fn parse(text: &str, allowed: &AllowedInside) -> Result<Self, String> {
        if text.len() > URL_BYTES_MAX {
            return Err(format!("its url is longer than {URL_BYTES_MAX} bytes"));
        }
        let url = Url::parse(text).map_err(|error| format!("its url is none: {error}"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("its url has a user name or a password; leave it out".to_owned());
        }
        let Some(host) = url.host_str() else { return Err("its url has no host".to_owned()) };
        let is_allowed = allowed.names_host(host);
        match url.scheme() {
            "https" => {}
            "http" if is_allowed => {}
            "http" => return Err(format!("its url needs https://, unless `allow` names {host}")),
            _ => return Err("its url needs https://".to_owned()),
        }
        if literal(host).is_some_and(is_inside) && !is_allowed {
            return Err(format!("{host} is an address inside; add it to `allow` if it is meant"));
        }
        Ok(Self(url))
    }

    /// Returns the host, and the port if it is not the usual one.
    pub(crate) fn host(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        self.0.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    pub(super) fn url(&self) -> Url {
        self.0.clone()
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookUrl({}…)", self.host())
    }
}

impl AllowedInside {
    /// Reads entries: a host's name, an address, or a network as in `10.1.0.0/16`.
    ///
    /// # Errors
    /// If an entry is none of these.
    pub(crate) fn parse(entries: &[String]) -> Result<Self, String> {
        let mut allowed = Self::default();
        for entry in entries {
            let bare = entry.trim_start_matches('[').trim_end_matches(']');
            if let Ok(network) = bare.parse::<IpNet>() {
                allowed.networks.push(network);
            } else if let Ok(address) = bare.parse::<IpAddr>() {
                allowed.networks.push(address.into());
            } else if is_host_name(entry) {
                allowed.names.push(normal(entry));
            } else {
                return Err(format!("allow: {entry:?} is no host, address or network such as 10.1.0.0/16"));
            }
        }
        Ok(allowed)
    }

    /// Returns whether an entry names this host of a URL, or has its address.
    fn names_host(&self, host: &str) -> bool {
        self.names.contains(&normal(host)) || literal(host).is_some_and(|address| self.has(address))
    }

    fn has(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address.to_canonical()))
    }
}

/// The look-up of hosts' names. It gives the connection only addresses that may be connected to, so that a name which
/// means another address at a second look-up is checked again.
pub(super) struct GuardedResolver {
    names: Arc<dyn Resolve>,
    allowed: Arc<AllowedInside>,
}

/// The look-up of this machine.
pub(super) struct SystemNames;

impl GuardedResolver {
    pub(super) fn new(names: Arc<dyn Resolve>, allowed: Arc<AllowedInside>) -> Self {
        Self { names, allowed }
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        let (found, allowed) = (self.names.resolve(name), Arc::clone(&self.allowed));
        Box::pin(async move {
            let found: Vec<SocketAddr> = found.await?.collect();
            if allowed.names_host(&host) {
                return Ok(Box::new(found.into_iter()) as Addrs);
            }
            let may_be_reached = |address: &SocketAddr| !is_inside(address.ip()) || allowed.has(address.ip());
            let usable: Vec<SocketAddr> = found.iter().copied().filter(may_be_reached).collect();
            match (usable.is_empty(), found.first()) {
                (true, Some(inside)) => Err(InsideError { host, inside: inside.ip() }.into()),
                _ => Ok(Box::new(usable.into_iter()) as Addrs),
            }
        })
    }
}

/// The refusal of a host's name that means an address inside.
#[derive(Debug)]
pub(super) struct InsideError {
    host: String,
    inside: IpAddr,
}

impl std::error::Error for InsideError {}

impl fmt::Display for InsideError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, inside } = self;
        write!(f, "{host} is {inside}, an address inside; add it to `allow` if it is meant")
    }
}

impl Resolve for SystemNames {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = lookup_host((name.as_str(), 0)).await?;
            Ok(Box::new(found.collect::<Vec<_>>().into_iter()) as Addrs)
        })
    }
}

/// Returns the address that a URL's host spells out.
fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Returns a name without the dot that may stand at its end, in lower case.
fn normal(host: &str) -> String {
    host.trim_end_matches('.').to_lowercase()
}

fn is_host_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> bool {
        WebhookUrl::parse(url, &AllowedInside::default()).is_err()
    }

    #[test]
    fn no_address_inside_is_taken_in_any_disguise() {
        for url in [
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0x7f.1/",
            "https://017700000001/",
            "https://0177.0.0.01/",
            "https://127.1/",
            "https://127.0.0.1./",
            "https://%31%32%37.0.0.1/",
            "https://①②⑦.⓪.⓪.①/",
            "https://127。0。0。1/",
            "https:\\\\127.0.0.1/",
            "https://0/",
            "https://10.0.0.1:8443/hook",
            "https://169.254.169.254/latest/meta-data",
            "https://0xA9FEA9FE/",
            "https://100.100.100.200/",
            "https://[::1]/",
            "https://[::]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:7f00:1]/",
            "https://[0:0:0:0:0:ffff:a00:1]/",
            "https://[64:ff9b::a9fe:a9fe]/",
            "https://[fd00:ec2::254]/",
            "https://[fe80::1]/",
            "https://[2002:7f00:1::]/",
        ] {
            assert!(refused(url), "{url}");
        }
    }

    #[test]
    fn a_login_another_scheme_and_http_are_refused() {
        for url in [
            "https://hooks.example.org@10.0.0.1/",
            "https://ada@hooks.example.org/",
            "https://:secret@hooks.example.org/",
            "http://hooks.example.org/",
            "ftp://hooks.example.org/",
            "file:///etc/passwd",
            "hooks.example.org",
            "https://",
        ] {
            assert!(refused(url), "{url}");
        }
        assert!(!refused("https://hooks.example.org/services/T0/B0/secret"));
        assert!(!refused("https://1.1.1.1/"));
        let shown = WebhookUrl::parse("https://hooks.example.org/secret", &AllowedInside::default()).unwrap();
        assert_eq!(format!("{shown:?}"), "WebhookUrl(hooks.example.org…)");
    }

    #[test]
    fn the_operator_allows_hosts_and_networks() {
        let entries = ["10.1.0.0/16", "[::1]", "127.0.0.1", "Hooks.Internal"].map(str::to_owned);
        let allowed = AllowedInside::parse(&entries).unwrap();
        for url in [
            "https://10.1.2.3/",
            "http://10.1.2.3/",
            "http://127.0.0.1:8080/",
            "http://0x7f.1/",
            "http://[::1]:9/",
            "http://hooks.internal/",
            "http://hooks.internal./",
        ] {
            WebhookUrl::parse(url, &allowed).unwrap_or_else(|error| panic!("{url}: {error}"));
        }
        for url in ["https://10.2.0.1/", "https://127.0.0.2/", "http://other.internal/"] {
            assert!(WebhookUrl::parse(url, &allowed).is_err(), "{url}");
        }
        for entry in ["", "a b", "http://x/", "10.0.0.0/33"] {
            assert!(AllowedInside::parse(&[entry.to_owned()]).is_err(), "{entry}");
        }
    }

    /// Answers each look-up with the next of some addresses.
    struct ScriptedNames(std::sync::Mutex<Vec<Vec<IpAddr>>>);

    impl Resolve for ScriptedNames {
        fn resolve(&self, _: Name) -> Resolving {
            let mut answers = self.0.lock().unwrap();
            let found: Vec<_> = answers.remove(0).into_iter().map(|ip| SocketAddr::new(ip, 0)).collect();
            Box::pin(async move { Ok(Box::new(found.into_iter()) as Addrs) })
        }
    }

    #[tokio::test]
    async fn each_look_up_is_checked_again() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let answers = vec![
            vec![ip("1.1.1.1")],
            vec![ip("127.0.0.1")],
            vec![ip("10.0.0.1"), ip("1.1.1.1")],
            vec![ip("::ffff:10.0.0.1")],
        ];
        let names = Arc::new(ScriptedNames(answers.into()));
        let guarded = GuardedResolver::new(names, Arc::new(AllowedInside::default()));
        let look_up = async || {
            let found = guarded.resolve("hooks.example.org".parse().unwrap()).await;
            found.map(|found| found.map(|at| at.ip()).collect::<Vec<_>>()).map_err(|e| e.to_string())
        };
        assert_eq!(look_up().await.unwrap(), [ip("1.1.1.1")]);
        assert!(look_up().await.unwrap_err().contains("127.0.0.1, an address inside"));
        assert_eq!(look_up().await.unwrap(), [ip("1.1.1.1")]);
        assert!(look_up().await.is_err());
    }

    #[tokio::test]
    async fn the_name_of_this_machine_is_inside_unless_it_is_allowed() {
        for (entries, is_found) in [(vec![], false), (vec!["localhost".to_owned()], true)] {
            let allowed = Arc::new(AllowedInside::parse(&entries).unwrap());
            let guarded = GuardedResolver::new(Arc::new(SystemNames), allowed);
            let found = guarded.resolve("localhost".parse().unwrap()).await;
            assert_eq!(found.is_ok(), is_found);
            // Not every machine knows the name with the dot.
            assert!(is_found || guarded.resolve("localhost.".parse().unwrap()).await.is_err());
        }
    }
}
