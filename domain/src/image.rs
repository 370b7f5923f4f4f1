//! Image references, by the grammar of container registries. A text from outside becomes an [`ImageRef`] or an error. Only
//! the parsed form is printed, so no other text can reach an engine or a registry.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize, de};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

mod typed;

pub(crate) use typed::usual_registry;

/// The registry of names that have none.
pub const DEFAULT_REGISTRY: &str = "docker.io";

const NAME_BYTES_MAX: usize = 255;
const TAG_BYTES_MAX: usize = 128;

/// A parsed image name: registry, repository, and a tag or a digest or both.
///
/// It is printed in full (`docker.io/alice/app:latest`). [`ImageRef::familiar`] is the short form that people type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageRef {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A content digest: `sha256:` and 64 hexadecimal digits in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, ToSchema)]
pub struct Digest(String);

/// The reason why a text is not an image's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRefError {
    why: &'static str,
    meant: Option<Box<ImageRef>>,
}

impl ImageRefError {
    fn new(why: &'static str) -> Self {
        Self { why, meant: None }
    }

    /// Adds the name that was probably meant. A name that nobody owns would be refused, so it is left out.
    fn or_meant(self, meant: Option<ImageRef>) -> Self {
        let meant = meant.filter(|image| image.owner().is_some()).map(Box::new);
        Self { meant: self.meant.or(meant), ..self }
    }

    /// Returns the name that was probably meant.
    pub fn meant(&self) -> Option<&ImageRef> {
        self.meant.as_deref()
    }
}

impl std::error::Error for ImageRefError {}

impl fmt::Display for ImageRefError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not an image name: {}", self.why)?;
        match &self.meant {
            Some(meant) => write!(f, "; write “{}”", meant.familiar()),
            None => Ok(()),
        }
    }
}

impl ImageRef {
    /// Returns the registry: `docker.io`, `registry.example:5000`, …
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Returns the path in the registry: `alice/app`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Returns the tag. It is `latest` if the name has neither a tag nor a digest.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the digest, if the name pins one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Returns the namespace in the registry that only its holder can push to: the registry and the first path component.
    /// Returns `None` if the image has no such namespace.
    pub fn owner(&self) -> Option<String> {
        let (namespace, _) = self.repository.split_once('/')?;
        (!(self.registry == DEFAULT_REGISTRY && namespace == "library"))
            .then(|| format!("{}/{namespace}", self.registry))
    }

    /// Returns the same repository, pinned to a digest instead of a tag.
    pub fn pinned(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// Returns the short form, without `docker.io/` and `:latest`. Each is kept if the rest would name another image.
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        let full = full.strip_suffix(":latest").unwrap_or(&full);
        let short = full.strip_prefix("docker.io/").unwrap_or(full);
        let shortest = short.strip_prefix("library/").unwrap_or(short);
        let is_it = |form: &&str| form.parse::<Self>().as_ref() == Ok(self);
        [shortest, short].into_iter().find(is_it).unwrap_or(full).to_owned()
    }
}

impl FromStr for ImageRef {
    type Err = ImageRefError;

    /// Reads a name, or a pasted text that means one: a `docker pull` line, the address of a page of Docker Hub's.
    fn from_str(text: &str) -> Result<Self, ImageRefError> {
        typed::read(text)
    }
}

/// Parses a name by the grammar of registries.
fn parse_name(text: &str) -> Result<ImageRef, ImageRefError> {
    if text.is_empty() {
        return Err(ImageRefError::new("it is empty"));
    }
    if text.len() > NAME_BYTES_MAX + TAG_BYTES_MAX + 73 {
        return Err(ImageRefError::new("it is too long"));
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest.parse()?)),
        None => (text, None),
    };
    let (name, tag) = split_tag(rest);
    let tag = tag.map(parse_tag).transpose()?;
    if is_image_id(name) {
        return Err(ImageRefError::new("it is an image's id; give its name in a registry"));
    }
    let (typed_registry, path) = split_registry(name);
    let registry = typed::usual_registry(typed_registry);
    // Login files write `https://index.docker.io/v1/`.
    let versioned = path.strip_prefix("v1/").or_else(|| path.strip_prefix("v2/"));
    let path = match versioned.filter(|rest| rest.contains('/')) {
        Some(rest) if registry == DEFAULT_REGISTRY && typed_registry != DEFAULT_REGISTRY => rest,
        _ => path,
    };
    if !is_registry(&registry) {
        return Err(ImageRefError::new("the registry is not a host name with an optional port"));
    }
    if !path.split('/').all(is_path_component) {
        return Err(ImageRefError::new(
            "a name has lower-case letters and digits, with single . _ - or __ between, in parts joined by /",
        ));
    }
    let repository = match (registry.as_str(), path.contains('/')) {
        (DEFAULT_REGISTRY, false) => format!("library/{path}"),
        _ => path.to_owned(),
    };
    // The name is stored in full, and must be readable for ever.
    if registry.len() + 1 + repository.len() > NAME_BYTES_MAX {
        return Err(ImageRefError::new("the name with its registry is longer than 255 bytes"));
    }
    let tag = tag.or_else(|| digest.is_none().then(|| "latest".to_owned()));
    Ok(ImageRef { registry, repository, tag, digest })
}

