//! The settings: flags win over environment variables, and these win over `muster.toml`.
//!
//! `options` declares each setting once. [`Settings`] holds their meaning. It is read once, at the start, and a
//! wrong setting is an error of one line that names it.

mod files;
mod gate;
mod node;
mod options;
mod secret;
mod telemetry;
mod typed;

pub use files::read_challenge;
pub use node::NodeSettings;
pub use options::{AllOptions, EventLogOptions, EventstoreOptions, JanitorOptions, ViewsOptions};
pub use secret::SecretText;
pub use telemetry::{LogFormat, TelemetrySettings};
pub use typed::SettingError;

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;

use commands::RateLimit;
use domain::Challenge;
use domain::challenge::PlacedVenue;
use event_store::EsdbStore;
use http_edge::{OrganiserToken, TrustedProxies, UnknownNetworkError};
use read_api::MapTiles;
use serde::Serialize;
use verifier::{GateChoice, RegistryLogins};

use crate::webhooks::WebhookSettings;
use files::{challenge, logins, webhooks};
pub(crate) use gate::GateForVerifiers;
use typed::TypedSettings;

/// The meaning of all settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The address of the HTTP server, if it was given. Port 0 takes any free port.
    pub listen: Option<SocketAddr>,
    /// The directory of the data to keep.
    pub data: PathBuf,
    pub eventstore: LogLocation,
    pub views: ViewsLocation,
    /// Engines of the Swarm, as `unix://…` or `tcp://…`.
    pub swarm: Vec<String>,
    /// The directory of the certificates for engines over `tcp://`.
    pub swarm_certificates: Option<PathBuf>,
    pub challenge: Arc<Challenge>,
    /// The challenge's venues at their places.
    pub venues: Vec<PlacedVenue>,
    /// The token that organisers send.
    pub token: Option<OrganiserToken>,
    /// The source of map tiles; `None` for the built-in world map.
    pub tiles: Option<MapTiles>,
    /// Registries that Muster reaches without TLS.
    pub insecure_registries: Vec<String>,
    /// Logins for private registries.
    pub logins: RegistryLogins,
    /// The gate of the verifier.
    pub gate: GateChoice,
    /// The terms of `muster serve gate` for verifiers.
    pub(crate) gate_verifiers: GateForVerifiers,
    /// The webhooks of organisers; `None` if no file names any.
    pub(crate) webhooks: Option<WebhookSettings>,
    /// The number of slots of each node; `None` for as many as fit.
    pub slots: Option<usize>,
    /// The proxies that are believed when they name the client.
    pub trusted_proxies: TrustedProxies,
    /// The rate limit of one client address; `None` for no limit.
    pub rate_by_address: Option<RateLimit>,
    /// The rate limit of one owner; `None` for no limit.
    pub rate_by_owner: Option<RateLimit>,
    /// The node that serves the embedded log; `None` if nothing serves it.
    pub node: Option<NodeSettings>,
    pub telemetry: TelemetrySettings,
}

/// The location of the event log.
#[derive(Clone, PartialEq, Eq)]
pub enum LogLocation {
    /// A file that only this process opens.
    Sqlite(PathBuf),
    /// The address of an EventStoreDB, or of `muster eventstore`. It may contain a password.
    Esdb(String),
}

/// The location of the views.
#[derive(Clone, PartialEq, Eq)]
pub enum ViewsLocation {
    /// The memory of this process. Each start builds them from the log.
    Memory,
    /// The address of a MongoDB replica set. It may contain a password.
    Mongo(String),
}

