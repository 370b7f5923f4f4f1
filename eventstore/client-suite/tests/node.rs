//! Checks that the wire node passes the tests of the official EventStoreDB client.

use std::io::{Write, stdout};
use std::process::Command;

#[test]
fn the_clients_own_tests_pass() {
    let output = Command::new(env!("CARGO_BIN_EXE_client-suite")).output().expect("it is built");
    // Written directly, because the test harness shows the output of failing tests only.
    stdout().write_all(&output.stdout).expect("a standard output");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