impl PartialSchema for ImageRef {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some(
                "An image's name in full: registry, repository, and a tag or a digest or both.",
            ))
            .examples(["docker.io/alice/app:latest"])
            .build()
            .into()
    }
}

impl ToSchema for ImageRef {}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Digest {
    type Err = ImageRefError;

    fn from_str(text: &str) -> Result<Self, ImageRefError> {
        let hex = text.strip_prefix("sha256:").unwrap_or_default();
        if hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ImageRefError::new("a digest is sha256: and 64 hexadecimal digits"))
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! stored_as_text {
    ($($type:ty, $read:expr);*) => {$(
        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $read(&String::deserialize(deserializer)?).map_err(de::Error::custom)
            }
        }
    )*};
}
// A stored name is what was printed. It is not read as a pasted text, whose meaning may change with the addresses of pages.
stored_as_text!(ImageRef, parse_name; Digest, Digest::from_str);

/// Splits off the tag. A colon after the last slash begins a tag; a colon before it begins a port.
fn split_tag(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (text, None),
    }
}

fn parse_tag(tag: &str) -> Result<String, ImageRefError> {
    let first = tag.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    let rest = tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if first && rest && tag.len() <= TAG_BYTES_MAX {
        Ok(tag.to_owned())
    } else {
        Err(ImageRefError::new(
            "a tag has up to 128 letters, digits, _ . and -, and begins with none of . and -",
        ))
    }
}

/// Splits off the registry. The first part is a registry if it could not be a user's name.
fn split_registry(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first.eq_ignore_ascii_case("localhost") => {
            (first, rest)
        }
        _ => (DEFAULT_REGISTRY, name),
    }
}

