//! Parses the manifest and the configuration of an image, and checks that the image can be run. Pure
//! functions of untrusted bytes.

use std::collections::BTreeMap;

use domain::Digest;
use domain::challenge::ResourceLimits;
use domain::submission::FailureCode;
use serde::Deserialize;
use serde_json::Value;

use super::image_paths::{PATH_MAX, is_of_the_kernel, is_plain};
use super::{LookupError, Result, labels, refused};

/// The largest number of layers. Engines refuse more than 127; Nix makes 100.
const LAYERS_MAX: usize = 120;
const VOLUMES_MAX: usize = 8;
/// The number of exposed ports that are read.
const PORTS_MAX: usize = 8;
/// The number of images of an index whose configurations are read for their platform.
const UNTOLD_MAX: usize = 4;
const ENV_MAX: usize = 64 << 10;

/// The platform of all nodes.
const OS: &str = "linux";
const ARCHITECTURE: &str = "amd64";

/// The names of the fields that are read here. Engines ignore the case of names and use the last of several
/// fields, so a field whose name differs only in case is refused: an engine would read another value than
/// this module.
const MANIFEST_NAMES: &[&str] = &["schemaVersion", "mediaType", "config", "layers", "manifests"];
const PART_NAMES: &[&str] = &["mediaType", "digest", "size", "urls", "platform"];
const CONFIG_NAMES: &[&str] = &["os", "architecture", "config", "rootfs"];
const ROOTFS_NAMES: &[&str] = &["type", "diff_ids"];
const SETTINGS_NAMES: &[&str] = &["Entrypoint", "Cmd", "Env", "Volumes", "WorkingDir"];

/// The document that a tag or digest refers to.
#[derive(Debug)]
pub(super) enum Manifest {
    Image(ImageManifest),
    /// A list of images for several platforms.
    Index(ImageIndex),
}

#[derive(Debug, Deserialize)]
pub(super) struct ImageManifest {
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ImageIndex {
    manifests: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    media_type: String,
    pub(super) digest: Digest,
    pub(super) size: u64,
    #[serde(default)]
    urls: Vec<String>,
    #[serde(default)]
    platform: Option<ImagePlatform>,
}

#[derive(Debug, Deserialize)]
struct ImagePlatform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
}

#[derive(Debug, Deserialize)]
struct ImageConfig {
    #[serde(flatten)]
    platform: ImagePlatform,
    #[serde(default)]
    config: Option<ContainerConfig>,
    #[serde(default)]
    rootfs: Option<LayerDigests>,
}

#[derive(Debug, Default, Deserialize)]
struct LayerDigests {
    #[serde(default)]
    diff_ids: Vec<Digest>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ContainerConfig {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    env: Option<Vec<String>>,
    volumes: Option<BTreeMap<String, Value>>,
    labels: Option<BTreeMap<String, Option<String>>>,
    working_dir: Option<String>,
    exposed_ports: Value,
}

/// Parses a manifest of either kind.
pub(super) fn parse(body: &[u8]) -> Result<Manifest> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct ManifestHead {
        schema_version: u32,
        #[serde(default)]
        manifests: Option<serde::de::IgnoredAny>,
    }
    let unreadable = |error: serde_json::Error| refused(&format!("its manifest cannot be read ({error})"));
    let all: Value = serde_json::from_slice(body).map_err(unreadable)?;
    check_names(&all, MANIFEST_NAMES)?;
    check_names(&all["config"], PART_NAMES)?;
    for part in [&all["layers"], &all["manifests"]].into_iter().filter_map(Value::as_array).flatten() {
        check_names(part, PART_NAMES)?;
    }
    let head: ManifestHead = serde_json::from_slice(body).map_err(unreadable)?;
    match head {
        ManifestHead { schema_version: 2, manifests: Some(_) } => {
            serde_json::from_slice(body).map(Manifest::Index).map_err(unreadable)
        }
        ManifestHead { schema_version: 2, manifests: None } => {
            serde_json::from_slice(body).map(Manifest::Image).map_err(unreadable)
        }
        ManifestHead { schema_version, .. } => Err(refused(&format!(
            "its manifest has the outdated schema {schema_version}; build it with a current Docker"
        ))),
    }
}

impl ImageIndex {
    /// Returns the image for the platform of the nodes.
    pub(super) fn for_our_platform(&self) -> Result<&Descriptor> {
        let platforms = self.manifests.iter().filter_map(|part| Some((part, part.platform.as_ref()?)));
        match platforms.clone().find(|(_, platform)| platform.is_ours()) {
            Some((part, _)) => Ok(part),
            None => {
                let built = platforms.filter(|(_, platform)| platform.os != "unknown");
                let built: Vec<String> = built.map(|(_, platform)| platform.named()).take(8).collect();
                Err(wrong_platform(&built.join(", ")))
            }
        }
    }

