//! The messages and services of EventStoreDB's protocol, generated from `proto/`.

#![expect(
    clippy::allow_attributes,
    clippy::doc_markdown,
    clippy::enum_variant_names,
    clippy::large_enum_variant,
    unreachable_pub,
    reason = "the code is generated"
)]

pub(crate) use event_store::client as shared;
pub(crate) use event_store::client::{gossip, server_features, streams};
pub(crate) use google::rpc;

mod event_store {
    pub(crate) mod client {
        include!("generated/event_store.client.rs");

        pub(crate) mod gossip {
            include!("generated/event_store.client.gossip.rs");
        }

        pub(crate) mod server_features {
            include!("generated/event_store.client.server_features.rs");
        }

        pub(crate) mod streams {
            include!("generated/event_store.client.streams.rs");
        }
    }
}

mod google {
    pub(crate) mod rpc {
        include!("generated/google.rpc.rs");
    }
}
