//! The settings as flags, variables and keys of `muster.toml`.
//!
//! A field here is the only declaration of a setting: the field `rate_by_owner` is the flag `--rate-by-owner`, the
//! variable `MUSTER_RATE_BY_OWNER`, the key `rate-by-owner` of the file, and a line of `--help`. Settings that some
//! commands share form a group. [`Settings`](super::Settings) holds their meaning.

use serde::Serialize;

use super::secret::SecretText;

/// All settings, for `muster up`, `serve` and `doctor`.
#[derive(Debug, Clone, Default, clap::Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AllOptions {
    #[command(flatten)]
    #[serde(flatten)]
    http: HttpOptions,

    #[command(flatten)]
    #[serde(flatten)]
    views: ViewsOptions,

    /// Engines of the Swarm, managers first, separated by commas: unix:///PATH or
    /// tcp://HOST:PORT [default: unix:///var/run/docker.sock]
    #[arg(long, env = "MUSTER_SWARM", value_name = "ENGINES")]
    swarm: Option<String>,

    /// Directory with ca.pem, cert.pem and key.pem for engines over tcp:// [default: no TLS]
    #[arg(long, env = "MUSTER_SWARM_CERTIFICATES", value_name = "DIRECTORY")]
    swarm_certificates: Option<String>,

    /// File that describes the challenge [default: the birthday challenge]
    #[arg(long, env = "MUSTER_CHALLENGE", value_name = "FILE")]
    challenge: Option<String>,

    /// Token that organisers send: at least 16 characters that nobody can guess, as `openssl rand -hex 32` makes
    /// them [default: requests of organisers are refused]
    #[arg(long, env = "MUSTER_TOKEN", value_name = "SECRET", hide_env_values = true)]
    token: Option<SecretText>,

    /// Map tiles, as https://HOST/{z}/{x}/{y}.png [default: the built-in world map]
    #[arg(long, env = "MUSTER_TILES", value_name = "URL")]
    tiles: Option<String>,

    /// Author of the map tiles, shown in a corner of the map
    #[arg(long, env = "MUSTER_TILES_ATTRIBUTION", value_name = "TEXT")]
    tiles_attribution: Option<String>,

    /// Registries without TLS, separated by commas [default: those on this machine]
    #[arg(long, env = "MUSTER_INSECURE_REGISTRIES", value_name = "REGISTRIES", alias = "insecure-registry")]
    insecure_registries: Option<String>,

    /// Logins for private registries: the config.json of a Docker client [default: none]
    #[arg(long, env = "MUSTER_REGISTRY_LOGINS", value_name = "FILE")]
    registry_logins: Option<String>,

    #[command(flatten)]
    #[serde(flatten)]
    gate: GateOptions,

    /// File with the webhooks of organisers, which holds their secrets [default: none]
    #[arg(long, env = "MUSTER_WEBHOOKS", value_name = "FILE")]
    webhooks: Option<String>,

    /// Number of submissions that a node verifies at the same time [default: as many as it has room for]
    #[arg(long, env = "MUSTER_SLOTS", value_name = "COUNT")]
    slots: Option<String>,

    /// Rate limit for requests of one client address: RATE/UNIT,BURST, or off, which also lifts the bound of what waits of one
    /// address [default: 50/s,200]
    #[arg(long, env = "MUSTER_RATE_BY_ADDRESS", value_name = "RATE")]
    rate_by_address: Option<String>,

    /// Rate limit for submissions of one owner: RATE/UNIT,BURST, or off [default: 10/min,20]
    #[arg(long, env = "MUSTER_RATE_BY_OWNER", value_name = "RATE")]
    rate_by_owner: Option<String>,

    #[command(flatten)]
    #[serde(flatten)]
    node: NodeOptions,

    #[command(flatten)]
    #[serde(flatten)]
    telemetry: TelemetryOptions,
}

