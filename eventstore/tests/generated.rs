//! Checks that the committed Rust code of the protocol is up to date with `proto/`. The code is committed so
//! that a build needs no protobuf compiler.
//!
//! To generate the code anew after a change in `proto/`:
//! `GENERATE=1 cargo test -p event-store --test generated`.

use std::{env, fs, path::Path};

use tempfile::TempDir;

const DEFINITIONS: [&str; 3] = ["gossip.proto", "server_features.proto", "streams.proto"];

#[test]
fn the_generated_code_is_up_to_date() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = TempDir::new().unwrap();
    let definitions = protox::compile(DEFINITIONS, [package.join("proto")]).unwrap();
    tonic_build::configure()
        .build_client(false)
        .build_transport(false)
        .bytes(["."])
        .btree_map(["."])
        .disable_comments(".")
        .emit_rerun_if_changed(false)
        .out_dir(folder.path())
        .compile_fds(definitions)
        .unwrap();

    let committed = package.join("src/node/generated");
    for file in fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        let generated = fs::read_to_string(file.path()).unwrap();
        let path = committed.join(file.file_name());
        if env::var_os("GENERATE").is_some() {
            fs::write(&path, &generated).unwrap();
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == generated,
            "{} is out of date; the head of this test says how to generate it",
            path.display()
        );
    }
}
