//! [pure] Whose word is taken: who may own a handoff and its directory, and that nobody else may write to them.
//!
//! In: an owner and a mode, as `fstat` gave them. Out: the rule that is broken, if one is.

use crate::error::{Error, ErrorKind};

/// What must not be set: the group and all others may write.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// The owners that an error names.
const SHOWN_UIDS: usize = 6;

/// Whose handoffs are believed, for [`HandoffWatcherBuilder::trust`](crate::HandoffWatcherBuilder::trust): whoever can
/// write a handoff can send the node's traffic anywhere.
///
/// A handoff is believed if it, and the directory that is watched,
/// 1. is owned by root, by the user of this process, or by a user that [`and_uid`](Self::and_uid) added; and
/// 2. is writable by its owner alone: `mode & 0o022 == 0`.
///
/// That it is a regular file is required with and without a policy.
///
/// - **What is checked** is the file and the directory that were *opened*, never a path: nothing can be swapped in
///   between. Of a symbolic link that is its target, and a watched directory that is a link is the one it leads to.
/// - **A file** that breaks a rule is `invalid` with the kind [`Untrusted`](ErrorKind::Untrusted), and its content is not
///   read. As with every invalid file, its last good version stays in force: a `chmod` removes no engine.
/// - **A directory** that breaks a rule is `unavailable` with that kind: nothing that it says is believed, neither that a
///   file came nor that one is gone. All that is known stays in force.
/// - **Groups** count as others, also where every user has a group of its own: a producer with the umask 002 has to
///   write with the mode 0644. [`publish`](crate::publish()) never gives more than that.
/// - **ACLs**: one of POSIX that lets somebody else write shows in the group bits of the mode, and so is refused. One of
///   NFSv4 does not show, and is not seen.
/// - **The sticky bit** changes nothing: in a directory such as `/tmp` others may still place names.
///
/// What is not promised: the directories *above* the watched one, and those above the target of a link, are not looked
/// at. Who may rename there can put another trusted file or directory in the place of the right one, such as an old
/// one; watch a directory whose parents belong to root, as in `/run`. Whoever opened a file while it was writable can
/// go on writing to it after a `chmod`; replacing the file ends that. In a user namespace uids are those that the
/// namespace shows: a user without one there appears as 65534, and should not be added.
///
/// ```
/// use handoff_watcher::{HandoffWatcher, HandoffWatcherConfig, TrustPolicy};
///
/// let watcher = HandoffWatcher::builder(HandoffWatcherConfig::default())
///     .trust(TrustPolicy::this_user().and_uid(990))
///     .on_payload(|payload| {
///         println!("{} is ready", payload.url);
///         Ok(())
///     });
/// # drop(watcher);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TrustPolicy {
    /// Sorted.
    uids: Vec<u32>,
}

impl TrustPolicy {
    /// Root and the effective user of this process, as it is now: a process that changes its user calls this after that.
    #[must_use]
    pub fn this_user() -> Self {
        Self { uids: vec![0] }.and_uid(rustix::process::geteuid().as_raw())
    }

    /// That user, too: an engine-provisioner that runs under a user of its own.
    #[must_use]
    pub fn and_uid(mut self, uid: u32) -> Self {
        if let Err(place) = self.uids.binary_search(&uid) {
            self.uids.insert(place, uid);
        }
        self
    }

    /// The users that may own a handoff and its directory, sorted. Root is always one.
    pub fn uids(&self) -> &[u32] {
        &self.uids
    }

    /// Whether a file or a directory is trusted, for a host that opens one by itself. To mean anything, the metadata has
    /// to be that of the opened file ([`File::metadata`](std::fs::File::metadata)), not of a path.
    ///
    /// # Errors
    /// [`ErrorKind::Untrusted`], with the rule that is broken, what was found and what was expected.
    #[cfg(unix)]
    pub fn check(&self, opened: &std::fs::Metadata) -> Result<(), Error> {
        use std::os::unix::fs::MetadataExt;
        self.breach(opened.uid(), opened.mode()).map_or(Ok(()), |breach| Err(self.error("", breach)))
    }

