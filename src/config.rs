//! The settings: flags, then the environment, then `muster.toml`.
//!
//! [`Options`] are the settings as they were typed, each of them absent or a
//! text. [`Settings`] are what they mean, read once at the start; a wrong one
//! is an error of one line that names it.

mod node;
mod part;

pub use node::Node;
pub use part::{LogOptions, NodeOptions, ViewsOptions};

use std::convert::Infallible;
use std::fmt::Display;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::{fs, io};

use commands::Rate;
use domain::Challenge;
use read_api::Tiles;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use verifier::Logins;

/// Read when no other file is named, if it is there.
const FILE: &str = "muster.toml";

/// The settings as typed. Each is a flag, a variable and a line of the file.
#[derive(Debug, Clone, Default, clap::Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Options {
    /// Address and port of the HTTP API [default: 127.0.0.1:8080; a role without
    /// one answers /healthz, /readyz and /metrics there, by default nowhere]
    #[arg(long, env = "MUSTER_LISTEN", value_name = "ADDRESS:PORT")]
    listen: Option<Text>,

    /// Directory of the event log and of what else must last [default: ./muster-data]
    #[arg(long, env = "MUSTER_DATA", value_name = "DIRECTORY")]
    data: Option<Text>,

    /// The event log: sqlite:PATH, or esdb://HOST:PORT [default: events.sqlite in the data directory]
    #[arg(long, env = "MUSTER_EVENTSTORE", value_name = "WHERE")]
    eventstore: Option<Text>,

    /// What is read from: memory, or mongodb://HOSTS/DATABASE?replicaSet=NAME [default: memory]
    #[arg(long, env = "MUSTER_VIEWS", value_name = "WHERE")]
    views: Option<Text>,

    /// Engines of the Swarm, its managers first, with commas: unix:///PATH,
    /// tcp://HOST:PORT [default: unix:///var/run/docker.sock]
    #[arg(long, env = "MUSTER_SWARM", value_name = "ENGINES")]
    swarm: Option<List>,

    /// Directory of ca.pem, cert.pem and key.pem for engines over tcp:// [default: spoken to in the clear]
    #[arg(long, env = "MUSTER_SWARM_CERTIFICATES", value_name = "DIRECTORY")]
    swarm_certificates: Option<Text>,

    /// The challenge's file [default: the birthday challenge]
    #[arg(long, env = "MUSTER_CHALLENGE", value_name = "FILE")]
    challenge: Option<Text>,

    /// The organisers' token [default: organisers' calls are refused]
    #[arg(long, env = "MUSTER_TOKEN", value_name = "SECRET", hide_env_values = true)]
    token: Option<Text>,

    /// Tiles for the map, as https://HOST/{z}/{x}/{y}.png [default: the world that the page brings along]
    #[arg(long, env = "MUSTER_TILES", value_name = "ADDRESS")]
    tiles: Option<Text>,

    /// Who made the tiles, for the corner of the map
    #[arg(long, env = "MUSTER_TILES_ATTRIBUTION", value_name = "WHO")]
    tiles_attribution: Option<Text>,

    /// Registries spoken to without TLS, with commas [default: those on this machine]
    #[arg(long, env = "MUSTER_INSECURE_REGISTRIES", value_name = "REGISTRIES", alias = "insecure-registry")]
    insecure_registries: Option<List>,

    /// Logins for private registries: a Docker client's config.json [default: none]
    #[arg(long, env = "MUSTER_REGISTRY_LOGINS", value_name = "FILE")]
    registry_logins: Option<Text>,

    /// How many submissions are verified at once [default: as many as the nodes have room for]
    #[arg(long, env = "MUSTER_SLOTS", value_name = "COUNT")]
    slots: Option<Text>,

    /// How often one address may ask, as RATE/UNIT,BURST, or off [default: 50/s,200]
    #[arg(long, env = "MUSTER_RATE_BY_ADDRESS", value_name = "RATE")]
    rate_by_address: Option<Text>,

    /// How often images of one owner may be submitted, or off [default: 10/min,20]
    #[arg(long, env = "MUSTER_RATE_BY_OWNER", value_name = "RATE")]
    rate_by_owner: Option<Text>,

    /// Address and port where the log is served in EventStoreDB's protocol [default: nowhere]
    #[arg(long, env = "MUSTER_EVENTSTORE_LISTEN", value_name = "ADDRESS:PORT")]
    eventstore_listen: Option<Text>,

    /// What its clients must know, as USER:PASSWORD [default: whoever is on this machine may]
    #[arg(long, env = "MUSTER_EVENTSTORE_LOGIN", value_name = "LOGIN", hide_env_values = true)]
    eventstore_login: Option<Text>,

    /// What it proves its name with, as CERTIFICATE,KEY: two files [default: it speaks in the clear]
    #[arg(long, env = "MUSTER_EVENTSTORE_TLS", value_name = "FILES")]
    eventstore_tls: Option<List>,

    /// The name by which its clients are told to reach it [default: the address listened on]
    #[arg(long, env = "MUSTER_EVENTSTORE_ADVERTISE", value_name = "HOST")]
    eventstore_advertise: Option<Text>,

    /// The file with the settings that are not given otherwise [default: muster.toml, if there is one]
    #[arg(long, env = "MUSTER_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    config: Option<Text>,
}

