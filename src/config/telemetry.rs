//! The settings of the log lines that a process writes.

use tracing_subscriber::EnvFilter;

use super::options::JanitorOptions;
use super::typed::{SettingError, TypedSettings};

/// The log lines that a process writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelemetrySettings {
    /// Levels by module, as `EnvFilter` reads them.
    pub filter: String,
    pub format: LogFormat,
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

impl TelemetrySettings {
    /// Returns the settings of a command that has no others.
    ///
    /// # Errors
    /// If a setting is wrong, or the file cannot be read.
    pub fn read(options: &JanitorOptions) -> Result<Self, SettingError> {
        Self::from_typed(&mut TypedSettings::merge(options)?)
    }

    pub(super) fn from_typed(typed: &mut TypedSettings) -> Result<Self, SettingError> {
        let filter = |text: &str| EnvFilter::try_new(text).map(|_| text.to_owned());
        Ok(Self {
            filter: typed.parse("log", "info".to_owned(), filter)?,
            format: typed.parse("log-format", LogFormat::Text, LogFormat::parse)?,
        })
    }
}

impl LogFormat {
    fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("text or json is expected"),
        }
    }
}
