//! [fs] Takes an announcement away when the host has taken what it says, and never a newer one.
//!
//! In: a directory, a name in it, and a test of whether a file is still the version that was taken. Out: what became of it.
//!
//! A file cannot be deleted "if it is still this version" in one step. So it is renamed to a hidden name, where nobody
//! replaces it, and tested there: what is under its own name from then on is newer, and is not touched. If it is not the
//! version that was taken, it comes back. Where that cannot be told, it stays hidden and is tested again.
//!
//! A host that ends between the two steps leaves a hidden file behind. The next one brings it back: better told again than
//! lost.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::io::Errno;

use crate::directory::Directory;
use crate::hidden::{done_name, hidden_name, is_done, visible_name};
use crate::listing::Seen;

/// The buffer of a listing.
const LISTED_BYTES: usize = 32 * 1024;

/// What became of a file that was to be taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consumed {
    /// It is deleted.
    Deleted,
    /// There is another version by now, or nothing; nothing was deleted.
    Changed,
}

/// Why it is not known what became of it, or why it is still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) errno: Errno,
    /// Under this name it is left, for [`go_on`], or for [`bring_back`] by the next host.
    pub(crate) hidden: Option<OsString>,
}

impl From<Errno> for Failed {
    fn from(errno: Errno) -> Self {
        Self { errno, hidden: None }
    }
}

/// Deletes the file of that name if it is the version that was taken, by `is_taken`, which is asked for the file under the
/// name that it is given.
///
/// A symbolic link stays, and is ELOOP: what it leads to may be replaced behind it, where nothing is hidden.
///
/// # Errors
/// Whatever the system or `is_taken`, which follows no link, says: then it is not known which version it is. What is said
/// need not be true: neither that there is nothing, nor that it was not renamed.
pub(crate) fn consume(
    directory: &Directory,
    name: &OsStr,
    mut is_taken: impl FnMut(&OsStr) -> Result<bool, Errno>,
) -> Result<Consumed, Failed> {
    // A version that is known to be newer is not made to vanish, not even for a moment.
    match is_taken(name) {
        Ok(true) => {}
        Ok(false) | Err(Errno::NOENT) => return Ok(Consumed::Changed),
        Err(errno) => return Err(errno.into()),
    }
    let hidden = new_name();
    let renamed = directory.rename(name, &hidden);
    proceed(directory, renamed, hidden, name, is_taken)
}

/// It was renamed, as the system says; or was not, or all the same: the server of a network file system may have been asked
/// twice, and answer for the second time.
fn proceed(
    directory: &Directory,
    renamed: Result<(), Errno>,
    hidden: OsString,
    name: &OsStr,
    is_taken: impl FnOnce(&OsStr) -> Result<bool, Errno>,
) -> Result<Consumed, Failed> {
    match renamed {
        Err(errno) if has_gone(directory, &hidden, Errno::NOENT) => match errno {
            Errno::NOENT => Ok(Consumed::Changed),
            _ => Err(errno.into()),
        },
        _ => go_on(directory, hidden, Some(name), is_taken),
    }
}

/// Deletes what is hidden already, or brings it back if it is not the version that was taken; under its own name, if that is
/// given and free.
///
/// As long as it may be the version that was taken, it gets no other name where it is found: under that it would be news, and
/// newer than what has its own name by now.
///
/// # Errors
/// As for [`consume`].
pub(crate) fn go_on(
    directory: &Directory,
    hidden: OsString,
    name: Option<&OsStr>,
    is_taken: impl FnOnce(&OsStr) -> Result<bool, Errno>,
) -> Result<Consumed, Failed> {
    let taken = match is_taken(&hidden) {
        Err(Errno::LOOP) => Ok(false),
        taken => taken,
    };
    let outcome = match taken {
        Ok(true) => directory.remove(&hidden).map(|()| Consumed::Deleted),
        Ok(false) => Ok(Consumed::Changed),
        Err(errno) => Err(errno),
    };
    if outcome == Ok(Consumed::Deleted) || name.is_some_and(|name| directory.rename_new(&hidden, name) == Ok(true)) {
        return outcome.map_err(Failed::from);
    }
    let other = match taken {
        Ok(true) => done_name(&hidden),
        Ok(false) => visible_name(&hidden),
        Err(_) => None,
    };
    let (renamed, hidden) = match other {
        Some(other) => match directory.rename(&hidden, &other) {
            Ok(()) => (Ok(()), other),
            Err(errno) => (Err(errno), hidden),
        },
        None => (Ok(()), hidden),
    };
    match outcome.and_then(|outcome| renamed.map(|()| outcome)) {
        Err(errno) if has_gone(directory, &hidden, errno) => Ok(Consumed::Changed),
        outcome => outcome.map_err(|errno| Failed { errno, hidden: Some(hidden) }),
    }
}

