//! [channel] What the scanning thread waits for between two rounds: the time, the bell, and in instant mode the kernel.
//!
//! The bell is rung by everything that the thread must not sleep through: a stop, a rescan, an acknowledgement, room. It
//! is a token that is waited for without spinning, as the wait is nearly always a long one, and without parking_lot, whose
//! table of who waits is one for the process: a child that is forked while a thread stands in it cannot use it any more.
//! Or it is a descriptor, where a notification of the kernel has to end the same wait.

use std::ffi::OsStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::directory::Directory;
use crate::instant::{self, Doorbell, Notices};
use crate::listing::Moment;
use crate::sync::{Parker, Unparker};

/// A doorbell: rings any number of times, is heard once.
#[derive(Clone, Debug)]
pub(crate) enum Bell {
    Unparker(Unparker),
    Descriptor(Arc<Doorbell>),
}

/// Where the bell is heard.
#[derive(Debug)]
pub(crate) enum Ear {
    Parker(Parker),
    Descriptor(Arc<Doorbell>, Notices),
}

impl Bell {
    pub(crate) fn new() -> (Self, Ear) {
        let parker = Parker::new();
        (Self::Unparker(parker.unparker().clone()), Ear::Parker(parker))
    }

    /// A bell that can be waited for together with the kernel's notifications.
    pub(crate) fn instant() -> Result<(Self, Ear), Errno> {
        let (doorbell, notices) = instant::open()?;
        let doorbell = Arc::new(doorbell);
        Ok((Self::Descriptor(doorbell.clone()), Ear::Descriptor(doorbell, notices)))
    }

    pub(crate) fn ring(&self) {
        match self {
            Self::Unparker(unparker) => unparker.unpark(),
            Self::Descriptor(doorbell) => doorbell.ring(),
        }
    }
}

impl Ear {
    /// Whether notifications of the kernel can be heard at all.
    pub(crate) fn can_listen(&self) -> bool {
        matches!(self, Self::Descriptor(..))
    }

    /// Asks to be told of changes in this directory, and no longer in another. What has changed before is for the scan
    /// that follows.
    pub(crate) fn listen_to(&mut self, directory: &Directory) -> Result<(), Errno> {
        match self {
            Self::Parker(_) => Err(Errno::NOSYS),
            Self::Descriptor(_, notices) => notices.listen_to(directory),
        }
    }

    /// To be asked before a file is opened: whether the kernel notified that it is whole, moved to its name and not opened
    /// since. If so, and if its ctime is before this, every write that begins now gives it another one.
    pub(crate) fn moved(&mut self, name: &OsStr) -> Option<Moment> {
        match self {
            Self::Parker(_) => None,
            Self::Descriptor(_, notices) => notices.moved(name),
        }
    }

    /// How long after a notification to look, so that a write which begins then shows in the stamp.
    pub(crate) fn patience(&self) -> Duration {
        match self {
            Self::Parker(_) => Duration::ZERO,
            Self::Descriptor(_, notices) => notices.patience(),
        }
    }

    /// Waits for the bell or the time; for a notification too where `listens`. True if that was the end of it.
    pub(crate) fn wait(&mut self, deadline: Instant, listens: bool) -> bool {
        match self {
            Self::Parker(parker) => {
                parker.park_deadline(deadline);
                false
            }
            Self::Descriptor(doorbell, notices) => notices.wait(doorbell, deadline, listens),
        }
    }
}
