//! The settings as texts, before their meaning is known: merged from flags, variables and `muster.toml`.

use std::fmt::{Debug, Display};
use std::fs;
use std::io;
use std::path::Path;

use clap::Args;
use event_store::TlsFiles;
use serde::Serialize;
use toml::{Table, Value};

use super::AllOptions;

/// The file that is read if `--config` names no other. It may be missing.
const DEFAULT_FILE: &str = "muster.toml";

/// The setting that names the file, and therefore cannot be in the file.
const FILE_KEY: &str = "config";

/// The reason why a setting cannot be used, in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingError(String);

/// The settings as texts and lists of texts, by key. Reading a setting removes it.
pub(super) struct TypedSettings(Table);

impl TypedSettings {
    /// Merges the settings of flags and variables with those of the file. The flags and variables win.
    ///
    /// # Errors
    /// If the named file cannot be read, or a file is not TOML or has an unknown key.
    pub(super) fn merge(options: &impl Serialize) -> Result<Self, SettingError> {
        let mut typed = Table::try_from(options).map_err(|error| SettingError(error.to_string()))?;
        // An environment variable that is set to nothing counts as not set.
        typed.retain(|_, value| !is_empty(value));
        let named = typed.remove(FILE_KEY);
        let mut merged = read_file(named.as_ref().and_then(Value::as_str))?;
        merged.retain(|_, value| !is_empty(value));
        merged.extend(typed);
        Ok(Self(merged))
    }

    /// Sets a setting that is absent.
    pub(super) fn set_default(&mut self, key: &str, text: &str) {
        self.0.entry(key).or_insert_with(|| text.into());
    }

    /// Takes a setting that is one text. In the file it may be a number too.
    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>, SettingError> {
        match self.0.remove(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.trim().to_owned())),
            Some(Value::Integer(number)) => Ok(Some(number.to_string())),
            Some(_) => Err(SettingError::hidden(key, "a text is expected")),
        }
    }

    /// Takes a setting that is several texts: separated by commas, or a list in the file.
    pub(super) fn list(&mut self, key: &str) -> Result<Option<Vec<String>>, SettingError> {
        let not_a_list = || SettingError::hidden(key, "a list of texts is expected");
        match self.0.remove(key) {
            None => Ok(None),
            Some(Value::String(text)) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Ok(Some(items.map(str::to_owned).collect()).filter(|items: &Vec<_>| !items.is_empty()))
            }
            Some(Value::Array(items)) => {
                let text = |item: &Value| item.as_str().map(str::to_owned).ok_or_else(not_a_list);
                items.iter().map(text).collect::<Result<_, _>>().map(Some)
            }
            Some(_) => Err(not_a_list()),
        }
    }

    /// Takes a setting that names a certificate and its key.
    pub(super) fn tls_files(&mut self, key: &str) -> Result<Option<TlsFiles>, SettingError> {
        match self.list(key)?.as_deref() {
            None => Ok(None),
            Some([certificate, key]) => {
                Ok(Some(TlsFiles { certificate: certificate.into(), key: key.into() }))
            }
            Some(files) => Err(SettingError::invalid(key, &files, "two files are expected, CERTIFICATE,KEY")),
        }
    }

    /// Takes a setting that is one text, and returns its meaning, or `default` if it is absent.
    pub(super) fn parse<T, E: Display>(
        &mut self,
        key: &str,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, SettingError> {
        let Some(text) = self.text(key)? else { return Ok(default) };
        parse(&text).map_err(|why| SettingError::invalid(key, &text, why))
    }

    /// Takes a setting that may contain a secret. An error does not show the setting's value.
    pub(super) fn parse_hidden<T, E: Display>(
        &mut self,
        key: &str,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, SettingError> {
        let Some(text) = self.text(key)? else { return Ok(default) };
        parse(&text).map_err(|why| SettingError::hidden(key, why))
    }
}

impl SettingError {
    /// Says that the value of a setting is wrong, and shows the value.
    pub(super) fn invalid(key: &str, value: &impl Debug, why: impl Display) -> Self {
        let (value, why) = (format!("{value:?}"), in_one_line(&why.to_string()));
        // An address may hold a password or a key.
        if value.contains(['@', '?']) {
            return Self::hidden(key, why);
        }
        Self(format!("the setting {} is {value}: {why}", named(key)))
    }

    /// Says that a setting is wrong, without its value, which may be a secret.
    pub(super) fn hidden(key: &str, why: impl Display) -> Self {
        Self(format!("the setting {}: {why}", named(key)))
    }
}

impl std::error::Error for SettingError {}

impl Display for SettingError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns the keys of all settings that may be in the file.
pub(super) fn known_keys() -> Vec<String> {
    let command = AllOptions::augment_args(clap::Command::new("muster"));
    let flags = command.get_arguments().filter_map(|flag| flag.get_long());
    flags.filter(|key| *key != FILE_KEY).map(str::to_owned).collect()
}

fn read_file(named: Option<&str>) -> Result<Table, SettingError> {
    let path = Path::new(named.unwrap_or(DEFAULT_FILE));
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => return Ok(Table::new()),
        Err(error) => return Err(SettingError(format!("{} cannot be read: {error}", path.display()))),
    };
    let table: Table = toml::from_str(&text)
        .map_err(|error| SettingError(format!("{}: {}", path.display(), in_one_line(&error.to_string()))))?;
    let known = known_keys();
    match table.keys().find(|key| !known.contains(key)) {
        None => Ok(table),
        Some(unknown) => {
            let hint = "`muster up --help` lists the settings; leave out the dashes in front";
            Err(SettingError(format!("{}: unknown setting `{unknown}`; {hint}", path.display())))
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn named(key: &str) -> String {
    format!("{key} (--{key}, MUSTER_{})", key.replace('-', "_").to_uppercase())
}

/// Returns a parser's error without its drawing of the place in the text.
fn in_one_line(text: &str) -> String {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let (first, last) = (lines.next().unwrap_or_default(), lines.next_back());
    last.map_or_else(|| first.to_owned(), |last| format!("{first}: {last}"))
}
