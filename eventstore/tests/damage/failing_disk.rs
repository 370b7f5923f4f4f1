//! A disk that does not confirm writes: the system's calls fail as they do when a disk reports an error.

use std::{env, fs, path::PathBuf, process::Command};

use event_store::testing::{event_of_size, new_stream};
use event_store::{
    Append, AppendError, ExpectedRevision, Position, Read, ReadDirection, SqliteStore, verify_log,
};
use tempfile::TempDir;

/// Fails the calls that make writes durable as long as a file exists.
const FAILING_CALLS: &str = r#"
    #define _GNU_SOURCE
    #include <errno.h>
    #include <stdlib.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    static int sync_or_fail(long call, int file) {
        const char *failing = getenv("DISK_IS_FAILING");
        if (failing && access(failing, F_OK) == 0) { errno = EIO; return -1; }
        return syscall(call, file);
    }
    int fsync(int file) { return sync_or_fail(SYS_fsync, file); }
    int fdatasync(int file) { return sync_or_fail(SYS_fdatasync, file); }
"#;

#[test]
fn after_the_disk_failed_nothing_is_acknowledged_until_a_restart_has_checked_the_log() {
    let folder = TempDir::new().unwrap();
    let (source, library) = (folder.path().join("calls.c"), folder.path().join("calls.so"));
    fs::write(&source, FAILING_CALLS).unwrap();
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
    assert!(compiled.expect("needs a C compiler: apt-get install gcc").success(), "the compiler printed why");
    let status = Command::new(env::current_exe().unwrap())
        .args(["--exact", "damage::failing_disk::on_a_failing_disk", "--nocapture"])
        .env("LD_PRELOAD", &library)
        .env("DISK_IS_FAILING", folder.path().join("failing"))
        .status()
        .unwrap();
    assert!(status.success(), "the child process printed why");
}

// Runs in the child process of the test above; does nothing in any other process.
#[tokio::test]
async fn on_a_failing_disk() {
    let Some(failing) = env::var_os("DISK_IS_FAILING").map(PathBuf::from) else { return };
    let path = failing.with_file_name("log.db");
    let store = SqliteStore::open(&path).unwrap();
    let stream = new_stream();
    store.append(&stream, ExpectedRevision::NoStream, vec![event_of_size(0)]).await.unwrap();

    fs::write(&failing, "").unwrap();
    let unconfirmed = event_of_size(1);
    let append = async |store: &SqliteStore, event| {
        store.append(&stream, ExpectedRevision::Exact(0), vec![event]).await
    };
    let error = append(&store, unconfirmed.clone()).await.unwrap_err();
    assert!(matches!(&error, AppendError::Unavailable(why) if why.contains("did not confirm")), "{error}");

    // The disk works again, but the system may have dropped the pages that it did not write.
    fs::remove_file(&failing).unwrap();
    for other in [unconfirmed.clone(), event_of_size(2)] {
        assert_eq!(append(&store, other).await, Err(error.clone()));
    }
    assert!(store.condition().borrow().refusal.as_ref().is_some_and(|why| why.contains("did not confirm")));
    assert_eq!(store.read_stream(&stream, 0, ReadDirection::Forwards, 9).await.unwrap().len(), 1);
    store.close().await;

    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(append(&store, unconfirmed).await.unwrap().position, Position(2));
    assert_eq!(store.read_stream(&stream, 0, ReadDirection::Forwards, 9).await.unwrap().len(), 2);
    let report = verify_log(&path, |_| Ok(())).unwrap();
    assert_eq!((report.events, report.damaged), (2, 0), "{report:?}");
}