impl Settings {
    /// Returns the address of the HTTP API.
    pub fn api(&self) -> SocketAddr {
        self.listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8080)))
    }

    /// Returns the meaning of these options, of the variables, and of the file for the rest.
    ///
    /// # Errors
    /// If a setting is wrong, or the file or the challenge cannot be read.
    pub fn read(options: &impl Serialize) -> Result<Self, SettingError> {
        Self::from_typed(TypedSettings::merge(options)?)
    }

    /// Returns the settings of `muster eventstore`, which always has a node.
    ///
    /// # Errors
    /// If a setting is wrong, or the file or the challenge cannot be read.
    pub fn read_for_node(options: &EventstoreOptions) -> Result<Self, SettingError> {
        let mut typed = TypedSettings::merge(options)?;
        typed.set_default("eventstore-listen", "127.0.0.1:2113");
        Self::from_typed(typed)
    }

    fn from_typed(mut typed: TypedSettings) -> Result<Self, SettingError> {
        let typed = &mut typed;
        let data = typed.text("data")?.map_or_else(|| "muster-data".into(), PathBuf::from);
        let log = LogLocation::Sqlite(data.join("events.sqlite"));
        let (gate, gate_verifiers) = gate::from_typed(typed, &data)?;
        let (rules, venues) = typed.parse("challenge", (Challenge::birthday(), Vec::new()), challenge)?;
        Ok(Self {
            listen: typed.parse("listen", None, |text| socket_address(text).map(Some))?,
            data,
            eventstore: typed.parse_hidden("eventstore", log, LogLocation::parse)?,
            views: typed.parse_hidden("views", ViewsLocation::Memory, ViewsLocation::parse)?,
            swarm: engines(typed)?,
            swarm_certificates: typed.text("swarm-certificates")?.map(PathBuf::from),
            challenge: Arc::new(rules),
            venues,
            token: typed.parse_hidden("token", None, |secret| secret.parse().map(Some))?,
            tiles: tiles(typed)?,
            insecure_registries: typed.list("insecure-registries")?.unwrap_or_default(),
            logins: typed.parse("registry-logins", RegistryLogins::default(), logins)?,
            gate,
            gate_verifiers,
            webhooks: typed.parse("webhooks", None, webhooks)?,
            slots: typed.parse("slots", None, slots)?,
            trusted_proxies: proxies(typed)?,
            rate_by_address: typed.parse("rate-by-address", Some(RateLimit::BY_ADDRESS), rate)?,
            rate_by_owner: typed.parse("rate-by-owner", Some(RateLimit::BY_OWNER), rate)?,
            node: NodeSettings::from_typed(typed)?,
            telemetry: TelemetrySettings::from_typed(typed)?,
        })
    }
}

impl LogLocation {
    fn parse(text: &str) -> Result<Self, &'static str> {
        match text.strip_prefix("sqlite:") {
            Some(path) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            _ if EsdbStore::is_address(text) => Ok(Self::Esdb(text.to_owned())),
            _ => Err("sqlite:PATH, esdb://HOST:PORT or kurrentdb://HOST:PORT is expected"),
        }
    }
}

impl ViewsLocation {
    fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "memory" => Ok(Self::Memory),
            _ if text.starts_with("mongodb://") || text.starts_with("mongodb+srv://") => {
                Ok(Self::Mongo(text.to_owned()))
            }
            _ => Err("memory or mongodb://HOSTS/DATABASE is expected"),
        }
    }
}

// The two do not show an address.
impl fmt::Debug for LogLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
            Self::Esdb(_) => f.write_str("Esdb(…)"),
        }
    }
}

impl fmt::Debug for ViewsLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "Memory",
            Self::Mongo(_) => "Mongo(…)",
        })
    }
}

fn socket_address(text: &str) -> Result<SocketAddr, String> {
    let expected = || "an address and a port are expected, as in 127.0.0.1:8080".to_owned();
    text.to_socket_addrs().map_err(|error| format!("{} ({error})", expected()))?.next().ok_or_else(expected)
}

fn proxies(typed: &mut TypedSettings) -> Result<TrustedProxies, SettingError> {
    let networks = typed.list("trusted-proxies")?.unwrap_or_default();
    networks.join(",").parse().map_err(|UnknownNetworkError { network }| {
        let why = "a network or an address is expected, as in 10.0.0.0/24,2001:db8::7";
        SettingError::invalid("trusted-proxies", &network, why)
    })
}

