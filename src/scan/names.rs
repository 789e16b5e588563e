//! [pure] The names that a directory was seen to hold: interned, sorted, each once.
//!
//! In: the raw names of one listing, in the order of the directory. Out: the known names, sorted by their bytes. A name
//! that was known before keeps its `Arc`, and a listing with the same names as the last one costs one comparison of
//! memory: no sorting, no allocation.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::listing::FileName;

/// A name, and what the last looks at the directory said of it.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) name: FileName,
    /// The last listing showed it. A name that it did not show is not forgotten before the caller has asked for the
    /// file: see [`Names::forget`].
    pub(super) listed: bool,
    /// The name led nowhere when it was last looked at.
    pub(super) absent: bool,
}

/// The names of the directory.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: Vec<Known>,
    /// How many of them the last listing did not show.
    unlisted: usize,
    /// The names of the listing under way, one after the other, each with a NUL behind it: no name has one inside.
    /// Empty as long as they are those of the last listing.
    raw: Vec<u8>,
    /// The last listing that was complete: the places of its names in `known`. `None` where names were forgotten since.
    last: Option<Vec<u32>>,
    /// How much of `last` the listing under way has repeated; `None` once it differs.
    repeats: Option<usize>,
}

impl Names {
    /// Begins a listing. One that is never finished changes nothing.
    pub(super) fn start(&mut self) {
        self.raw.clear();
        self.repeats = Some(0);
    }

    /// Adds a name to the listing under way, in whatever order and as often as the directory says.
    pub(super) fn push(&mut self, name: &[u8]) {
        if let Some(at) = self.repeats {
            let place = self.last.as_ref().and_then(|last| last.get(at));
            if place.is_some_and(|place| self.known[*place as usize].name.as_bytes() == name) {
                self.repeats = Some(at + 1);
                return;
            }
            self.differs_from(at);
        }
        self.raw.extend_from_slice(name);
        self.raw.push(0);
    }

    /// Ends the listing: it was complete.
    pub(super) fn finish(&mut self) {
        if let Some(at) = self.repeats {
            // The common case of a directory that is listed again: then `listed` also stands as it is.
            if self.last.as_ref().is_some_and(|last| at == last.len()) {
                return;
            }
            self.differs_from(at);
        }
        // Each with its place in the listing.
        let names = self.raw.split(|&byte| byte == 0).filter(|name| !name.is_empty());
        let mut listed: Vec<(&[u8], u32)> = names.zip(0..).collect();
        listed.sort_unstable();
        let mut places = vec![0; listed.len()];

        let mut merged: Vec<Known> = Vec::with_capacity(listed.len());
        self.unlisted = 0;
        let mut known = std::mem::take(&mut self.known).into_iter().peekable();
        for (name, place) in listed {
            // A directory may show a name twice when it is renamed while being listed.
            if merged.last().is_some_and(|last| last.name.as_bytes() == name) {
                places[place as usize] = merged.len() as u32 - 1;
                continue;
            }
            while let Some(other) = known.next_if(|known| known.name.as_encoded_bytes() < name) {
                merged.push(Known { listed: false, ..other });
                self.unlisted += 1;
            }
            merged.push(match known.next_if(|known| known.name.as_encoded_bytes() == name) {
                Some(same) => Known { listed: true, ..same },
                None => Known { name: FileName::from(OsStr::from_bytes(name)), listed: true, absent: false },
            });
            places[place as usize] = merged.len() as u32 - 1;
        }
        for other in known {
            merged.push(Known { listed: false, ..other });
            self.unlisted += 1;
        }
        self.known = merged;
        self.known.shrink_to_fit();
        self.last = Some(places);
        // Names change rarely: what only their change needs is not kept.
        self.raw = Vec::new();
    }

    /// The listing under way is that of the last time up to there.
    fn differs_from(&mut self, at: usize) {
        self.repeats = None;
        for place in self.last.iter().flatten().take(at) {
            self.raw.extend_from_slice(self.known[*place as usize].name.as_bytes());
            self.raw.push(0);
        }
    }

    /// All known names, sorted by their bytes.
    pub(super) fn known(&self) -> &[Known] {
        &self.known
    }

    /// The same, to note what was found. Names must stay as they are.
    pub(super) fn known_mut(&mut self) -> &mut [Known] {
        &mut self.known
    }

    /// Whether there are names that the last listing did not show.
    pub(super) fn has_unlisted(&self) -> bool {
        self.unlisted > 0
    }

    /// Forgets those that the last listing did not show and that are gone: they lead nowhere, or `quiet` says that the
    /// listing can be taken at its word.
    pub(super) fn forget(&mut self, quiet: bool) {
        self.known.retain(|known| known.stays(quiet));
        self.last = None;
        self.unlisted = self.known.iter().filter(|known| !known.listed).count();
    }
}

impl Known {
    /// Whether [`Names::forget`] keeps it.
    pub(super) fn stays(&self, quiet: bool) -> bool {
        self.listed || !(self.absent || quiet)
    }
}