/// What the settings mean.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where HTTP is listened to, if that was said; port 0 takes any that is free.
    pub listen: Option<SocketAddr>,
    /// The directory of what must last.
    pub data: PathBuf,
    /// Where the event log is.
    pub eventstore: EventStore,
    /// Where the views are.
    pub views: Views,
    /// Engines of the Swarm, as `unix://…` or `tcp://…`.
    pub swarm: Vec<String>,
    /// Where the certificates for engines over `tcp://` are.
    pub swarm_certificates: Option<PathBuf>,
    /// The rules.
    pub challenge: Arc<Challenge>,
    /// What organisers must send.
    pub token: Option<String>,
    /// Where the map's tiles come from; `None` for the world that the page brings along.
    pub tiles: Option<Tiles>,
    /// Registries that are spoken to without TLS.
    pub insecure_registries: Vec<String>,
    /// Logins for private registries.
    pub logins: Logins,
    /// How many submissions are verified at once; `None` for as many as fit.
    pub slots: Option<usize>,
    /// How often one address may ask; `None` for as often as it likes.
    pub rate_by_address: Option<Rate>,
    /// How often images of one owner may be submitted; `None` for no limit.
    pub rate_by_owner: Option<Rate>,
    /// How the embedded log is served to others; `None` for not at all.
    pub node: Option<Node>,
}

/// Where the event log is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventStore {
    /// A file of this process.
    Sqlite(PathBuf),
    /// The address of an EventStoreDB, or of what speaks its protocol.
    Esdb(String),
}

/// Where the views are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Views {
    /// In this process; made anew from the log at each start.
    Memory,
    /// The address of a MongoDB replica set.
    Mongo(String),
}

/// Why a setting cannot be used, in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingError(String);

impl Settings {
    /// Where the HTTP API listens.
    pub fn api(&self) -> SocketAddr {
        self.listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8080)))
    }

    /// What `typed` means, with the file's settings where it is silent.
    ///
    /// # Errors
    /// When a setting is wrong, or the file or the challenge cannot be read.
    pub fn read(typed: Options) -> Result<Self, SettingError> {
        Self::of(typed.or_those_of_the_file()?)
    }

    fn of(options: Options) -> Result<Self, SettingError> {
        let data = options.data.map_or_else(|| "muster-data".into(), |Text(path)| PathBuf::from(path));
        let log = EventStore::Sqlite(data.join("events.sqlite"));
        Ok(Self {
            listen: setting("listen", options.listen, None, |text| listen(text).map(Some))?,
            eventstore: setting("eventstore", options.eventstore, log, EventStore::read)?,
            views: setting("views", options.views, Views::Memory, Views::read)?,
            swarm: options
                .swarm
                .map_or_else(|| vec!["unix:///var/run/docker.sock".into()], |List(list)| list),
            swarm_certificates: options.swarm_certificates.map(|Text(path)| path.into()),
            challenge: Arc::new(setting("challenge", options.challenge, Challenge::birthday(), challenge)?),
            token: options.token.map(|Text(token)| token),
            tiles: tiles(options.tiles, options.tiles_attribution)?,
            insecure_registries: options.insecure_registries.map(|List(list)| list).unwrap_or_default(),
            logins: setting("registry-logins", options.registry_logins, Logins::default(), logins)?,
            slots: setting("slots", options.slots, None, slots)?,
            rate_by_address: setting(
                "rate-by-address",
                options.rate_by_address,
                Some(Rate::BY_ADDRESS),
                rate,
            )?,
            rate_by_owner: setting("rate-by-owner", options.rate_by_owner, Some(Rate::BY_OWNER), rate)?,
            node: Node::read(
                options.eventstore_listen,
                options.eventstore_login,
                options.eventstore_tls,
                options.eventstore_advertise,
            )?,
            data,
        })
    }
}

