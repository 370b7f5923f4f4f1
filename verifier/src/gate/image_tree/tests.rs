//! Images as strangers build them, and the model of their layers.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::budget::UnpackBudget;
use super::super::layer;
use super::super::samples::ArchiveDraft;
use super::*;

fn trees(layers: Vec<ArchiveDraft>) -> Vec<Arc<LayerTree>> {
    let budget = UnpackBudget::new(64 << 20, 10_000);
    let tree = |draft: ArchiveDraft| layer::read(&draft.end()[..], &budget).content.unwrap().tree;
    layers.into_iter().map(|draft| Arc::new(tree(draft))).collect()
}

fn check(layers: Vec<ArchiveDraft>, volumes: &[&str], working_dir: &str) -> Result<(), LayerFlaw> {
    let volumes: Vec<String> = volumes.iter().map(|&volume| volume.to_owned()).collect();
    let writable = ["/opt/app".to_owned()];
    let plan = MountPlan { volumes: &volumes, writable: &writable, working_dir };
    ImageTree::new(&trees(layers)).check(&plan)
}

fn why(layers: Vec<ArchiveDraft>) -> String {
    match check(layers, &["/data"], "/app") {
        Err(LayerFlaw::Refused(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn draft() -> ArchiveDraft {
    ArchiveDraft::new()
}

/// Returns the lowest layer of an ordinary distribution.
fn debian() -> ArchiveDraft {
    ["bin", "etc", "proc", "sys", "dev", "run", "tmp", "usr", "var"]
        .into_iter()
        .fold(draft(), ArchiveDraft::directory)
        .file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
        .file("etc/group", b"root:x:0:\n")
        .link("etc/mtab", "/proc/mounts")
        .link("etc/localtime", "/usr/share/zoneinfo/Etc/UTC")
        .link("var/run", "/run")
        .link("var/lock", "../run/lock")
        .link("lib", "usr/lib")
}

#[test]
fn an_ordinary_image_is_not_refused() {
    let device = debian().device("dev/null", 1, 3).fifo("dev/initctl").fifo("run/initctl");
    let links_of_nix = draft()
        .file("nix/store/abc-nss/etc/passwd", b"root")
        .link("etc/passwd", "/nix/store/abc-nss/etc/passwd")
        .link("etc/group", "../nix/store/abc-nss/etc/group")
        .link("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf");
    for (layers, volumes, working_dir) in [
        (vec![], &[][..], ""),
        (vec![draft().file("app", b"")], &[], "/"),
        (vec![debian()], &["/data"], "/app"),
        (vec![debian(), draft().file("etc/hosts", b"")], &["/var/run", "/var/lock"], "/app"),
        (vec![device], &["/data"], "/"),
        (vec![links_of_nix], &[], "relative"),
        // A file as WORKDIR is for the engine to tell.
        (vec![debian().file("srv/file", b"")], &[], "/srv/file"),
        (vec![debian(), draft().link("current", "srv/app").directory("srv/app")], &[], "/current"),
        // Other base images have /var/run as a directory, and the upper layer a link.
        (vec![draft().directory("var/run"), draft().link("var/run", "/run")], &["/var/run"], "/app"),
    ] {
        assert_eq!(check(layers, volumes, working_dir), Ok(()), "{volumes:?} {working_dir}");
    }
}

#[test]
fn what_an_engine_cannot_bear_is_named() {
    let long = vec![b'x'; (1 << 20) + 1];
    for (draft, words) in [
        (draft().fifo("etc/passwd"), "/etc/passwd is a FIFO"),
        (draft().fifo("etc/group"), "/etc/group is a FIFO"),
        (draft().fifo("etc/hosts"), "/etc/hosts is a FIFO"),
        (draft().device("etc/passwd", 5, 0), "/etc/passwd is a device"),
        (draft().directory("etc/hosts"), "/etc/hosts is a directory"),
        (draft().file("etc/resolv.conf/x", b""), "/etc/resolv.conf is a directory"),
        (draft().file("etc/group", &long), "/etc/group has more than 1024 KiB"),
        (draft().fifo("f").link("etc/passwd", "../f"), "/etc/passwd is a FIFO"),
        (draft().fifo("f").hard_link("etc/passwd", "f"), "/etc/passwd is a FIFO"),
        (draft().fifo("real/passwd").link("etc", "real"), "/etc/passwd is a FIFO"),
        (draft().link("etc/group", "/proc/self/fd/0"), "/etc/group is a link into /proc"),
        (draft().link("etc/group", "group"), "/etc/group is a link that leads in a circle"),
        (draft().link("dev", "/x"), "/dev is no directory"),
        (draft().file("proc", b""), "/proc is no directory"),
        (draft().fifo("sys"), "/sys is no directory"),
        (draft().file("data", b""), "VOLUME /data is no directory"),
        (draft().link("data", "etc/x").file("etc/x", b""), "VOLUME /data is no directory"),
        (draft().link("data", "dev/shm"), "VOLUME /data leads through a link into"),
        (draft().file("tmp", b""), "its /tmp, where apps may write here, is no directory"),
        (draft().file("opt", b""), "its /opt/app, where apps may write here, is no directory"),
        (draft().link("app", "x").link("x", "/proc/self/fd/7"), "WORKDIR leads through a link into /proc"),
        (draft().link("app", "../../proc/self"), "WORKDIR leads through a link into /proc"),
        (draft().link("app", "app"), "WORKDIR lead in a circle"),
    ] {
        let told = why(vec![debian(), draft]);
        assert!(told.contains(words), "{told}");
    }
}

#[test]
fn a_higher_layer_wins() {
    let bad = || debian().fifo("etc/hosts");
    for mended in [
        draft().file("etc/hosts", b""),
        draft().file("etc/.wh.hosts", b""),
        draft().device("etc/hosts", 0, 0),
        draft().file("etc/.wh..wh..opq", b""),
        draft().file(".wh.etc", b""),
        draft().file(".wh..wh..opq", b""),
        draft().link("etc", "usr"),
    ] {
        assert_eq!(check(vec![bad(), mended.clone()], &[], ""), Ok(()));
        assert_eq!(check(vec![bad(), mended.clone(), draft().file("etc/x", b"")], &[], ""), Ok(()));
        assert!(check(vec![mended, bad()], &[], "").is_err());
    }
    assert!(why(vec![bad(), draft().file("etc/other", b"")]).contains("/etc/hosts is a FIFO"));
}

/// One thing that a layer does.
#[derive(Debug, Clone)]
enum LayerStep {
    Directory(Vec<u8>),
    File(Vec<u8>),
    Whiteout(Vec<u8>),
    Opaque(Vec<u8>),
}

/// A file system that is unpacked layer by layer: true for a directory.
type FlatTree = BTreeMap<Vec<u8>, bool>;

fn path_of(names: &[u8]) -> String {
    names.iter().map(|name| char::from(b'a' + name).to_string()).collect::<Vec<_>>().join("/")
}

fn remove_below(flat: &mut FlatTree, path: &[u8]) {
    flat.retain(|other, _| other.len() <= path.len() || !other.starts_with(path));
}

fn make(flat: &mut FlatTree, path: &[u8], is_directory: bool) {
    for length in 1..path.len() {
        if flat.insert(path[..length].to_vec(), true) == Some(false) {
            remove_below(flat, &path[..length]);
        }
    }
    if !is_directory {
        remove_below(flat, path);
    }
    flat.insert(path.to_vec(), is_directory);
}

fn steps() -> impl Strategy<Value = Vec<LayerStep>> {
    let path = || prop::collection::vec(0_u8..3, 1..4);
    let step = prop_oneof![
        path().prop_map(LayerStep::Directory),
        path().prop_map(LayerStep::File),
        path().prop_map(LayerStep::Whiteout),
        path().prop_map(LayerStep::Opaque),
    ];
    prop::collection::vec(step, 0..5)
}

/// Returns the layer's archive, and applies it to the flat tree: first what it hides, then what it brings. Steps that
/// contradict an earlier step of the same layer are left out.
fn applied(steps: &[LayerStep], flat: &mut FlatTree) -> ArchiveDraft {
    let (mut brought, mut hidden, mut archive) = (FlatTree::new(), Vec::new(), ArchiveDraft::new());
    for step in steps {
        let (LayerStep::Directory(path)
        | LayerStep::File(path)
        | LayerStep::Whiteout(path)
        | LayerStep::Opaque(path)) = step;
        let (name, is_directory) = (path_of(path), !matches!(step, LayerStep::File(_)));
        let is_below_file = (1..path.len()).any(|length| brought.get(&path[..length]) == Some(&false));
        let is_hidden = (1..=path.len()).any(|length| hidden.contains(&path[..length].to_vec()));
        let has_below = brought.keys().any(|other| other.starts_with(path));
        if is_below_file || is_hidden || has_below {
            continue;
        }
        let parent = path_of(&path[..path.len() - 1]);
        archive = match step {
            LayerStep::Directory(_) => archive.directory(&name),
            LayerStep::File(_) => archive.file(&name, b""),
            LayerStep::Whiteout(_) => {
                let last = path_of(&path[path.len() - 1..]);
                archive.file(&format!("{parent}/.wh.{last}"), b"")
            }
            LayerStep::Opaque(_) => archive.file(&format!("{name}/.wh..wh..opq"), b""),
        };
        match step {
            LayerStep::Whiteout(_) => {
                remove_below(flat, path);
                flat.remove(path);
                hidden.push(path.clone());
                if path.len() > 1 {
                    make(&mut brought, &path[..path.len() - 1], true);
                }
            }
            _ => make(&mut brought, path, is_directory),
        }
        if let LayerStep::Opaque(_) = step {
            remove_below(flat, path);
        }
    }
    for (path, is_directory) in brought {
        make(flat, &path, is_directory);
    }
    archive
}

proptest! {
    #[test]
    fn the_layers_are_seen_as_if_they_were_unpacked_one_over_the_other(
        layers in prop::collection::vec(steps(), 1..4)
    ) {
        let mut flat = FlatTree::new();
        let drafts = layers.iter().map(|steps| applied(steps, &mut flat)).collect();
        let trees = trees(drafts);
        let tree = ImageTree::new(&trees);
        for first in 0..3 {
            for second in 0..3 {
                for path in [vec![first], vec![first, second], vec![first, second, 0]] {
                    let expected = match flat.get(&path) {
                        Some(true) => PathPlace::Directory,
                        Some(false) => PathPlace::File { is_long: false },
                        None if (1..path.len()).any(|length| flat.get(&path[..length]) == Some(&false)) => {
                            PathPlace::BelowFile
                        }
                        None => PathPlace::Missing,
                    };
                    prop_assert_eq!(tree.place(&path_of(&path)), expected, "{}", path_of(&path));
                }
            }
        }
    }
}
