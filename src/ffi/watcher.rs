//! A watcher's life: made, asked for events, stopped, joined, freed.

use std::os::fd::AsRawFd as _;
use std::ptr::null_mut;

use super::argument::{self, refused};
use super::config::Config;
use super::event::Event;
use super::guard;
use super::handle::{self, Watcher, using};
use super::host::Host;
use super::status::{HANDOFF_OK, HANDOFF_STOPPED, HANDOFF_TIMEOUT};
use crate::deliver::NextError;
use crate::error::{Error, ErrorKind};
use crate::watcher::Threads;

/// Makes a watcher, and starts it. It delivers by on_event if the configuration has one, else by handoff_watcher_next().
///
/// config: NULL means all defaults. It, and its strings, are only read during the call.
/// watcher: not NULL; on HANDOFF_OK set to a watcher that is the host's, to be freed by handoff_watcher_free(). It is set
/// before the first callback.
/// Returns HANDOFF_OK, HANDOFF_ERROR_INVALID_ARGUMENT, HANDOFF_ERROR_CONFIG for a setting that cannot be, or
/// HANDOFF_ERROR_SPAWN. A directory that is missing is no error: it is waited for. Where it fails, no callback was called
/// and none will be, on_destroy included.
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_watcher_new(config: *const Config, watcher: *mut *mut Watcher) -> i32 {
    guard::status(|| {
        argument::out("watcher", watcher)?;
        // SAFETY: the host's word.
        let config = if config.is_null() { Config::DEFAULT } else { unsafe { argument::read(config) }? };
        // SAFETY: the host's word.
        let mut settings = unsafe { config.settings() }?;
        let host = Host::new(config.on_event, config.on_log, config.on_destroy, config.user_data);
        settings.log = host.log(config.log_level()?);
        let _starting = host.starting();
        let threads = {
            let _blocked = SignalsBlocked::new();
            Threads::start(settings, host.event_callback())?
        };
        let made = Box::into_raw(Box::new(Watcher::new(threads, host.clone())));
        // SAFETY: the host's word, and not NULL.
        unsafe { watcher.write(made) };
        Ok(HANDOFF_OK)
    })
}

/// The next event, for a watcher without on_event. With it the event counts as taken. What the host does not take piles up
/// nowhere: it collapses into one event per replica.
///
/// watcher: not NULL.
/// timeout_ms: how long to wait; 0 does not wait, a negative number waits forever.
/// event: not NULL; on HANDOFF_OK set to an event that is the host's, to be freed by handoff_event_free().
/// Returns HANDOFF_OK, HANDOFF_TIMEOUT, HANDOFF_STOPPED, or HANDOFF_ERROR_INVALID_ARGUMENT (also for a watcher that has an
/// on_event), _FORKED, _BUSY.
/// Thread: any, any number at once; each event goes to one of them. In callbacks: not in on_log of this watcher.
/// Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_watcher_next(watcher: *mut Watcher, timeout_ms: i64, event: *mut *mut Event) -> i32 {
    let next = |watcher: &Watcher| {
        argument::out("event", event)?;
        watcher.may_wait()?;
        may_ask(watcher)?;
        match watcher.threads.shared().next(argument::timeout(timeout_ms)) {
            Ok(next) => {
                // SAFETY: the host's word, and not NULL.
                unsafe { event.write(Box::into_raw(Box::new(Event::new(next)))) };
                Ok(HANDOFF_OK)
            }
            Err(NextError::Timeout) => Ok(HANDOFF_TIMEOUT),
            Err(NextError::Stopped) => Ok(HANDOFF_STOPPED),
        }
    };
    // SAFETY: the host's word.
    unsafe { using(watcher, next) }
}

/// A file descriptor that is readable exactly while an event waits, and for good once the watcher has stopped: for select,
/// poll, epoll, libuv, glib or asyncio. When it is readable, call handoff_watcher_next() with timeout 0 until it returns
/// something other than HANDOFF_OK. Never read from it, write to it or close it.
///
/// watcher: not NULL, without on_event.
/// Returns the descriptor (0 or more; close-on-exec; the same one each time), which is valid until handoff_watcher_free(),
/// or HANDOFF_ERROR_INVALID_ARGUMENT, _IO when no descriptor can be had, _FORKED.
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_watcher_fd(watcher: *mut Watcher) -> i32 {
    let fd = |watcher: &Watcher| {
        may_ask(watcher)?;
        let made = watcher.threads.shared().channel.readable();
        made.map(|readable| readable.as_raw_fd()).map_err(|error| {
            Error::new(ErrorKind::Io, format!("cannot make the descriptor that tells of waiting events: {error}"))
        })
    };
    // SAFETY: the host's word.
    unsafe { using(watcher, fd) }
}