    /// Returns the first images whose platform only their configurations tell.
    pub(super) fn without_platform(&self) -> impl Iterator<Item = &Descriptor> {
        self.manifests.iter().filter(|part| part.platform.is_none()).take(UNTOLD_MAX)
    }
}

/// Returns true if an image with this configuration is for the platform of the nodes.
pub(super) fn is_for_our_platform(config: &[u8]) -> bool {
    serde_json::from_slice::<ImagePlatform>(config).is_ok_and(|platform| platform.is_ours())
}

impl ImageManifest {
    /// Checks that the image may be pulled, and returns its compressed size in bytes.
    pub(super) fn check(&self, limits: &ResourceLimits) -> Result<u64> {
        if !matches!(
            self.config.media_type.as_str(),
            "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json"
        ) {
            return Err(refused("it is not a container image but another kind of artifact"));
        }
        if self.layers.len() > LAYERS_MAX {
            return Err(refused(&format!(
                "it has {} layers, more than {LAYERS_MAX}; join some RUN and COPY lines",
                self.layers.len()
            )));
        }
        let is_foreign = |layer: &Descriptor| !layer.urls.is_empty() || layer.media_type.contains("foreign");
        if self.layers.iter().any(is_foreign) {
            return Err(refused("some of its layers are stored outside of its registry"));
        }
        let size = self.layers.iter().fold(self.config.size, |size, layer| size.saturating_add(layer.size));
        let max = limits.image_mib << 20;
        if size > max {
            let mib = size.div_ceil(1 << 20);
            let message =
                format!("The image has {mib} MiB compressed; {} MiB are allowed.", limits.image_mib);
            return Err(LookupError::Participant(FailureCode::ImageTooLarge, message));
        }
        Ok(size)
    }
}

/// The settings of an image that matter to its run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ImageSettings {
    /// The paths that the image declares as volumes.
    pub(crate) volumes: Vec<String>,
    /// The TCP ports that the image exposes. They only explain failures, so those that cannot be read are passed over.
    pub(crate) exposed_ports: Vec<u16>,
    /// The directory in which the app starts.
    pub(crate) working_dir: String,
    /// The digests of the layers' archives.
    pub(crate) diff_ids: Vec<Digest>,
    /// The names of the labels that the container must override.
    pub(crate) labels: Vec<String>,
}

/// Checks that an image with this configuration can be run, and returns its settings.
pub(crate) fn check_config(body: &[u8]) -> Result<ImageSettings> {
    let unreadable =
        |error: serde_json::Error| refused(&format!("its configuration cannot be read ({error})"));
    let all: Value = serde_json::from_slice(body).map_err(unreadable)?;
    check_names(&all, CONFIG_NAMES)?;
    check_names(&all["config"], SETTINGS_NAMES)?;
    check_names(&all["rootfs"], ROOTFS_NAMES)?;
    let config: ImageConfig = serde_json::from_slice(body).map_err(unreadable)?;
    if !config.platform.is_ours() {
        return Err(wrong_platform(&config.platform.named()));
    }
    let settings = config.config.unwrap_or_default();
    let is_none = |words: &Option<Vec<String>>| words.as_ref().is_none_or(Vec::is_empty);
    if is_none(&settings.entrypoint) && is_none(&settings.cmd) {
        return Err(refused("it has neither ENTRYPOINT nor CMD, so nothing can be started"));
    }
    if settings.env.iter().flatten().map(String::len).sum::<usize>() > ENV_MAX {
        return Err(refused(&format!("its ENV has more than {ENV_MAX} bytes")));
    }
    let working_dir = settings.working_dir.unwrap_or_default();
    if is_of_the_kernel(&working_dir) {
        return Err(refused("its WORKDIR is in /proc, /sys or /dev"));
    }
    let exposed = settings.exposed_ports.as_object().into_iter().flat_map(|ports| ports.keys());
    let exposed_ports = exposed.filter_map(|port| port.strip_suffix("/tcp").unwrap_or(port).parse().ok());
    let exposed_ports: Vec<u16> = exposed_ports.take(PORTS_MAX).collect();
    let labels = labels::obeyed(settings.labels.unwrap_or_default())?;
    let volumes: Vec<String> = settings.volumes.unwrap_or_default().into_keys().collect();
    if volumes.len() > VOLUMES_MAX {
        return Err(refused(&format!("it declares more than {VOLUMES_MAX} volumes")));
    }
    match volumes.iter().find(|path| !is_plain(path) || is_of_the_kernel(path)) {
        None => {
            let diff_ids = config.rootfs.unwrap_or_default().diff_ids;
            Ok(ImageSettings { volumes, exposed_ports, working_dir, diff_ids, labels })
        }
        Some(path) => {
            let path: String = path.chars().filter(|c| !c.is_control()).take(PATH_MAX).collect();
            Err(refused(&format!("VOLUME {path} is not a plain path to a directory of its own")))
        }
    }
}

