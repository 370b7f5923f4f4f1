//! The gate as the only registry that nodes reach. It speaks TLS, and its name is an address that the engines do not take for an
//! insecure one, so the nodes have to know its authority.

use std::net::SocketAddr;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use testbed::{Guest, Testbed};

/// The address that the gate has beside the one in the testbed's network.
const HOST: &str = "198.18.0.1";

/// The same with the port.
const ADDRESS: &str = "198.18.0.1:5443";

/// Gives an engine the authority of a registry, in its own part of this machine's files: AUTHORITY ADDRESS.
const TRUST: &str = r#"
mkdir -p /etc/docker && mount -t tmpfs tmpfs /etc/docker && mkdir -p "/etc/docker/certs.d/$2"
cp "$1" "/etc/docker/certs.d/$2/ca.crt"
"#;

/// Prepares the guest and the nodes for a gate on the guest. Returns Muster's settings.
pub(crate) async fn settings(bed: &Testbed, guest: &Guest) -> Vec<String> {
    guest.run(&["ip", "address", "add", HOST, "dev", "lo"]).await.unwrap();
    let folder = guest.directory();
    let mut params = CertificateParams::new([]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "the gate's authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let (params, key) = (CertificateParams::new([HOST.to_owned()]).unwrap(), KeyPair::generate().unwrap());
    let certificate = params.signed_by(&key, &authority).unwrap();
    let written =
        [("ca.pem", authority.pem()), ("gate.pem", certificate.pem()), ("key.pem", key.serialize_pem())];
    let [ca, certificate, key] = written.map(|(name, pem)| {
        let path = folder.join(name);
        std::fs::write(&path, pem).unwrap();
        path.to_str().unwrap().to_owned()
    });
    let via = guest.address().to_string();
    for node in bed.swarm.nodes() {
        node.run(&["ip", "route", "add", HOST, "via", &via]).await.unwrap();
        node.run(&["sh", "-c", TRUST, "trust", &ca, ADDRESS]).await.unwrap();
    }
    let tls = format!("{certificate},{key}");
    ["--gate-listen", ADDRESS, "--gate-tls", &tls].map(str::to_owned).to_vec()
}

/// Takes the nodes' way to these registries away.
pub(crate) async fn be_the_only_registry(bed: &Testbed, others: &[&str]) {
    for other in others {
        let other: SocketAddr = other.parse().unwrap();
        let (host, port) = (other.ip().to_string(), other.port().to_string());
        for node in bed.swarm.nodes() {
            let rule = ["iptables", "-w", "-A", "OUTPUT", "-p", "tcp", "-d", &host, "--dport", &port];
            node.run(&[&rule[..], &["-j", "REJECT"]].concat()).await.unwrap();
        }
    }
}
