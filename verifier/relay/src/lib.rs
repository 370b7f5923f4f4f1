//! The HTTP probe that runs inside a slot, and the language it speaks with the
//! verifier.
//!
//! The verifier has no route to the containers of participants. It starts this
//! program in the slot's network, attached to it by nothing but stdin and
//! stdout, and sends it one [`Call`] at a time; the program answers each with
//! one [`Reply`]. So hostile answers are parsed in a sandbox, by code without
//! dependencies, and the verifier only ever reads frames.
//!
//! - [`frame`]: magic, length, id and checksum around every message.
//! - [`message`] and [`request`]: what the two sides say to each other.
//! - [`response`]: the strict HTTP/1 parser, apart from any I/O.
//! - [`http`]: one GET over one connection under one deadline.

pub mod frame;
mod head;
pub mod http;
pub mod message;
pub mod request;
pub mod response;
mod wire;

pub use frame::{Decoder, FrameError};
pub use message::{Answer, Call, Failure, MessageError, Part, Reply, Response, Violation};
pub use request::{Limits, Request, RequestError};

/// The relay ends itself when it hears nothing for so long: the verifier, or
/// the way to it, is gone.
pub const SILENCE: std::time::Duration = std::time::Duration::from_secs(10);
