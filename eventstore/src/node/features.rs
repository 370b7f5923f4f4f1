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
const VERSION: &str = "24.10.0";

const STREAMS: &str = "event_store.client.streams.streams";

/// The calls that the node supports.
pub(super) struct SupportedFeatures;

#[async_trait]
impl ServerFeatures for SupportedFeatures {
    async fn get_supported_methods(&self, _: Request<Empty>) -> Result<Response<SupportedMethods>, Status> {
        let method = |method: &str, features: &[&str]| SupportedMethod {
            method_name: method.to_owned(),
            service_name: STREAMS.to_owned(),
            features: features.iter().map(|feature| (*feature).to_owned()).collect(),
        };
        Ok(Response::new(SupportedMethods {
            methods: vec![
                method("append", &[]),
                method("batchappend", &["deadline_duration"]),
                method("delete", &[]),
                method("read", &["position", "events"]),
                method("tombstone", &[]),
            ],
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
