//! [pure] The words that scan, read and reconcile share: names, stamps, listings, processes. Nothing here does anything.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fmt;
use std::num::NonZeroI64;
use std::ops::Deref;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use triomphe::ThinArc;

/// The name of a file in the watched directory, without the directory. Interned: the scanner and the core share one, and
/// to hold it costs a pointer.
#[derive(Clone)]
pub(crate) struct FileName(ThinArc<(), u8>);

impl FileName {
    /// Whether the two are one in memory too: a short way to learn that they are the same.
    pub(crate) fn is_shared_with(&self, other: &Self) -> bool {
        std::ptr::eq(self.0.as_ptr(), other.0.as_ptr())
    }
}

impl From<&OsStr> for FileName {
    fn from(name: &OsStr) -> Self {
        Self(ThinArc::from_header_and_slice((), name.as_bytes()))
    }
}

impl Deref for FileName {
    type Target = OsStr;

    fn deref(&self) -> &OsStr {
        OsStr::from_bytes(&self.0.slice)
    }
}

impl Borrow<OsStr> for FileName {
    fn borrow(&self) -> &OsStr {
        self
    }
}

impl PartialEq for FileName {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for FileName {}

impl PartialOrd for FileName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// By the bytes.
impl Ord for FileName {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// What `stat` says of a file, each in full resolution. Different in any field means "may have changed"; equal does not
/// mean "unchanged" until the stamp has settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stamp {
    pub(crate) inode: u64,
    pub(crate) size: u64,
    pub(crate) mtime: Moment,
    pub(crate) ctime: Moment,
    /// All that Linux has of it: 12 bits and 20.
    pub(crate) device: u32,
}

/// A time that a file system gave, in nanoseconds from the start of 1970. Times before 1677 and after 2262 become the
/// first and the last one that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Moment(NonZeroI64);

impl Moment {
    /// Stands for the start of 1970 itself.
    const START: NonZeroI64 = NonZeroI64::new(1).expect("BUG: 1 is not 0");

    /// Earlier than any other.
    pub(crate) const FIRST: Self = Self(NonZeroI64::MIN);

    /// Later than any other.
    #[cfg(any(test, feature = "inotify"))]
    pub(crate) const LAST: Self = Self(NonZeroI64::MAX);

    pub(crate) fn new(seconds: i64, nanos: u32) -> Self {
        let nanos = seconds.checked_mul(1_000_000_000).and_then(|whole| whole.checked_add(i64::from(nanos)));
        let nanos = nanos.unwrap_or(if seconds < 0 { i64::MIN } else { i64::MAX });
        Self(NonZeroI64::new(nanos).unwrap_or(Self::START))
    }

    /// Whether it lies between two seconds: the file system has a clock that is finer.
    pub(crate) fn is_fine(self) -> bool {
        let is_known = ![Self::START, NonZeroI64::MIN, NonZeroI64::MAX].contains(&self.0);
        is_known && self.0.get() % 1_000_000_000 != 0
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn after(self, nanos: i64) -> Self {
        Self(NonZeroI64::new(self.0.get() + nanos).unwrap_or(Self::START))
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
    /// The directory had been left alone for long, as far as its stamp proves that: a name that it does not have is none of
    /// its names, whatever can be opened under it (where upper and lower case are the same).
    pub(crate) certain: bool,
}

/// Whether a name is a handoff's (CLOUD-3010: `*.json`): it ends in `.json`, and is not hidden. Backups (`a.json.bak`,
/// `a.json~`), editors' files (`.a.json.swp`) and temporary files are thereby none.
pub(crate) fn is_handoff_name(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    bytes.len() > b".json".len() && bytes.ends_with(b".json") && bytes[0] != b'.'
}
