//! The ids that the Swarm gives to its objects. Each kind has a type of its own, so that a network's id
//! cannot be passed where a node's is expected.

use std::fmt;

use serde::Deserialize;

macro_rules! swarm_ids {
    ($($(#[$doc:meta])* $name:ident,)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
        #[serde(transparent)]
        pub(crate) struct $name(String);

        impl $name {
            pub(crate) fn new(id: impl Into<String>) -> Self {
                Self(id.into())
            }

            pub(crate) fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

swarm_ids! {
    NodeId,
    NetworkId,
    ServiceId,
    TaskId,
}
