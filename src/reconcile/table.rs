//! [pure] Every file and every replica that the core knows, each under an id that costs a number to copy and to compare.
//!
//! An id is never that of another one, also when its place is used again: whatever still speaks of one that is gone, an
//! event on its way for example, finds nothing.

use std::collections::HashMap;

use slotmap::{SlotMap, new_key_type};

use super::file::File;
use super::replica::Replica;
use crate::listing::Entry;
use crate::replica::ReplicaKey;

new_key_type! {
    /// Names a file.
    pub(crate) struct FileId;
    /// Names a replica.
    pub(crate) struct ReplicaId;
}

/// The files, sorted by name.
#[derive(Debug, Default)]
pub(super) struct Files {
    files: SlotMap<FileId, File>,
    order: Vec<FileId>,
}

impl Files {
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    pub(super) fn get(&self, id: FileId) -> Option<&File> {
        self.files.get(id)
    }

    pub(super) fn get_mut(&mut self, id: FileId) -> Option<&mut File> {
        self.files.get_mut(id)
    }

    /// Its place in the order is given back by the next [`walk`](Self::walk) or [`add`](Self::add).
    pub(super) fn remove(&mut self, id: FileId) -> Option<File> {
        self.files.remove(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (FileId, &File)> {
        self.order.iter().filter_map(|id| Some((*id, self.files.get(*id)?)))
    }

    /// Walks along all files and a listing, both sorted by name: each known file with what is listed of it, and each name
    /// that is listed and not known, for which `create` makes a file; gives the ids of those. Where no name comes or goes,
    /// nothing is allocated.
    pub(super) fn walk(
        &mut self,
        entries: &[Entry],
        mut known: impl FnMut(FileId, &mut File, Option<&Entry>),
        create: impl FnMut(&Entry) -> File,
    ) -> Vec<FileId> {
        self.forget_removed();
        let mut created: Vec<(usize, &Entry)> = Vec::new();
        let mut entries = entries.iter().peekable();
        for (place, id) in self.order.iter().enumerate() {
            let Some(file) = self.files.get_mut(*id) else { continue };
            // In nearly all polls the two sides share all their names.
            let same = entries.next_if(|entry| entry.name.is_shared_with(&file.name)).or_else(|| {
                while let Some(entry) = entries.next_if(|entry| entry.name < file.name) {
                    created.push((place, entry));
                }
                entries.next_if(|entry| entry.name == file.name)
            });
            known(*id, file, same);
        }
        created.extend(entries.map(|entry| (self.order.len(), entry)));
        self.insert(created, create)
    }

    /// Makes a file with `create` for each of these names, sorted, that is not known; gives the ids of those.
    pub(super) fn add(&mut self, entries: &[&Entry], create: impl FnMut(&Entry) -> File) -> Vec<FileId> {
        self.forget_removed();
        let name = |id: &FileId| self.files.get(*id).map(|file| &file.name);
        let place = |entry: &Entry| self.order.binary_search_by(|id| name(id).cmp(&Some(&entry.name))).err();
        let created = entries.iter().filter_map(|entry| Some((place(entry)?, *entry))).collect();
        self.insert(created, create)
    }

    fn forget_removed(&mut self) {
        if self.order.len() > self.files.len() {
            let files = &self.files;
            self.order.retain(|id| files.contains_key(*id));
        }
    }

    /// Makes a file for each of these, at its place in the order; gives their ids.
    fn insert(&mut self, created: Vec<(usize, &Entry)>, mut create: impl FnMut(&Entry) -> File) -> Vec<FileId> {
        if created.is_empty() {
            return Vec::new();
        }
        self.files.reserve(created.len());
        let mut order = Vec::with_capacity(self.order.len() + created.len());
        let mut ids = Vec::with_capacity(created.len());
        let mut begin = 0;
        for (place, entry) in created {
            order.extend_from_slice(&self.order[begin..place]);
            begin = place;
            let id = self.files.insert(create(entry));
            order.push(id);
            ids.push(id);
        }
        order.extend_from_slice(&self.order[begin..]);
        self.order = order;
        ids
    }
}

/// The replicas, by their ids and by what the handoffs call them.
#[derive(Debug, Default)]
pub(super) struct Replicas {
    replicas: SlotMap<ReplicaId, Replica>,
    ids: HashMap<ReplicaKey, ReplicaId>,
}

impl Replicas {
    #[cfg(any(test, fuzzing))]
    pub(super) fn len(&self) -> usize {
        self.replicas.len()
    }

    pub(super) fn get(&self, id: ReplicaId) -> Option<&Replica> {
        self.replicas.get(id)
    }

    pub(super) fn get_mut(&mut self, id: ReplicaId) -> Option<&mut Replica> {
        self.replicas.get_mut(id)
    }

    /// Makes room for so many more, and no more than that.
    pub(super) fn reserve(&mut self, count: usize) {
        self.replicas.reserve(count);
        self.ids.reserve(count);
    }

    pub(super) fn find(&self, key: &ReplicaKey) -> Option<ReplicaId> {
        self.ids.get(key).copied()
    }

    pub(super) fn find_or_create(&mut self, key: &ReplicaKey) -> ReplicaId {
        if let Some(id) = self.find(key) {
            return id;
        }
        let id = self.replicas.insert(Replica::new(key.clone()));
        self.ids.insert(key.clone(), id);
        id
    }

    /// Keeps the same name as part of another handoff.
    pub(super) fn rename(&mut self, id: ReplicaId, key: ReplicaKey) {
        if let Some(replica) = self.replicas.get_mut(id).filter(|replica| !replica.key.0.is_shared_with(&key.0)) {
            self.ids.remove(&key);
            self.ids.insert(key.clone(), id);
            replica.key = key;
        }
    }

    pub(super) fn remove(&mut self, id: ReplicaId) -> Option<Replica> {
        let replica = self.replicas.remove(id)?;
        self.ids.remove(&replica.key);
        Some(replica)
    }

    #[cfg(test)]
    pub(super) fn ids(&self) -> impl Iterator<Item = (&ReplicaKey, &ReplicaId)> {
        self.ids.iter()
    }

    /// In the order of their places.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ReplicaId, &Replica)> {
        self.replicas.iter()
    }
}
