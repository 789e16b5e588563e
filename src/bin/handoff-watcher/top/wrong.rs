//! [pure] What is wrong, for as long as it is: no event tells that it is over.

use std::collections::BTreeMap;
use std::iter::once;
use std::path::{Path, PathBuf};

use handoff_watcher::{Error, ErrorKind, Stats};

use crate::render;

/// So many scans later, at least one has begun and ended since.
const ENOUGH: u64 = 2;

/// What a file says, looked at by itself.
pub(crate) enum Says {
    Gone,
    /// It is a handoff of this pool and replica.
    Of(String, String),
    /// It is none, or cannot be read: if it ever was one, that is still in force.
    Nothing,
}

/// Bad files, and replicas that more than one file claims.
#[derive(Default)]
pub(crate) struct Wrongs {
    invalid: BTreeMap<PathBuf, Wrong>,
    conflicts: BTreeMap<(String, String), Wrong>,
    /// The count of scans after which all of it was looked at.
    looked: Option<u64>,
}

struct Wrong {
    text: String,
    /// Whose contents are what is wrong; none where it is something else about the file.
    files: Vec<PathBuf>,
    /// The count of scans when it first seemed to be over.
    doubted: Option<u64>,
}

impl Wrongs {
    pub(crate) fn conflict(&mut self, replica: (String, String), winner: &Path, losers: &[PathBuf]) {
        let text = format!("{}  {}", render::replica(&replica.0, &replica.1), render::claims(winner, losers));
        let files = once(winner).chain(losers.iter().map(PathBuf::as_path)).map(Path::to_owned).collect();
        self.looked = None;
        self.conflicts.insert(replica, Wrong { text, files, doubted: None });
    }

    pub(crate) fn invalid(&mut self, file: &Path, error: &Error) {
        let is_content = !matches!(error.kind(), ErrorKind::Stale | ErrorKind::Untrusted);
        let files = is_content.then(|| file.to_owned()).into_iter().collect();
        self.looked = None;
        self.invalid.insert(file.to_owned(), Wrong { text: render::reason(file, error), files, doubted: None });
    }

    /// A file that something else is told of is likely to be right. Not certain: what it said before may be told again.
    pub(crate) fn doubt(&mut self, file: &Path, scans: u64) {
        if let Some(wrong) = self.invalid.get_mut(file) {
            self.looked = None;
            wrong.doubted = Some(scans.saturating_sub(ENOUGH));
        }
    }

    /// Looks whether it still is so. What seems to be over goes when two more scans have found the directory as it is: one that
    /// is away for a moment, and figures that are older than an event, prove nothing.
    pub(crate) fn forget(&mut self, stats: &Stats, says: impl Fn(&Path) -> Says) {
        let scans = stats.scans;
        if self.looked.replace(scans) == Some(scans) {
            return;
        }
        let (bad, shown) = (stats.invalid_files, self.invalid.len());
        self.invalid.retain(|file, wrong| {
            let holds = match says(file) {
                Says::Gone => false,
                // Put right by the content that is in force, if the figures agree.
                Says::Of(..) if bad < shown && !wrong.files.is_empty() => false,
                Says::Of(..) | Says::Nothing => bad > 0,
            };
            wrong.stays(holds, scans)
        });
        self.conflicts.retain(|(pool, replica), wrong| {
            let claims = |file: &&PathBuf| match says(file) {
                Says::Gone => false,
                Says::Of(of_pool, of_replica) => (&of_pool, &of_replica) == (pool, replica),
                Says::Nothing => true,
            };
            let holds = wrong.files.iter().filter(claims).count() > 1;
            wrong.stays(holds, scans)
        });
    }

    /// Titles and texts.
    pub(crate) fn told(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let conflicts = self.conflicts.values().map(|wrong| ("conflict", wrong.text.as_str()));
        conflicts.chain(self.invalid.values().map(|wrong| ("invalid", wrong.text.as_str())))
    }
}

impl Wrong {
    fn stays(&mut self, holds: bool, scans: u64) -> bool {
        if holds {
            self.doubted = None;
            return true;
        }
        scans < *self.doubted.get_or_insert(scans) + ENOUGH
    }
}

#[cfg(test)]
mod tests {
    use handoff_watcher::HandoffPayload;

