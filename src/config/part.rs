//! The settings of commands that need only some of them.

use super::typed::{List, Text};
use super::{Options, SettingError, Settings};

/// Where the event log is.
#[derive(Debug, clap::Args)]
pub struct LogOptions {
    /// Directory of the event log [default: ./muster-data]
    #[arg(long, env = "MUSTER_DATA", value_name = "DIRECTORY")]
    data: Option<Text>,

    /// The event log: sqlite:PATH, or esdb://HOST:PORT [default: events.sqlite in the data directory]
    #[arg(long, env = "MUSTER_EVENTSTORE", value_name = "WHERE")]
    eventstore: Option<Text>,

    /// The file with the settings that are not given otherwise [default: muster.toml, if there is one]
    #[arg(long, env = "MUSTER_CONFIG", value_name = "FILE")]
    config: Option<Text>,
}

/// Where the views are, and the log that they follow.
#[derive(Debug, clap::Args)]
pub struct ViewsOptions {
    /// What is read from: mongodb://HOSTS/DATABASE?replicaSet=NAME
    #[arg(long, env = "MUSTER_VIEWS", value_name = "WHERE")]
    views: Option<Text>,

    #[command(flatten)]
    log: LogOptions,
}

/// How the embedded log is served.
#[derive(Debug, clap::Args)]
pub struct NodeOptions {
    /// Address and port to serve it at [default: 127.0.0.1:2113]
    #[arg(long, env = "MUSTER_EVENTSTORE_LISTEN", value_name = "ADDRESS:PORT")]
    listen: Option<Text>,

    /// What clients must know, as USER:PASSWORD [default: whoever is on this machine may]
    #[arg(long, env = "MUSTER_EVENTSTORE_LOGIN", value_name = "LOGIN", hide_env_values = true)]
    login: Option<Text>,

    /// What it proves its name with, as CERTIFICATE,KEY: two files [default: it speaks in the clear]
    #[arg(long, env = "MUSTER_EVENTSTORE_TLS", value_name = "FILES")]
    tls: Option<List>,

    /// The name by which clients are told to reach it [default: the address listened on]
    #[arg(long, env = "MUSTER_EVENTSTORE_ADVERTISE", value_name = "HOST")]
    advertise: Option<Text>,

    /// Address and port where HTTP asks for /healthz, /readyz and /metrics [default: nowhere]
    #[arg(long, env = "MUSTER_LISTEN", value_name = "ADDRESS:PORT")]
    operator_listen: Option<Text>,

    #[command(flatten)]
    log: LogOptions,
}

impl LogOptions {
    /// What they mean, with the file's settings where they are silent.
    ///
    /// # Errors
    /// When a setting is wrong, or the file cannot be read.
    pub fn settings(self) -> Result<Settings, SettingError> {
        Settings::read(self.options())
    }

    fn options(self) -> Options {
        let Self { data, eventstore, config } = self;
        Options { data, eventstore, config, ..Options::default() }
    }
}

impl ViewsOptions {
    /// What they mean, with the file's settings where they are silent.
    ///
    /// # Errors
    /// When a setting is wrong, or the file cannot be read.
    pub fn settings(self) -> Result<Settings, SettingError> {
        Settings::read(Options { views: self.views, ..self.log.options() })
    }
}

impl NodeOptions {
    /// What they mean, with the file's settings where they are silent. There is always a node.
    ///
    /// # Errors
    /// When a setting is wrong, or the file cannot be read.
    pub fn settings(self) -> Result<Settings, SettingError> {
        let typed = Options {
            eventstore_listen: self.listen,
            eventstore_login: self.login,
            eventstore_tls: self.tls,
            eventstore_advertise: self.advertise,
            listen: self.operator_listen,
            ..self.log.options()
        };
        let usual =
            Options { eventstore_listen: Some(Text("127.0.0.1:2113".to_owned())), ..Options::default() };
        Settings::of(typed.or_those_of_the_file()?.or(usual))
    }
}
