//! A host that remembers what it took, and objects to everything that is not news.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use handoff_watcher::{HandoffEvent, HandoffPayload, RemovedReason};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

/// How many events are remembered by name.
const HEARD: usize = 10_000;

/// A pool and a replica.
pub(crate) type Key = (String, String);
/// The payload of each replica, and the file that says so.
pub(crate) type Held = BTreeMap<Key, (HandoffPayload, PathBuf)>;
/// The winner and the losers of each replica that several files claim.
pub(crate) type Contests = BTreeMap<Key, (PathBuf, Vec<PathBuf>)>;

/// What a host holds.
#[derive(Debug)]
pub(crate) struct Witness {
    pub(crate) held: Held,
    /// What was told of each contested replica last; only where there are digests.
    pub(crate) contests: Contests,
    pub(crate) heard: Vec<String>,
    pub(crate) events: u64,
    pub(crate) available: bool,
    pub(crate) synced: bool,
    /// What it objects to.
    pub(crate) objections: Vec<String>,
    /// Whether a file may ever be told as removed.
    pub(crate) removable: fn(&Path) -> bool,
    /// The directory is there at all times, and can be listed.
    pub(crate) steady: bool,
    /// Every payload must carry the digest of itself, and the serials of each file only grow.
    pub(crate) digests: bool,
    /// Payloads that do not, each with its file and what is to be said of it.
    pub(crate) mixtures: Vec<(PathBuf, u64, String)>,
    /// Each file that was taken as removed, and when that was handed over; only kept where there are digests.
    pub(crate) removals: Vec<(PathBuf, Duration)>,
    /// When the last event was handed over.
    asked: Duration,
    /// The greatest serial of each file that was handed over.
    serials: BTreeMap<PathBuf, u64>,
    /// The bad contents that were taken, as far as an error names them.
    bad: BTreeSet<(PathBuf, u64)>,
}

impl Default for Witness {
    fn default() -> Self {
        Self {
            held: BTreeMap::new(),
            contests: BTreeMap::new(),
            heard: Vec::new(),
            events: 0,
            available: true,
            synced: false,
            objections: Vec::new(),
            removable: |_| true,
            steady: false,
            digests: false,
            mixtures: Vec::new(),
            removals: Vec::new(),
            asked: Duration::ZERO,
            serials: BTreeMap::new(),
            bad: BTreeSet::new(),
        }
    }
}

impl Witness {
    /// Objects to an event, whether or not it is going to be taken.
    pub(crate) fn examine(&mut self, event: &HandoffEvent) {
        self.asked = monotonic();
        let objection =
            self.objection(event).or_else(|| self.comes_back(event).then_some("an older version came back"));
        if let Some(objection) = objection {
            let tail = self.heard.len().saturating_sub(10);
            self.objections.push(format!("{objection}: {event:?}\nafter {:#?}", &self.heard[tail..]));
        }
        let mixed = event.payload().filter(|payload| self.digests && !vouches(payload));
        if let Some((payload, file)) = mixed.zip(event.file()) {
            self.mixtures.push((file.to_owned(), fingerprint(payload), format!("made up: {event:?}")));
        }
    }

    fn objection(&self, event: &HandoffEvent) -> Option<&'static str> {
        let held = key(event).and_then(|key| self.held.get(&key));
        match event {
            HandoffEvent::Ready { .. } => held.map(|_| "ready, but held"),
            HandoffEvent::Updated { file, payload, previous, .. } => match held {
                None => Some("updated, but not held"),
                Some((before, _)) if *before != **previous => Some("another previous one is held"),
                Some((before, from)) => (before == payload && from == file).then_some("told twice"),
            },
            HandoffEvent::Removed { file, payload, reason, .. } => match held {
                None => Some("removed, but not held"),
                Some((before, from)) if before != payload || from != file => Some("another one is held"),
                Some(_) => {
                    let gone = *reason == RemovedReason::FileRemoved;
                    // Those with digests speak of one replica for good, and are ready.
                    ((gone || self.digests) && !(gone && (self.removable)(file))).then_some("falsely removed")
                }
            },
            // The bad contents of a writer are different each time, and so are two contests with none between.
            HandoffEvent::Invalid { .. } => {
                named(event).is_some_and(|bad| self.bad.contains(&bad)).then_some("told twice")
            }
            HandoffEvent::Conflict { .. } => {
                contest(event).is_some_and(|(key, it)| self.contests.get(&key) == Some(&it)).then_some("told twice")
            }
            HandoffEvent::Unavailable { .. } if self.steady => Some("the directory was there"),
            HandoffEvent::Unavailable { .. } => (!self.available).then_some("told twice"),
            HandoffEvent::Available => self.available.then_some("told twice"),
            HandoffEvent::Synced => self.synced.then_some("told twice"),
            _ => None,
        }
    }

    /// Whether a file says what it said before something else. A mixture of two is not asked: its serial is anyone's.
    fn comes_back(&mut self, event: &HandoffEvent) -> bool {
        let (HandoffEvent::Ready { file, payload, .. } | HandoffEvent::Updated { file, payload, .. }) = event else {
            return false;
        };
        let Some(serial) = serial(payload).filter(|_| self.digests && vouches(payload)) else { return false };
        let greatest = self.serials.entry(file.clone()).or_default();
        *greatest = serial.max(*greatest);
        serial < *greatest
    }

    /// Takes it.
    pub(crate) fn take(&mut self, event: &HandoffEvent) {
        self.events += 1;
        if self.heard.len() >= HEARD {
            self.heard.drain(..HEARD / 2);
        }
        self.heard.push(super::short(event));
        match event {
            HandoffEvent::Ready { file, payload, .. } | HandoffEvent::Updated { file, payload, .. } => {
                self.held.extend(key(event).map(|key| (key, (payload.clone(), file.clone()))));
            }
            HandoffEvent::Removed { file, .. } => {
                if self.digests {
                    self.removals.push((file.clone(), self.asked));
                }
                key(event).and_then(|key| self.held.remove(&key));
            }
            HandoffEvent::Invalid { .. } if self.digests => self.bad.extend(named(event)),
            HandoffEvent::Conflict { .. } if self.digests => self.contests.extend(contest(event)),
            HandoffEvent::Unavailable { .. } => self.available = false,
            HandoffEvent::Available => self.available = true,
            HandoffEvent::Synced => self.synced = true,
            _ => {}
        }
    }

    /// What is held, as `replica=text`, sorted.
    pub(crate) fn holds(&self) -> Vec<String> {
        self.held.iter().map(|((_, replica), (payload, _))| format!("{replica}={}", text(payload))).collect()
    }

    #[track_caller]
    pub(crate) fn assert_innocent(&self) {
        assert!(self.objections.is_empty(), "{}", self.objections.join("\n"));
    }
}

