//! The hosts of registries, and the client for each: HTTPS, or plain HTTP for the configured ones.

use std::collections::{BTreeMap, HashSet};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Url};

use super::super::{Result, unavailable};

/// The timeout of one request, from the connection to the end of the body, if the body is short. Within this time each
/// read of a long body must get some bytes.
pub(super) const REQUEST: Duration = Duration::from_secs(15);
const CONNECT: Duration = Duration::from_secs(5);
/// The number of connections to one host that are kept for later requests, and the time for which they are
/// kept. Without these bounds, every connection of a busy moment would stay open.
const IDLE_MAX: usize = 4;
const IDLE: Duration = Duration::from_secs(15);

/// The hosts of registries that do not answer under their own name.
const API_HOSTS: [(&str, &str); 1] = [("docker.io", "registry-1.docker.io")];

/// The domains to which registries send their clients for tokens and content. A name that begins with a dot stands for all
/// registries below it.
const RELATED: [(&str, &[&str]); 11] = [
    ("docker.io", &["docker.io", "docker.com", "r2.cloudflarestorage.com"]),
    ("ghcr.io", &["ghcr.io", "githubusercontent.com"]),
    (
        "quay.io",
        &[
            "quay.io",
            "quayio-production-s3.s3.amazonaws.com",
            "quayio-production-s3.s3.us-east-1.amazonaws.com",
        ],
    ),
    ("registry.gitlab.com", &["gitlab.com", "gitlab-static.net", "storage.googleapis.com"]),
    ("gcr.io", &["storage.googleapis.com"]),
    (".gcr.io", &["storage.googleapis.com"]),
    (".pkg.dev", &["pkg.dev", "storage.googleapis.com"]),
    ("public.ecr.aws", &["cloudfront.net"]),
    (".amazonaws.com", &["amazonaws.com"]),
    (".azurecr.io", &["blob.core.windows.net"]),
    ("mcr.microsoft.com", &["data.mcr.microsoft.com"]),
];

/// The clients for the hosts of registries.
pub(in crate::registry) struct RegistryHosts {
    insecure: HashSet<String>,
    /// The further domains of registries, from all rules that were used.
    further: RwLock<BTreeMap<String, Vec<String>>>,
    /// The client for HTTPS, which uses the system's proxy if there is one.
    tls: Client,
    /// The client for plain HTTP, which uses no proxy, because such registries are local.
    plain: Client,
}

impl RegistryHosts {
    /// Makes the clients. `insecure` lists the registries that speak plain HTTP, beside those on the
    /// loopback. `further` lists domains of registries, beside those that are known here.
    pub(in crate::registry) fn new(
        insecure: HashSet<String>,
        further: BTreeMap<String, Vec<String>>,
    ) -> Self {
        let builder = || {
            Client::builder()
                .redirect(Policy::none())
                .connect_timeout(CONNECT)
                .read_timeout(REQUEST)
                .pool_max_idle_per_host(IDLE_MAX)
                .pool_idle_timeout(IDLE)
                .user_agent(concat!("muster/", env!("CARGO_PKG_VERSION")))
        };
        let built = "a client without certificates of its own is always built";
        Self {
            insecure,
            further: RwLock::new(further),
            tls: builder().https_only(true).build().expect(built),
            plain: builder().no_proxy().build().expect(built),
        }
    }

    /// Adds further domains of registries.
    pub(in crate::registry) fn also_allow(&self, further: &BTreeMap<String, Vec<String>>) {
        if further.is_empty() {
            return;
        }
        let mut known = self.further.write().unwrap_or_else(PoisonError::into_inner);
        for (registry, domains) in further {
            let known = known.entry(registry.clone()).or_default();
            for domain in domains {
                if !known.contains(domain) {
                    known.push(domain.clone());
                }
            }
        }
    }

