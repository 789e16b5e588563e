//! [channel] From the core to the host: bounded, stop-aware, coalescing.
//!
//! In: parcels, while there is room. Out: events, one at a time, to any thread; and, back to the core, what was taken.
//! A parcel that waits can be revoked, so that what reaches the host is what is true when it takes it.

use std::collections::VecDeque;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::bell::Bell;
use crate::event::HandoffEvent;
use crate::readable::Readable;
use crate::reconcile::{Parcel, Ticket};
use crate::sync::{Mutex, Receiver, RecvTimeoutError, Sender, bounded};

#[cfg(all(test, loom))]
pub(crate) mod loom_tests;

/// Room for so many parcels is kept when they are fewer.
const KEPT: usize = 64;

/// Why there is no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NextError {
    /// None came in the given time.
    Timeout,
    /// The watcher was stopped: none will come any more.
    Stopped,
}

impl std::fmt::Display for NextError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Timeout => "no event came in the given time",
            Self::Stopped => "the watcher has been stopped",
        })
    }
}

impl std::error::Error for NextError {}

/// What was taken off the channel.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) ticket: Ticket,
    pub(crate) event: HandoffEvent,
}

/// Where the next parcel would stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// Behind none: the host has begun with all that was offered.
    Idle,
    /// Behind others.
    Behind,
}

/// What became of a parcel that was taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ack {
    pub(crate) ticket: Ticket,
    pub(crate) taken: bool,
}

#[derive(Debug)]
struct State {
    waiting: VecDeque<Parcel>,
    acks: Vec<Ack>,
    /// How many were taken and are not acknowledged.
    out: usize,
    /// The core waits for the ack of one of those: ring at each.
    ack_wanted: bool,
    /// Dropped by `close`, which wakes every receiver.
    token: Option<Sender<()>>,
    readable: Option<Readable>,
}

impl State {
    /// Once closed it stays readable, so that an event loop comes and learns that it is over.
    fn show(&mut self) {
        let up = !self.waiting.is_empty() || self.token.is_none();
        if let Some(readable) = &mut self.readable {
            readable.set(up);
        }
    }
}

/// The way to the host. For each waiting parcel there is a token in a bounded crossbeam channel, or a receiver that holds
/// one: the tokens do the waiting and waking, for any number of receivers, while the parcels themselves stay where they can
/// be taken back.
#[derive(Debug)]
pub(crate) struct Channel {
    capacity: usize,
    state: Mutex<State>,
    tokens: Receiver<()>,
    /// Rung when the core has something to do: room again, or an ack that it waits for.
    bell: Bell,
}

impl Channel {
    pub(crate) fn new(capacity: usize, bell: Bell) -> Self {
        let (token, tokens) = bounded(capacity);
        let state = State {
            waiting: VecDeque::new(),
            acks: Vec::new(),
            out: 0,
            ack_wanted: false,
            token: Some(token),
            readable: None,
        };
        Self { capacity, state: Mutex::new(state), tokens, bell }
    }

    // ---- the core's side ----

    pub(crate) fn room(&self) -> Option<Room> {
        let state = self.state.lock();
        let has_room = state.token.is_some() && state.waiting.len() < self.capacity;
        has_room.then_some(if state.waiting.is_empty() { Room::Idle } else { Room::Behind })
    }

    /// Only called when there is room, and by one thread: nothing else takes room away.
    pub(crate) fn offer(&self, parcel: Parcel) {
        let mut state = self.state.lock();
        let Some(token) = &state.token else { return };
        // It can be full of tokens whose parcels were revoked, or taken with another's: then there are enough.
        let _ = token.try_send(());
        state.waiting.push_back(parcel);
        state.show();
    }

    /// Takes a parcel back. False if the host has it already; its ack then rings the bell.
    pub(crate) fn revoke(&self, ticket: Ticket) -> bool {
        let mut state = self.state.lock();
        // They were offered in the order of their tickets.
        let Ok(place) = state.waiting.binary_search_by_key(&ticket, |parcel| parcel.ticket) else {
            state.ack_wanted = true;
            if !state.acks.is_empty() {
                // It may be among them, and came when nobody asked for it.
                self.bell.ring();
            }
            return false;
        };
        state.waiting.remove(place);
        // Tokens are all alike. None left: a receiver holds it, will find nothing, and wait on.
        let _ = self.tokens.try_recv();
        state.show();
        true
    }

