//! Attacks on the walls: rights, raw sockets, and every known way out. An app that gets anywhere ends with
//! an exit code of its own, and otherwise it sends the right response. The world counts packets that leave
//! in spite of that.

use serde_json::Value;
use testbed::{App, Layer, Testbed};

use super::attack::Attack;
use super::attack::Deserves::Pass;

/// Addresses of the world for TCP and UDP, and addresses that may answer questions for names.
const WORLD: [&str; 12] = [
    "tcp/192.0.2.1:80",
    "tcp/198.51.100.7:443",
    "tcp/203.0.113.9:22",
    "tcp/169.254.169.254:80",
    "tcp/[2001:db8::1]:80",
    "udp/198.51.100.7:9999",
    "udp/203.0.113.9:4789",
    "udp/169.254.169.254:123",
    "udp/[2001:db8::1]:443",
    "dns/203.0.113.53:53",
    "dns/127.0.0.11:53",
    "dns/127.0.0.1:53",
];

/// Ports of a node: the engine's, the Swarm's and the overlay's.
const NODE_PORTS: [u16; 4] = [2375, 2377, 7946, 4789];

pub(crate) fn all(bed: &Testbed, rogue: &str) -> Vec<Attack> {
    let nodes = bed.swarm.nodes().iter().map(|node| node.address());
    // The node's bridges, the machine behind the node, and a host that plays a manager.
    let bridges = ["172.17.0.1", "172.18.0.1"].map(str::to_owned);
    let ours: Vec<String> = nodes
        .chain(bridges)
        .chain([bed.world.address().to_string()])
        .flat_map(|host| NODE_PORTS.map(|port| format!("tcp/{host}:{port}")))
        .chain([format!("tcp/{}", bed.registry.address()), format!("tcp/{rogue}")])
        .collect();
    let world = [&["reach"], &WORLD[..]].concat();
    let ours: Vec<&str> = ["reach"].into_iter().chain(ours.iter().map(String::as_str)).collect();
    let tricks = App::playing(&["busybox-tricks"], &Value::Null).with_layers([Layer::busybox().unwrap()]);
    let setuid = App::playing(&["setuid", "/root-i-am"], &Value::Null)
        .with("User", "1000:1000".into())
        .with_program("root-i-am", 0o4755)
        .unwrap();
    vec![
        Attack::playing("reach-the-world", &world, Pass),
        Attack::playing("reach-our-machines", &ours, Pass),
        Attack::playing("reach-other-slots", &["reach-neighbours"], Pass),
        Attack::playing("flood-the-relay", &["flood-caller"], Pass),
        Attack::playing("fill-neighbours", &["fill-neighbours"], Pass),
        Attack::playing("rights", &["rights"], Pass),
        Attack::new("raw-sockets-and-arp", tricks, Pass),
        Attack::new("setuid", setuid, Pass),
    ]
}
