//! [pure] What a handoff is about: the pair (`pool_id`, `replica_id`), as a key that costs one pointer.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use crate::payload::Handoff;

/// The key of a replica: any handoff that speaks of it. Ordered by pool, then replica.
#[derive(Clone, Debug)]
pub(crate) struct ReplicaKey(pub(crate) Handoff);

/// What a key can be looked up by: another key, or a borrowed pair of ids.
pub(crate) trait ReplicaIds {
    /// The bytes of pool and replica, which are in the same order as their texts.
    fn ids(&self) -> (&[u8], &[u8]);
}

impl ReplicaIds for ReplicaKey {
    fn ids(&self) -> (&[u8], &[u8]) {
        self.0.id_bytes()
    }
}

impl ReplicaIds for (&str, &str) {
    fn ids(&self) -> (&[u8], &[u8]) {
        (self.0.as_bytes(), self.1.as_bytes())
    }
}

impl<'a> Borrow<dyn ReplicaIds + 'a> for ReplicaKey {
    fn borrow(&self) -> &(dyn ReplicaIds + 'a) {
        self
    }
}

impl PartialEq for dyn ReplicaIds + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.ids() == other.ids()
    }
}

impl Eq for dyn ReplicaIds + '_ {}

impl PartialOrd for dyn ReplicaIds + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn ReplicaIds + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.ids().cmp(&other.ids())
    }
}

impl PartialEq for ReplicaKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.is_shared_with(&other.0) || self.ids() == other.ids()
    }
}

impl Eq for ReplicaKey {}

impl Hash for ReplicaKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.ids().hash(state);
    }
}

impl PartialOrd for ReplicaKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ReplicaKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.ids().cmp(&other.ids())
    }
}
