//! The command line as a person and a shell script use it: as processes.

#![cfg(all(feature = "cli", unix))]

mod check;
mod demo;
mod doubts;
mod harness;
mod list;
mod produce;
#[path = "../support/mod.rs"]
mod support;
mod terminal;
mod top;
mod usage;
mod wait;
mod watch;
