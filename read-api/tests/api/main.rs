//! The read API over real sockets, on a real log and real views.

mod described;
mod history;
mod live;
mod map;
mod operations;
mod original;
mod pages;
mod past;
mod status;
mod timeline;
mod world;
