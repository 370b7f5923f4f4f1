//! The limits of the write API: large bodies, many requests, and a log that fails or is full.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use bytes::Bytes;
use commands::WriteApiSettings;
use event_store::SqliteStore;
use futures::future::join_all;
use futures::stream;
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::support::store::{BadLine, Lost, SilentLog};
use crate::support::{App, entry, entry_with, from, log, post, post_text, settings};

#[tokio::test]
async fn ten_megabytes_are_refused_and_the_client_learns_why() {
    let (log, _directory) = log();
    let app = App::on(Arc::new(log), settings());
    app.send(post_text("/api/v1/submissions", vec![b' '; 10 * 1024 * 1024])).await.problem(413);
    let chunks = stream::iter((0..160).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 64 * 1024]))));
    app.send(post_text("/api/v1/submissions", Body::from_stream(chunks))).await.problem(413);
    let padded = entry().to_string() + &" ".repeat(60 * 1024);
    assert_eq!(app.send(post_text("/api/v1/submissions", padded)).await.status, 202);
}

#[tokio::test]
async fn a_body_without_end_is_not_read_to_its_end() {
    let (log, _directory) = log();
    let app = App::on(Arc::new(log), settings());
    let endless = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 64 * 1024])));
    app.send(post_text("/api/v1/submissions", Body::from_stream(endless))).await.problem(413);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_is_answered_with_408() {
    let (log, _directory) = log();
    let app = App::on(Arc::new(log), settings());
    let silent = stream::pending::<Result<Bytes, std::io::Error>>();
    app.send(post_text("/api/v1/submissions", Body::from_stream(silent))).await.problem(408);
}

#[tokio::test]
async fn requests_over_the_limit_of_one_address_do_not_affect_another() {
    let (log, _directory) = log();
    let app = App::on(
        Arc::new(log),
        WriteApiSettings { rate_by_address: Some("50/s,200".parse().unwrap()), ..settings() },
    );
    // Wrong submissions count too.
    let ask = |address: &str| from(address, post("/api/v1/submissions", &json!({})));
    let mut refused = 0;
    for _ in 0..300 {
        let answer = app.send(ask("203.0.113.7")).await;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            answer.problem(429);
            assert_eq!(answer.headers[header::RETRY_AFTER], "1");
            refused += 1;
        }
    }
    assert!((1..=100).contains(&refused), "{refused} of 300 were refused");
    app.send(ask("203.0.113.8")).await.problem(422);
}

#[tokio::test(start_paused = true)]
async fn an_address_over_its_limit_is_refused_before_its_body_is_read() {
    let (log, _directory) = log();
    let app = App::on(
        Arc::new(log),
        WriteApiSettings { rate_by_address: Some("1/h,1".parse().unwrap()), ..settings() },
    );
    let silent = |path, address| {
        let body = stream::pending::<Result<Bytes, std::io::Error>>();
        from(address, post_text(path, Body::from_stream(body)))
    };
    for path in ["/api/v1/submissions", "/competition"] {
        app.send(silent(path, "203.0.113.8")).await.problem(if path == "/competition" { 429 } else { 408 });
    }
    app.send(from("203.0.113.7", post_text("/api/v1/submissions", "[]"))).await.problem(400);
    app.send(silent("/api/v1/submissions", "203.0.113.7")).await.problem(429);
}

#[tokio::test]
async fn the_client_is_the_peer_or_the_one_that_a_local_proxy_names() {
    let (log, _directory) = log();
    let app = App::on(
        Arc::new(log),
        WriteApiSettings { rate_by_address: Some("1/h,1".parse().unwrap()), ..settings() },
    );
    let ask = async |peer: &str, forwarded: &str| {
        let request = Request::get("/api/v1/challenge").header("x-forwarded-for", forwarded);
        app.send(from(peer, request.body(Body::empty()).unwrap())).await.status.as_u16()
    };
    // The header of a stranger is not trusted.
    assert_eq!(ask("203.0.113.7", "198.51.100.1").await, 200);
    assert_eq!(ask("203.0.113.7", "198.51.100.2").await, 429);
    // Of a local proxy the last entry is trusted.
    assert_eq!(ask("127.0.0.1", "198.51.100.3").await, 200);
    assert_eq!(ask("::1", "198.51.100.9, 198.51.100.3").await, 429);
    assert_eq!(ask("::ffff:127.0.0.1", "198.51.100.4").await, 200);
    // A /64 network is one client.
    assert_eq!(ask("2001:db8:1:2::1", "").await, 200);
    assert_eq!(ask("2001:db8:1:2:ffff::9", "").await, 429);
    assert_eq!(ask("2001:db8:1:3::1", "").await, 200);
}

#[tokio::test]
async fn submissions_over_the_limit_of_one_owner_do_not_affect_another() {
    let (log, _directory) = log();
    let app = App::on(
        Arc::new(log),
        WriteApiSettings { rate_by_owner: Some("10/min,3".parse().unwrap()), ..settings() },
    );
    for _ in 0..3 {
        assert_eq!(app.submit(&entry()).await.status, 202);
    }
    let answer = app.submit(&entry()).await;
    assert!(answer.problem(429).detail().contains("docker.io/ada"));
    assert_eq!(app.submit(&entry_with(json!({"images": ["bob/app"]}))).await.status, 202);
    assert_eq!(app.recorded().await, 4);
}

