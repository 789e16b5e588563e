//! A host that forks: what the child does with its copy of a watcher is none of the parent's business.

#![cfg(unix)]
#![allow(unsafe_code, clippy::unwrap_used)]

mod common;

use std::os::fd::AsFd as _;

use common::{DEADLINE, Place, doc, replace};
use handoff_watcher::{HandoffEvent, HandoffIter, NextError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, WaitOptions, waitpid};

unsafe extern "C" {
    fn fork() -> i32;
    fn _exit(status: i32) -> !;
    fn alarm(seconds: u32) -> u32;
}

/// Runs it in a child, which ends with 0 if it returns in time.
fn in_a_child(act: impl FnOnce()) -> Option<i32> {
    // SAFETY: the child calls nothing but the act and `_exit`; what the act may lock is the point of the test.
    let child = unsafe { fork() };
    if child == 0 {
        // SAFETY: both may be called in the child of a process with many threads.
        unsafe {
            alarm(DEADLINE.as_secs() as u32);
            act();
            _exit(0);
        }
    }
    let pid = Pid::from_raw(child).expect("it forks");
    waitpid(Some(pid), WaitOptions::empty()).unwrap().expect("it ends").1.exit_status()
}

fn is_readable(events: &HandoffIter) -> bool {
    let mut descriptors = [PollFd::from_borrowed_fd(events.as_fd(), PollFlags::IN)];
    poll(&mut descriptors, Some(&Timespec::default())).unwrap() > 0
}

#[test]
fn regression_a_child_that_drops_or_stops_its_copy_harms_neither_itself_nor_the_parent() {
    let place = Place::new();
    let events = common::builder(place.path(), 20).iter().unwrap();
    assert_eq!(events.next_timeout(DEADLINE), Ok(HandoffEvent::Synced));
    let called = common::builder(place.path(), 20).on_event(|_| Ok(())).try_spawn().unwrap();
    let (stop, guard) = (called.stop_handle(), called.stop_on_drop());
    // Of these only copies are dropped: those of the parent stay.
    let (mut events, mut guard) = (Some(events), Some(guard));
    let status = in_a_child(|| {
        stop.stop();
        drop(guard.take());
        drop(events.take());
    });
    assert_eq!(status, Some(0));
    let events = events.as_ref().expect("the parent has it");
    assert!(!is_readable(events));
    replace(place.join("a.json"), doc("r0", "v1"));
    assert_eq!(events.next_timeout(DEADLINE).unwrap().name(), "ready");
    assert_eq!(events.try_next(), Err(NextError::Timeout));
    assert!(!is_readable(events), "it says that an event waits, for good");
    assert!(!stop.is_stopped());
}
