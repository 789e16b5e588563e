//! [pure] The words that scan, read and reconcile share: names, stamps, listings, processes. Nothing here does anything.

use std::ffi::OsStr;
use std::num::NonZeroI64;
use std::sync::Arc;
use std::time::Duration;

/// The name of a file in the watched directory, without the directory. Interned: the scanner and the core share one.
pub(crate) type FileName = Arc<OsStr>;

/// What `stat` says of a file, each in full resolution. Different in any field means "may have changed"; equal does not
/// mean "unchanged" until the stamp has settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Stamp {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) size: u64,
    pub(crate) mtime: i64,
    pub(crate) ctime: i64,
    pub(crate) mtime_nanos: u32,
    pub(crate) ctime_nanos: u32,
}

impl Stamp {
    pub(crate) fn mtime(&self) -> Moment {
        Moment::new(self.mtime, self.mtime_nanos)
    }

    pub(crate) fn ctime(&self) -> Moment {
        Moment::new(self.ctime, self.ctime_nanos)
    }
}

/// A time that a file system gave, in nanoseconds from the start of 1970. Times before 1677 and after 2262 become the
/// first and the last one that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(NonZeroI64);

impl Moment {
    /// Stands for the start of 1970 itself.
    const FIRST: NonZeroI64 = NonZeroI64::new(1).expect("BUG: 1 is not 0");

    pub(crate) fn new(seconds: i64, nanos: u32) -> Self {
        let nanos = seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(nanos));
        Self(NonZeroI64::new(nanos).unwrap_or(Self::FIRST))
    }

    pub(crate) fn millis(self) -> i64 {
        self.0.get().div_euclid(1_000_000)
    }

    /// How long after the start of 1970; `None` if before it.
    pub(crate) fn since_1970(self) -> Option<Duration> {
        u64::try_from(self.0.get()).ok().map(Duration::from_nanos)
    }
}

/// Something under a handoff's name that is not a regular file, and so is never opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum OtherKind {
    Directory,
    Fifo,
    Socket,
    Device,
    /// Only where symbolic links are not followed.
    Symlink,
}

/// What a listing saw under one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A regular file.
    File(Stamp),
    /// Something else.
    Other(OtherKind),
    /// The name is listed, but leads nowhere: a symbolic link to nothing.
    Absent,
    /// The name is listed, but `stat` knows of none: it vanished meanwhile, or the file system contradicts itself. Gone is
    /// only what the next listing does not have.
    Vanished,
    /// `stat` failed with this error number; nothing is known.
    Failed(i32),
}

/// What is known of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) life: Life,
    /// When the machine started, by the wall clock as it is now, in milliseconds; `None` where that is not known.
    pub(crate) boot: Option<i64>,
}

/// Whether a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// There is none of that number, or it has ended and its parent has not taken notice yet.
    Gone,
    /// It runs, and started that long after the machine: the same for all of its life, whatever the clocks do.
    Runs { since_boot: Duration },
    /// It could not be looked at.
    Unknown,
}

/// One name of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: FileName,
    pub(crate) seen: Seen,
}

/// A complete, successful listing: every handoff name of the directory once, sorted by name. A listing that broke off is
/// never one of these.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listing {
    pub(crate) entries: Vec<Entry>,
}

/// Whether a name is a handoff's (CLOUD-3010: `*.json`): it ends in `.json`, and is not hidden. Backups (`a.json.bak`,
/// `a.json~`), editors' files (`.a.json.swp`) and temporary files are thereby none.
pub(crate) fn is_handoff_name(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    bytes.len() > b".json".len() && bytes.ends_with(b".json") && bytes[0] != b'.'
}
