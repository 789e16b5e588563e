//! What is ready now, for any thread at any time: the host's view without writing one.
//!
//! The watcher writes it, a replica at a time; nobody who reads it makes the watcher wait for longer than it takes to
//! copy pointers.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::payload::{Handoff, HandoffPayload};
use crate::replica::{ReplicaIds, ReplicaKey};
use crate::sync::{Condvar, Mutex};

#[cfg(all(test, loom))]
mod loom_tests;

/// What is ready now, by replica and by pool.
///
/// It follows the directory: it changes before the event of a change is handed out, and also when the host takes no
/// events at all. A handle is cheap to clone and can be used from any thread, inside callbacks too; it stays valid, and
/// keeps its last content, after the watcher has stopped.
///
/// Serialised, it is the list of [`PoolStatus`] that a heartbeat carries (CLOUD-3011).
#[derive(Clone, Debug, Default)]
pub struct Registry {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Those that say "not ready" too: their pool is known, and not ready.
    handoffs: BTreeSet<ReplicaKey>,
    ready: usize,
    generation: u64,
    closed: bool,
}

/// A pool as a heartbeat reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PoolStatus {
    /// The pool.
    pub pool_id: String,
    /// At least one of its replicas is ready.
    pub ready: bool,
    /// The free slots of its ready replicas; a replica that does not say counts with all of its slots.
    pub slots_free: u64,
    /// The slots of its ready replicas; a replica that does not say counts with none.
    pub slots_total: u64,
    /// The engine of its first ready replica, by id, that names one.
    pub engine: Option<String>,
    /// How many of its replicas are ready.
    pub replicas_ready: u64,
}

impl Registry {
    /// A replica's handoff, if it is ready.
    pub fn get(&self, pool_id: &str, replica_id: &str) -> Option<HandoffPayload> {
        let key: &dyn ReplicaIds = &(pool_id, replica_id);
        let handoff = self.shared.state.lock().handoffs.get(key).filter(|it| it.0.is_ready()).cloned();
        handoff.map(|handoff| handoff.0.payload())
    }

    /// All that is ready, sorted by pool and replica.
    pub fn list(&self) -> Vec<HandoffPayload> {
        // Decoded outside the lock: the watcher does not wait for it.
        let ready: Vec<_> = self.all().into_iter().filter(|handoff| handoff.is_ready()).collect();
        ready.iter().map(|handoff| handoff.payload()).collect()
    }

    /// How many replicas are ready.
    pub fn len(&self) -> usize {
        self.shared.state.lock().ready
    }

    /// Whether no replica is ready.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether at least one replica of the pool is ready.
    pub fn is_ready(&self, pool_id: &str) -> bool {
        self.shared.state.lock().is_pool_ready(pool_id)
    }

    /// Waits until at least one replica of the pool is ready. False when the time is over, or the watcher has stopped,
    /// before that. `Duration::MAX` waits forever.
    pub fn wait_ready(&self, pool_id: &str, timeout: Duration) -> bool {
        self.wait(timeout, |state| state.is_pool_ready(pool_id))
    }

    /// Waits until this replica is ready. False when the time is over, or the watcher has stopped, before that.
    /// `Duration::MAX` waits forever.
    pub fn wait_replica_ready(&self, pool_id: &str, replica_id: &str, timeout: Duration) -> bool {
        let key: &dyn ReplicaIds = &(pool_id, replica_id);
        self.wait(timeout, |state| state.handoffs.get(key).is_some_and(|handoff| handoff.0.is_ready()))
    }

    /// A number that grows with every change, and with nothing else.
    pub fn generation(&self) -> u64 {
        self.shared.state.lock().generation
    }

    /// Every pool of which there is a handoff, ready or not, sorted: what the next heartbeat says.
    pub fn pools(&self) -> Vec<PoolStatus> {
        let mut pools: Vec<PoolStatus> = Vec::new();
        for handoff in self.all() {
            if pools.last().is_none_or(|pool| pool.pool_id != handoff.pool_id()) {
                pools.push(PoolStatus {
                    pool_id: handoff.pool_id().to_owned(),
                    ready: false,
                    slots_free: 0,
                    slots_total: 0,
                    engine: None,
                    replicas_ready: 0,
                });
            }
            if let Some(pool) = pools.last_mut()
                && handoff.is_ready()
            {
                let (engine, slots, slots_free) = handoff.capacity();
                let slots = slots.unwrap_or(0);
                pool.ready = true;
                pool.replicas_ready += 1;
                pool.slots_total += u64::from(slots);
                pool.slots_free += u64::from(slots_free.unwrap_or(slots));
                pool.engine = pool.engine.take().or_else(|| engine.map(str::to_owned));
            }
        }
        pools
    }

    /// Writes a change; true if there was one.
    pub(crate) fn set(&self, replica: ReplicaKey, handoff: Option<Handoff>) -> bool {
        let mut guard = self.shared.state.lock();
        let state = &mut *guard;
        let is_ready = handoff.as_ref().is_some_and(|handoff| handoff.is_ready());
        let before = match &handoff {
            Some(handoff) => state.handoffs.replace(ReplicaKey(handoff.clone())),
            None => state.handoffs.take(&replica),
        };
        let changed = match (&before, &handoff) {
            (Some(before), Some(now)) => !before.0.is_shared_with(now),
            (before, now) => before.is_some() != now.is_some(),
        };
        let was_ready = before.is_some_and(|before| before.0.is_ready());
        if changed {
            state.ready = state.ready + usize::from(is_ready) - usize::from(was_ready);
            state.generation += 1;
            // Whoever waits, waits for something to become ready.
            if is_ready {
                self.shared.changed.notify_all();
            }
        }
        changed
    }

    /// Nothing will change any more: who waits, waits no longer.
    pub(crate) fn close(&self) {
        self.shared.state.lock().closed = true;
        self.shared.changed.notify_all();
    }

    fn all(&self) -> Vec<Handoff> {
        self.shared.state.lock().handoffs.iter().map(|key| key.0.clone()).collect()
    }

    fn wait(&self, timeout: Duration, mut is_met: impl FnMut(&State) -> bool) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        let mut state = self.shared.state.lock();
        loop {
            if is_met(&state) {
                return true;
            }
            if state.closed {
                return false;
            }
            match deadline {
                None => self.shared.changed.wait(&mut state),
                Some(deadline) => {
                    if self.shared.changed.wait_until(&mut state, deadline).timed_out() {
                        return is_met(&state);
                    }
                }
            }
        }
    }
}

impl State {
    fn is_pool_ready(&self, pool_id: &str) -> bool {
        let first: &dyn ReplicaIds = &(pool_id, "");
        self.handoffs
            .range::<dyn ReplicaIds, _>((Bound::Included(first), Bound::Unbounded))
            .take_while(|key| key.ids().0 == pool_id.as_bytes())
            .any(|key| key.0.is_ready())
    }
}

impl Serialize for Registry {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.pools().serialize(serializer)
    }
}
