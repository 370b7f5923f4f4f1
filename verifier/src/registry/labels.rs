//! The labels of an image that programs on a node may obey: routers, updaters and schedulers look for theirs on every container.
//! The container gets each of them without a value.

use std::collections::BTreeMap;

use super::{LookupError, refused};

/// The most labels that an image may have, and the length of a label's name.
const LABELS_MAX: usize = 64;
const NAME_MAX: usize = 128;

/// The beginnings of names that only describe an image.
const DESCRIPTIONS: [&str; 3] = ["org.opencontainers.image.", "org.label-schema.", "maintainer"];

/// Returns the names of the labels that the container must override.
///
/// # Errors
/// If a name cannot be overridden: the Swarm expands templates, so only plain names are passed on.
pub(super) fn obeyed(labels: BTreeMap<String, Option<String>>) -> Result<Vec<String>, LookupError> {
    let describes = |name: &String| DESCRIPTIONS.iter().any(|beginning| name.starts_with(beginning));
    let names: Vec<String> = labels.into_keys().filter(|name| !describes(name)).collect();
    if names.len() > LABELS_MAX {
        return Err(refused(&format!("it has more than {LABELS_MAX} labels that do not describe it")));
    }
    match names.iter().find(|name| !is_plain(name)) {
        None => Ok(names),
        Some(name) => {
            let name: String = name.chars().filter(|c| !c.is_control()).take(NAME_MAX).collect();
            let why = "letters, digits, points, hyphens, underscores and slashes are allowed in its name";
            Err(refused(&format!("of its label {name:?}: {why}")))
        }
    }
}

fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/');
    (1..=NAME_MAX).contains(&name.len()) && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> Result<Vec<String>, LookupError> {
        obeyed(names.iter().map(|name| ((*name).to_owned(), Some("true".to_owned()))).collect())
    }

    #[test]
    fn labels_that_a_program_may_obey_are_overridden() {
        let names = ["com.centurylinklabs.watchtower.enable", "traefik.enable", "volumes"];
        assert_eq!(of(&names).unwrap(), names);
        assert_eq!(of(&["maintainer", "org.opencontainers.image.title"]).unwrap(), [""; 0]);
    }

    #[test]
    fn labels_that_cannot_be_overridden_are_named() {
        let many: Vec<String> = (0..=LABELS_MAX).map(|n| n.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let long = "x".repeat(NAME_MAX + 1);
        for (names, said) in [
            (&["traefik.{{.Node.ID}}"][..], "traefik.{{.Node.ID}}"),
            (&["a b"], "a b"),
            (&[""], "letters"),
            (&[&long], "xxx"),
            (&many, "more than 64"),
        ] {
            let Err(LookupError::Participant(_, message)) = of(names) else { panic!("{names:?}") };
            assert!(message.contains(said), "{message}");
        }
    }
}
