//! [thread] Starting, stopping and joining the threads of a watcher.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle, current};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use super::BoxError;
use super::worker::{Shared, Worker};
use crate::config::Settings;
use crate::error::{Error, ErrorKind, host_excerpt, id_excerpt};
use crate::event::HandoffEvent;
use crate::log::Log;
use crate::sync::Mutex;

/// A callback for events; those for payloads are wrapped into one.
pub(crate) type EventCallback = Box<dyn Fn(HandoffEvent) -> Result<(), BoxError> + Send + Sync>;

/// A thread of the library, which can be waited for with a time limit.
#[derive(Debug)]
struct Thread {
    handle: JoinHandle<()>,
    /// Disconnected when the thread has ended.
    ended: Receiver<Infallible>,
}

impl Thread {
    fn start(name: String, main: impl FnOnce() + Send + 'static) -> Result<Self, Error> {
        let (alive, ended) = bounded::<Infallible>(0);
        let main = move || {
            let _alive = alive;
            main();
        };
        let spawned = Builder::new().name(name.clone()).spawn(main);
        spawned
            .map(|handle| Self { handle, ended })
            .map_err(|source| Error::new(ErrorKind::Spawn, format!("cannot start the thread {name:?}: {source}")))
    }

    /// True when it has ended. A thread cannot wait for itself: from inside a callback this is true at once.
    fn wait(&self, deadline: Option<Instant>) -> bool {
        if self.handle.thread().id() == current().id() {
            return true;
        }
        match deadline {
            None => self.ended.recv().is_err(),
            Some(deadline) => self.ended.recv_deadline(deadline) == Err(RecvTimeoutError::Disconnected),
        }
    }
}

/// The threads of one watcher.
#[derive(Debug)]
pub(crate) struct Threads {
    shared: Arc<Shared>,
    threads: Vec<Thread>,
}

impl Threads {
    /// Starts the scanning thread, and one that calls the host back if there is a callback.
    pub(crate) fn start(settings: Settings, callback: Option<EventCallback>) -> Result<Self, Error> {
        settings.check()?;
        let (shared, ear) = Shared::new(&settings);
        let mut threads = Self { shared: shared.clone(), threads: Vec::with_capacity(2) };
        let name = settings.thread_name.clone();
        let log = settings.log.clone();
        let last = Arc::new(Last::new(1 + usize::from(callback.is_some())));
        if let Some(callback) = callback {
            let (shared, log, last) = (shared.clone(), log.clone(), last.clone());
            let main = move || {
                shared.guard("delivery thread", &log, || deliver(&shared, &callback, &log));
                last.leave(None, &shared, &log);
            };
            threads.threads.push(Thread::start(format!("{name}-cb"), main)?);
        }
        let worker = Worker::new(settings, shared.clone(), ear);
        let main = move || {
            let left = worker.run();
            last.leave(left, &shared, &log);
        };
        match Thread::start(name, main) {
            Ok(thread) => threads.threads.push(thread),
            Err(error) => {
                threads.stop();
                return Err(error);
            }
        }
        Ok(threads)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn stop(&self) {
        self.shared.stop();
    }

    /// Waits until the threads have ended. False if they have not within that time. In a fork there are none.
    pub(crate) fn join(&self, timeout: Option<Duration>) -> bool {
        if self.shared.is_fork() {
            return true;
        }
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        self.threads.iter().all(|thread| thread.wait(deadline))
    }

    /// Waits until the threads have ended, to the last instruction; all but the one that calls this.
    pub(crate) fn finish(self) {
        for thread in self.threads {
            if !self.shared.is_fork() && thread.handle.thread().id() != current().id() {
                // What a thread panicked with has been caught and told already.
                let _ = thread.handle.join();
            }
        }
    }
}

/// The end of the threads. The last one to go takes away what the host has taken: as long as a callback is under way, that is
/// not known.
struct Last {
    state: Mutex<(usize, Option<Worker>)>,
}

impl Last {
    fn new(threads: usize) -> Self {
        Self { state: Mutex::new((threads, None)) }
    }

