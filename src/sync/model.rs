//! The same contracts out of loom's parts: parking_lot's lock and condition, crossbeam's bounded channel.
//!
//! Time does not pass by itself here: a wait with a deadline in the future ends by it when a test calls `expire`, which it
//! does from a thread of its own, so that the time is over at every possible moment.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

pub(crate) use crossbeam_channel::RecvTimeoutError;
pub(crate) use loom::sync::atomic::{AtomicBool, Ordering};

#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

/// Empty only while its owner waits.
pub(crate) struct MutexGuard<'a, T>(Option<loom::sync::MutexGuard<'a, T>>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(Some(self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().expect("BUG: it waits")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_deref_mut().expect("BUG: it waits")
    }
}

#[derive(Debug)]
pub(crate) struct Condvar {
    condition: loom::sync::Condvar,
    expired: AtomicBool,
}

impl Default for Condvar {
    fn default() -> Self {
        Self { condition: loom::sync::Condvar::new(), expired: AtomicBool::new(false) }
    }
}

/// Whether a wait ended by its time.
pub(crate) struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    pub(crate) fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condvar {
    pub(crate) fn notify_one(&self) {
        self.condition.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.condition.notify_all();
    }

    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let inner = guard.0.take().expect("BUG: it waits twice");
        guard.0 = Some(self.condition.wait(inner).unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, deadline: Instant) -> WaitTimeoutResult {
        if self.is_over(deadline) {
            return WaitTimeoutResult(true);
        }
        self.wait(guard);
        WaitTimeoutResult(self.is_over(deadline))
    }

    /// Ends every wait with a deadline. `mutex` is the one that is waited with.
    pub(crate) fn expire<T>(&self, mutex: &Mutex<T>) {
        self.expired.store(true, Ordering::SeqCst);
        // Who has looked already is waiting when the lock is free.
        drop(mutex.lock());
        self.notify_all();
    }

    fn is_over(&self, deadline: Instant) -> bool {
        self.expired.load(Ordering::SeqCst) || deadline <= Instant::now()
    }
}

#[derive(Debug)]
struct Queue<T> {
    waiting: VecDeque<T>,
    capacity: usize,
    senders: usize,
    has_receiver: bool,
}

#[derive(Debug)]
struct Shared<T> {
    queue: Mutex<Queue<T>>,
    filled: Condvar,
}

#[derive(Debug)]
pub(crate) struct Sender<T>(Arc<Shared<T>>);

#[derive(Debug)]
pub(crate) struct Receiver<T>(Arc<Shared<T>>);

/// The sent value cannot be taken. Nothing here sends where it would have to wait for room.
#[derive(Debug)]
pub(crate) struct SendError;

/// Every sender is gone, and nothing is left.
#[derive(Debug)]
pub(crate) struct RecvError;

pub(crate) fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let queue = Queue { waiting: VecDeque::new(), capacity, senders: 1, has_receiver: true };
    let shared = Arc::new(Shared { queue: Mutex::new(queue), filled: Condvar::default() });
    (Sender(shared.clone()), Receiver(shared))
}

impl<T> Sender<T> {
    pub(crate) fn try_send(&self, value: T) -> Result<(), SendError> {
        let mut queue = self.0.queue.lock();
        if !queue.has_receiver || queue.waiting.len() == queue.capacity {
            return Err(SendError);
        }
        queue.waiting.push_back(value);
        self.0.filled.notify_one();
        Ok(())
    }

    pub(crate) fn send(&self, value: T) -> Result<(), SendError> {
        self.try_send(value)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.queue.lock().senders += 1;
        Self(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut queue = self.0.queue.lock();
        queue.senders -= 1;
        if queue.senders == 0 {
            self.0.filled.notify_all();
        }
    }
}

impl<T> Receiver<T> {
    pub(crate) fn try_recv(&self) -> Result<T, RecvTimeoutError> {
        self.0.queue.lock().waiting.pop_front().ok_or(RecvTimeoutError::Timeout)
    }

    pub(crate) fn recv(&self) -> Result<T, RecvError> {
        self.receive(None).map_err(|_| RecvError)
    }

    pub(crate) fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.receive(Some(deadline))
    }

    /// Ends every wait with a deadline, from now on.
    pub(crate) fn expire(&self) {
        self.0.filled.expire(&self.0.queue);
    }

    fn receive(&self, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
        let mut queue = self.0.queue.lock();
        let mut is_over = false;
        loop {
            if let Some(value) = queue.waiting.pop_front() {
                return Ok(value);
            }
            if queue.senders == 0 {
                return Err(RecvTimeoutError::Disconnected);
            }
            if is_over {
                return Err(RecvTimeoutError::Timeout);
            }
            match deadline {
                None => self.0.filled.wait(&mut queue),
                Some(deadline) => is_over = self.0.filled.wait_until(&mut queue, deadline).timed_out(),
            }
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut queue = self.0.queue.lock();
        queue.has_receiver = false;
        let waiting = std::mem::take(&mut queue.waiting);
        drop(queue);
        drop(waiting);
    }
}

/// One bell: rings any number of times, is heard once.
#[derive(Debug, Default)]
struct Token {
    is_there: Mutex<bool>,
    came: Condvar,
}

#[derive(Debug, Default)]
pub(crate) struct Parker(Unparker);

#[derive(Clone, Debug, Default)]
pub(crate) struct Unparker(Arc<Token>);

impl Parker {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn unparker(&self) -> &Unparker {
        &self.0
    }

    pub(crate) fn park_deadline(&self, deadline: Instant) {
        let mut is_there = self.0.0.is_there.lock();
        while !*is_there && !self.0.0.came.wait_until(&mut is_there, deadline).timed_out() {}
        *is_there = false;
    }
}

impl Unparker {
    pub(crate) fn unpark(&self) {
        *self.0.is_there.lock() = true;
        self.0.came.notify_one();
    }
}
