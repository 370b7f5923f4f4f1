//! The read API over real sockets, on a real log and real views.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod counting;
mod described;
mod history;
mod live;
mod map;
mod operations;
mod original;
mod pages;
mod past;
mod rejections;
mod sandbox;
mod status;
mod timeline;
mod world;
