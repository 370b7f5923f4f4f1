//! The relay: the program that sends HTTP probes inside a slot, and its protocol
//! with the verifier.
//!
//! The verifier has no route to the containers of participants. It starts this
//! program in the slot's network, attached only by stdin and stdout, and sends it
//! one [`RelayCall`] at a time. The program answers each with one [`RelayReply`]. So hostile
//! responses are parsed in a sandbox, by code without dependencies, and the
//! verifier reads nothing but frames.
//!
//! - [`frame`]: the magic number, length, id and checksum around every message.
//! - [`message`] and [`request`]: the messages of both sides.
//! - [`response`]: the strict HTTP/1 parser, without any I/O.
//! - [`http`]: one GET over one connection under one deadline.

pub mod frame;
mod head;
pub mod http;
pub mod message;
pub mod request;
pub mod response;
mod wire;

pub use frame::{FrameDecoder, FrameError};
pub use message::{
    AppResponse, AwaitedPart, HttpViolation, MessageError, RelayCall, RelayReply, RequestFailure,
    RequestResult,
};
pub use request::{AppRequest, RequestError, RequestLimits};

/// The time without a call after which the relay ends: the verifier, or the
/// connection to it, is gone.
pub const SILENCE: std::time::Duration = std::time::Duration::from_secs(10);
