//! The C ABI: a translation of the library, and nothing else. `include/handoff_watcher.h` is made of it, and is the
//! manual; what is said here in `///` is said there to C hosts.
//!
//! Every function passes through `guard`, where panics and errors become statuses. `handle` keeps a watcher alive while
//! it is in use, and refuses what a fork or a callback must not do. `host` is the way to the host's functions.

#![allow(unsafe_code)]
// What is exported says in its text what a caller has to keep; C has no other place for it than the manual.
#![allow(clippy::missing_safety_doc)]
// `pub` is what goes into the header.
#![allow(unreachable_pub)]

mod argument;
mod config;
mod event;
mod figures;
mod guard;
mod handle;
mod host;
mod producer;
mod registry;
mod status;
mod watcher;
