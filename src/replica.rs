//! [pure] What a handoff is about: the pair (`pool_id`, `replica_id`), as a key that costs one pointer.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::sync::Arc;

use crate::payload::Handoff;

/// The key of a replica: any handoff that speaks of it. Ordered by pool, then replica.
#[derive(Clone, Debug)]
pub(crate) struct ReplicaKey(pub(crate) Arc<Handoff>);

/// What a key can be looked up by: another key, or a borrowed pair of ids.
pub(crate) trait ReplicaIds {
    fn ids(&self) -> (&str, &str);
}

impl ReplicaIds for ReplicaKey {
    fn ids(&self) -> (&str, &str) {
        (self.0.pool_id(), self.0.replica_id())
    }
}

impl ReplicaIds for (&str, &str) {
    fn ids(&self) -> (&str, &str) {
        *self
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
        self.ids() == other.ids()
    }
}

impl Eq for ReplicaKey {}

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
