//! The settings as they are typed: each a flag, a variable and a line of the file.

use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;

use super::typed::{List, Text};
use super::{SettingError, in_one_line};

/// Read when no other file is named, if it is there.
const FILE: &str = "muster.toml";

/// The settings as typed. Each is a flag, a variable and a line of the file.
#[derive(Debug, Clone, Default, clap::Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Options {
    /// Address and port of the HTTP API [default: 127.0.0.1:8080; a role without
    /// one answers /healthz, /readyz and /metrics there, by default nowhere]
    #[arg(long, env = "MUSTER_LISTEN", value_name = "ADDRESS:PORT")]
    pub(super) listen: Option<Text>,

    /// Directory of the event log and of what else must last [default: ./muster-data]
    #[arg(long, env = "MUSTER_DATA", value_name = "DIRECTORY")]
    pub(super) data: Option<Text>,

    /// The event log: sqlite:PATH, or esdb://HOST:PORT [default: events.sqlite in the data directory]
    #[arg(long, env = "MUSTER_EVENTSTORE", value_name = "WHERE")]
    pub(super) eventstore: Option<Text>,

    /// What is read from: memory, or mongodb://HOSTS/DATABASE?replicaSet=NAME [default: memory]
    #[arg(long, env = "MUSTER_VIEWS", value_name = "WHERE")]
    pub(super) views: Option<Text>,

    /// Engines of the Swarm, its managers first, with commas: unix:///PATH,
    /// tcp://HOST:PORT [default: unix:///var/run/docker.sock]
    #[arg(long, env = "MUSTER_SWARM", value_name = "ENGINES")]
    pub(super) swarm: Option<List>,

    /// Directory of ca.pem, cert.pem and key.pem for engines over tcp:// [default: spoken to in the clear]
    #[arg(long, env = "MUSTER_SWARM_CERTIFICATES", value_name = "DIRECTORY")]
    pub(super) swarm_certificates: Option<Text>,

    /// The challenge's file [default: the birthday challenge]
    #[arg(long, env = "MUSTER_CHALLENGE", value_name = "FILE")]
    pub(super) challenge: Option<Text>,

    /// The organisers' token [default: organisers' calls are refused]
    #[arg(long, env = "MUSTER_TOKEN", value_name = "SECRET", hide_env_values = true)]
    pub(super) token: Option<Text>,

    /// Tiles for the map, as https://HOST/{z}/{x}/{y}.png [default: the world that the page brings along]
    #[arg(long, env = "MUSTER_TILES", value_name = "ADDRESS")]
    pub(super) tiles: Option<Text>,

    /// Who made the tiles, for the corner of the map
    #[arg(long, env = "MUSTER_TILES_ATTRIBUTION", value_name = "WHO")]
    pub(super) tiles_attribution: Option<Text>,

    /// Registries spoken to without TLS, with commas [default: those on this machine]
    #[arg(long, env = "MUSTER_INSECURE_REGISTRIES", value_name = "REGISTRIES", alias = "insecure-registry")]
    pub(super) insecure_registries: Option<List>,

    /// Logins for private registries: a Docker client's config.json [default: none]
    #[arg(long, env = "MUSTER_REGISTRY_LOGINS", value_name = "FILE")]
    pub(super) registry_logins: Option<Text>,

    /// How many submissions are verified at once [default: as many as the nodes have room for]
    #[arg(long, env = "MUSTER_SLOTS", value_name = "COUNT")]
    pub(super) slots: Option<Text>,

    /// How often one address may ask, as RATE/UNIT,BURST, or off [default: 50/s,200]
    #[arg(long, env = "MUSTER_RATE_BY_ADDRESS", value_name = "RATE")]
    pub(super) rate_by_address: Option<Text>,

    /// How often images of one owner may be submitted, or off [default: 10/min,20]
    #[arg(long, env = "MUSTER_RATE_BY_OWNER", value_name = "RATE")]
    pub(super) rate_by_owner: Option<Text>,

    /// Address and port where the log is served in EventStoreDB's protocol [default: nowhere]
    #[arg(long, env = "MUSTER_EVENTSTORE_LISTEN", value_name = "ADDRESS:PORT")]
    pub(super) eventstore_listen: Option<Text>,

    /// What its clients must know, as USER:PASSWORD [default: whoever is on this machine may]
    #[arg(long, env = "MUSTER_EVENTSTORE_LOGIN", value_name = "LOGIN", hide_env_values = true)]
    pub(super) eventstore_login: Option<Text>,

    /// What it proves its name with, as CERTIFICATE,KEY: two files [default: it speaks in the clear]
    #[arg(long, env = "MUSTER_EVENTSTORE_TLS", value_name = "FILES")]
    pub(super) eventstore_tls: Option<List>,

    /// The name by which its clients are told to reach it [default: the address listened on]
    #[arg(long, env = "MUSTER_EVENTSTORE_ADVERTISE", value_name = "HOST")]
    pub(super) eventstore_advertise: Option<Text>,

    /// The file with the settings that are not given otherwise [default: muster.toml, if there is one]
    #[arg(long, env = "MUSTER_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub(super) config: Option<Text>,
}