#[tokio::test]
async fn a_repeated_key_is_answered_when_the_rate_of_the_owner_is_used_up() {
    let (log, _directory) = log();
    let app = App::on(
        Arc::new(log),
        WriteApiSettings { rate_by_owner: Some("1/h,2".parse().unwrap()), ..settings() },
    );
    let first = app.submit_keyed("k", &entry()).await;
    assert_eq!(app.submit(&entry()).await.status, 202);
    app.submit(&entry()).await.problem(429);
    for _ in 0..5 {
        let again = app.submit_keyed("k", &entry()).await;
        assert_eq!((again.status, &again.body), (first.status, &first.body));
    }
    app.submit_keyed("k", &entry_with(json!({"name": "Bob"}))).await.problem(409);
    app.submit_keyed("other", &entry()).await.problem(429);
    assert_eq!(app.recorded().await, 2);
}

#[tokio::test(start_paused = true)]
async fn what_waits_counts_until_its_append_fails_even_if_its_client_hangs_up() {
    let rate_by_address = Some("9000/s,9000".parse().unwrap());
    let app = App::on(Arc::new(SilentLog), WriteApiSettings { rate_by_address, ..settings() });
    let entry = entry();
    // As many as may wait of one address. Their clients hang up while the log is silent.
    let requests = (0..2_000).map(|_| timeout(Duration::from_millis(100), app.submit(&entry)));
    assert!(join_all(requests).await.iter().all(Result::is_err));
    assert!(app.submit(&entry).await.problem(429).detail().contains("2000 submissions from your address"));
    // By then the log has refused them all.
    sleep(Duration::from_secs(30)).await;
    app.submit(&entry).await.problem(503);
    app.submit(&entry).await.problem(503);
}

#[tokio::test(start_paused = true)]
async fn without_a_rate_by_address_no_bound_by_address_counts() {
    let app = App::on(Arc::new(SilentLog), settings());
    let entry = entry();
    let requests = (0..2_000).map(|_| timeout(Duration::from_millis(100), app.submit(&entry)));
    assert!(join_all(requests).await.iter().all(Result::is_err));
    app.submit(&entry).await.problem(503);
}

#[tokio::test]
async fn a_log_that_does_not_answer_is_a_503() {
    let (log, _directory) = log();
    let app = App::on(Arc::new(BadLine::to(log, Lost::Answer, 6)), settings());
    let answer = app.submit_keyed("k", &entry()).await;
    assert!(answer.problem(503).headers.contains_key(header::RETRY_AFTER));
    let old = app.send(post("/competition", &entry())).await;
    old.problem(503);
    // The submission was recorded; the key finds it again.
    assert_eq!(app.submit_keyed("k", &entry()).await.status, 202);
    assert_eq!(app.recorded().await, 2);
}

#[tokio::test]
async fn a_full_disk_loses_no_accepted_submission_and_recovers() {
    let disk = SmallDisk::mount();
    let app = App::on(Arc::new(SqliteStore::open(disk.path().join("log.sqlite")).unwrap()), settings());
    let before = app.submit_keyed("before", &entry()).await;
    assert_eq!(before.status, 202);

    let ballast = disk.path().join("ballast");
    disk.fill(&ballast);
    let mut refused = None;
    for n in 0..2000 {
        let answer = app.submit_keyed(&format!("full-{n}"), &entry()).await;
        if answer.status != 202 {
            refused = Some((n, answer));
            break;
        }
    }
    let (n, answer) = refused.expect("the disk of 2 MiB was never full");
    assert!(answer.problem(503).headers.contains_key(header::RETRY_AFTER));

    fs::remove_file(&ballast).unwrap();
    assert_eq!(app.submit_keyed(&format!("full-{n}"), &entry()).await.status, 202);
    assert_eq!(app.submit_keyed("before", &entry()).await.body, before.body);
    assert_eq!(app.recorded().await, n + 2);
}

/// A mounted file system of 2 MiB.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount() -> Self {
        let prefix = "muster-small-disk-";
        Self::sweep(prefix);
        let path = std::env::temp_dir().join(format!("{prefix}{}", process::id()));
        fs::create_dir(&path).unwrap();
        let mounted = process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"])
            .arg(&path)
            .status()
            .is_ok_and(|status| status.success());
        assert!(mounted, "only root can mount a small disk to fill: sudo -E cargo test -p commands");
        Self(path)
    }

    /// Removes the disks of runs that were killed.
    fn sweep(prefix: &str) {
        for entry in fs::read_dir(std::env::temp_dir()).unwrap().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let owner = name.strip_prefix(prefix).map(|pid| Path::new("/proc").join(pid));
            if owner.is_some_and(|owner| !owner.exists()) {
                drop(Self(entry.path()));
            }
        }
    }

    fn path(&self) -> &Path {
        &self.0
    }

    /// Fills the disk, but for a few pages that the log fills by itself.
    fn fill(&self, ballast: &Path) {
        let mut size = 2 * 1024 * 1024;
        while size > 0 && fs::write(ballast, vec![0; size]).is_err() {
            size -= 16 * 1024;
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A lazy unmount waits until the last open file is closed.
        let _ = process::Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = fs::remove_dir(&self.0);
    }
}