    /// What was acknowledged since the last call.
    pub(crate) fn take_acks(&self) -> Vec<Ack> {
        let mut state = self.state.lock();
        // The thread can be here for another reason, before the ack that it waits for.
        state.ack_wanted &= state.out > 0;
        // Once a round, in case the system refused the last time.
        state.show();
        // The room that a burst took is given back when it is over.
        if state.waiting.len() <= KEPT {
            state.waiting.shrink_to(KEPT);
        }
        std::mem::take(&mut state.acks)
    }

    /// Nothing is handed out after this.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.token = None;
        state.waiting.clear();
        state.show();
    }

    // ---- the host's side ----

    /// Waits for an event and takes it off the channel; the core still waits for its ack. `None` waits forever.
    pub(crate) fn take(&self, timeout: Option<Duration>) -> Result<Delivery, NextError> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let token = match deadline {
                None => self.tokens.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(deadline) => self.tokens.recv_deadline(deadline),
            };
            match token {
                Err(RecvTimeoutError::Timeout) => return Err(NextError::Timeout),
                Err(RecvTimeoutError::Disconnected) => return Err(NextError::Stopped),
                Ok(()) => {}
            }
            let mut state = self.state.lock();
            if state.token.is_none() {
                return Err(NextError::Stopped);
            }
            if let Some(parcel) = state.waiting.pop_front() {
                state.out += 1;
                state.show();
                drop(state);
                return Ok(parcel.open());
            }
        }
    }

    /// Waits for an event and hands it over: it counts as taken.
    pub(crate) fn next(&self, timeout: Option<Duration>) -> Result<Delivery, NextError> {
        let delivery = self.take(timeout)?;
        self.acknowledge(delivery.ticket, true);
        Ok(delivery)
    }

    pub(crate) fn acknowledge(&self, ticket: Ticket, taken: bool) {
        let mut state = self.state.lock();
        state.out -= 1;
        state.acks.push(Ack { ticket, taken });
        // Not at each event: a host that empties a long backlog would wake the scanning thread every time.
        let low = state.waiting.len() <= self.capacity / 2;
        if low || !taken || state.ack_wanted || state.acks.len() >= self.capacity {
            self.bell.ring();
        }
    }

    /// The descriptor that is readable exactly while an event waits; made when it is first asked for.
    pub(crate) fn readable(&self) -> std::io::Result<Arc<UnixStream>> {
        let mut state = self.state.lock();
        let up = !state.waiting.is_empty() || state.token.is_none();
        if state.readable.is_none() {
            state.readable = Some(Readable::new(up)?);
        }
        Ok(state.readable.as_ref().expect("BUG: just made").outside())
    }
}

impl Parcel {
    /// The event, decoded on the host's thread. Its latency is that of the delivery, so it is only known now.
    fn open(self) -> Delivery {
        let latency = self.changed.map(|changed| {
            let changed = changed.since_1970().and_then(|since| UNIX_EPOCH.checked_add(since));
            // A file from the future, or a clock that was set back: as good as no time at all.
            changed.map(|changed| SystemTime::now().duration_since(changed).unwrap_or_default())
        });
        Delivery { ticket: self.ticket, event: self.news.event(latency.flatten()) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::config::Settings;
    use crate::listing::Listing;
    use crate::reconcile::Reconciler;

    #[test]
    fn regression_a_wake_up_that_the_system_refused_comes_with_the_next_round() {
        let (bell, _ear) = Bell::new();
        let channel = Channel::new(4, bell);
        let readable = channel.readable().unwrap();
        channel.state.lock().readable.as_mut().unwrap().clog();
        let now = Instant::now();
        let mut core = Reconciler::new(now, &Settings::default());
        core.handle_listing(now, now, &Listing::default());
        assert_eq!(core.poll_read(now), None);
        channel.offer(core.poll_event(true).expect("synced"));
        // Whatever stood in the way is gone, and nothing is left to wake anybody.
        let mut buffer = vec![0; 1 << 20];
        while (&*readable).read(&mut buffer).is_ok() {}
        channel.take_acks();
        assert_eq!((&*readable).read(&mut buffer).unwrap(), 1);
    }
}