impl Options {
    /// With the file's settings where these are silent.
    ///
    /// # Errors
    /// When a file is named that cannot be read, or the file is wrong.
    pub(super) fn or_those_of_the_file(self) -> Result<Self, SettingError> {
        let typed = self.without_empty_ones();
        let named = typed.config.as_ref().map(|Text(path)| Path::new(path));
        let path = named.unwrap_or(Path::new(FILE));
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => return Ok(typed),
            Err(error) => return Err(SettingError(format!("{} cannot be read: {error}", path.display()))),
        };
        let file: Self = toml::from_str(&text).map_err(|error| {
            SettingError(format!("{}: {}", path.display(), in_one_line(&error.to_string())))
        })?;
        Ok(typed.or(file.without_empty_ones()))
    }

    /// With the others where these are silent.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            listen: self.listen.or(other.listen),
            data: self.data.or(other.data),
            eventstore: self.eventstore.or(other.eventstore),
            views: self.views.or(other.views),
            swarm: self.swarm.or(other.swarm),
            swarm_certificates: self.swarm_certificates.or(other.swarm_certificates),
            challenge: self.challenge.or(other.challenge),
            token: self.token.or(other.token),
            tiles: self.tiles.or(other.tiles),
            tiles_attribution: self.tiles_attribution.or(other.tiles_attribution),
            insecure_registries: self.insecure_registries.or(other.insecure_registries),
            registry_logins: self.registry_logins.or(other.registry_logins),
            slots: self.slots.or(other.slots),
            rate_by_address: self.rate_by_address.or(other.rate_by_address),
            rate_by_owner: self.rate_by_owner.or(other.rate_by_owner),
            eventstore_listen: self.eventstore_listen.or(other.eventstore_listen),
            eventstore_login: self.eventstore_login.or(other.eventstore_login),
            eventstore_tls: self.eventstore_tls.or(other.eventstore_tls),
            eventstore_advertise: self.eventstore_advertise.or(other.eventstore_advertise),
            config: self.config.or(other.config),
        }
    }

    /// A variable that is set to nothing is not set.
    fn without_empty_ones(self) -> Self {
        let text = |text: Option<Text>| text.filter(|Text(text)| !text.is_empty());
        let list = |list: Option<List>| list.filter(|List(list)| !list.is_empty());
        Self {
            listen: text(self.listen),
            data: text(self.data),
            eventstore: text(self.eventstore),
            views: text(self.views),
            swarm: list(self.swarm),
            swarm_certificates: text(self.swarm_certificates),
            challenge: text(self.challenge),
            token: text(self.token),
            tiles: text(self.tiles),
            tiles_attribution: text(self.tiles_attribution),
            insecure_registries: list(self.insecure_registries),
            registry_logins: text(self.registry_logins),
            slots: text(self.slots),
            rate_by_address: text(self.rate_by_address),
            rate_by_owner: text(self.rate_by_owner),
            eventstore_listen: text(self.eventstore_listen),
            eventstore_login: text(self.eventstore_login),
            eventstore_tls: list(self.eventstore_tls),
            eventstore_advertise: text(self.eventstore_advertise),
            config: text(self.config),
        }
    }
}
