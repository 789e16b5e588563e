//! The handle of a watcher: who may use it, and when it may go.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::argument::refused;
use super::guard;
use super::host::{Callback, Host};
use super::status::HANDOFF_OK;
use crate::error::{Error, ErrorKind};
use crate::watcher::Threads;

/// A watcher. Made by handoff_watcher_new(), freed by handoff_watcher_free().
pub struct Watcher {
    users: Arc<Users>,
    pub(super) threads: Threads,
    pub(super) host: Arc<Host>,
}

/// The calls that are under way.
#[derive(Default)]
struct Users {
    count: Mutex<usize>,
    gone: Condvar,
}

/// One of them. It holds on to the count alone, so that leaving touches nothing that may be freed at that moment.
struct User(Arc<Users>);

impl User {
    fn enter(users: &Arc<Users>) -> Self {
        *users.count.lock() += 1;
        Self(users.clone())
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let mut count = self.0.count.lock();
        *count -= 1;
        if *count == 0 {
            self.0.gone.notify_all();
        }
    }
}

impl Watcher {
    pub(super) fn new(threads: Threads, host: Arc<Host>) -> Self {
        Self { users: Arc::default(), threads, host }
    }

    /// For what waits for the scanning thread, or takes an event: a log callback may be on the thread that is to do it.
    pub(super) fn may_wait(&self) -> Result<(), Error> {
        if self.host.is_inside(Some(Callback::Log)) { Err(busy()) } else { Ok(()) }
    }

    /// For what waits for the end of a callback.
    pub(super) fn may_join(&self) -> Result<(), Error> {
        if self.host.is_inside(None) { Err(busy()) } else { Ok(()) }
    }

    /// Asked for first, without a lock: in a fork, whoever held a lock is not there any more.
    fn check_process(&self) -> Result<(), Error> {
        let shared = self.threads.shared();
        if !shared.is_fork() {
            return Ok(());
        }
        let message = format!("the watcher belongs to process {}, of which this one is a fork", shared.process);
        Err(Error::new(ErrorKind::Forked, message))
    }

    fn wait_for_users(&self) {
        let mut count = self.users.count.lock();
        while *count > 0 {
            self.users.gone.wait(&mut count);
        }
    }
}

/// Runs what a function does with its watcher, which stays for as long as that takes.
///
/// # Safety
/// `watcher` is NULL, or a handle that nobody has begun to free.
pub(super) unsafe fn using(watcher: *const Watcher, body: impl FnOnce(&Watcher) -> Result<i32, Error>) -> i32 {
    guard::status(|| {
        // SAFETY: the caller's word; `free` waits for the user that is entered here.
        let watcher = unsafe { watcher.as_ref() }.ok_or_else(|| refused("watcher", "expected one, found NULL"))?;
        watcher.check_process()?;
        let _user = User::enter(&watcher.users);
        body(watcher)
    })
}

/// Stops it, waits for its threads and for whoever still uses it, and frees it.
///
/// # Safety
/// `watcher` is NULL, or a handle that nobody has begun to free, and that nobody begins to use any more.
pub(super) unsafe fn free(watcher: *mut Watcher) -> i32 {
    guard::status(|| {
        // SAFETY: the caller's word.
        let Some(it) = (unsafe { watcher.as_ref() }) else { return Ok(HANDOFF_OK) };
        // In a fork it is left as it is: its threads are not there to be joined, and its locks may be held for good.
        it.check_process()?;
        it.may_join()?;
        it.threads.stop();
        it.threads.join(None);
        it.wait_for_users();
        // SAFETY: it was made by `Box`, and no one else has it any more.
        let Watcher { threads, host, .. } = *unsafe { Box::from_raw(watcher) };
        threads.finish();
        host.destroy();
        Ok(HANDOFF_OK)
    })
}

fn busy() -> Error {
    Error::new(ErrorKind::Busy, "from inside a callback this would wait for the callback itself")
}
