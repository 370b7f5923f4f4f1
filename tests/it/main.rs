//! The whole system, and the rules of its construction.

mod accepting;
mod browser;
mod cli;
mod fences;
mod history;
mod roles;
mod support;
mod verifying;