    /// A thread is done with its work. `left` is what it leaves to the last one.
    fn leave(&self, left: Option<Worker>, shared: &Shared, log: &Log) {
        let last = {
            let mut state = self.state.lock();
            state.0 -= 1;
            state.1 = left.or(state.1.take());
            if state.0 == 0 { state.1.take() } else { None }
        };
        if let Some(mut worker) = last {
            shared.guard("last thread", log, || worker.take_the_last_away());
        }
    }
}

/// The delivery thread: one event at a time, no lock held, until the stop.
pub(super) fn deliver(shared: &Shared, callback: &EventCallback, log: &Log) {
    let mut last_failure = None;
    while let Ok(delivery) = shared.channel.take(None) {
        let event = delivery.event.clone();
        // As late as can be: a stop that came while this was on its way, too, means that nothing is called any more.
        if shared.is_stopped() {
            return;
        }
        let failure = call(callback, delivery.event);
        match &failure {
            None => shared.meter.delivered(&event),
            Some(text) => {
                shared.meter.refused();
                // The same failure is logged once, not at every retry.
                if last_failure.as_ref() != Some(text) {
                    let refused = refused(&event);
                    // A host that breaks off because it is to end has not failed, and is not asked again.
                    if shared.is_stopped() {
                        log.info(format_args!("{refused}: {text}; the watcher was stopped meanwhile"));
                    } else {
                        log.warn(format_args!("{refused}: {text}; it is tried again"));
                    }
                }
            }
        }
        shared.channel.acknowledge(delivery.ticket, failure.is_none());
        last_failure = failure.or(last_failure);
    }
}

/// What was refused, as far as it has a name: every pool may have a replica of that one.
fn refused(event: &HandoffEvent) -> String {
    let name = event.name();
    match (event.pool_id().zip(event.replica_id()), event.file()) {
        (Some((pool_id, replica_id)), _) => format!("{name} {}/{}", id_excerpt(pool_id), id_excerpt(replica_id)),
        (None, Some(file)) => format!("{name} {file:?}"),
        (None, None) => name.to_owned(),
    }
}

/// Why the host did not take it. Its error and its panic are its own code as much as the callback is: printing or dropping
/// them can panic, and that is the same failure. What they say may be all that the file says.
fn call(callback: &EventCallback, event: HandoffEvent) -> Option<String> {
    let called = catch_unwind(AssertUnwindSafe(|| {
        callback(event).err().map(|error| format!("the callback failed: {}", host_excerpt(&error.to_string())))
    }));
    called.unwrap_or_else(|panic| Some(format!("the callback panicked: {}", host_excerpt(&super::panic_text(panic)))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::excerpt;
    use crate::payload::HandoffPayload;

    #[test]
    fn regression_what_was_refused_is_named_by_its_pool_too_and_by_no_empty_name() {
        let ready = |pool: &str, replica: &str| {
            let payload = HandoffPayload::new(pool, replica, "http://h").unwrap();
            refused(&HandoffEvent::Ready { file: "a.json".into(), payload, latency: None })
        };
        assert_eq!(ready("pool-7", "r\u{202e}0"), r#"ready "pool-7"/"r\u{202e}0""#);
        // A UUID is shown whole.
        let id = "6f1c1e7a-0c55-4b0e-9a53-3d7f6b1f2c11";
        assert_eq!(ready(id, id), format!("ready {0}/{0}", excerpt(id)));
        let error = Error::stopped();
        let invalid = HandoffEvent::Invalid { file: "dir/a\n.json".into(), error: error.clone() };
        assert_eq!(refused(&invalid), r#"invalid "dir/a\n.json""#);
        assert_eq!(refused(&HandoffEvent::Unavailable { error }), "unavailable");
        assert_eq!(refused(&HandoffEvent::Synced), "synced");
    }
}