/// Reads the engines' addresses, which are shown in many messages.
fn engines(typed: &mut TypedSettings) -> Result<Vec<String>, SettingError> {
    let engines = typed.list("swarm")?.unwrap_or_else(|| vec!["unix:///var/run/docker.sock".into()]);
    if engines.iter().any(|engine| !engine.starts_with("unix://") && engine.contains('@')) {
        let why = "an engine has no user name and password; name its certificates with --swarm-certificates";
        return Err(SettingError::hidden("swarm", why));
    }
    Ok(engines)
}

fn tiles(typed: &mut TypedSettings) -> Result<Option<MapTiles>, SettingError> {
    let author = typed.text("tiles-attribution")?;
    let tiles = typed.parse("tiles", None, |url| match &author {
        Some(author) => MapTiles::new(url, author).map(Some).map_err(|error| error.to_string()),
        None => Err("--tiles-attribution must say who made them (MUSTER_TILES_ATTRIBUTION)".to_owned()),
    })?;
    match (tiles, author) {
        (None, Some(author)) => {
            Err(SettingError::invalid("tiles-attribution", &author, "it needs --tiles (MUSTER_TILES)"))
        }
        (tiles, _) => Ok(tiles),
    }
}

fn slots(text: &str) -> Result<Option<usize>, &'static str> {
    match text.parse() {
        Ok(slots) if slots > 0 => Ok(Some(slots)),
        _ => Err("a number above 0 is expected"),
    }
}

