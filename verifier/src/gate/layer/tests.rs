//! Layers as strangers write them.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use sha2::{Digest as _, Sha256};

use super::super::layer_tree::{LayerNode, PathKey};
use super::super::samples::ArchiveDraft;
use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

fn read_within(bytes: &[u8], bytes_max: u64, entries_max: u64) -> Result<LayerContent, LayerFlaw> {
    let reading = read(bytes, &UnpackBudget::new(bytes_max, entries_max));
    assert_eq!(reading.size, bytes.len() as u64, "the whole stream counts");
    assert_eq!(reading.digest, <[u8; 32]>::from(Sha256::digest(bytes)));
    reading.content
}

fn content(bytes: &[u8]) -> Result<LayerContent, LayerFlaw> {
    read_within(bytes, 64 << 20, 10_000)
}

fn node(content: &LayerContent, path: &str) -> Option<LayerNode> {
    content.tree.node(path.split('/').fold(PathKey::ROOT, |key, name| key.child(name.as_bytes())))
}

fn broken(archive: ArchiveDraft) -> String {
    match content(&archive.end()).unwrap_err() {
        LayerFlaw::Broken(why) => why,
        other => panic!("{other:?}"),
    }
}

fn refused(archive: ArchiveDraft) -> String {
    match content(&archive.end()).unwrap_err() {
        LayerFlaw::Refused(why) => why,
        other => panic!("{other:?}"),
    }
}

const FILE: Option<LayerNode> = Some(LayerNode::File { is_long: false });

