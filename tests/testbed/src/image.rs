//! Participants' images, built in memory: one static program, one small file,
//! and whatever else a test wants in them.

use std::sync::LazyLock;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::layer::Layer;

/// The program of `participant/`, linked statically.
const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/participant"));

/// The layer that all images share.
pub(crate) static PROGRAM_LAYER: LazyLock<Layer> = LazyLock::new(|| {
    Layer::files(&[("participant", 0o755, PROGRAM)]).expect("a write to memory does not fail")
});

/// The behaviour of a participant's image.
#[derive(Clone, Debug)]
pub struct App {
    /// A mode of the participant's program, and the mode's arguments.
    pub mode: Vec<String>,
    /// The content of `/config.json`, which `GET /getconfig` answers in most modes.
    pub answer: Value,
    /// `amd64`, unless the image is to be for another machine.
    pub architecture: String,
    /// Fields of the image's own configuration, as `{"User": "1000"}`; they
    /// win over ours.
    pub extra: Map<String, Value>,
    /// Layers on top of those with the program and the answer.
    pub layers: Vec<Layer>,
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
            extra: Map::new(),
            layers: Vec::new(),
        }
    }

    /// With a field of the image's own configuration.
    pub fn with(mut self, field: &str, value: Value) -> Self {
        self.extra.insert(field.to_owned(), value);
        self
    }

    /// With layers on top.
    pub fn with_layers(mut self, layers: impl IntoIterator<Item = Layer>) -> Self {
        self.layers.extend(layers);
        self
    }

    /// With the participant's program a second time, as `path`, with another mode.
    pub fn with_program(self, path: &str, mode: u32) -> Result<Self> {
        Ok(self.with_layers([Layer::files(&[(path, mode, PROGRAM)])?]))
    }

    /// Every layer, the lowest first.
    pub(crate) fn all_layers(&self) -> Result<Vec<Layer>> {
        let answer = serde_json::to_vec_pretty(&self.answer)?;
        let own = [PROGRAM_LAYER.clone(), Layer::files(&[("config.json", 0o644, &answer)])?];
        Ok(own.into_iter().chain(self.layers.iter().cloned()).collect())
    }

    /// The image's configuration, for layers in this order.
    pub(crate) fn config(&self, layers: &[Layer]) -> Value {
        let mut entrypoint = vec!["/participant".to_owned()];
        entrypoint.extend(self.mode.iter().cloned());
        let mut config = json!({ "Entrypoint": entrypoint });
        for (field, value) in &self.extra {
            config[field] = value.clone();
        }
        let digests: Vec<&str> = layers.iter().map(|layer| layer.content.as_str()).collect();
        json!({
            "architecture": self.architecture,
            "os": "linux",
            "config": config,
            "rootfs": { "type": "layers", "diff_ids": digests },
        })
    }
}