impl Options {
    fn or_those_of_the_file(self) -> Result<Self, SettingError> {
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

    fn or(self, other: Self) -> Self {
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

impl EventStore {
    fn read(text: &str) -> Result<Self, &'static str> {
        match text.strip_prefix("sqlite:") {
            Some(path) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            _ if text.starts_with("esdb://") || text.starts_with("esdb+discover://") => {
                Ok(Self::Esdb(text.to_owned()))
            }
            _ => Err("sqlite:PATH or esdb://HOST:PORT is expected"),
        }
    }
}

impl Views {
    fn read(text: &str) -> Result<Self, &'static str> {
        match text {
            "memory" => Ok(Self::Memory),
            _ if text.starts_with("mongodb://") || text.starts_with("mongodb+srv://") => {
                Ok(Self::Mongo(text.to_owned()))
            }
            _ => Err("memory or mongodb://HOSTS/DATABASE is expected"),
        }
    }
}

impl std::error::Error for SettingError {}

impl std::fmt::Display for SettingError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A setting that is one text; in the file it may be a number too.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Text(String);

/// A setting that is several texts: with commas, or in the file a list.
#[derive(Debug, Clone, PartialEq, Eq)]
struct List(Vec<String>);

impl FromStr for Text {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.trim().to_owned()))
    }
}

impl FromStr for List {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text) => Ok(Self(text)),
            toml::Value::Integer(number) => Ok(Self(number.to_string())),
            _ => Err(D::Error::custom("a text is expected")),
        }
    }
}

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text) => Ok(text.parse().unwrap_or_else(|never: Infallible| match never {})),
            list => {
                Ok(Self(Vec::deserialize(list).map_err(|_| D::Error::custom("a list of texts is expected"))?))
            }
        }
    }
}

fn setting<T, E: Display>(
    name: &str,
    typed: Option<Text>,
    default: T,
    read: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, SettingError> {
    let Some(Text(typed)) = typed else { return Ok(default) };
    read(&typed).map_err(|why| {
        let variable = name.replace('-', "_").to_uppercase();
        let why = in_one_line(&why.to_string());
        SettingError(format!("the setting {name} (--{name}, MUSTER_{variable}) is {typed:?}: {why}"))
    })
}

fn listen(text: &str) -> Result<SocketAddr, String> {
    let expected = || "an address and a port are expected, as in 127.0.0.1:8080".to_owned();
    text.to_socket_addrs().map_err(|error| format!("{} ({error})", expected()))?.next().ok_or_else(expected)
}

fn challenge(path: &str) -> Result<Challenge, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    Challenge::parse(&text).map_err(|error| error.to_string())
}

fn tiles(url: Option<Text>, attribution: Option<Text>) -> Result<Option<Tiles>, SettingError> {
    let Some(url) = url else {
        return match attribution {
            Some(_) => {
                Err(SettingError("the setting tiles-attribution needs --tiles, or MUSTER_TILES".to_owned()))
            }
            None => Ok(None),
        };
    };
    let by = attribution.map(|Text(by)| by).unwrap_or_default();
    if by.is_empty() {
        let needs = "the setting tiles needs --tiles-attribution, or MUSTER_TILES_ATTRIBUTION: who made them";
        return Err(SettingError(needs.to_owned()));
    }
    setting("tiles", Some(url), None, |url| Tiles::new(url, &by).map(Some))
}

fn logins(path: &str) -> Result<Logins, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    Logins::parse(&text).map_err(|error| error.to_string())
}

fn slots(text: &str) -> Result<Option<usize>, &'static str> {
    match text.parse() {
        Ok(slots) if slots > 0 => Ok(Some(slots)),
        _ => Err("a number above 0 is expected"),
    }
}