    fn is_plain(&self, registry: &str) -> bool {
        let host = registry.split(':').next().unwrap_or_default();
        let is_loopback = host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        is_loopback || self.insecure.contains(registry) || self.insecure.contains(host)
    }

    /// Returns the base of a registry's URLs.
    pub(super) fn base(&self, registry: &str) -> Result<Url> {
        let host = API_HOSTS.iter().find(|(name, _)| *name == registry).map_or(registry, |(_, host)| host);
        let scheme = if self.is_plain(registry) { "http" } else { "https" };
        Url::parse(&format!("{scheme}://{host}")).map_err(|error| unavailable(&error.to_string()))
    }

    /// Returns the client for this URL.
    pub(super) fn client(&self, url: &Url) -> &Client {
        if url.scheme() == "http" { &self.plain } else { &self.tls }
    }

    /// Returns true if a registry may send its clients to this URL.
    pub(super) fn may_lead_to(&self, registry: &str, base: &Url, to: &Url) -> bool {
        if to.origin() == base.origin() {
            return true;
        }
        let is_named = |name: &str| {
            registry == name || name.starts_with('.') && registry.ends_with(name) && !registry.contains(':')
        };
        let known =
            RELATED.iter().filter(|(name, _)| is_named(name)).flat_map(|(_, hosts)| hosts.iter().copied());
        let further = self.further.read().unwrap_or_else(PoisonError::into_inner);
        let further = further.get(registry).into_iter().flatten().map(String::as_str);
        let mut related = known.chain(further);
        let host = to.host_str().unwrap_or_default();
        to.scheme() == "https"
            && to.port().is_none()
            && related.any(|domain| {
                host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_leads_only_to_its_own_hosts() {
        let further = BTreeMap::from([("harbor.lan".to_owned(), vec!["s3.lan".to_owned()])]);
        let hosts = RegistryHosts::new(HashSet::from(["registry.lan:5000".to_owned()]), further);
        let may = |registry: &str, to: &str| {
            hosts.may_lead_to(registry, &hosts.base(registry).unwrap(), &Url::parse(to).unwrap())
        };
        assert!(may("docker.io", "https://auth.docker.io/token"));
        assert!(may("docker.io", "https://production.cloudflare.docker.com/blob"));
        assert!(may("registry.lan:5000", "http://registry.lan:5000/token"));
        assert!(may("europe-docker.pkg.dev", "https://storage.googleapis.com/x"));
        assert!(may("registry.gitlab.com", "https://gitlab.com/jwt/auth"));
        assert!(may("harbor.lan", "https://bucket.s3.lan/x"));
        assert!(!may("harbor.lan.evil.example", "https://bucket.s3.lan/x"));
        assert!(!may("evilpkg.dev", "https://storage.googleapis.com/x"));
        for to in [
            "http://auth.docker.io/token",
            "https://evildocker.io/",
            "https://docker.io.evil.example/",
            "https://auth.docker.io:2375/",
            "http://169.254.169.254/",
            "https://127.0.0.1/",
        ] {
            assert!(!may("docker.io", to), "{to}");
        }
        assert!(!may("registry.lan:5000", "http://registry.lan:2375/"));
        assert!(!may("registry.lan:5000", "https://10.0.0.1/"));
    }

    #[test]
    fn only_the_loopback_and_the_listed_registries_go_without_tls() {
        let hosts = RegistryHosts::new(
            HashSet::from(["registry.lan:5000".to_owned(), "near".to_owned()]),
            BTreeMap::new(),
        );
        for plain in ["127.0.0.1:5000", "127.9.9.9", "localhost:5000", "registry.lan:5000", "near:80"] {
            assert_eq!(hosts.base(plain).unwrap().scheme(), "http", "{plain}");
        }
        for tls in ["docker.io", "registry.lan:5001", "127.0.0.1.nip.io", "10.0.0.1:5000"] {
            assert_eq!(hosts.base(tls).unwrap().scheme(), "https", "{tls}");
        }
    }
}
