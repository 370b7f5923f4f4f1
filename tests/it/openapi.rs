//! The committed description of the HTTP API, from which the types of the web
//! pages are generated, is the description that the program serves.

use std::path::Path;

use serde_json::Value;

use crate::support::{Shape, System};

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/read-api/web/openapi.json");

/// If this variable is set, the committed description is written instead of compared. `make api` sets it.
const WRITE: &str = "MUSTER_WRITE_OPENAPI";

#[tokio::test(flavor = "multi_thread")]
async fn the_committed_description_is_the_one_that_is_served() {
    let mut system = System::without_a_swarm(Shape::OneProcess).await;
    let response = system.http().get(system.url("/openapi.json")).send().await.unwrap();
    let description: Value = response.json().await.unwrap();
    assert!(system.terminate().await.success(), "{}", system.log_tail());

    let served = format!("{description:#}\n");
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(COMMITTED, served).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(Path::new(COMMITTED)).unwrap_or_default();
    let differing = served.lines().zip(committed.lines()).find(|(served, committed)| served != committed);
    assert!(
        served == committed,
        "read-api/web/openapi.json is not what the program serves (first difference, served and committed: \
         {differing:?}); run `make api` and commit openapi.json and src/lib/api.generated.ts",
    );
}
