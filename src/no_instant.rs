//! [fs] Instant mode where there is none: nothing of this can be made.

use std::ffi::OsStr;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::directory::Directory;
use crate::listing::Moment;

pub(crate) fn open() -> Result<(Doorbell, Notices), Errno> {
    Err(Errno::NOSYS)
}

#[derive(Debug)]
pub(crate) enum Doorbell {}

impl Doorbell {
    pub(crate) fn ring(&self) {
        match *self {}
    }
}

#[derive(Debug)]
pub(crate) enum Notices {}

impl Notices {
    pub(crate) fn listen_to(&mut self, _: &Directory) -> Result<(), Errno> {
        match *self {}
    }

    pub(crate) fn moved(&mut self, _: &OsStr) -> Option<Moment> {
        match *self {}
    }

    pub(crate) fn patience(&self) -> Duration {
        match *self {}
    }

    pub(crate) fn wait(&mut self, _: &Doorbell, _: Instant, _: bool) -> bool {
        match *self {}
    }
}