fn rate(text: &str) -> Result<Option<RateLimit>, commands::RateLimitError> {
    if text == "off" { Ok(None) } else { text.parse().map(Some) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use clap::FromArgMatches;

    use super::*;

    /// Returns a command that takes all settings as flags, and none as variables.
    fn command() -> clap::Command {
        let command = <AllOptions as clap::Args>::augment_args(clap::Command::new("muster"));
        command.mut_args(|flag| flag.env(clap::builder::Resettable::Reset))
    }

    /// Reads settings from flags, with a file of this content.
    fn read(flags: &[&str], file: &str) -> Result<Settings, String> {
        let written = tempfile::NamedTempFile::new().unwrap();
        fs::write(written.path(), file).unwrap();
        let config = ["muster", "--config", written.path().to_str().unwrap()];
        let matches = command().try_get_matches_from(config.iter().chain(flags)).unwrap();
        Settings::read(&AllOptions::from_arg_matches(&matches).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn every_setting_has_a_default() {
        let settings = Settings::read(&AllOptions::default()).unwrap();
        assert_eq!(settings.api().to_string(), "127.0.0.1:8080");
        assert_eq!(settings.eventstore, LogLocation::Sqlite("muster-data/events.sqlite".into()));
        assert_eq!(settings.challenge.id, "docker-birthday-3");
        assert_eq!(settings.rate_by_address, Some(RateLimit::BY_ADDRESS));
        assert!(settings.token.is_none() && settings.slots.is_none());
        let telemetry = TelemetrySettings { filter: "info".into(), format: LogFormat::Text };
        assert_eq!(settings.telemetry, telemetry);
    }

    #[test]
    fn flags_win_over_the_file_and_an_empty_text_is_absent() {
        let settings = read(
            &["--listen", "127.0.0.1:2", "--data", "", "--log", " "],
            "listen = \"127.0.0.1:1\"\nslots = 8\nswarm = [\"tcp://a:1\", \"tcp://b:1\"]\n\
             data = \"/d\"\nrate-by-owner = \"off\"\ntrusted-proxies = [\"10.0.0.0/8\", \"::2\"]\ninsecure-registries = \"a:1, b:1\"\ntoken = \"\"\n\
             log = \"warn\"\nlog-format = \"json\"\n",
        )
        .unwrap();
        assert_eq!(settings.api().port(), 2);
        assert_eq!(settings.slots, Some(8));
        assert_eq!(settings.swarm, ["tcp://a:1", "tcp://b:1"]);
        assert_eq!(settings.insecure_registries, ["a:1", "b:1"]);
        assert_eq!(settings.data, Path::new("/d"));
        assert_eq!(Ok(settings.trusted_proxies), "10.0.0.0/8,::2/128".parse());
        assert!(settings.rate_by_owner.is_none() && settings.token.is_none());
        assert_eq!(settings.telemetry, TelemetrySettings { filter: "warn".into(), format: LogFormat::Json });
    }

    #[test]
    fn every_setting_that_is_declared_is_used() {
        for key in typed::known_keys() {
            // A table is never the value of a setting, so only an unused one is accepted.
            let error = read(&[], &format!("[{key}]\n"));
            assert!(error.is_err_and(|error| error.contains(&key)), "nothing reads {key}");
        }
    }

    const GATE_SECRET: &str = "0c8a41e7d29b5f63";

    #[test]
    fn a_wrong_setting_is_named_in_one_line() {
        let wrong_challenge = tempfile::NamedTempFile::new().unwrap();
        fs::write(wrong_challenge.path(), "id = 7").unwrap();
        let wrong_challenge = wrong_challenge.path().to_str().unwrap();
        let with_brace = "https://{s}.example.org/{z}/{x}/{y}.png";
        let flags: [(&str, &[&str]); 27] = [
            ("--listen, MUSTER_LISTEN", &["--listen", "8080"]),
            ("--eventstore", &["--eventstore", "postgres://x"]),
            ("needs --eventstore-login", &["--eventstore-listen", "0.0.0.0:2113"]),
            ("MUSTER_EVENTSTORE_LOGIN", &["--eventstore-login", "secret"]),
            ("without --eventstore-login", &["--eventstore-reader", "eve:secret"]),
            ("--views", &["--views", "files"]),
            ("needs --gate-tls", &["--gate-listen", "10.0.0.1:5443"]),
            ("--gate-address HOST:PORT", &["--gate-listen", "0.0.0.0:5443", "--gate-tls", "a,b"]),
            ("MUSTER_GATE_TLS", &["--gate-tls", "one"]),
            ("MUSTER_GATE_SPACE_MIB", &["--gate-space-mib", "0"]),
            ("needs --gate-tls", &["--gate-verifiers", "10.0.0.1:5444"]),
            ("needs --gate-secret", &["--gate", "https://gate.lan:5444"]),
            ("in the clear", &["--gate", "http://gate.lan:5444", "--gate-secret", GATE_SECRET]),
            (
                "leave out",
                &[
                    "--gate",
                    "http://[::1]:5444",
                    "--gate-secret",
                    GATE_SECRET,
                    "--gate-listen",
                    "127.0.0.1:1",
                ],
            ),
            ("https://HOST:PORT", &["--gate", "https://ada:secret@gate.lan", "--gate-secret", GATE_SECRET]),
            ("needs --gate (", &["--gate-authority", "ca.pem"]),
            ("MUSTER_SLOTS", &["--slots", "0"]),
            ("MUSTER_TRUSTED_PROXIES", &["--trusted-proxies", "10.0.0.0/24,10.0.0.0/33"]),
            ("MUSTER_RATE_BY_OWNER", &["--rate-by-owner", "often"]),
            ("--tiles, MUSTER_TILES", &["--tiles", with_brace, "--tiles-attribution", "© somebody"]),
            ("who made them", &["--tiles", "https://example.org/{z}/{x}/{y}.png"]),
            ("needs --tiles", &["--tiles-attribution", "© somebody"]),
            ("MUSTER_REGISTRY_LOGINS", &["--registry-logins", "/nowhere.json"]),
            ("MUSTER_WEBHOOKS", &["--webhooks", "/nowhere.toml"]),
            ("line 1", &["--challenge", wrong_challenge]),
            ("MUSTER_LOG", &["--log", "verifier=loud"]),
            ("MUSTER_LOG_FORMAT", &["--log-format", "xml"]),
        ];
        for (named, flags) in flags {
            let error = read(flags, "").unwrap_err();
            assert!(error.contains(named) && !error.contains('\n'), "{error}");
            assert!(!error.replace("gate-secret", "").contains("secret"), "{error}");
        }
        for (named, file) in [
            ("No such file", "challenge = \"/nowhere.toml\""),
            ("unknown setting `lisen`", "listen = \"127.0.0.1:1\"\nlisen = 1\n"),
            ("unknown setting `config`", "config = \"other.toml\""),
            ("line 1", "listen = "),
            ("MUSTER_TOKEN", "token = [\"secret\"]"),
            ("MUSTER_SWARM", "swarm = [[\"secret\"]]"),
        ] {
            let error = read(&[], file).unwrap_err();
            assert!(error.contains(named) && !error.contains('\n'), "{error}");
            assert!(!error.replace("gate-secret", "").contains("secret"), "{error}");
        }
    }

    #[test]
    fn no_error_and_no_debug_text_shows_a_secret() {
        for flags in [
            ["--eventstore", "postgres://ada:s3cret@host/db"],
            ["--eventstore", "ada:s3cret@host:2113"],
            ["--views", "mongo://ada:s3cret@host/muster"],
            ["--views", "s3cret"],
            ["--swarm", "tcp://ada:s3cret@host:2376"],
            ["--tiles", "https://ada:s3cret@host/{z}/{x}/{y}.png"],
            ["--tiles", "https://host/{z}/{x}/{y}.png?key=s3cret"],
            ["--token", "s3cret"],
            ["--eventstore-login", "s3cret"],
            ["--eventstore-reader", "s3cret"],
        ] {
            let error = read(&flags, "").unwrap_err();
            assert!(error.contains(flags[0]) && !error.contains("s3cret"), "{error}");
        }
        let flags = [
            ["--eventstore", "kurrentdb+discover://ada:s3cret@host"],
            ["--views", "mongodb://ada:s3cret@host/muster"],
            ["--token", "s3cret-0f9e8d7c6b5a4938"],
            ["--eventstore-login", "ada:s3cret"],
            ["--eventstore-reader", "eve:s3cret"],
            ["--eventstore-listen", "127.0.0.1:2113"],
        ];
        let settings = read(flags.as_flattened(), "").unwrap();
        assert!(!format!("{settings:?}").contains("s3cret"), "{settings:?}");
        let matches = command().try_get_matches_from(["muster"].iter().chain(flags.as_flattened())).unwrap();
        let options = AllOptions::from_arg_matches(&matches).unwrap();
        assert!(!format!("{options:?}").contains("s3cret"), "{options:?}");
    }

    #[test]
    fn each_name_of_the_event_store_is_taken() {
        for scheme in [
            "esdb",
            "esdb+discover",
            "kurrentdb",
            "kurrentdb+discover",
            "kurrent",
            "kurrent+discover",
            "kdb",
            "kdb+discover",
        ] {
            let address = format!("{scheme}://host:2113?tls=false");
            let settings = read(&["--eventstore", &address], "").unwrap();
            assert_eq!(settings.eventstore, LogLocation::Esdb(address));
        }
    }

    #[test]
    fn the_help_shows_no_value_of_a_variable_that_may_hold_a_secret() {
        let command = <AllOptions as clap::Args>::augment_args(clap::Command::new("muster"));
        for name in ["eventstore", "views", "token", "eventstore_login", "eventstore_reader"] {
            let flag = command.get_arguments().find(|flag| flag.get_id() == name).unwrap();
            assert!(flag.is_hide_env_values_set(), "{name}");
        }
    }

    #[test]
    fn a_file_that_is_named_must_exist() {
        let matches = command().try_get_matches_from(["muster", "--config", "/nowhere.toml"]).unwrap();
        let error = Settings::read(&AllOptions::from_arg_matches(&matches).unwrap()).unwrap_err();
        assert!(error.to_string().contains("/nowhere.toml"), "{error}");
    }
}