/// The settings of `muster eventstore`, with shorter flags for those of the node.
#[derive(Debug, clap::Args, Serialize)]
#[command(
    mut_arg("eventstore_listen", |arg| arg.long("listen").help(
        "Address and port that serve the log in EventStoreDB's protocol [default: 127.0.0.1:2113]"
    )),
    mut_arg("eventstore_login", |arg| arg.long("login")),
    mut_arg("eventstore_reader", |arg| arg.long("reader")),
    mut_arg("eventstore_tls", |arg| arg.long("tls")),
    mut_arg("eventstore_advertise", |arg| arg.long("advertise")),
    mut_arg("listen", |arg| arg.long("operator-listen").help(
        "Address and port for /healthz, /readyz and /metrics over HTTP [default: none]"
    )),
)]
pub struct EventstoreOptions {
    #[command(flatten)]
    #[serde(flatten)]
    node: NodeOptions,

    #[command(flatten)]
    #[serde(flatten)]
    http: HttpOptions,

    #[command(flatten)]
    #[serde(flatten)]
    log: EventLogOptions,

    #[command(flatten)]
    #[serde(flatten)]
    telemetry: TelemetryOptions,
}

/// The settings of `muster janitor`.
#[derive(Debug, clap::Args, Serialize)]
pub struct JanitorOptions {
    #[command(flatten)]
    #[serde(flatten)]
    telemetry: TelemetryOptions,

    #[command(flatten)]
    #[serde(flatten)]
    file: FileOption,
}

/// The location of the event log.
#[derive(Debug, Clone, Default, clap::Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct EventLogOptions {
    /// Directory of the event log and of other data to keep [default: ./muster-data]
    #[arg(long, env = "MUSTER_DATA", value_name = "DIRECTORY")]
    data: Option<String>,

    /// Event log: sqlite:PATH, esdb://HOST:PORT or kurrentdb://HOST:PORT [default: events.sqlite in the data directory]
    #[arg(long, env = "MUSTER_EVENTSTORE", value_name = "LOCATION", hide_env_values = true)]
    eventstore: Option<SecretText>,

    #[command(flatten)]
    #[serde(flatten)]
    file: FileOption,
}

/// The location of the views, and of the log that they are built from.
#[derive(Debug, Clone, Default, clap::Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ViewsOptions {
    #[command(flatten)]
    #[serde(flatten)]
    log: EventLogOptions,

    /// Views: memory or mongodb://HOSTS/DATABASE?replicaSet=NAME [default: memory]
    #[arg(long, env = "MUSTER_VIEWS", value_name = "LOCATION", hide_env_values = true)]
    views: Option<SecretText>,
}

#[derive(Debug, Clone, Default, clap::Args, Serialize)]
#[serde(rename_all = "kebab-case")]
struct HttpOptions {
    /// Address and port of the HTTP API [default: 127.0.0.1:8080; a role without an API serves
    /// only /healthz, /readyz and /metrics there, and nothing by default]
    #[arg(long, env = "MUSTER_LISTEN", value_name = "ADDRESS:PORT")]
    listen: Option<String>,

    /// Networks of the proxies in front, separated by commas: 10.0.0.0/24,2001:db8::7. They are believed when they name the
    /// client in X-Forwarded-For or Forwarded [default: only proxies on this machine]
    #[arg(long, env = "MUSTER_TRUSTED_PROXIES", value_name = "NETWORKS")]
    trusted_proxies: Option<String>,
}

#[derive(Debug, Clone, Default, clap::Args, Serialize)]
#[serde(rename_all = "kebab-case")]
struct GateOptions {
    /// Address and port of the gate, which serves the nodes the images that Muster has looked into: their only
    /// registry [default: none; the nodes pull from the registries for themselves]
    #[arg(long, env = "MUSTER_GATE_LISTEN", value_name = "ADDRESS:PORT")]
    gate_listen: Option<String>,

