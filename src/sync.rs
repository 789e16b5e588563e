//! [channel] What the threads of a watcher share state and wait by, in one place.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --lib loom` puts loom's in their stead, so that the very code that runs is checked
//! under every order in which its threads can come.

#[cfg(all(test, loom))]
mod model;

#[cfg(not(all(test, loom)))]
pub(crate) use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
#[cfg(not(all(test, loom)))]
pub(crate) use crossbeam_utils::sync::{Parker, Unparker};
#[cfg(all(test, loom))]
pub(crate) use model::{
    AtomicBool, Condvar, Mutex, Ordering, Parker, Receiver, RecvTimeoutError, Sender, Unparker, bounded,
};
#[cfg(not(all(test, loom)))]
pub(crate) use parking_lot::{Condvar, Mutex};
#[cfg(not(all(test, loom)))]
pub(crate) use std::sync::atomic::{AtomicBool, Ordering};
