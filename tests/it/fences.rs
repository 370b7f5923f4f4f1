//! The arrows between our crates, and the fences around what only one of them
//! may touch. `ARCHITECTURE.md` says why they stand where they do.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Each crate of ours, and the ones of ours that it may name outside its tests.
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

/// Foreign crates that only some of ours may name.
const FENCES: &[(&str, &[&str])] = &[
    ("bollard", &["verifier", "testbed"]),
    ("mongodb", &["projections", "testbed"]),
    ("eventstore", &["client-suite", "event-store"]),
    ("rusqlite", &["event-store"]),
];

/// What would bring input, output, clocks or chance into the domain.
const NOT_IN_THE_DOMAIN: &[&str] = &["tokio", "async-trait", "futures", "rand", "reqwest", "axum", "tracing"];

const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

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
fn what_is_fenced_is_named_only_by_those_who_may() {
    for (name, dependencies) in our_crates() {
        for (foreign, may) in FENCES {
            let names_it =
                dependencies.normal.contains(*foreign) || dependencies.development.contains(*foreign);
            assert!(!names_it || may.contains(&name.as_str()), "{name} may not depend on {foreign}");
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
    let metadata = metadata(&[]);
    for package in metadata["packages"].as_array().unwrap() {
        let licence = package["license"].as_str().unwrap_or_default();
        // `A OR B` lets us choose; `A AND B` binds us to both; `WITH` adds rights.
        let acceptable = licence.replace('/', " OR ").split(" OR ").any(|choice| {
            choice.split(" AND ").all(|term| {
                let term = term.trim_matches([' ', '(', ')']).split(" WITH ").next().unwrap_or_default();
                LICENCES.contains(&term.trim_matches([' ', '(', ')']))
            })
        });
        assert!(acceptable, "{} is under {licence:?}", package["name"]);
    }
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
