//! The wire node passes the official client's own tests.

use std::io::{Write, stdout};
use std::process::Command;

#[test]
fn the_clients_own_tests_pass() {
    let output = Command::new(env!("CARGO_BIN_EXE_client-suite")).output().expect("it is built");
    // Past the harness, which shows only what failing tests print.
    stdout().write_all(&output.stdout).expect("a standard output");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
