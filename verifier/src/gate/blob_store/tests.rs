//! Blobs on a real disk.

use super::*;
use crate::registry::digest_of;

fn digest(n: u8) -> Digest {
    digest_of(&[n; 32])
}

fn put(store: &BlobStore, n: u8, size: usize) -> Result<(), BlobStoreError> {
    let mut draft = store.begin(size as u64)?;
    draft.write(&vec![n; size]);
    draft.keep(&digest(n))
}

fn there(store: &BlobStore, numbers: &[u8]) -> Vec<bool> {
    numbers.iter().map(|n| store.kept().by_digest.contains_key(&digest(*n))).collect()
}

fn path(store: &BlobStore, n: u8) -> PathBuf {
    store.finished(&digest(n), store.kept().by_digest[&digest(n)].file)
}

fn files(directory: &Path) -> usize {
    [FINISHED, PARTIAL].map(|name| std::fs::read_dir(directory.join(name)).unwrap().count()).iter().sum()
}

#[test]
fn the_blob_that_was_used_longest_ago_goes_first_and_never_one_that_is_held() {
    let directory = tempfile::tempdir().unwrap();
    let store = BlobStore::open(directory.path(), 30).unwrap();
    let hold = store.hold(&digest(1));
    for n in 1..=3 {
        put(&store, n, 10).unwrap();
    }
    assert!(store.has(&digest(2)));
    put(&store, 4, 10).unwrap();
    assert_eq!(there(&store, &[1, 2, 3, 4]), [true, true, false, true]);
    put(&store, 5, 20).unwrap();
    assert_eq!(there(&store, &[1, 2, 4, 5]), [true, false, false, true]);
    // A blob for which no room can be made removes nothing.
    assert!(matches!(put(&store, 6, 25), Err(BlobStoreError::Full { .. })));
    assert_eq!(there(&store, &[1, 5]), [true, true]);
    drop(hold);
    put(&store, 6, 25).unwrap();
    assert_eq!((files(directory.path()), store.kept().bytes), (1, 25));
}

#[test]
fn what_is_being_received_counts_and_leaves_nothing_if_it_is_not_kept() {
    let directory = tempfile::tempdir().unwrap();
    let store = BlobStore::open(directory.path(), 30).unwrap();
    let draft = store.begin(20).unwrap();
    assert!(matches!(store.begin(11), Err(BlobStoreError::Full { .. })));
    drop(draft);
    let mut short = store.begin(20).unwrap();
    short.write(b"x");
    assert!(short.keep(&digest(1)).is_err());
    let mut long = store.begin(1).unwrap();
    long.write(&[0; 100]);
    assert!(long.keep(&digest(1)).is_err());
    assert_eq!((files(directory.path()), store.kept().bytes), (0, 0));
    // Two that receive the same blob keep it once.
    let drafts = [(); 2].map(|()| store.begin(3).unwrap());
    for mut draft in drafts {
        draft.write(b"abc");
        draft.keep(&digest(1)).unwrap();
    }
    assert_eq!((files(directory.path()), store.kept().bytes), (1, 3));
}

#[test]
fn a_restart_finds_the_blobs_in_their_order_and_clears_the_rest_away() {
    let directory = tempfile::tempdir().unwrap();
    let store = BlobStore::open(directory.path(), 100).unwrap();
    for n in 1..=3 {
        put(&store, n, 10).unwrap();
        let age = std::time::Duration::from_secs(100 - u64::from(n));
        let file = File::options().write(true).open(path(&store, n)).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    }
    assert!(store.read(&digest(1)).is_some());
    let draft = store.begin(50).unwrap();
    std::mem::forget((draft, store));

    let store = BlobStore::open(directory.path(), 20).unwrap();
    assert_eq!(there(&store, &[1, 2, 3]), [true, false, true]);
    assert_eq!((files(directory.path()), store.kept().bytes), (2, 20));
    // A blob that somebody removed is not here.
    std::fs::remove_file(path(&store, 1)).unwrap();
    assert!(store.read(&digest(1)).is_none() && !store.has(&digest(1)));
}

#[test]
fn a_blob_that_comes_again_while_its_file_is_removed_stays() {
    let directory = tempfile::tempdir().unwrap();
    let store = BlobStore::open(directory.path(), 100).unwrap();
    put(&store, 1, 10).unwrap();
    let removed = store.kept().remove(&digest(1)).unwrap();
    put(&store, 1, 10).unwrap();
    store.remove_files(&[(digest(1), removed.file)]);
    assert!(store.read(&digest(1)).is_some());
    // A file of an earlier version has no number, and an older file of the same blob goes.
    std::fs::rename(path(&store, 1), store.finished(&digest(1), 0)).unwrap();
    std::fs::copy(store.finished(&digest(1), 0), store.finished(&digest(1), 7)).unwrap();
    let store = BlobStore::open(directory.path(), 100).unwrap();
    assert!(store.read(&digest(1)).is_some());
    put(&store, 2, 10).unwrap();
    assert_eq!((files(directory.path()), store.kept().bytes), (2, 20));
}
