//! [pure] The names that a directory was seen to hold: interned, sorted, each once.
//!
//! In: the raw names of one listing, in the order of the directory. Out: the known names, sorted by their bytes. A name
//! that was known before keeps its `Arc`. A directory lists its names in much the same order each time, so each is
//! compared with the one that is expected there: a listing with the same names as the last one costs one comparison of
//! memory and no allocation, and one in which a few came or went has only those looked for and sorted in.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::listing::FileName;

/// How far behind the name that was expected the one that came is looked for: so many that went are passed over.
const PASSED_OVER: usize = 64;

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
    /// The last listing that was complete, in its order: the places of its names in `known`.
    last: Vec<u32>,
    /// Of the listing under way: which name of `last` is expected now.
    expected: usize,
    /// The listing under way, once it differs from the last one.
    differs: Option<Differs>,
    /// The names that came with the last listing; none with the very first.
    arrivals: Vec<FileName>,
}

/// A listing that is not the same as the last one.
#[derive(Debug, Default)]
struct Differs {
    /// As `last`. The names that are not known have their places behind all that are, in the order in which they came.
    places: Vec<u32>,
    /// Those, one after the other, each with a NUL behind it: no name has one inside.
    raw: Vec<u8>,
    count: usize,
}

impl Names {
    /// Begins a listing. One that is never finished changes nothing.
    pub(super) fn start(&mut self) {
        self.expected = 0;
        self.differs = None;
        self.arrivals = Vec::new();
    }

    /// Adds a name to the listing under way, in whatever order and as often as the directory says.
    pub(super) fn push(&mut self, name: &[u8]) {
        let expected = self.last.get(self.expected).copied();
        if let Some(place) = expected.filter(|place| self.known[*place as usize].name.as_bytes() == name) {
            self.expected += 1;
            if let Some(differs) = &mut self.differs {
                differs.places.push(place);
            }
            return;
        }
        let known = self.known.binary_search_by(|known| known.name.as_bytes().cmp(name));
        let count = self.known.len();
        let differs = self.differs.get_or_insert_with(|| Differs::from(&self.last[..self.expected]));
        let place = match known {
            Ok(place) => {
                let place = place as u32;
                let ahead = &self.last[self.expected..];
                if let Some(at) = ahead.iter().take(PASSED_OVER).position(|other| *other == place) {
                    self.expected += at + 1;
                }
                place
            }
            Err(_) => {
                differs.raw.extend_from_slice(name);
                differs.raw.push(0);
                differs.count += 1;
                (count + differs.count - 1) as u32
            }
        };
        differs.places.push(place);
    }

    /// Ends the listing: it was complete.
    pub(super) fn finish(&mut self) {
        let Differs { mut places, raw, count } = match self.differs.take() {
            Some(differs) => differs,
            // The common case of a directory that is listed again: then `listed` also stands as it is.
            None if self.expected == self.last.len() => return,
            None => Differs::from(&self.last[..self.expected]),
        };
        if count > 0 {
            let moved = self.add(&raw, count);
            places.iter_mut().for_each(|place| *place = moved[*place as usize]);
        }
        places.shrink_to_fit();
        self.last = places;
        self.known.iter_mut().for_each(|known| known.listed = false);
        for place in &self.last {
            self.known[*place as usize].listed = true;
        }
        self.unlisted = self.known.iter().filter(|known| !known.listed).count();
    }

    /// Adds names that are not known, each with a NUL behind it. Gives the new places of all: of those that were known, and
    /// behind them of these.
    fn add(&mut self, raw: &[u8], count: usize) -> Vec<u32> {
        let mut names: Vec<(&[u8], usize)> = Vec::with_capacity(count);
        names.extend(raw.split(|&byte| byte == 0).filter(|name| !name.is_empty()).zip(self.known.len()..));
        names.sort_unstable();
        let mut moved = vec![0; self.known.len() + count];
        let mut merged: Vec<Known> = Vec::with_capacity(moved.len());
        let is_first = self.known.is_empty();
        let mut known = std::mem::take(&mut self.known).into_iter().zip(0..).peekable();
        for (name, before) in names {
            while let Some((other, before)) = known.next_if(|(known, _)| known.name.as_bytes() < name) {
                moved[before] = merged.len() as u32;
                merged.push(other);
            }
            // A directory may show a name twice when it is renamed while being listed.
            if merged.last().is_none_or(|last| last.name.as_bytes() != name) {
                let name = FileName::from(OsStr::from_bytes(name));
                if !is_first {
                    self.arrivals.push(name.clone());
                }
                merged.push(Known { name, listed: true, absent: false });
            }
            moved[before] = merged.len() as u32 - 1;
        }
        for (other, before) in known {
            moved[before] = merged.len() as u32;
            merged.push(other);
        }
        merged.shrink_to_fit();
        self.known = merged;
        moved
    }

