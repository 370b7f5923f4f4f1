//! The node's description of itself: the calls that it supports, and its address.

use jiff::Timestamp;
use tonic::{Request, Response, Status, async_trait};
use uuid::Uuid;

use super::{
    convert,
    proto::{
        gossip::{ClusterInfo, EndPoint, MemberInfo, gossip_server::Gossip, member_info::VNodeState},
        server_features::{SupportedMethod, SupportedMethods, server_features_server::ServerFeatures},
        shared::Empty,
    },
};

/// The version of EventStoreDB whose behaviour the node has.
pub(super) const VERSION: &str = "24.10.0";

/// A method and the features that a client may use with it.
type MethodFeatures = (&'static str, &'static [&'static str]);

/// The services and their methods, as clients know them.
const METHODS: [(&str, &[MethodFeatures]); 4] = [
    (
        "event_store.client.streams.streams",
        &[
            ("append", &[]),
            ("batchappend", &["deadline_duration"]),
            ("delete", &[]),
            ("read", &["position", "events"]),
            ("tombstone", &[]),
        ],
    ),
    ("event_store.client.gossip.gossip", &[("read", &[])]),
    ("event_store.client.server_features.serverfeatures", &[("getsupportedmethods", &[])]),
    // The node refuses these calls in true words. Clients that miss them in this list tell their users to
    // upgrade the server, which would not help.
    (
        "event_store.client.persistent_subscriptions.persistentsubscriptions",
        &[
            ("create", &["stream", "all"]),
            ("update", &["stream", "all"]),
            ("delete", &["stream", "all"]),
            ("read", &["stream", "all"]),
            ("getinfo", &["stream", "all"]),
            ("replayparked", &["stream", "all"]),
            ("list", &["stream", "all"]),
            ("restartsubsystem", &["stream", "all"]),
        ],
    ),
];

/// The calls that clients may make of the node.
pub(super) struct SupportedFeatures;

#[async_trait]
impl ServerFeatures for SupportedFeatures {
    async fn get_supported_methods(&self, _: Request<Empty>) -> Result<Response<SupportedMethods>, Status> {
        let methods = METHODS.iter().flat_map(|(service, methods)| {
            methods.iter().map(|(method, features)| SupportedMethod {
                method_name: (*method).to_owned(),
                service_name: (*service).to_owned(),
                features: features.iter().map(|feature| (*feature).to_owned()).collect(),
            })
        });
        Ok(Response::new(SupportedMethods {
            methods: methods.collect(),
            event_store_server_version: VERSION.to_owned(),
        }))
    }
}

/// The address of the node, which is the only member of its cluster.
pub(super) struct GossipMember {
    pub(super) host: String,
    pub(super) port: u16,
}

#[async_trait]
impl Gossip for GossipMember {
    async fn read(&self, _: Request<Empty>) -> Result<Response<ClusterInfo>, Status> {
        let here = EndPoint { address: self.host.clone(), port: self.port.into() };
        Ok(Response::new(ClusterInfo {
            members: vec![MemberInfo {
                instance_id: Some(convert::id(Uuid::nil(), false)),
                time_stamp: convert::ticks(Timestamp::now()),
                state: VNodeState::Leader.into(),
                is_alive: true,
                http_end_point: Some(here),
            }],
        }))
    }
}