impl ImagePlatform {
    fn is_ours(&self) -> bool {
        self.os == OS && self.architecture == ARCHITECTURE
    }

    fn named(&self) -> String {
        let named = format!("{}/{}", self.os, self.architecture);
        named.chars().filter(|c| !c.is_control()).take(40).collect()
    }
}

/// Checks that no field of an object has a name that differs from one of `names` only in case.
fn check_names(object: &Value, names: &[&str]) -> Result<()> {
    let folded = |name: &str| name.to_uppercase().to_lowercase();
    let is_near = |key: &&String| {
        !names.contains(&key.as_str()) && names.iter().any(|name| folded(name) == folded(key))
    };
    match object.as_object().and_then(|object| object.keys().find(is_near)) {
        None => Ok(()),
        Some(key) => {
            let key: String = key.chars().take(PATH_MAX).collect();
            Err(refused(&format!("it has a field {key}, which engines confuse with another field")))
        }
    }
}

fn wrong_platform(built: &str) -> LookupError {
    let built = if built.is_empty() { "an unknown platform" } else { built };
    let message = format!("The image is built for {built}; it must be built for {OS}/{ARCHITECTURE}.");
    LookupError::Participant(FailureCode::WrongPlatform, message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn digest() -> String {
        format!("sha256:{}", "a1".repeat(32))
    }

    fn settings(volumes: &[&str], working_dir: &str) -> ImageSettings {
        let volumes = volumes.iter().map(|&path| path.to_owned()).collect();
        ImageSettings {
            volumes,
            exposed_ports: vec![],
            working_dir: working_dir.to_owned(),
            diff_ids: vec![],
            labels: vec![],
        }
    }

    fn config(extra: serde_json::Value) -> Result<ImageSettings> {
        let mut settings = json!({ "Entrypoint": ["/app"] });
        for (name, value) in extra.as_object().unwrap() {
            settings[name] = value.clone();
        }
        let config = json!({ "os": "linux", "architecture": "amd64", "config": settings });
        check_config(config.to_string().as_bytes())
    }

    fn code<T: std::fmt::Debug>(result: Result<T>) -> FailureCode {
        match result.unwrap_err() {
            LookupError::Participant(code, _) => code,
            LookupError::Platform(fault) => panic!("{fault:?}"),
        }
    }

    fn image(layers: usize, size: u64) -> Result<u64> {
        let layer = json!({ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest(), "size": size });
        let manifest = json!({
            "schemaVersion": 2,
            "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(), "size": 10 },
            "layers": vec![layer; layers],
        });
        match parse(manifest.to_string().as_bytes())? {
            Manifest::Image(manifest) => manifest.check(&domain::Challenge::birthday().limits),
            Manifest::Index(_) => panic!("it is an image"),
        }
    }

    #[test]
    fn an_image_is_bounded_in_size_and_layers() {
        assert_eq!(image(2, 1000), Ok(2010));
        assert_eq!(code(image(121, 1)), FailureCode::ImageRefused);
        assert_eq!(code(image(2, 1 << 30)), FailureCode::ImageTooLarge);
        assert_eq!(code(image(2, u64::MAX)), FailureCode::ImageTooLarge);
    }

    #[test]
    fn the_image_for_the_nodes_platform_is_taken_from_an_index() {
        let index = |platforms: &[(&str, &str)]| {
            let manifests: Vec<_> = platforms
                .iter()
                .map(|(os, architecture)| {
                    let platform = json!({ "os": os, "architecture": architecture });
                    json!({ "mediaType": "m", "digest": digest(), "size": 1, "platform": platform })
                })
                .collect();
            let index = json!({ "schemaVersion": 2, "manifests": manifests });
            match parse(index.to_string().as_bytes()).unwrap() {
                Manifest::Index(index) => index.for_our_platform().map(|part| part.size),
                Manifest::Image(_) => panic!("it is an index"),
            }
        };
        assert_eq!(index(&[("linux", "arm64"), ("linux", "amd64")]), Ok(1));
        let error = index(&[("linux", "arm64"), ("unknown", "unknown")]);
        let LookupError::Participant(FailureCode::WrongPlatform, message) = error.unwrap_err() else {
            panic!("another failure")
        };
        assert!(message.contains("linux/arm64;"), "{message}");
    }

    #[test]
    fn a_document_that_is_no_image_is_refused() {
        for body in [
            "",
            "[]",
            r#"{"schemaVersion":1,"fsLayers":[]}"#,
            r#"{"schemaVersion":2}"#,
            r#"{"schemaVersion":2,"config":{"digest":"sha256:../../x","size":1},"layers":[]}"#,
            r#"{"schemaVersion":2,"config":{"digest":"x","size":-1},"layers":[]}"#,
        ] {
            assert_eq!(code(parse(body.as_bytes())), FailureCode::ImageRefused, "{body}");
        }
        assert_eq!(
            code(check_config(br#"{"os":"linux","architecture":"arm64"}"#)),
            FailureCode::WrongPlatform
        );
        assert_eq!(code(check_config(b"{}")), FailureCode::WrongPlatform);
        assert_eq!(
            code(check_config(br#"{"os":"linux","architecture":"amd64"}"#)),
            FailureCode::ImageRefused
        );
    }

    #[test]
    fn a_name_that_only_an_engine_would_read_is_refused() {
        for settings in [
            json!({ "volumes": { "/d": {} } }),
            json!({ "WORKINGDIR": "/proc/self/fd/7" }),
            json!({ "Workin\u{0067}dir": "/" }),
            json!({ "Volume\u{017f}": {} }),
        ] {
            assert_eq!(code(config(settings.clone())), FailureCode::ImageRefused, "{settings}");
        }
        let labelled = ImageSettings { labels: vec!["volumes".to_owned()], ..settings(&[], "") };
        assert_eq!(config(json!({ "Labels": { "volumes": "" }, "User": "app" })), Ok(labelled));
        let top = br#"{"os":"linux","architecture":"amd64","Config":{},"config":{"Cmd":["/app"]}}"#;
        assert_eq!(code(check_config(top)), FailureCode::ImageRefused);
        let config = format!(r#"{{"mediaType":"m","digest":"{}","size":1}}"#, digest());
        for rest in [
            format!(r#""config":{config},"layers":[],"Layers":[{config}]"#),
            format!(r#""config":{config},"layers":[{{"digest":"{0}","Digest":"{0}","size":1}}]"#, digest()),
            format!(r#""config":{{"digest":"{0}","size":1,"SIZE":2}},"layers":[]"#, digest()),
            format!(r#""MANIFESTS":[],"config":{config},"layers":[]"#),
        ] {
            let body = format!(r#"{{"schemaVersion":2,{rest}}}"#);
            assert_eq!(code(parse(body.as_bytes())), FailureCode::ImageRefused, "{body}");
        }
    }

    #[test]
    fn the_exposed_ports_are_read_as_far_as_they_can_be() {
        let ports = |exposed| config(json!({ "ExposedPorts": exposed })).unwrap().exposed_ports;
        assert_eq!(ports(json!({ "5000/tcp": {}, "53/udp": {}, "8080": {} })), [5000, 8080]);
        for other in [json!(null), json!([80]), json!({ "x/tcp": {}, "99999": 1 })] {
            assert_eq!(ports(other.clone()), [0; 0], "{other}");
        }
    }

    #[test]
    fn a_configuration_that_reaches_out_of_its_sandbox_is_refused() {
        assert_eq!(config(json!({})), Ok(settings(&[], "")));
        assert_eq!(
            config(json!({ "Volumes": { "/data": {} }, "WorkingDir": "/app" })),
            Ok(settings(&["/data"], "/app"))
        );
        for directory in ["/proc/self/fd/7", "//proc", "/./sys/x", "/dev", "/app/../proc", "../proc"] {
            assert_eq!(
                code(config(json!({ "WorkingDir": directory }))),
                FailureCode::ImageRefused,
                "{directory}"
            );
        }
        for volume in ["/", "data", "/proc", "/dev/shm", "/a/../b", "/{{.Node.ID}}", "/a b", "/a//b", "/a\n"]
        {
            let volumes = json!({ "Volumes": { volume: {} } });
            assert_eq!(code(config(volumes)), FailureCode::ImageRefused, "{volume}");
        }
        assert_eq!(code(config(json!({ "Env": ["X=".repeat(40_000)] }))), FailureCode::ImageRefused);
    }
}
