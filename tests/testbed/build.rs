//! Compiles the participant's program, so that the library can contain it.
//!
//! The program is linked statically, because its images are built from nothing: they have no base image, no
//! loader and no libc.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=participant/src");
    let rustc = env::var_os("RUSTC").expect("cargo names the compiler");
    let out = env::var_os("OUT_DIR").expect("cargo names the output directory");
    let status = Command::new(rustc)
        .args(["--edition=2024", "--crate-name=participant"])
        .args(["-Ctarget-feature=+crt-static", "-Cpanic=abort"])
        .args(["-Copt-level=s", "-Cstrip=symbols"])
        .arg("participant/src/main.rs")
        .arg("-o")
        .arg(Path::new(&out).join("participant"))
        .status()
        .expect("the compiler starts");
    assert!(status.success(), "the participant's program compiles");
}
