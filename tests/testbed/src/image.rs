//! Participants' images, built in memory: one static program, one small file, and further layers for a
//! test.

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
    /// The architecture in the image's configuration, normally `amd64`.
    pub architecture: String,
    /// Fields of the image's own configuration, such as `{"User": "1000"}`. They replace ours.
    pub extra: Map<String, Value>,
    /// Layers on top of the layers with the program and the answer.
    pub layers: Vec<Layer>,
}

impl App {
    /// Creates an app that answers `GET /getconfig` on port 80 with `answer`.
    pub fn good(answer: &Value) -> Self {
        Self::playing(&["good"], answer)
    }

    /// Creates an app that answers after this time, in whole seconds.
    pub fn slow(answer: &Value, after: Duration) -> Self {
        Self::playing(&["slow", &after.as_secs().to_string()], answer)
    }

    /// Creates an app whose answer is right except for one field.
    pub fn wrong(answer: &Value, field: &str) -> Self {
        let mut answer = answer.clone();
        answer[field] = json!("something else");
        Self::good(&answer)
    }

    /// Creates an app that ends at once with an exit code, after a last line in its log.
    pub fn exits(code: u8, last_line: &str) -> Self {
        Self::playing(&["exit", &code.to_string(), last_line], &Value::Null)
    }

    /// Creates an app that redirects the caller to another address.
    pub fn redirects(to: &str) -> Self {
        Self::playing(&["redirect", to], &Value::Null)
    }

    /// Creates an app with any mode of the table in `participant/src/main.rs`.
    pub fn playing(mode: &[&str], answer: &Value) -> Self {
        Self {
            mode: mode.iter().map(|&part| part.to_owned()).collect(),
            answer: answer.clone(),
            architecture: "amd64".to_owned(),
            extra: Map::new(),
            layers: Vec::new(),
        }
    }

    /// Returns the app with a field of the image's own configuration set.
    pub fn with(mut self, field: &str, value: Value) -> Self {
        self.extra.insert(field.to_owned(), value);
        self
    }

    /// Returns the app with further layers on top.
    pub fn with_layers(mut self, layers: impl IntoIterator<Item = Layer>) -> Self {
        self.layers.extend(layers);
        self
    }

    /// Returns the app with a second copy of the participant's program at `path`, with another file mode.
    pub fn with_program(self, path: &str, mode: u32) -> Result<Self> {
        Ok(self.with_layers([Layer::files(&[(path, mode, PROGRAM)])?]))
    }

    /// Returns every layer, the lowest first.
    pub(crate) fn all_layers(&self) -> Result<Vec<Layer>> {
        let answer = serde_json::to_vec_pretty(&self.answer)?;
        let own = [PROGRAM_LAYER.clone(), Layer::files(&[("config.json", 0o644, &answer)])?];
        Ok(own.into_iter().chain(self.layers.iter().cloned()).collect())
    }

    /// Returns the image's configuration, for layers in this order.
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
