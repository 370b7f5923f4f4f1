//! Compiles the relay as a static program, so that `muster` carries it within
//! itself and needs no image of ours in any registry.
//!
//! The relay has no dependencies, so the bare compiler is enough: no second
//! cargo that could wait for the first one's locks, and no flags of the outer
//! build, which are meant for the machine that `muster` runs on.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCES: &str = "relay/src";

fn main() {
    println!("cargo::rerun-if-changed={SOURCES}");
    println!("cargo::rerun-if-changed=build.rs");
    if variable("CARGO_CFG_TARGET_OS") != "linux" {
        println!("cargo::error=muster runs on Linux: the relay is a program for its containers");
        return;
    }
    let out = PathBuf::from(variable("OUT_DIR"));
    let library = out.join("librelay.rlib");
    compile("lib.rs", &["--crate-name=relay", "--crate-type=rlib"], &library);
    let library = format!("--extern=relay={}", library.display());
    compile(
        "main.rs",
        &["--crate-name=muster_relay", "--crate-type=bin", &library],
        &out.join("muster-relay"),
    );
}

fn compile(root: &str, kind: &[&str], output: &Path) {
    let mut rustc = Command::new(variable("RUSTC"));
    rustc
        .arg(Path::new(SOURCES).join(root))
        .args(["--edition=2024", "--target", &variable("TARGET")])
        .args(kind)
        .args(["-Ctarget-feature=+crt-static", "-Cpanic=abort"])
        // It is carried to every engine, so it is made small.
        .args(["-Copt-level=s", "-Clto=fat", "-Ccodegen-units=1"])
        .args(["-Cstrip=symbols", "-o"])
        .arg(output);
    // Set when the build is configured with a linker of its own, to cross-compile.
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg(format!("-Clinker={linker}"));
    }
    match rustc.status() {
        Ok(status) if status.success() => {}
        Ok(status) => println!("cargo::error=the relay did not compile: {status}"),
        Err(error) => println!("cargo::error=the compiler did not start: {error}"),
    }
}

/// A variable that cargo sets for every build script.
fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|error| panic!("cargo should have set {name}: {error}"))
}