/// Brings back what a host that has ended had hidden, and says how many files there were. Deletes what it only had to delete.
/// What is this host's own, it is for [`go_on`]. The descriptor has been listed then, and can be no more.
///
/// # Errors
/// Whatever the system says; some may have come back by then.
pub(crate) fn bring_back(directory: &Directory, is_own: impl Fn(&OsStr) -> bool) -> Result<usize, Errno> {
    let mut hidden = Vec::new();
    directory.each_name(&mut Vec::with_capacity(LISTED_BYTES), |name| {
        let name = OsStr::from_bytes(name);
        if visible_name(name).is_some() && !is_own(name) {
            hidden.push(name.to_owned());
        }
        true
    })?;
    let (mut count, mut failed) = (0, None);
    for name in hidden {
        let outcome = match visible_name(&name) {
            Some(visible) if !is_done(&name) => directory.rename(&name, &visible).map(|()| count += 1),
            _ => directory.remove(&name),
        };
        if let Err(errno) = outcome
            && !has_gone(directory, &name, errno)
        {
            failed = Some(errno);
        }
    }
    failed.map_or(Ok(count), Err)
}

/// Whose it was, was faster; unless the file system contradicts itself.
fn has_gone(directory: &Directory, name: &OsStr, errno: Errno) -> bool {
    errno == Errno::NOENT && matches!(directory.look_at(name, false), Ok(Seen::Vanished))
}