    /// The first rule that is broken.
    pub(crate) fn breach(&self, uid: u32, mode: u32) -> Option<Breach> {
        if self.uids.binary_search(&uid).is_err() {
            Some(Breach::Owner(uid))
        } else if mode & WRITABLE_BY_OTHERS != 0 {
            Some(Breach::Writable(mode & 0o7777))
        } else {
            None
        }
    }

    /// `what` is put in front: empty, or as in "the directory is ".
    pub(crate) fn error(&self, what: &str, breach: Breach) -> Error {
        let message = match breach {
            Breach::Owner(uid) => format!(
                "{what}owned by uid {uid}: expected {}; chown it, or trust that user too if its word is to be taken",
                self.expected()
            ),
            Breach::Writable(mode) => format!(
                "{what}writable by others (mode {mode:04o}): expected at most {:04o}; chmod go-w",
                mode & !WRITABLE_BY_OTHERS
            ),
        };
        Error::new(ErrorKind::Untrusted, message)
    }

    fn expected(&self) -> String {
        let shown: Vec<String> = self.uids.iter().take(SHOWN_UIDS).map(u32::to_string).collect();
        match (shown.split_last(), self.uids.len() - shown.len()) {
            (Some((last, rest)), 0) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            (_, 0) => shown.concat(),
            (_, more) => format!("{} or one of {more} more", shown.join(", ")),
        }
    }
}

/// A rule that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breach {
    /// Owned by this user.
    Owner(u32),
    /// Others may write; the permission bits.
    Writable(u32),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_which_rule_is_broken_what_was_found_and_what_was_expected() {
        let policy = TrustPolicy { uids: vec![0] }.and_uid(1000).and_uid(1000);
        for (uid, mode, expected) in [
            (0, 0o100_644, None),
            (1000, 0o100_600, None),
            (1000, 0o100_755, None),
            (1000, 0o041_755, None),
            (1001, 0o100_600, Some("owned by uid 1001: expected 0 or 1000; ")),
            (1001, 0o100_666, Some("owned by uid 1001: expected 0 or 1000; ")),
            (0, 0o100_666, Some("writable by others (mode 0666): expected at most 0644; ")),
            (0, 0o100_620, Some("writable by others (mode 0620): expected at most 0600; ")),
            (0, 0o100_602, Some("writable by others (mode 0602): expected at most 0600; ")),
            // The sticky bit does not help: others may still create names.
            (0, 0o041_777, Some("writable by others (mode 1777): expected at most 1755; ")),
        ] {
            let found = policy.breach(uid, mode).map(|breach| policy.error("", breach));
            match (&found, expected) {
                (None, None) => {}
                (Some(error), Some(text)) => {
                    assert!(error.to_string().starts_with(text), "{error}");
                    assert_eq!((error.code(), error.kind().as_str()), (-20, "untrusted"));
                }
                _ => panic!("uid {uid}, mode {mode:o}: {found:?}"),
            }
        }
    }

    #[test]
    fn names_a_few_owners_whatever_their_number() {
        let expected = |uids: &[u32]| {
            uids.iter().fold(TrustPolicy { uids: vec![0] }, |policy, uid| policy.and_uid(*uid)).expected()
        };
        assert_eq!(expected(&[]), "0");
        assert_eq!(expected(&[7]), "0 or 7");
        assert_eq!(expected(&[9, 7]), "0, 7 or 9");
        assert_eq!(expected(&(0..1000).collect::<Vec<_>>()), "0, 1, 2, 3, 4, 5 or one of 994 more");
    }

    #[test]
    fn trusts_root_and_this_user() {
        let me = rustix::process::geteuid().as_raw();
        let policy = TrustPolicy::this_user();
        assert!(policy.uids().contains(&0) && policy.uids().contains(&me), "{policy:?}");
        let dir = tempfile::tempdir().unwrap();
        policy.check(&std::fs::metadata(dir.path()).unwrap()).unwrap();
    }
}