/// A witness for several threads.
#[derive(Debug, Default)]
pub(crate) struct Shared(Mutex<Witness>);

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Witness> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn hear(&self, event: &HandoffEvent) {
        let mut witness = self.lock();
        witness.examine(event);
        witness.take(event);
    }
}

/// The time of a clock that all processes share.
pub(crate) fn monotonic() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn key(event: &HandoffEvent) -> Option<Key> {
    let payload = event.payload()?;
    Some((payload.pool_id.clone(), payload.replica_id.clone()))
}

fn contest(event: &HandoffEvent) -> Option<(Key, (PathBuf, Vec<PathBuf>))> {
    let HandoffEvent::Conflict { pool_id, replica_id, winner, losers, .. } = event else { return None };
    Some(((pool_id.clone(), replica_id.clone()), (winner.clone(), losers.clone())))
}

/// A bad content whose error ends with a number that no other one has.
fn named(event: &HandoffEvent) -> Option<(PathBuf, u64)> {
    let HandoffEvent::Invalid { file, error, .. } = event else { return None };
    let text = error.to_string();
    let (_, number) = text.rsplit_once("found ")?;
    Some((file.clone(), number.parse().ok()?))
}

/// What makes a version another one: the path of its URL.
pub(crate) fn text(payload: &HandoffPayload) -> &str {
    payload.url.rsplit('/').next().unwrap_or_default()
}

/// A document that carries the digest of itself. All those with a `pad` of one length are of one length.
pub(crate) fn vouched(replica: &str, serial: u64, pad: usize) -> String {
    // Different throughout: a mixture of two is neither.
    let letter = |place: usize| char::from(b'a' + ((serial as usize).wrapping_mul(7) + place / 16) as u8 % 26);
    let pad: String = (0..pad).map(letter).collect();
    let digest = digest(replica, serial, &pad);
    let url = format!("http://127.0.0.1/{serial:012}");
    format!(
        r#"{{"digest":"{digest:016x}","pool_id":"pool","replica_id":"{replica}","url":"{url}","pad":"{pad}","serial":"{serial:012}"}}"#
    )
}

fn digest(replica: &str, serial: u64, pad: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    for part in [replica.as_bytes(), &serial.to_le_bytes(), pad.as_bytes()] {
        hasher.write(part);
        hasher.write_u8(0xff);
    }
    hasher.finish()
}

/// A number for exactly this payload.
pub(crate) fn fingerprint(payload: &HandoffPayload) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(format!("{payload:?}").as_bytes());
    hasher.finish()
}

fn extra<'a>(payload: &'a HandoffPayload, name: &str) -> &'a str {
    payload.extra.get(name).and_then(|value| value.as_str()).unwrap_or_default()
}

fn serial(payload: &HandoffPayload) -> Option<u64> {
    extra(payload, "serial").parse().ok()
}

/// Whether it is whole: nothing of it is of another version.
pub(crate) fn vouches(payload: &HandoffPayload) -> bool {
    let Some(serial) = serial(payload) else { return false };
    let extra = |name| extra(payload, name);
    text(payload) == format!("{serial:012}")
        && json!(extra("digest")) == json!(format!("{:016x}", digest(&payload.replica_id, serial, extra("pad"))))
}
