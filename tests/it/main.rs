//! The whole system, and the rules of its construction.

mod accepting;
mod cli;
mod fences;
mod support;
mod verifying;
