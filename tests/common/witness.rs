//! A host that remembers what it took, and objects to everything that is not news.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use handoff_watcher::{HandoffEvent, HandoffPayload, RemovedReason};
use serde_json::json;

/// How many events are remembered by name.
const HEARD: usize = 10_000;

/// What a host holds.
#[derive(Debug)]
pub(crate) struct Witness {
    pub(crate) held: BTreeMap<(String, String), (HandoffPayload, PathBuf)>,
    pub(crate) heard: Vec<String>,
    pub(crate) events: u64,
    pub(crate) available: bool,
    pub(crate) synced: bool,
    /// What it objects to.
    pub(crate) objections: Vec<String>,
    /// Whether a file may ever be told as removed.
    pub(crate) removable: fn(&Path) -> bool,
    /// Every payload must carry the digest of itself.
    pub(crate) digests: bool,
    /// Payloads that do not, each with its file and what is to be said of it.
    pub(crate) mixtures: Vec<(PathBuf, u64, String)>,
    /// How often each file was taken as removed; only counted where there are digests.
    pub(crate) removals: BTreeMap<PathBuf, u64>,
}

impl Default for Witness {
    fn default() -> Self {
        Self {
            held: BTreeMap::new(),
            heard: Vec::new(),
            events: 0,
            available: true,
            synced: false,
            objections: Vec::new(),
            removable: |_| true,
            digests: false,
            mixtures: Vec::new(),
            removals: BTreeMap::new(),
        }
    }
}

impl Witness {
    /// Objects to an event, whether or not it is going to be taken.
    pub(crate) fn examine(&mut self, event: &HandoffEvent) {
        if let Some(objection) = self.objection(event) {
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
            HandoffEvent::Unavailable { .. } => (!self.available).then_some("told twice"),
            HandoffEvent::Available => self.available.then_some("told twice"),
            HandoffEvent::Synced => self.synced.then_some("told twice"),
            _ => None,
        }
    }

    /// Takes it.
    pub(crate) fn take(&mut self, event: &HandoffEvent) {
        self.events += 1;
        if self.heard.len() < HEARD {
            self.heard.push(super::short(event));
        } else {
            let half = HEARD / 2;
            self.heard.drain(..half);
        }
        match event {
            HandoffEvent::Ready { file, payload, .. } | HandoffEvent::Updated { file, payload, .. } => {
                self.held.extend(key(event).map(|key| (key, (payload.clone(), file.clone()))));
            }
            HandoffEvent::Removed { file, .. } => {
                if self.digests {
                    *self.removals.entry(file.clone()).or_default() += 1;
                }
                key(event).and_then(|key| self.held.remove(&key));
            }
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

fn key(event: &HandoffEvent) -> Option<(String, String)> {
    let payload = event.payload()?;
    Some((payload.pool_id.clone(), payload.replica_id.clone()))
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

/// Whether it is whole: nothing of it is of another version.
pub(crate) fn vouches(payload: &HandoffPayload) -> bool {
    let extra = |name: &str| payload.extra.get(name).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
    let Ok(serial) = extra("serial").parse::<u64>() else { return false };
    text(payload) == format!("{serial:012}")
        && json!(extra("digest")) == json!(format!("{:016x}", digest(&payload.replica_id, serial, &extra("pad"))))
}