    use super::*;

    const BOTH: [&str; 2] = ["/bad0", "/bad1"];
    const MOVED: fn() -> Says = || Says::Of("p".into(), "other".into());

    /// Two bad files, and two that claim one replica.
    fn troubled() -> (Wrongs, Stats) {
        let (mut wrongs, mut stats) = (Wrongs::default(), Stats::default());
        for file in BOTH {
            wrongs.invalid(Path::new(file), &HandoffPayload::parse(b"").unwrap_err());
        }
        wrongs.conflict(("p".into(), "r".into()), Path::new("/b"), &["/a".into()]);
        stats.invalid_files = 2;
        (wrongs, stats)
    }

    /// A file, and what it says now.
    type Change = (&'static str, fn() -> Says);

    /// What is still shown after so many scans of files that say something else now.
    fn after((wrongs, stats): &mut (Wrongs, Stats), scans: u64, changed: &[Change]) -> (Vec<PathBuf>, usize) {
        for _ in 0..scans {
            stats.scans += 1;
            wrongs.forget(stats, |file| match changed.iter().find(|(name, _)| Path::new(name) == file) {
                Some((_, says)) => says(),
                None if BOTH.iter().any(|bad| Path::new(bad) == file) => Says::Nothing,
                None => Says::Of("p".into(), "r".into()),
            });
        }
        (wrongs.invalid.keys().cloned().collect(), wrongs.conflicts.len())
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let mut it = troubled();
        assert_eq!(after(&mut it, 9, &[]), (BOTH.map(PathBuf::from).to_vec(), 1));
        assert_eq!(after(&mut it, 3, &[("/bad0", || Says::Gone), ("/a", || Says::Gone)]), (vec!["/bad1".into()], 0));
    }

    #[test]
    fn regression_a_conflict_ends_when_a_file_speaks_of_another_replica() {
        let mut it = troubled();
        assert_eq!(after(&mut it, 3, &[("/b", MOVED)]).1, 0);
        // One that is broken is still in force as it was.
        let mut it = troubled();
        assert_eq!(after(&mut it, 9, &[("/b", || Says::Nothing)]).1, 1);
    }

    #[test]
    fn regression_a_directory_that_is_away_proves_nothing() {
        let mut it = troubled();
        let away: [Change; 4] = ["/bad0", "/bad1", "/a", "/b"].map(|file| (file, (|| Says::Gone) as _));
        for _ in 0..9 {
            // No scan ends meanwhile, but for the one that was under way.
            it.0.looked = None;
            assert_eq!(after(&mut it, 1, &away).1, 1);
            it.1.scans -= 1;
        }
        assert_eq!(after(&mut it, 9, &[]), (BOTH.map(PathBuf::from).to_vec(), 1));
    }

    #[test]
    fn regression_one_of_two_bad_files_is_put_right_by_what_is_in_force() {
        let mut it = troubled();
        // Read anew, it is right; that it was bad and still is counted says nothing of the other.
        assert_eq!(after(&mut it, 9, &[("/bad0", MOVED)]).0, BOTH.map(PathBuf::from));
        it.1.invalid_files = 1;
        assert_eq!(after(&mut it, 3, &[("/bad0", MOVED)]).0, [PathBuf::from("/bad1")]);
        it.1.invalid_files = 0;
        assert_eq!(after(&mut it, 1, &[]).0, [PathBuf::from("/bad1")], "the figures may be older than the event");
        assert!(after(&mut it, 2, &[]).0.is_empty());
    }

    #[test]
    fn regression_a_bad_file_stays_bad_when_what_it_said_before_is_told_again() {
        let mut it = troubled();
        let doubt = |(wrongs, stats): &mut (Wrongs, Stats)| wrongs.doubt(Path::new("/bad0"), stats.scans);
        it.1.scans = 9;
        doubt(&mut it);
        assert_eq!(after(&mut it, 9, &[]).0, BOTH.map(PathBuf::from));
        // And one that is right goes at once.
        doubt(&mut it);
        it.1.invalid_files = 1;
        assert_eq!(after(&mut it, 1, &[("/bad0", MOVED)]).0, [PathBuf::from("/bad1")]);
    }
}
