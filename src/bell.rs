//! [channel] What the scanning thread waits for between two rounds: the time, the bell, and in instant mode the kernel.
//!
//! The bell is rung by everything that the thread must not sleep through: a stop, a rescan, an acknowledgement, room. It
//! is a channel, or a descriptor where a notification of the kernel has to end the same wait.

use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Instant;

use rustix::io::Errno;

use crate::directory::Directory;
use crate::instant::{self, Doorbell, Notices};
use crate::sync::{Receiver, Sender, bounded};

/// A doorbell: rings any number of times, is heard once.
#[derive(Clone, Debug)]
pub(crate) enum Bell {
    Channel(Sender<()>),
    Descriptor(Arc<Doorbell>),
}

/// Where the bell is heard.
#[derive(Debug)]
pub(crate) enum Ear {
    Channel(Receiver<()>),
    Descriptor(Arc<Doorbell>, Notices),
}

impl Bell {
    pub(crate) fn new() -> (Self, Ear) {
        let (sender, receiver) = bounded(1);
        (Self::Channel(sender), Ear::Channel(receiver))
    }

    /// A bell that can be waited for together with the kernel's notifications.
    pub(crate) fn instant() -> Result<(Self, Ear), Errno> {
        let (doorbell, notices) = instant::open()?;
        let doorbell = Arc::new(doorbell);
        Ok((Self::Descriptor(doorbell.clone()), Ear::Descriptor(doorbell, notices)))
    }

    pub(crate) fn ring(&self) {
        match self {
            // A full channel has rung already.
            Self::Channel(sender) => drop(sender.try_send(())),
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
            Self::Channel(_) => Err(Errno::NOSYS),
            Self::Descriptor(_, notices) => notices.listen_to(directory),
        }
    }

    /// Whether the kernel notified that the file that was just read is whole: moved to its name, not written to since.
    pub(crate) fn was_moved(&mut self, name: &OsStr) -> bool {
        match self {
            Self::Channel(_) => false,
            Self::Descriptor(_, notices) => notices.was_moved(name),
        }
    }

    /// Waits for the bell or the time; for a notification too where `listens`. True if that was the end of it.
    pub(crate) fn wait(&mut self, deadline: Instant, listens: bool) -> bool {
        match self {
            Self::Channel(heard) => {
                // An error is no reason to hurry: the only ends of this wait are the time and the bell.
                let _ = heard.recv_deadline(deadline);
                false
            }
            Self::Descriptor(doorbell, notices) => notices.wait(doorbell, deadline, listens),
        }
    }
}
