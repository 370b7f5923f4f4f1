//! Finds the tests in the package of the EventStoreDB client, and passes their path to the compiler.

use std::{env, path::Path, process::Command};

fn main() {
    let variable = |name: &str| env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"));
    let output = Command::new(variable("CARGO"))
        .args(["metadata", "--format-version=1", "--offline", "--filter-platform"])
        .arg(variable("TARGET"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    let client = packages.iter().find(|package| package["name"] == "eventstore").expect("the client is one");
    let manifest = client["manifest_path"].as_str().expect("a package has a manifest");
    let tests = Path::new(manifest).with_file_name("tests");
    println!("cargo::rustc-env=CLIENT_TESTS={}", tests.display());
    println!("cargo::rerun-if-changed=build.rs");
}