fn rate(text: &str) -> Result<Option<Rate>, commands::RateError> {
    if text == "off" { Ok(None) } else { text.parse().map(Some) }
}

/// An error with a drawing of the place it means, without the drawing.
fn in_one_line(text: &str) -> String {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let (first, last) = (lines.next().unwrap_or_default(), lines.next_back());
    last.map_or_else(|| first.to_owned(), |last| format!("{first}: {last}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(change: impl FnOnce(&mut Options)) -> Result<Settings, String> {
        let mut options = Options::default();
        change(&mut options);
        Settings::read(options).map_err(|error| error.to_string())
    }

    fn text(text: &str) -> Option<Text> {
        Some(Text(text.into()))
    }

    fn file(content: &str) -> (tempfile::NamedTempFile, Option<Text>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), content).unwrap();
        let path = text(file.path().to_str().unwrap());
        (file, path)
    }

    #[test]
    fn without_settings_everything_has_its_usual_place() {
        let settings = typed(|_| {}).unwrap();
        assert_eq!(settings.api().to_string(), "127.0.0.1:8080");
        assert_eq!(settings.eventstore, EventStore::Sqlite("muster-data/events.sqlite".into()));
        assert_eq!(settings.challenge.id, "docker-birthday-3");
        assert_eq!(settings.rate_by_address, Some(Rate::BY_ADDRESS));
        assert_eq!((settings.token, settings.slots), (None, None));
    }

    #[test]
    fn what_is_typed_goes_before_the_file_and_what_is_empty_is_not_set() {
        let (_file, config) = file(
            "listen = \"127.0.0.1:1\"\nslots = 8\nswarm = [\"tcp://a:1\", \"tcp://b:1\"]\n\
             data = \"/d\"\nrate-by-owner = \"off\"\ninsecure-registries = \"a:1, b:1\"\n",
        );
        let settings = typed(|options| {
            options.config = config;
            options.listen = text("127.0.0.1:2");
            options.data = text("");
        })
        .unwrap();
        assert_eq!(settings.api().port(), 2);
        assert_eq!(settings.slots, Some(8));
        assert_eq!(settings.swarm, ["tcp://a:1", "tcp://b:1"]);
        assert_eq!(settings.insecure_registries, ["a:1", "b:1"]);
        assert_eq!(settings.data, Path::new("/d"));
        assert_eq!(settings.rate_by_owner, None);
    }

    #[test]
    fn a_wrong_setting_is_named_in_one_line() {
        let (_challenge, wrong_challenge) = file("id = 7");
        let (_file, wrong_file) = file("listen = \"127.0.0.1:1\"\nlisen = 1\n");
        for (named, error) in [
            ("--listen, MUSTER_LISTEN", typed(|o| o.listen = text("8080"))),
            ("--eventstore", typed(|o| o.eventstore = text("postgres://x"))),
            ("needs --eventstore-login", typed(|o| o.eventstore_listen = text("0.0.0.0:2113"))),
            ("--views", typed(|o| o.views = text("files"))),
            ("MUSTER_SLOTS", typed(|o| o.slots = text("0"))),
            ("MUSTER_RATE_BY_OWNER", typed(|o| o.rate_by_owner = text("often"))),
            (
                "--tiles, MUSTER_TILES",
                typed(|o| {
                    o.tiles = text("https://{s}.example.org/{z}/{x}/{y}.png");
                    o.tiles_attribution = text("© somebody");
                }),
            ),
            ("who made them", typed(|o| o.tiles = text("https://example.org/{z}/{x}/{y}.png"))),
            ("needs --tiles", typed(|o| o.tiles_attribution = text("© somebody"))),
            ("MUSTER_REGISTRY_LOGINS", typed(|o| o.registry_logins = text("/nowhere.json"))),
            ("No such file", typed(|o| o.challenge = text("/nowhere.toml"))),
            ("line 1", typed(|o| o.challenge = wrong_challenge)),
            ("unknown field `lisen`", typed(|o| o.config = wrong_file)),
            ("/nowhere.toml", typed(|o| o.config = text("/nowhere.toml"))),
        ] {
            let error = error.unwrap_err();
            assert!(error.contains(named) && !error.contains('\n'), "{error}");
        }
    }
}