/// Lists the directory now, reads what changed, and returns when that is done and the registry is up to date. What needs
/// time to be decided (half-written, gone missing) may still be undecided.
///
/// watcher: not NULL.
/// Returns HANDOFF_OK, HANDOFF_STOPPED, or HANDOFF_ERROR_IO when the directory cannot be listed, _INVALID_ARGUMENT, _FORKED,
/// _BUSY.
/// Thread: any. In callbacks: not in on_log of this watcher. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_watcher_rescan(watcher: *mut Watcher) -> i32 {
    let rescan = |watcher: &Watcher| {
        watcher.may_wait()?;
        watcher.threads.shared().rescan().map(|()| HANDOFF_OK)
    };
    // SAFETY: the host's word.
    unsafe { using(watcher, rescan) }
}

/// Asks the watcher to stop, and never waits: no further on_event starts, whoever waits in handoff_watcher_next() gets
/// HANDOFF_STOPPED, and the threads end as soon as what they are in returns. Asked again, it does nothing.
///
/// From inside on_event this is exact: that call is the last one. From another thread, an on_event whose call the library
/// has begun at that very moment may still be seen to enter; after handoff_watcher_join() none is under way.
///
/// watcher: not NULL. It still has to be freed.
/// Returns HANDOFF_OK, or HANDOFF_ERROR_INVALID_ARGUMENT, _FORKED.
/// Thread: any; not in a signal handler. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_watcher_stop(watcher: *mut Watcher) -> i32 {
    let stop = |watcher: &Watcher| {
        watcher.threads.stop();
        Ok(HANDOFF_OK)
    };
    // SAFETY: the host's word.
    unsafe { using(watcher, stop) }
}

/// Waits until the watcher has ended after a stop: no callback is under way, and none will come, on_destroy excepted.
///
/// watcher: not NULL.
/// timeout_ms: how long to wait; 0 only looks, a negative number waits forever.
/// Returns HANDOFF_OK, HANDOFF_TIMEOUT, or HANDOFF_ERROR_INVALID_ARGUMENT, _FORKED, _BUSY.
/// Thread: any, any number at once. In callbacks: not in those of this watcher. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_watcher_join(watcher: *mut Watcher, timeout_ms: i64) -> i32 {
    let join = |watcher: &Watcher| {
        watcher.may_join()?;
        let ended = watcher.threads.join(argument::timeout(timeout_ms));
        Ok(if ended { HANDOFF_OK } else { HANDOFF_TIMEOUT })
    };
    // SAFETY: the host's word.
    unsafe { using(watcher, join) }
}

/// Stops the watcher, waits for its threads and for every call that is under way on other threads, calls on_destroy, and
/// frees it. It waits for as long as a callback of the host takes; to wait for less, call handoff_watcher_stop() and
/// handoff_watcher_join() first, and keep the watcher when that returns HANDOFF_TIMEOUT.
///
/// watcher: NULL is allowed, and nothing. No new call may begin once this has: a thread that calls in a loop is to be
/// told first, by handoff_watcher_stop(), and to leave its loop at HANDOFF_STOPPED.
/// Returns HANDOFF_OK; HANDOFF_ERROR_BUSY inside a callback of this watcher, where nothing is done; or
/// HANDOFF_ERROR_FORKED, where what the watcher holds is left alone for good, on_destroy is not called, and the parent's
/// watcher goes on.
/// Thread: any. In callbacks: not in those of this watcher. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_watcher_free(watcher: *mut Watcher) -> i32 {
    // SAFETY: the host's word.
    unsafe { handle::free(watcher) }
}

fn may_ask(watcher: &Watcher) -> Result<(), Error> {
    if watcher.host.is_called() { Err(refused("watcher", "it delivers its events by on_event")) } else { Ok(()) }
}

/// While this lives, the calling thread gets no signals, and what it starts never does: the host's signals are for the
/// host's threads.
struct SignalsBlocked {
    before: Option<libc::sigset_t>,
}

impl SignalsBlocked {
    fn new() -> Self {
        // SAFETY: a signal set is plain data, which the calls write before it is read; failure leaves the mask as it was.
        unsafe {
            let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
            libc::sigfillset(&raw mut all);
            let done = libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before) == 0;
            Self { before: done.then_some(before) }
        }
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // SAFETY: a set that the system gave out.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const *before, null_mut()) };
        }
    }
}