/// Gives back a buffer that has become much too large.
pub(super) fn fit<T>(buffer: &mut Vec<T>) {
    if buffer.capacity() / 4 > buffer.len() {
        buffer.shrink_to(buffer.len().max(64));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn list(names: &mut Names, listed: &[&str]) -> Vec<(String, bool)> {
        names.start();
        listed.iter().for_each(|name| names.push(name.as_bytes()));
        names.finish();
        names.known().iter().map(|known| (known.name.to_str().unwrap().to_owned(), known.listed)).collect()
    }

    fn all(names: &[&str]) -> Vec<(String, bool)> {
        names.iter().map(|name| ((*name).to_owned(), true)).collect()
    }

    #[test]
    fn are_sorted_and_each_once() {
        let mut names = Names::default();
        assert_eq!(list(&mut names, &[]), []);
        assert_eq!(list(&mut names, &["b", "a", "b", "ab", "a\n", "a"]), all(&["a", "a\n", "ab", "b"]));
    }

    #[test]
    fn keep_their_arcs_whatever_the_order() {
        let mut names = Names::default();
        list(&mut names, &["c", "a", "b"]);
        let before: Vec<FileName> = names.known().iter().map(|known| known.name.clone()).collect();
        for order in [["c", "a", "b"], ["a", "b", "c"]] {
            list(&mut names, &order);
            assert!(names.known().iter().zip(&before).all(|(known, name)| known.name.is_shared_with(name)));
        }
        assert_eq!(list(&mut names, &["d", "b", "0"]).len(), 5);
        assert!(names.known()[2].name.is_shared_with(&before[1]));
    }

    #[test]
    fn that_were_not_shown_are_forgotten_only_when_gone() {
        let mut names = Names::default();
        list(&mut names, &["a", "b", "c"]);
        let shown = list(&mut names, &["b"]);
        assert_eq!(shown, [("a".into(), false), ("b".into(), true), ("c".into(), false)]);
        assert!(names.has_unlisted());
        names.known_mut()[0].absent = true;
        names.known_mut()[1].absent = true;
        names.forget(false);
        let left: Vec<_> = names.known().iter().map(|known| known.name.to_str().unwrap()).collect();
        assert_eq!(left, ["b", "c"]);
        // The same listing again: `c` is still not shown, now by a directory that is quiet.
        list(&mut names, &["b"]);
        assert!(names.has_unlisted());
        names.forget(true);
        assert!(!names.has_unlisted());
        assert_eq!(names.known().len(), 1);
    }

    #[test]
    fn a_listing_that_broke_off_changes_nothing() {
        let mut names = Names::default();
        list(&mut names, &["a", "b"]);
        names.start();
        names.push(b"a");
        assert_eq!(list(&mut names, &["a", "b"]), all(&["a", "b"]));
        assert!(!names.has_unlisted());
    }

    proptest! {
        /// Any listings, with names that come twice, against a set: what they show, and what was not yet known to be gone.
        #[test]
        fn are_those_of_the_last_listing_and_those_that_may_still_be_there(
            rounds in vec((vec(0..6u8, 0..8), vec(any::<bool>(), 6), any::<bool>()), 1..12)
        ) {
            let mut names = Names::default();
            let mut model: BTreeMap<u8, bool> = BTreeMap::new();
            for (listed, absent, quiet) in rounds {
                for _ in 0..2 {
                    let texts: Vec<String> = listed.iter().map(u8::to_string).collect();
                    let shown = list(&mut names, &texts.iter().map(String::as_str).collect::<Vec<_>>());
                    model.values_mut().for_each(|is_listed| *is_listed = false);
                    model.extend(listed.iter().map(|name| (*name, true)));
                    let expected: Vec<_> = model.iter().map(|(name, is_listed)| (name.to_string(), *is_listed)).collect();
                    prop_assert_eq!(&shown, &expected);
                    prop_assert_eq!(names.has_unlisted(), model.values().any(|is_listed| !is_listed));
                }
                let is_absent = |name: &u8| absent[usize::from(*name)];
                for (known, name) in names.known_mut().iter_mut().zip(model.keys()) {
                    known.absent = is_absent(name);
                }
                names.forget(quiet);
                model.retain(|name, is_listed| *is_listed || !(quiet || is_absent(name)));
            }
        }
    }

    #[test]
    fn memory_follows_the_number_of_names() {
        let mut names = Names::default();
        let many: Vec<String> = (0..10_000).map(|i| format!("{i:05}.json")).collect();
        list(&mut names, &many.iter().map(String::as_str).collect::<Vec<_>>());
        list(&mut names, &["a"]);
        names.known_mut().iter_mut().for_each(|known| known.absent = true);
        names.forget(false);
        list(&mut names, &["b"]);
        assert!(names.known.capacity() < 1000, "{}", names.known.capacity());
        assert!(names.raw.capacity() + names.last.map_or(0, |last| last.capacity()) < 1000);
    }
}
