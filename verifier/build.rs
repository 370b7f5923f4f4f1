//! Compiles the relay and the inspector as static programs, so that `muster`
//! carries them within itself and needs no image of ours in any registry.
//!
//! They have no dependencies, so the bare compiler is enough: no second
//! cargo that could wait for the first one's locks, and no flags of the outer
//! build, which are meant for the machine that `muster` runs on.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if variable("CARGO_CFG_TARGET_OS") != "linux" {
        println!("cargo::error=muster runs on Linux: these are programs for its containers");
        return;
    }
    let out = PathBuf::from(variable("OUT_DIR"));
    for name in ["relay", "inspector"] {
        let sources = Path::new(name).join("src");
        println!("cargo::rerun-if-changed={}", sources.display());
        let library = out.join(format!("lib{name}.rlib"));
        let crate_name = format!("--crate-name={name}");
        compile(&sources.join("lib.rs"), &[&crate_name, "--crate-type=rlib"], &library);
        let library = format!("--extern={name}={}", library.display());
        let crate_name = format!("--crate-name=muster_{name}");
        compile(
            &sources.join("main.rs"),
            &[&crate_name, "--crate-type=bin", &library],
            &out.join(format!("muster-{name}")),
        );
    }
}

fn compile(root: &Path, kind: &[&str], output: &Path) {
    let mut rustc = Command::new(variable("RUSTC"));
    rustc
        .arg(root)
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
        Ok(status) => println!("cargo::error={} did not compile: {status}", root.display()),
        Err(error) => println!("cargo::error=the compiler did not start: {error}"),
    }
}

/// A variable that cargo sets for every build script.
fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|error| panic!("cargo should have set {name}: {error}"))
}
