//! `muster backup` and `muster restore`: a log in use is copied, its host is lost, and the system goes on from the copy.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use testbed::until;

use crate::support::{Shape, System, ada};

/// Runs `muster` with these arguments. Returns its exit code and everything that it said.
fn muster(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_muster")).args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_goes_on_from_the_backup_that_was_made_while_it_ran() {
    let mut system = System::without_a_swarm(Shape::OneProcess).await;
    let folder = system.files().to_owned();
    let (data, backup) = (text(&folder.join("data")), text(&folder.join("backup")));
    let back_up = || muster(&["backup", &backup, "--data", &data]);
    let restore = || muster(&["restore", &backup, "--data", &data]);

    let first = system.submit("first", &ada()).await;
    let (code, said) = back_up();
    assert!(code == Some(0) && said.contains("in files: 1"), "{code:?}: {said}");
    let second = system.submit("second", &ada()).await;
    let (code, said) = back_up();
    assert!(code == Some(0) && said.contains("in files: 2"), "{code:?}: {said}");
    let lost = system.submit("third", &ada()).await;
    let (code, said) = restore();
    assert!(code == Some(2) && said.contains("in use by another process"), "{code:?}: {said}");

    assert!(system.terminate().await.success(), "{}", system.log_tail());
    let (code, said) = restore();
    assert!(code == Some(2) && said.contains("no log is overwritten"), "{code:?}: {said}");
    let path = folder.join("data/views.snapshot");
    let snapshot = fs::read(&path).unwrap();
    fs::remove_dir_all(&data).unwrap();
    fs::create_dir(&data).unwrap();
    fs::write(&path, &snapshot).unwrap();
    let (code, said) = restore();
    assert!(code == Some(0) && said.contains("the log is whole"), "{code:?}: {said}");
    assert!(!path.exists(), "the views had seen what the log has no more");

    // A log elsewhere has no part in the snapshot.
    fs::write(&path, &snapshot).unwrap();
    let other = format!("sqlite:{}", text(&folder.join("other.sqlite")));
    let (code, said) = muster(&["restore", &backup, "--data", &data, "--eventstore", &other]);
    assert!(code == Some(0) && path.exists(), "{code:?}: {said}");

    // If somebody brings the old snapshot back, it is passed over. The next one fits.
    system.restart().await;
    let (passed_over, taken) = ("views.snapshot is passed over", "the views go on at position");
    let said = system.said();
    assert!(said.contains(passed_over) && !said.contains(taken), "{}", system.log_tail());
    assert!(system.terminate().await.success(), "{}", system.log_tail());
    system.restart().await;
    assert!(system.said().contains(taken), "{}", system.log_tail());
    for id in [&first, &second] {
        let status = until("the status", Duration::from_secs(20), async || system.status(id).await);
        assert_eq!(status.await.unwrap()["name"], "Ada Lovelace");
    }
    assert!(system.status(&lost).await.is_none(), "it came after the backup");
    assert_eq!(system.submit("second", &ada()).await, second, "a key is known again");
    let (code, said) = back_up();
    assert!(code == Some(0), "the backup of the restored log goes on: {code:?}: {said}");

    // A directory without a log has nothing to back up, one without a backup makes no log, and a server has its own backups.
    let elsewhere = text(&folder.join("elsewhere"));
    let (code, said) = muster(&["backup", &backup, "--data", &elsewhere]);
    assert!(code == Some(2), "{code:?}: {said}");
    let (code, said) = muster(&["restore", &elsewhere, "--data", &elsewhere]);
    assert!(code == Some(2), "{code:?}: {said}");
    let (code, said) = muster(&["backup", &backup, "--eventstore", "esdb://u:secret@127.0.0.1:9"]);
    assert!(code == Some(2) && said.contains("docs/operations.md") && !said.contains("secret"), "{said}");
}