#[test]
fn a_layer_is_the_same_in_each_compression() {
    let archive = ArchiveDraft::new().directory("etc").file("etc/passwd", &[b'x'; 3000]).fifo("run/f").end();
    let (first, second) = archive.split_at(1000);
    let skippable = [&[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"any"].concat();
    for blob in [
        archive.clone(),
        gzip(&archive),
        [gzip(first), gzip(second)].concat(),
        zstd(&archive),
        [zstd(first), skippable.clone(), zstd(second)].concat(),
        [skippable, zstd(&archive)].concat(),
    ] {
        let found = content(&blob).unwrap();
        assert_eq!(found.digest, <[u8; 32]>::from(Sha256::digest(&archive)));
        assert_eq!((found.size, found.entries), (archive.len() as u64, 4));
        assert_eq!(node(&found, "etc/passwd"), FILE);
    }
    for (blob, word) in [(&b"BZh9123"[..], "bzip2"), (b"\xfd7zXZ\x00123", "xz")] {
        assert!(matches!(content(blob), Err(LayerFlaw::Refused(why)) if why.contains(word)));
    }
}

#[test]
fn a_broken_layer_is_told_from_a_whole_one() {
    let archive = ArchiveDraft::new().file("app", &[7; 2000]).end();
    assert!(content(&archive).is_ok());
    // Some programs leave out the end of the archive, or all of it.
    assert!(content(&archive[..archive.len() - 1024]).is_ok());
    assert!(content(&[]).is_ok());
    for blob in [
        archive[..1500].to_vec(),
        archive[..300].to_vec(),
        gzip(&archive)[..40].to_vec(),
        zstd(&archive)[..20].to_vec(),
        [&gzip(&archive)[..], b"rest"].concat(),
        b"no archive ".repeat(100),
        [&[0; 512][..], &archive].concat(),
    ] {
        assert!(matches!(content(&blob), Err(LayerFlaw::Broken(_))), "{} bytes", blob.len());
    }
    let mut other = archive;
    other[3] ^= 1;
    assert!(matches!(content(&other), Err(LayerFlaw::Broken(_))));
}

#[test]
fn a_bomb_is_cut_off() {
    let zeros = ArchiveDraft::new().file("zeros", &vec![0; 4 << 20]).end();
    let too_large = |result: Result<LayerContent, LayerFlaw>| matches!(result, Err(LayerFlaw::TooLarge(_)));
    for blob in [zeros.clone(), gzip(&zeros), zstd(&zeros)] {
        assert!(too_large(read_within(&blob, 4 << 20, 10)));
        assert!(read_within(&blob, 5 << 20, 10).is_ok());
    }
    // What follows the archive is decompressed as well.
    let rest = [ArchiveDraft::new().end(), vec![0; 4 << 20]].concat();
    assert!(too_large(read_within(&gzip(&rest), 4 << 20, 10)));
    let many = (0..20).fold(ArchiveDraft::new(), |draft, n| draft.file(&format!("f{n}"), b"")).end();
    assert!(too_large(read_within(&many, 1 << 20, 19)));
    // One short path makes many directories.
    let deep = ArchiveDraft::new().file(&"d/".repeat(45), b"").end();
    assert!(too_large(read_within(&deep, 1 << 20, 20)));
    // The same file again and again is work as well.
    let again = (0..20).fold(ArchiveDraft::new(), |draft, _| draft.file("f", b"")).end();
    assert!(too_large(read_within(&again, 1 << 20, 19)));
}

#[test]
fn a_long_name_is_read_as_engines_read_it() {
    let long = ["n"; 60].map(|part| part.repeat(4)).join("/");
    let found = |draft: ArchiveDraft| content(&draft.end()).unwrap();
    let pax = found(ArchiveDraft::new().records(&[("mtime", "1.5"), ("path", &long)]).file("short", b"x"));
    assert_eq!((node(&pax, &long), node(&pax, "short")), (FILE, None));
    let gnu = found(ArchiveDraft::new().entry(b'L', "././@LongLink", "", long.as_bytes()).file("short", b""));
    assert_eq!(node(&gnu, &long), FILE);
    // The size of the record counts, and not that of the header.
    let sized = found(ArchiveDraft::new().records(&[("size", "512")]).file("a", b"").file("no header", b""));
    assert_eq!((node(&sized, "a"), sized.entries), (FILE, 1));
    assert!(broken(ArchiveDraft::new().entry(b'L', "l", "", &vec![b'x'; (1 << 20) + 1])).contains("damaged"));
}

#[test]
fn an_empty_long_name_hides_no_entry() {
    for nothing in [&b""[..], b"\0"] {
        let found =
            content(&ArchiveDraft::new().entry(b'L', "l", "", nothing).fifo("etc/passwd").end()).unwrap();
        assert!(matches!(node(&found, "etc/passwd"), Some(LayerNode::Special(_))));
        let found = content(&ArchiveDraft::new().entry(b'K', "l", "", nothing).link("a", "b").end()).unwrap();
        assert!(matches!(node(&found, "a"), Some(LayerNode::Link(_))));
    }
}

#[test]
fn global_records_name_the_path_that_engines_remove() {
    let hides = ArchiveDraft::new().file("etc/passwd", b"").entry(b'g', "pax", "", b"19 path=etc/passwd\n");
    assert!(broken(hides).contains("etc/passwd"));
}

#[test]
fn a_frame_whose_window_takes_all_memory_is_refused() {
    // A window of 2 TiB, and a single segment of 1 TiB, each with blocks that repeat one byte.
    let blocks = [0x02, 0x00, 0x10, b'x'].repeat(1000);
    for head in
        [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8][..], &[0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 1, 0, 0]]
    {
        let blob = [head, &blocks].concat();
        let why = content(&blob).unwrap_err();
        assert!(matches!(&why, LayerFlaw::Broken(why) if why.contains("window")), "{why:?}");
    }
}

#[test]
fn long_targets_of_links_count_as_files() {
    let target = "t".repeat(100);
    let records = ["linkpath"].map(|key| (key, target.as_str()));
    let short =
        (0..10).fold(ArchiveDraft::new(), |draft, n| draft.records(&records).link(&format!("l{n}"), "x"));
    assert_eq!(read_within(&short.end(), 1 << 20, 10).unwrap().entries, 10);
    let target = "t".repeat(1280);
    let records = [("linkpath", target.as_str())];
    let long =
        (0..10).fold(ArchiveDraft::new(), |draft, n| draft.records(&records).link(&format!("l{n}"), "x"));
    let blob = long.end();
    assert_eq!(read_within(&blob, 1 << 20, 110).unwrap().entries, 110);
    assert!(matches!(read_within(&blob, 1 << 20, 109), Err(LayerFlaw::TooLarge(_))));
}

