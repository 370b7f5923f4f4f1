//! Attacks in an image's configuration, and in its layers.

use serde_json::{Value, json};
use testbed::{App, Layer};

use super::attack::Attack;
use super::attack::Deserves::{self, Fail, Pass};

/// Returns labels that have a meaning for the Swarm, for a proxy and for Muster.
fn labels() -> Value {
    json!({
        "com.docker.swarm.service.name": "stolen", "com.docker.swarm.task.id": "stolen",
        "traefik.enable": "true", "traefik.http.routers.x.rule": "HostRegexp(`.*`)",
        "muster.verifier": "stolen", "muster.slot": "stolen", "muster.submission": "stolen",
        "muster.deadline": "0",
    })
}

/// Returns the attacks in the configuration: name, field, value and expected end.
fn configured() -> Vec<(&'static str, &'static str, Value, Deserves)> {
    let refused = |text| Fail("image_refused", text);
    let volumes = |count: usize| (0..count).map(|n| (format!("/v{n}"), json!({}))).collect::<Value>();
    let nanos: u64 = 24 * 3600 * 1_000_000_000;
    let check = json!({ "Test": ["CMD", "/participant", "exit", "1", "ill"], "StartPeriod": nanos });
    vec![
        ("healthcheck", "Healthcheck", check, Pass),
        ("stopsignal-ignored", "StopSignal", "SIGCONT".into(), Pass),
        ("stopsignal-unknown", "StopSignal", "SIGNONSENSE".into(), Pass),
        ("labels", "Labels", labels(), Pass),
        ("env-loader", "Env", json!(["LD_PRELOAD=/evil.so", "PATH=", "X={{.Node.Hostname}}", "NO"]), Pass),
        ("env-huge", "Env", json!(["X=".repeat(40_000)]), refused("ENV has more than")),
        ("entrypoint-missing", "Entrypoint", json!(["/nope"]), Fail("did_not_start", "/nope")),
        ("entrypoint-directory", "Entrypoint", json!(["/tmp"]), Fail("did_not_start", "/tmp")),
        (
            "entrypoint-no-program",
            "Entrypoint",
            json!(["/config.json"]),
            Fail("did_not_start", "config.json"),
        ),
        ("entrypoint-nameless", "Entrypoint", json!([""]), Fail("did_not_start", "did not start")),
        ("entrypoint-none", "Entrypoint", Value::Null, refused("neither ENTRYPOINT nor CMD")),
        ("entrypoint-as-text", "Entrypoint", "sh".into(), refused("configuration cannot be read")),
        ("user-unknown", "User", "mallory".into(), Fail("did_not_start", "mallory")),
        ("user-out-of-range", "User", "4294967296".into(), Fail("did_not_start", "uids and gids")),
        ("user-root", "User", "0:0".into(), Pass),
        ("workdir-descriptor", "WorkingDir", "/proc/self/fd/7".into(), refused("WORKDIR")),
        ("workdir-with-turns", "WorkingDir", "/tmp/../proc/self/fd/7".into(), refused("WORKDIR")),
        ("workdir-a-file", "WorkingDir", "/config.json".into(), Fail("did_not_start", "config.json")),
        ("volume-of-the-kernel", "Volumes", json!({ "/proc/sys": {} }), refused("VOLUME")),
        ("volume-of-everything", "Volumes", json!({ "/": {} }), refused("VOLUME")),
        ("volume-template", "Volumes", json!({ "/{{.Node.Hostname}}": {} }), refused("VOLUME")),
        ("volume-in-small-letters", "volumes", json!({ "/data": {} }), refused("a field volumes")),
        ("workdir-in-capitals", "WORKINGDIR", "/proc/self/fd/7".into(), refused("a field WORKINGDIR")),
        ("volumes-many", "Volumes", volumes(9), refused("more than 8 volumes")),
        ("ports-out-of-range", "ExposedPorts", json!({ "99999/tcp": {}, "x/y": {} }), Pass),
        ("config-huge", "Labels", json!({ "x": "x".repeat(2 << 20) }), refused("bytes")),
    ]
}

pub(crate) fn all() -> Vec<Attack> {
    let app = || App::playing(&["good"], &Value::Null);
    let mut attacks: Vec<Attack> = configured()
        .into_iter()
        .map(|(name, field, value, deserves)| Attack::new(name, app().with(field, value), deserves))
        .collect();
    let small = |n: usize| Layer::files(&[(&format!("layer-{n}"), 0o644, b"small")]).unwrap();
    let mut foreign = app();
    foreign.architecture = "arm64".to_owned();
    let file = |path, mode, bytes| Layer::files(&[(path, mode, bytes)]).unwrap();
    let script =
        app().with("Entrypoint", json!(["/app"])).with_layers([file("app", 0o755, b"echo no program\n")]);
    attacks.extend([
        Attack::new("platform", foreign, Fail("wrong_platform", "linux/arm64")),
        Attack::new(
            "layers-many",
            app().with_layers((0..120).map(small)),
            Fail("image_refused", "122 layers"),
        ),
        Attack::new("no-executable", script, Fail("exited_early", "exec format error")),
        Attack::new(
            "layer-said-to-be-huge",
            app().with_layers([small(0).said_to_have(1 << 50)]),
            Fail("image_too_large", "MiB"),
        ),
        Attack::new(
            "layer-said-to-be-small",
            app().with_layers([small(0).said_to_have(1)]),
            Fail("image_refused", "has 1 bytes"),
        ),
    ]);
    attacks.extend(layers());
    attacks
}