    /// Name by which the nodes reach the gate [default: the address it listens on]
    #[arg(long, env = "MUSTER_GATE_ADDRESS", value_name = "HOST:PORT")]
    gate_address: Option<String>,

    /// Certificate and private key of the gate, two PEM files [default: no TLS; then only engines on this
    /// machine can pull]
    #[arg(long, env = "MUSTER_GATE_TLS", value_name = "CERTIFICATE,KEY")]
    gate_tls: Option<String>,

    /// Address and port at which `muster serve gate` looks at images for verifiers [default: 127.0.0.1:5444]
    #[arg(long, env = "MUSTER_GATE_VERIFIERS", value_name = "ADDRESS:PORT")]
    gate_verifiers: Option<String>,

    /// Gate of this verifier, if it is `muster serve gate`: https://HOST:PORT of its --gate-verifiers, or http:// on this
    /// machine [default: a gate of its own]
    #[arg(long, env = "MUSTER_GATE", value_name = "URL")]
    gate: Option<String>,

    /// Authority that signed the certificate of the verifier's gate, a PEM file [default: those that this machine trusts]
    #[arg(long, env = "MUSTER_GATE_AUTHORITY", value_name = "FILE")]
    gate_authority: Option<String>,

    /// Secret that `muster serve gate` and its verifiers share: at least 16 characters that nobody can guess, as
    /// `openssl rand -hex 32` makes them
    #[arg(long, env = "MUSTER_GATE_SECRET", value_name = "SECRET", hide_env_values = true)]
    gate_secret: Option<SecretText>,

    /// Size of the images that the gate keeps, in MiB [default: 20480]
    #[arg(long, env = "MUSTER_GATE_SPACE_MIB", value_name = "MIB")]
    gate_space_mib: Option<String>,
}

#[derive(Debug, Clone, Default, clap::Args, Serialize)]
#[serde(rename_all = "kebab-case")]
struct NodeOptions {
    /// Address and port that serve the log in EventStoreDB's protocol [default: none]
    #[arg(long, env = "MUSTER_EVENTSTORE_LISTEN", value_name = "ADDRESS:PORT")]
    eventstore_listen: Option<String>,

    /// Login that clients of the served log must send [default: none; then only this machine can connect]
    #[arg(long, env = "MUSTER_EVENTSTORE_LOGIN", value_name = "USER:PASSWORD", hide_env_values = true)]
    eventstore_login: Option<SecretText>,

    /// Second login to the served log, which may only read [default: none]
    #[arg(long, env = "MUSTER_EVENTSTORE_READER", value_name = "USER:PASSWORD", hide_env_values = true)]
    eventstore_reader: Option<SecretText>,

    /// Certificate and private key of the served log, two PEM files [default: no TLS]
    #[arg(long, env = "MUSTER_EVENTSTORE_TLS", value_name = "CERTIFICATE,KEY")]
    eventstore_tls: Option<String>,

    /// Host name that the served log gives its clients [default: the address it listens on]
    #[arg(long, env = "MUSTER_EVENTSTORE_ADVERTISE", value_name = "HOST")]
    eventstore_advertise: Option<String>,
}

#[derive(Debug, Clone, Default, clap::Args, Serialize)]
#[serde(rename_all = "kebab-case")]
struct TelemetryOptions {
    /// Log lines to write to standard error, by level and module: warn,verifier=debug [default: info]
    #[arg(long, env = "MUSTER_LOG", value_name = "FILTER")]
    log: Option<String>,

    /// Format of the log lines: text or json [default: text]
    #[arg(long, env = "MUSTER_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<String>,
}

#[derive(Debug, Clone, Default, clap::Args, Serialize)]
struct FileOption {
    /// File with further settings, one KEY = "VALUE" a line [default: muster.toml, if it exists]
    #[arg(long, env = "MUSTER_CONFIG", value_name = "FILE")]
    config: Option<String>,
}
