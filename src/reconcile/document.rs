//! [pure] What a read gave: the content of a file with its stamp, or why there is none.

use crate::error::{Error, ErrorKind};
use crate::listing::{OtherKind, Process, Stamp};
use crate::payload::{ContentHash, Handoff};
use crate::trust::Breach;

/// Why a file gives no handoff; "the same reason" is told once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// These bytes are no handoff.
    Content(ContentHash),
    TooLarge,
    /// Whoever could write it is not to be believed.
    Untrusted(Breach),
    Other(OtherKind),
    /// A symbolic link to nothing.
    Dangling,
    /// These bytes are a handoff, but their process is not.
    Stale(ContentHash),
    /// It has another length than `stat` says.
    Contradictory,
    /// `stat`, `open` or `read` failed with this error number.
    Unreadable(i32),
}

impl Fault {
    /// What is said of a name that leads to no regular file.
    pub(crate) fn file_type_error(self) -> Error {
        let found = match self {
            Self::Other(OtherKind::Directory) => "a directory",
            Self::Other(OtherKind::Fifo) => "a FIFO",
            Self::Other(OtherKind::Socket) => "a socket",
            Self::Other(OtherKind::Device) => "a device",
            Self::Other(OtherKind::Symlink) => "a symbolic link, which is not followed here",
            // Dangling: all others are faults of a regular file.
            _ => "a symbolic link that leads to nothing",
        };
        Error::new(ErrorKind::FileType, format!("expected a regular file, found {found}"))
    }
}

/// What a read gave.
#[derive(Clone, Debug)]
pub(crate) enum Document {
    /// The whole content, with the stamp that it had before and after. `recent`: by the wall clock, the stamp is so young
    /// that whoever wrote the content may still be at it; only asked of what was there at the start. `moved`: it is known
    /// that the file was moved to its name, and that whoever has written to it since has changed its stamp since the listing. `process`: what is known of the process that it
    /// names, where that is asked for.
    Content {
        stamp: Stamp,
        recent: bool,
        moved: bool,
        hash: ContentHash,
        handoff: Result<Handoff, Error>,
        process: Option<Process>,
    },
    /// No content that could be taken; the stamp is known where the file could at least be opened.
    Faulty { stamp: Option<Stamp>, fault: Fault, error: Error },
    /// It changed while it was read.
    Changing,
    /// There is no such file.
    Absent,
}

impl Document {
    /// That of the file that was read, if it was the same all the time.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        match self {
            Self::Content { stamp, .. } => Some(*stamp),
            Self::Faulty { stamp, .. } => *stamp,
            Self::Changing | Self::Absent => None,
        }
    }
}
