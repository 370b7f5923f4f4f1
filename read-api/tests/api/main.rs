//! Tests the read API over real sockets, on a real log and real views.

#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod compat_2016;
mod counting;
mod events;
mod history;
mod live;
mod map;
mod openapi;
mod operations;
mod pages;
mod past;
mod present;
mod rejections;
mod sandbox;
mod status;
mod venues;
mod world;
