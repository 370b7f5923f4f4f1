//! Participants' images, built in memory: one static program, one small file.

use std::sync::LazyLock;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use crate::registry::digest;

/// The program of `participant/`, linked statically.
const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/participant"));

/// The layer that all images share.
pub(crate) static PROGRAM_LAYER: LazyLock<Vec<u8>> =
    LazyLock::new(|| layer(&[("participant", 0o755, PROGRAM)]).expect("a write to memory does not fail"));

/// What a participant's image does when it runs.
#[derive(Clone, Debug)]
pub struct App {
    /// A mode of the participant's program, and the mode's arguments.
    pub mode: Vec<String>,
    /// What `/config.json` holds, and `GET /getconfig` answers in most modes.
    pub answer: Value,
    /// `amd64`, unless the image is to be for another machine.
    pub architecture: String,
    /// Fields of the image's own configuration, as `{"User": "1000"}`; they
    /// win over ours.
    pub extra: serde_json::Map<String, Value>,
}

impl App {
    /// Answers `GET /getconfig` on port 80 with `answer`.
    pub fn good(answer: &Value) -> Self {
        Self::playing(&["good"], answer)
    }

    /// Answers `after` that long, in whole seconds.
    pub fn slow(answer: &Value, after: Duration) -> Self {
        Self::playing(&["slow", &after.as_secs().to_string()], answer)
    }

    /// Answers rightly but for one field.
    pub fn wrong(answer: &Value, field: &str) -> Self {
        let mut answer = answer.clone();
        answer[field] = json!("something else");
        Self::good(&answer)
    }

    /// Ends at once with an exit code, after a last line in its log.
    pub fn exits(code: u8, last_line: &str) -> Self {
        Self::playing(&["exit", &code.to_string(), last_line], &Value::Null)
    }

    /// Sends the caller to another address.
    pub fn redirects(to: &str) -> Self {
        Self::playing(&["redirect", to], &Value::Null)
    }

    /// Plays any mode of the table in `participant/src/main.rs`.
    pub fn playing(mode: &[&str], answer: &Value) -> Self {
        Self {
            mode: mode.iter().map(|&part| part.to_owned()).collect(),
            answer: answer.clone(),
            architecture: "amd64".to_owned(),
            extra: serde_json::Map::new(),
        }
    }

    pub(crate) fn files_layer(&self) -> Result<Vec<u8>> {
        let answer = serde_json::to_vec_pretty(&self.answer)?;
        layer(&[("config.json", 0o644, &answer)])
    }

    /// The image's configuration, for layers in this order.
    pub(crate) fn config(&self, layers: &[&[u8]]) -> Value {
        let mut entrypoint = vec!["/participant".to_owned()];
        entrypoint.extend(self.mode.iter().cloned());
        let mut config = json!({ "Entrypoint": entrypoint });
        for (field, value) in &self.extra {
            config[field] = value.clone();
        }
        // A layer that is not compressed has one digest for both its forms.
        let digests: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
        json!({
            "architecture": self.architecture,
            "os": "linux",
            "config": config,
            "rootfs": { "type": "layers", "diff_ids": digests },
        })
    }
}

/// A tar archive of files: path, mode, bytes. The same files give the same bytes.
fn layer(files: &[(&str, u32, &[u8])]) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, mode, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(*mode);
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, path, *bytes)?;
    }
    Ok(archive.into_inner()?)
}