fn new_name() -> OsString {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    // In containers all hosts can have one process id, and the same one after each crash: hence the time.
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    hidden_name(std::process::id(), nanos, COUNTER.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn is(dir: &Path, text: &str) -> impl Fn(&OsStr) -> Result<bool, Errno> {
        move |name| Ok(fs::read_to_string(dir.join(name)).is_ok_and(|found| found == text))
    }

    fn try_it(dir: &Path, is_taken: impl FnMut(&OsStr) -> Result<bool, Errno>) -> Result<Consumed, Errno> {
        consume(&Directory::open(dir).unwrap(), OsStr::new("a.json"), is_taken).map_err(|failed| failed.errno)
    }

    fn bring_all_back(dir: &Path, is_own: impl Fn(&OsStr) -> bool) -> Result<usize, Errno> {
        bring_back(&Directory::open(dir).unwrap(), is_own)
    }

    #[test]
    fn what_was_taken_is_deleted_and_what_is_newer_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        assert_eq!(try_it(dir, is(dir, "old")), Ok(Consumed::Changed));
        fs::write(dir.join("a.json"), "new").unwrap();
        assert_eq!(try_it(dir, is(dir, "old")), Ok(Consumed::Changed));
        assert_eq!(names(dir), ["a.json"]);
        assert_eq!(try_it(dir, is(dir, "new")), Ok(Consumed::Deleted));
        assert_eq!(names(dir), [""; 0]);
    }

    /// A producer that comes between the first look and the second.
    #[test]
    fn a_version_that_is_written_meanwhile_survives() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let path = dir.join("a.json");
        let interfere = |act: &dyn Fn(&Path)| {
            fs::write(&path, "old").unwrap();
            let mut looks = 0;
            let outcome = try_it(dir, |name| {
                looks += 1;
                if looks == 2 {
                    act(&dir.join(name));
                }
                is(dir, "old")(name)
            });
            assert_eq!(looks, 2);
            outcome.unwrap()
        };
        // Through a descriptor from before: the hidden file is what it wrote.
        assert_eq!(interfere(&|hidden| fs::write(hidden, "in place").unwrap()), Consumed::Changed);
        assert_eq!(fs::read_to_string(&path).unwrap(), "in place");
        // Under the name: that is another file.
        assert_eq!(interfere(&|_| fs::write(&path, "next").unwrap()), Consumed::Deleted);
        assert_eq!(fs::read_to_string(&path).unwrap(), "next");
        // Both.
        let both = |hidden: &Path| {
            fs::write(hidden, "in place").unwrap();
            fs::write(&path, "next").unwrap();
        };
        assert_eq!(interfere(&both), Consumed::Changed);
        assert_eq!(fs::read_to_string(&path).unwrap(), "next");
        let names = names(dir);
        assert_eq!(names.len(), 2, "{names:?}");
        assert!(crate::listing::is_handoff_name(OsStr::new(&names[1])), "{names:?}");
        assert_eq!(fs::read_to_string(dir.join(&names[1])).unwrap(), "in place");
    }

    #[test]
    fn what_a_host_that_has_ended_had_hidden_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let hidden = new_name();
        assert!(!crate::listing::is_handoff_name(&hidden));
        fs::write(dir.join(&hidden), "old").unwrap();
        fs::write(dir.join(".handoff-1-2-3.tmp"), "of a producer").unwrap();
        assert_eq!(bring_all_back(dir, |_| false), Ok(1));
        let names = names(dir);
        assert_eq!(names.len(), 2, "{names:?}");
        assert_eq!(fs::read_to_string(dir.join(&names[1])).unwrap(), "old");
        assert!(crate::listing::is_handoff_name(OsStr::new(&names[1])), "{names:?}");
        assert_eq!(bring_all_back(dir, |_| false), Ok(0));
    }

    #[test]
    fn regression_what_cannot_be_read_again_is_no_other_version() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        fs::write(dir.join("a.json"), "old").unwrap();
        for readable in [0, 1] {
            let mut looks = 0;
            let fails = |name: &OsStr| {
                looks += 1;
                if looks > readable { Err(Errno::MFILE) } else { is(dir, "old")(name) }
            };
            assert_eq!(try_it(dir, fails), Err(Errno::MFILE));
            assert_eq!(names(dir), ["a.json"]);
        }
    }

    /// Under another name it was told again, after the newer version that has its own.
    #[test]
    fn regression_what_may_have_been_taken_does_not_come_back_beside_a_newer_version() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let path = dir.join("a.json");
        let directory = Directory::open(dir).unwrap();
        let hide = |errno| {
            fs::write(&path, "old").unwrap();
            let mut looks = 0;
            let failed = consume(&directory, OsStr::new("a.json"), |name| {
                looks += 1;
                if looks == 2 {
                    fs::write(&path, "next").unwrap();
                    return Err(errno);
                }
                is(dir, "old")(name)
            })
            .unwrap_err();
            assert_eq!(failed.errno, errno);
            failed.hidden.unwrap()
        };
        let go_on = |hidden: &OsString, is_taken: &dyn Fn(&OsStr) -> Result<bool, Errno>| {
            go_on(&directory, hidden.clone(), None, is_taken)
        };
        // What is there and cannot be found is not gone.
        let hidden = hide(Errno::NOENT);
        assert_eq!(go_on(&hidden, &|_| Err(Errno::NOENT)).unwrap_err().hidden.as_ref(), Some(&hidden));
        assert_eq!(go_on(&hidden, &is(dir, "old")), Ok(Consumed::Deleted));
        let hidden = hide(Errno::IO);
        assert_eq!(names(dir), [hidden.to_str().unwrap(), "a.json"]);
        // It is this host's, so it does not come back like that of another one.
        assert_eq!(bring_all_back(dir, |name| name == hidden), Ok(0));
        let failed = go_on(&hidden, &|_| Err(Errno::IO)).unwrap_err();
        assert_eq!(failed.hidden.as_ref(), Some(&hidden));
        assert_eq!(go_on(&hidden, &is(dir, "old")), Ok(Consumed::Deleted));
        assert_eq!(names(dir), ["a.json"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "next");
        // What had been written through a descriptor from before is news.
        let hidden = hide(Errno::IO);
        fs::write(dir.join(&hidden), "in place").unwrap();
        assert_eq!(go_on(&hidden, &is(dir, "old")), Ok(Consumed::Changed));
        let found = names(dir);
        assert_eq!(fs::read_to_string(dir.join(&found[1])).unwrap(), "in place", "{found:?}");
        assert!(crate::listing::is_handoff_name(OsStr::new(&found[1])), "{found:?}");
        // Another host brought it back.
        fs::remove_file(dir.join(&found[1])).unwrap();
        assert_eq!(go_on(&hidden, &|_| Err(Errno::NOENT)), Ok(Consumed::Changed));
    }

    /// To give a file a second name and take away the first one is not to rename it: what came between was deleted.
    #[test]
    fn regression_what_replaces_the_file_while_it_is_hidden_is_not_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        fs::write(dir.join("a.json"), "old").unwrap();
        let mut looks = 0;
        let outcome = try_it(dir, |name| {
            looks += 1;
            if looks == 1 {
                let taken = is(dir, "old")(name);
                fs::write(dir.join("new"), "newer").unwrap();
                fs::rename(dir.join("new"), dir.join(name)).unwrap();
                return taken;
            }
            is(dir, "old")(name)
        });
        assert_eq!((outcome, names(dir)), (Ok(Consumed::Changed), vec!["a.json".to_owned()]));
        assert_eq!(fs::read_to_string(dir.join("a.json")).unwrap(), "newer");
    }

    /// A directory in its place stands for a file that cannot be deleted.
    #[test]
    fn regression_what_was_taken_and_cannot_be_deleted_is_no_news() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let path = dir.join("a.json");
        let undeletable = |next: bool| {
            fs::write(&path, "old").unwrap();
            let mut looks = 0;
            try_it(dir, |name| {
                looks += 1;
                if looks == 2 {
                    fs::remove_file(dir.join(name)).unwrap();
                    fs::create_dir(dir.join(name)).unwrap();
                }
                if looks == 2 && next {
                    fs::write(&path, "next").unwrap();
                }
                Ok(true)
            })
        };
        undeletable(false).unwrap_err();
        assert_eq!(names(dir), ["a.json"], "its name is free, and it is known by that");
        fs::remove_dir(&path).unwrap();

        undeletable(true).unwrap_err();
        assert_eq!(fs::read_to_string(&path).unwrap(), "next");
        let found = names(dir);
        assert!(found.len() == 2 && !crate::listing::is_handoff_name(OsStr::new(&found[0])), "{found:?}");
        let directory = Directory::open(dir).unwrap();
        bring_all_back(dir, |_| false).unwrap_err();
        let still = go_on(&directory, OsString::from(&found[0]), None, |_| Ok(true)).unwrap_err();
        assert_eq!((still.hidden, names(dir)), (Some(OsString::from(&found[0])), found.clone()));
        let hidden = dir.join(&found[0]);
        fs::remove_dir(&hidden).unwrap();
        fs::write(&hidden, "old").unwrap();
        assert_eq!(bring_all_back(dir, |_| false), Ok(0));
        assert_eq!(names(dir), ["a.json"]);
    }

    /// It stayed hidden until the next start, and was told again then.
    #[test]
    fn regression_a_renaming_that_succeeded_and_was_said_to_fail_is_gone_on_with() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let directory = Directory::open(dir).unwrap();
        let (hidden, name) = (hidden_name(1, 2, 3), OsStr::new("a.json"));
        for errno in [Errno::NOENT, Errno::IO, Errno::TIMEDOUT] {
            let proceed = |text| proceed(&directory, Err(errno), hidden.clone(), name, is(dir, text));
            fs::write(dir.join(&hidden), "old").unwrap();
            assert_eq!((proceed("old"), names(dir)), (Ok(Consumed::Deleted), vec![]));
            // A newer one comes back.
            fs::write(dir.join(&hidden), "new").unwrap();
            assert_eq!((proceed("old"), names(dir)), (Ok(Consumed::Changed), vec!["a.json".to_owned()]));
            fs::remove_file(dir.join(name)).unwrap();
            // And here it did fail.
            let outcome = if errno == Errno::NOENT { Ok(Consumed::Changed) } else { Err(errno.into()) };
            assert_eq!((proceed("old"), names(dir)), (outcome, vec![]));
        }
    }

    /// It may lead to something newer at any time.
    #[test]
    fn regression_a_link_stays_whenever_it_comes() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        fs::write(dir.join("target"), "old").unwrap();
        let link = || std::os::unix::fs::symlink("target", dir.join("a.json")).unwrap();
        let is_taken = |name: &OsStr| match fs::symlink_metadata(dir.join(name)) {
            Ok(found) if found.is_symlink() => Err(Errno::LOOP),
            _ => is(dir, "old")(name),
        };
        link();
        assert_eq!(try_it(dir, is_taken), Err(Errno::LOOP));
        assert_eq!(names(dir), ["a.json", "target"]);
        // Right after the first look, too.
        fs::remove_file(dir.join("a.json")).unwrap();
        fs::write(dir.join("a.json"), "old").unwrap();
        let mut looks = 0;
        let outcome = try_it(dir, |name| {
            let taken = is_taken(name);
            looks += 1;
            if looks == 1 {
                fs::remove_file(dir.join("a.json")).unwrap();
                link();
            }
            taken
        });
        assert_eq!((outcome, looks), (Ok(Consumed::Changed), 2));
        assert_eq!(names(dir), ["a.json", "target"]);
    }
}