fn is_registry(registry: &str) -> bool {
    let (host, port) = registry.split_once(':').unwrap_or((registry, "80"));
    let is_label = |label: &str| {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    host.split('.').all(is_label)
        && port.bytes().all(|b| b.is_ascii_digit())
        && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Returns true for letters and digits, with `.`, `_`, `__` or any number of `-` between them.
fn is_path_component(part: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let runs_between = part.split(|c: char| alphanumeric(c as u8) && c.is_ascii());
    part.bytes().next().is_some_and(alphanumeric)
        && part.bytes().last().is_some_and(alphanumeric)
        && runs_between
            .filter(|run| !run.is_empty())
            .all(|run| matches!(run, "." | "_" | "__") || run.bytes().all(|b| b == b'-'))
}

/// Returns true for 64 hexadecimal digits, which engines take for the id of a local image.
fn is_image_id(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct FamiliarName {
        full: String,
        familiar: String,
    }

    /// The web pages are tested with the same table.
    #[test]
    fn the_familiar_name_is_the_shortest_that_names_the_same_image() {
        let table = include_str!("../testdata/familiar_names.json");
        for FamiliarName { full, familiar } in serde_json::from_str::<Vec<_>>(table).unwrap() {
            let image: ImageRef = full.parse().unwrap();
            assert_eq!((image.to_string(), image.familiar()), (full, familiar));
        }
    }

    #[test]
    fn a_name_is_printed_from_what_was_parsed() {
        for (typed, printed) in [
            ("alice/app", "docker.io/alice/app:latest"),
            ("nginx", "docker.io/library/nginx:latest"),
            ("docker.io/alice/app:v1.2", "docker.io/alice/app:v1.2"),
            ("127.0.0.1:5000/alice/app", "127.0.0.1:5000/alice/app:latest"),
            ("localhost/alice/app:1", "localhost/alice/app:1"),
            ("ghcr.io/org/team/app:x_y-z", "ghcr.io/org/team/app:x_y-z"),
            ("alice/a__b.c-d---e_f", "docker.io/alice/a__b.c-d---e_f:latest"),
        ] {
            let image: ImageRef = typed.parse().unwrap();
            assert_eq!(image.to_string(), printed);
            assert_eq!(printed.parse::<ImageRef>().unwrap(), image);
        }
    }

    #[test]
    fn what_was_taken_can_be_read_again_however_long() {
        for typed in ["a".repeat(237), format!("ada/{}", "a".repeat(241))] {
            let longest: ImageRef = typed.parse().unwrap();
            assert_eq!(longest.to_string().parse::<ImageRef>().unwrap(), longest);
            assert!(format!("{typed}a").parse::<ImageRef>().is_err());
        }
    }

    #[test]
    fn a_stored_name_is_not_read_as_a_pasted_text() {
        let read = serde_json::from_value::<ImageRef>;
        let stored = read("hub.docker.com/ada/app:latest".into()).unwrap();
        assert_eq!(stored.registry(), "hub.docker.com");
        for pasted in ["https://hub.docker.com/r/ada/app", "docker pull ada/app", " ada/app", "\"ada/app\""] {
            assert!(pasted.parse::<ImageRef>().is_ok() && read(pasted.into()).is_err(), "{pasted}");
        }
    }

    #[test]
    fn a_digest_pins() {
        let digest = format!("sha256:{}", "a1".repeat(32));
        let image: ImageRef = format!("alice/app:v1@{digest}").parse().unwrap();
        assert_eq!(image.to_string(), format!("docker.io/alice/app:v1@{digest}"));
        let pinned = "alice/app:v1".parse::<ImageRef>().unwrap().pinned(digest.parse().unwrap());
        assert_eq!(pinned.to_string(), format!("docker.io/alice/app@{digest}"));
    }

    #[test]
    fn what_is_not_a_name_is_refused() {
        let long = "a".repeat(300);
        let id = "0123456789abcdef".repeat(4);
        for text in [
            "",
            " ",
            "a b",
            "../x",
            "a/../b",
            "a/./b",
            "/a",
            "a/",
            "a//b",
            "alice/app@",
            "@",
            "alice@app",
            "a@sha256:12",
            "Alice/app",
            "alice/app:",
            "alice/app:-x",
            "http://a.b/c",
            "user@host/app",
            "[::1]:5000/x",
            "a.b:0/x",
            "a.b:99999/x",
            "a.b:x/y",
            "a%2fb",
            "a#b",
            "a?b",
            "a\nb",
            "a\0b",
            "docker.іo/a/b",
            "a..b/c/../d",
            "-a/b",
            "a_-b",
            "a\\b",
            "é",
            &long,
            &id,
            "sha256:abc@",
        ] {
            assert!(text.parse::<ImageRef>().is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn an_owner_is_the_namespace_that_only_its_holder_can_push_to() {
        let owner = |text: &str| text.parse::<ImageRef>().unwrap().owner();
        assert_eq!(owner("alice/app").as_deref(), Some("docker.io/alice"));
        assert_eq!(owner("ghcr.io/org/team/app").as_deref(), Some("ghcr.io/org"));
        assert_eq!(owner("nginx"), None);
        assert_eq!(owner("docker.io/library/nginx"), None);
        assert_eq!(owner("127.0.0.1:5000/app"), None);
    }

    #[test]
    fn the_short_form_is_what_people_type() {
        for typed in ["alice/app", "nginx", "alice/app:v1", "ghcr.io/org/app"] {
            assert_eq!(typed.parse::<ImageRef>().unwrap().familiar(), typed);
        }
        // Shorter, these would name other images.
        for typed in ["library/ada/app", "docker.io/ada.b/app"] {
            assert_eq!(typed.parse::<ImageRef>().unwrap().familiar(), typed);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics_and_what_parses_prints_and_parses_again(text in "\\PC{0,80}|[a-z./:@_-]{0,40}") {
            if let Ok(image) = text.parse::<ImageRef>() {
                assert_eq!(image.to_string().parse::<ImageRef>().unwrap(), image);
                let stored = serde_json::to_value(&image).unwrap();
                assert_eq!(serde_json::from_value::<ImageRef>(stored).unwrap(), image);
            }
        }
    }
}
