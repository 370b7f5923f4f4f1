//! The settings: flags, then the environment, then `muster.toml`.
//!
//! [`Options`] are the settings as they were typed, each of them absent or a
//! text. [`Settings`] are what they mean, read once at the start; a wrong one
//! is an error of one line that names it.

mod node;
mod options;
mod part;
mod typed;

pub use node::Node;
pub use options::Options;
pub use part::{LogOptions, NodeOptions, ViewsOptions};

use std::fmt::Display;
use std::fs;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;

use commands::Rate;
use domain::Challenge;
use read_api::Tiles;
use verifier::RegistryLogins;

use typed::{List, Text};

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
    /// RegistryLogins for private registries.
    pub logins: RegistryLogins,
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
            logins: setting("registry-logins", options.registry_logins, RegistryLogins::default(), logins)?,
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

fn logins(path: &str) -> Result<RegistryLogins, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    RegistryLogins::parse(&text).map_err(|error| error.to_string())
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
    use std::path::Path;

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