    /// The names that came with the last listing, sorted. None where none was known before: nothing is to be told of them
    /// that would have to wait for the others.
    pub(super) fn take_arrivals(&mut self) -> Vec<FileName> {
        std::mem::take(&mut self.arrivals)
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
        let mut stay = 0;
        let moved: Vec<u32> = self
            .known
            .iter()
            .map(|known| {
                stay += u32::from(known.stays(quiet));
                // Of one that does not stay nobody asks: it is not in the last listing.
                stay.wrapping_sub(1)
            })
            .collect();
        self.known.retain(|known| known.stays(quiet));
        fit(&mut self.known);
        self.last.iter_mut().for_each(|place| *place = moved[*place as usize]);
        self.unlisted = self.known.iter().filter(|known| !known.listed).count();
    }
}

impl From<&[u32]> for Differs {
    /// It begins with the same names as the last one.
    fn from(places: &[u32]) -> Self {
        Self { places: places.to_vec(), ..Self::default() }
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
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::collection::{btree_set, vec};
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

    /// One round: names, whether they are a listing of their own or come into the last one, and what of that goes.
    type Round = (Vec<u8>, bool, BTreeSet<u8>, BTreeSet<u8>, bool);

    fn round() -> impl Strategy<Value = Round> {
        let names = prop_oneof![vec(any::<u8>(), 0..4), vec(any::<u8>(), 0..300)];
        let gone = || prop_oneof![btree_set(any::<u8>(), 0..4), btree_set(any::<u8>(), 0..200)];
        (names, prop::bool::weighted(0.3), gone(), gone(), any::<bool>())
    }

    proptest! {
        /// Any listings, with names that come twice, against a set: what they show, and what was not yet known to be gone.
        #[test]
        fn are_those_of_the_last_listing_and_those_that_may_still_be_there(rounds in vec(round(), 1..12)) {
            let mut names = Names::default();
            let mut model: BTreeMap<u8, bool> = BTreeMap::new();
            let mut listed: Vec<u8> = Vec::new();
            for (more, is_new, gone, absent, quiet) in rounds {
                if is_new {
                    listed.clear();
                }
                listed.retain(|name| !gone.contains(name));
                for name in more {
                    listed.insert(usize::from(name) % (listed.len() + 1), name);
                }
                let texts: Vec<String> = listed.iter().map(|name| format!("{name:03}")).collect();
                names.start();
                texts.iter().rev().take(usize::from(quiet) * 100).for_each(|name| names.push(name.as_bytes()));
                for _ in 0..2 {
                    let shown = list(&mut names, &texts.iter().map(String::as_str).collect::<Vec<_>>());
                    model.values_mut().for_each(|is_listed| *is_listed = false);
                    model.extend(listed.iter().map(|name| (*name, true)));
                    let expected: Vec<_> =
                        model.iter().map(|(name, is_listed)| (format!("{name:03}"), *is_listed)).collect();
                    prop_assert_eq!(&shown, &expected);
                    prop_assert_eq!(names.has_unlisted(), model.values().any(|is_listed| !is_listed));
                    let last: Vec<&str> =
                        names.last.iter().map(|place| names.known[*place as usize].name.to_str().unwrap()).collect();
                    prop_assert_eq!(&last, &texts);
                }
                for (known, name) in names.known_mut().iter_mut().zip(model.keys()) {
                    known.absent = absent.contains(name);
                }
                names.forget(quiet);
                model.retain(|name, is_listed| *is_listed || !(quiet || absent.contains(name)));
                prop_assert_eq!(names.known().len(), model.len());
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
        assert!(names.last.capacity() < 1000 && names.differs.is_none());
    }
}