/// Returns an app that brings devices and tries to open them: the machine's memory, ports and log, its disks, and the doors
/// of FUSE and of loop devices.
fn devices() -> App {
    let of_characters = [
        ("mem", 1, 1),
        ("port", 1, 4),
        ("kmsg", 1, 11),
        ("fuse", 10, 229),
        ("loop-control", 10, 237),
        ("sg", 21, 0),
    ];
    let of_blocks = [("loop", 7, 0), ("sd", 8, 0), ("vd", 254, 0), ("nvme", 259, 0)];
    let paths = of_characters.iter().chain(&of_blocks).map(|(name, ..)| format!("/brought/{name}"));
    let mode: Vec<String> = ["open-devices".to_owned()].into_iter().chain(paths).collect();
    let mode: Vec<&str> = mode.iter().map(String::as_str).collect();
    let path = |name: &str| format!("brought/{name}");
    let layers = of_characters.map(|(name, major, minor)| Layer::device(&path(name), major, minor));
    let disks = of_blocks.map(|(name, major, minor)| Layer::disk(&path(name), major, minor));
    App::playing(&mode, &Value::Null).with_layers(layers.into_iter().chain(disks).map(|layer| layer.unwrap()))
}

/// Returns the attacks in layers, which must not reach an engine.
fn layers() -> Vec<Attack> {
    let layer =
        |layer: anyhow::Result<Layer>| App::playing(&["good"], &Value::Null).with_layers([layer.unwrap()]);
    let refused = |name, entry, text| Attack::new(name, layer(entry), Fail("image_refused", text));
    let huge = vec![b'x'; (1 << 20) + 1];
    let small = || Layer::files(&[("small", 0o644, b"small")]);
    let mut attacks = vec![
        refused("layer-broken", Ok(Layer::broken()), "cannot be unpacked"),
        refused(
            "layer-said-to-be-another",
            small().map(|it| it.said_to_unpack_to(b"x")),
            "cannot be unpacked",
        ),
        refused("passwd-fifo", Layer::fifo("etc/passwd"), "/etc/passwd is a FIFO"),
        refused("group-fifo", Layer::fifo("etc/group"), "/etc/group is a FIFO"),
        refused("hosts-fifo", Layer::fifo("etc/hosts"), "/etc/hosts is a FIFO"),
        refused("hosts-directory", Layer::directory("etc/hosts"), "/etc/hosts is a directory"),
        refused("resolv-directory", Layer::directory("etc/resolv.conf"), "/etc/resolv.conf is a directory"),
        refused("passwd-device", Layer::device("etc/passwd", 5, 0), "/etc/passwd is a device"),
        refused("passwd-link", Layer::link("etc/passwd", "/proc/self/fd/0"), "/etc/passwd is a link into"),
        refused("group-circle", Layer::link("etc/group", "group"), "leads in a circle"),
        refused("group-huge", Layer::files(&[("etc/group", 0o644, &huge)]), "/etc/group has more than"),
        refused("dev-link", Layer::link("dev", "/tmp"), "/dev is no directory"),
        refused("proc-file", Layer::files(&[("proc", 0o644, b"")]), "/proc is no directory"),
        refused("tmp-file", Layer::files(&[("tmp", 0o644, b"")]), "is no directory in the image"),
    ];
    let with = |name, entry, field, value: Value, text| {
        Attack::new(name, layer(entry).with(field, value), Fail("image_refused", text))
    };
    attacks.extend([
        with("workdir-link", Layer::link("w", "/proc/self/fd/7"), "WorkingDir", "/w".into(), "WORKDIR leads"),
        with("volume-file", small(), "Volumes", json!({ "/small": {} }), "VOLUME /small is no directory"),
        Attack::new(
            "many-files-in-layer",
            layer(Layer::empty_files("many", 500_001)),
            Fail("image_too_large", "files"),
        ),
        Attack::new("bomb-layer", layer(Layer::bomb("bomb", 4200)), Fail("image_too_large", "unpacked")),
        // A device outside of /dev can be unpacked, and not be opened.
        Attack::new("device-in-layer", devices(), Pass),
    ]);
    attacks
}
