//! Checks the dependencies between our crates, and which of them may use certain foreign crates. `ARCHITECTURE.md` gives
//! the reasons, and `deny.toml` has the rules for foreign crates.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;

/// Our crates, each with the ones of ours that it may depend on outside its tests.
const ARROWS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("event-store", &[]),
    ("inspector", &[]),
    ("relay", &[]),
    ("http-edge", &["event-store"]),
    ("commands", &["domain", "event-store", "http-edge"]),
    ("verifier", &["commands", "domain", "event-store", "inspector", "relay"]),
    ("projections", &["domain", "event-store"]),
    ("read-api", &["domain", "event-store", "http-edge", "projections"]),
    ("client-suite", &["event-store"]),
    ("fuzzing", &["domain", "relay"]),
    ("participant", &[]),
    ("testbed", &[]),
    ("muster", &["commands", "domain", "event-store", "http-edge", "projections", "read-api", "verifier"]),
];

/// Crates that would bring input, output, clocks or randomness into the domain.
const NOT_IN_THE_DOMAIN: &[&str] = &["tokio", "async-trait", "futures", "rand", "reqwest", "axum", "tracing"];

/// The rules for foreign crates, which `cargo deny` checks too.
#[derive(Deserialize)]
struct DenyFile {
    bans: DenyBans,
    licenses: DenyLicences,
}

#[derive(Deserialize)]
struct DenyBans {
    deny: Vec<FencedCrate>,
}

/// A foreign crate that only some of ours may depend on.
#[derive(Deserialize)]
struct FencedCrate {
    name: String,
    wrappers: Vec<String>,
}

#[derive(Deserialize)]
struct DenyLicences {
    allow: Vec<String>,
}

#[test]
fn our_crates_depend_on_each_other_only_along_the_arrows() {
    let ours = our_crates();
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    assert_eq!(ours.keys().map(String::as_str).collect::<BTreeSet<_>>(), arrows.keys().copied().collect());
    for (name, dependencies) in &ours {
        for dependency in dependencies.normal.iter().filter(|dependency| ours.contains_key(*dependency)) {
            assert!(
                arrows[name.as_str()].contains(&dependency.as_str()),
                "{name} may not depend on {dependency}"
            );
        }
    }
}

#[test]
fn only_the_named_crates_depend_on_fenced_crates() {
    let fences = deny_file().bans.deny;
    assert!(fences.len() >= 4, "deny.toml has lost a fence");
    for (name, dependencies) in our_crates() {
        for FencedCrate { name: foreign, wrappers } in &fences {
            let depends = dependencies.normal.contains(foreign) || dependencies.development.contains(foreign);
            assert!(!depends || wrappers.contains(&name), "{name} may not depend on {foreign}");
        }
    }
}

#[test]
fn the_domain_does_no_input_or_output() {
    let domain = &our_crates()["domain"];
    for foreign in NOT_IN_THE_DOMAIN {
        assert!(!domain.normal.contains(*foreign), "the domain may not depend on {foreign}");
    }
}

#[test]
fn every_dependency_has_a_licence_that_we_can_ship_under() {
    let allowed = deny_file().licenses.allow;
    let metadata = metadata(&[]);
    for package in metadata["packages"].as_array().unwrap() {
        let licence = package["license"].as_str().unwrap_or_default();
        // `A OR B` allows a choice, `A AND B` demands both, and `WITH` adds rights.
        let acceptable = licence.replace('/', " OR ").split(" OR ").any(|choice| {
            choice.split(" AND ").all(|term| {
                let term = term.trim_matches([' ', '(', ')']);
                let licence = term.split(" WITH ").next().unwrap_or_default();
                allowed.iter().any(|allowed| allowed == term || allowed == licence)
            })
        });
        assert!(acceptable, "{} is under {licence:?}", package["name"]);
    }
}

fn deny_file() -> DenyFile {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deny.toml");
    toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[derive(Default)]
struct Dependencies {
    normal: BTreeSet<String>,
    development: BTreeSet<String>,
}

fn our_crates() -> BTreeMap<String, Dependencies> {
    let metadata = metadata(&["--no-deps"]);
    let mut ours: BTreeMap<String, Dependencies> = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        let dependencies = ours.entry(package["name"].as_str().unwrap().to_owned()).or_default();
        for dependency in package["dependencies"].as_array().unwrap() {
            let name = dependency["name"].as_str().unwrap().to_owned();
            match dependency["kind"].as_str() {
                Some("dev") => dependencies.development.insert(name),
                _ => dependencies.normal.insert(name),
            };
        }
    }
    ours
}

fn metadata(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
