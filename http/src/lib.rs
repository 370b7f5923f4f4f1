//! The HTTP edge: the parts that every HTTP server of ours has, whatever its role.
//!
//! [`server_routes`] makes one server of the routes of all roles. [`operations`] gives the routes for the operator.
//! Handlers take [`Organiser`], [`ClientAddress`], [`JsonObject`], [`QueryParameters`] and [`PathParameters`] from
//! here, because a request that these extractors refuse is answered with a [`Problem`].

mod access;
mod client_address;
mod deadline;
mod json_object;
mod metrics;
mod operations;
mod organiser_tokens;
mod parameters;
mod problem;
mod rejections;
mod server_routes;
mod token;
mod token_watch;
mod trusted_proxies;

pub use client_address::ClientAddress;
pub use deadline::within_deadline;
pub use json_object::JsonObject;
pub use metrics::Metrics;
pub use operations::{MonitoredViews, Operations, ViewTotals, operations};
pub use organiser_tokens::{
    OrganiserRole, OrganiserTokens, TokenAdded, TokenDirectory, TokenEvent, TokenHolder, UnknownRoleError,
    hash_of, secret_of,
};
pub use parameters::{PathParameters, QueryParameters};
pub use problem::{FieldProblem, Problem};
pub use server_routes::server_routes;
pub use token::{Administrator, HoldsToken, Organiser, OrganiserToken, Reader, WeakTokenError};
pub use token_watch::TokenWatch;
pub use trusted_proxies::{TrustedProxies, UnknownNetworkError};