#[test]
fn entries_are_applied_one_after_the_other() {
    let found = content(
        &ArchiveDraft::new()
            .directory(".")
            .file("/absolute/x", b"")
            .file("./a/../b", b"")
            .link("lib", "usr/lib")
            .file("lib/through", b"")
            .hard_link("same", "usr/lib/through")
            .file("replaced", b"")
            .link("replaced", "/etc")
            .directory("replaced")
            .file("deep/er/file", &vec![0; (1 << 20) + 1])
            .hard_link("long", "deep/er/file")
            .directory("deep/er")
            .fifo("fifo")
            .hard_link("fifo-too", "fifo")
            .file("dir/.wh.gone", b"")
            .file("opaque/.wh..wh..opq", b"")
            .device("hidden", 0, 0)
            .device("dev/null", 1, 3)
            .end(),
    )
    .unwrap();
    assert_eq!(node(&found, "absolute/x"), FILE);
    assert_eq!((node(&found, "b"), node(&found, "a")), (FILE, None));
    assert_eq!((node(&found, "usr/lib/through"), node(&found, "same")), (FILE, FILE));
    assert!(matches!(node(&found, "replaced"), Some(LayerNode::Directory { .. })));
    assert_eq!(node(&found, "long"), Some(LayerNode::File { is_long: true }));
    assert_eq!(node(&found, "fifo-too"), node(&found, "fifo"));
    assert_eq!(node(&found, "dir/gone"), Some(LayerNode::Whiteout));
    assert!(matches!(node(&found, "opaque"), Some(LayerNode::Directory { is_opaque: true, .. })));
    assert_eq!(node(&found, "hidden"), Some(LayerNode::Whiteout));
    assert!(matches!(node(&found, "dev/null"), Some(LayerNode::Special(_))));
}

#[test]
fn what_engines_cannot_unpack_is_named() {
    assert!(broken(ArchiveDraft::new().file("a", b"").file("a/b", b"")).contains("a"));
    assert!(broken(ArchiveDraft::new().file("a/b", b"").file("a", b"")).contains("has a in a way"));
    assert!(broken(ArchiveDraft::new().hard_link("a", "b")).contains("leads to nothing"));
    assert!(broken(ArchiveDraft::new().entry(b'7', "a", "", b"")).contains("kind 7"));
    assert!(broken(ArchiveDraft::new().file(".wh...", b"")).contains(".wh..."));
    assert!(broken(ArchiveDraft::new().file("a", b"").file(".wh.a", b"")).contains(".wh.a"));
    assert!(broken(ArchiveDraft::new().link("a", "")).contains("has a in a way"));
    assert!(refused(ArchiveDraft::new().file("../a", b"")).contains("leads out"));
    assert!(
        refused(
            ArchiveDraft::new()
                .file(&"d/".repeat(50), b"")
                .records(&[("path", &"d/".repeat(300))])
                .file("x", b"")
        )
        .contains("256")
    );
    assert!(refused(ArchiveDraft::new().entry(b'S', "a", "", b"")).contains("sparse"));
    let redirect = [("SCHILY.xattr.trusted.overlay.redirect", "/x")];
    assert!(refused(ArchiveDraft::new().records(&redirect).directory("etc")).contains("overlay"));
    let turns =
        (0..60).fold(ArchiveDraft::new(), |draft, n| draft.link(&format!("l{n}"), &format!("l{}", n + 1)));
    assert!(refused(turns.file("l0/x", b"")).contains("links"));
}

proptest! {
    #[test]
    fn no_stream_breaks_the_reader(
        at in 0_usize..4096,
        byte in any::<u8>(),
        cut in 0_usize..4096,
        compression in 0..3,
    ) {
        let archive = ArchiveDraft::new()
            .records(&[("path", "etc/passwd")])
            .file("x", b"root")
            .link("l", "../..")
            .hard_link("h", "etc/passwd")
            .end();
        let mut blob = match compression {
            0 => archive,
            1 => gzip(&archive),
            _ => zstd(&archive),
        };
        let length = blob.len();
        blob[at % length] = byte;
        blob.truncate(length - cut % length);
        let _ = content(&blob);
    }
}
