//! The way to the host's functions, and the knowledge of which thread is inside one of them.

use std::cell::RefCell;
use std::ffi::{c_char, c_void};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::config::{HANDOFF_ACCEPT, HANDOFF_RETRY, OnDestroy, OnEvent, OnLog};
use super::event::Event;
use super::guard;
use crate::event::HandoffEvent;
use crate::log::{Level, LevelFilter, Log};
use crate::watcher::EventCallback;

/// Which of the host's functions a thread is inside of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Callback {
    Event,
    /// It can be on the thread that scans, and on one that is inside `handoff_watcher_next`.
    Log,
}

thread_local! {
    /// The callbacks that this thread is inside of, and of which watcher each is. One callback can lead to another: it
    /// may call into another watcher, which logs.
    static INSIDE: RefCell<Vec<(*const Host, Callback)>> = const { RefCell::new(Vec::new()) };
}

/// What a watcher was given to call back with.
pub(super) struct Host {
    on_event: OnEvent,
    on_log: OnLog,
    on_destroy: OnDestroy,
    user_data: *mut c_void,
    /// Held while the watcher is made: nothing is called before the host has its handle.
    starting: Mutex<()>,
}

// SAFETY: the header asks for functions that may be called from any thread, with this pointer. `starting` is a lock.
unsafe impl Send for Host {}
// SAFETY: as above; nothing in it changes.
unsafe impl Sync for Host {}

impl Host {
    pub(super) fn new(on_event: OnEvent, on_log: OnLog, on_destroy: OnDestroy, user_data: *mut c_void) -> Arc<Self> {
        Arc::new(Self { on_event, on_log, on_destroy, user_data, starting: Mutex::new(()) })
    }

    /// Until this is dropped nothing is called.
    pub(super) fn starting(&self) -> MutexGuard<'_, ()> {
        self.starting.lock()
    }

    /// Whether it is called back, or asks.
    pub(super) fn is_called(&self) -> bool {
        self.on_event.is_some()
    }

    /// What the delivery thread calls, if the host is to be called.
    pub(super) fn event_callback(self: &Arc<Self>) -> Option<EventCallback> {
        let on_event = self.on_event?;
        let host = self.clone();
        Some(Box::new(move |event: HandoffEvent| {
            let event = Event::new(event);
            // SAFETY: the host's function, with an event that outlives the call, and the host's own pointer.
            let answer = host.call(Callback::Event, || unsafe { on_event(&raw const event, host.user_data) });
            match answer {
                HANDOFF_ACCEPT => Ok(()),
                HANDOFF_RETRY => Err("the host asked for a retry".into()),
                other => Err(format!("the host returned {other}, which is taken for a retry").into()),
            }
        }))
    }

    /// Where log lines go: to the host, if it wants them.
    pub(super) fn log(self: &Arc<Self>, most: LevelFilter) -> Log {
        let Some(on_log) = self.on_log else { return Log::default() };
        let host = self.clone();
        let sink = move |level: Level, line: &str| {
            let line = guard::c_text(line);
            let text: *const c_char = line.as_ptr();
            // SAFETY: the host's function, with a line that outlives the call, and the host's own pointer.
            host.call(Callback::Log, || unsafe { on_log(level as i32, text, host.user_data) });
        };
        Log::to(most, Arc::new(sink))
    }

    /// The last that is called. `user_data` is the host's again.
    pub(super) fn destroy(&self) {
        if let Some(on_destroy) = self.on_destroy {
            // SAFETY: the host's function, with the host's own pointer.
            unsafe { on_destroy(self.user_data) };
        }
    }

    /// Whether the calling thread is inside a callback of this watcher, of that kind or of any.
    pub(super) fn is_inside(&self, callback: Option<Callback>) -> bool {
        let is_it = |(host, kind): &(*const Host, Callback)| {
            std::ptr::eq(*host, self) && callback.is_none_or(|callback| callback == *kind)
        };
        INSIDE.try_with(|inside| inside.borrow().iter().any(is_it)).unwrap_or(false)
    }

    fn call<T>(&self, callback: Callback, function: impl FnOnce() -> T) -> T {
        drop(self.starting.lock());
        // A thread that is ending cannot remember it any more, and can be no thread of the library's.
        let entered = INSIDE.try_with(|inside| inside.borrow_mut().push((self, callback))).is_ok();
        let result = function();
        if entered {
            let _ = INSIDE.try_with(|inside| inside.borrow_mut().pop());
        }
        result
    }
}
