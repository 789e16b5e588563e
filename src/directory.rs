//! [fs] An open directory: the one place where scan, read and consume touch the system.
//!
//! In: the path of the watched directory, names in it. Out: descriptors, stamps, error numbers.
//!
//! Every call is made again when a signal interrupts it: a host's signal handlers are none of a file's business.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, linkat, openat, renameat, statat, unlinkat};
use rustix::io::{Errno, retry_on_intr};

use crate::error::Error;
use crate::listing::{Moment, OtherKind, Seen, Stamp};
use crate::trust::{Breach, TrustPolicy};

/// A directory that is open for one round of listing and reading, and is closed when dropped.
///
/// It is opened by its path anew for each round. So a symbolic link that was flipped, a directory that was recreated
/// and a file system that was mounted over it are followed at once, and nothing keeps a file system busy between polls.
/// Within a round all names are taken relative to the descriptor: a round never mixes two directories.
#[derive(Debug)]
pub(crate) struct Directory {
    fd: OwnedFd,
}

impl Directory {
    /// Opens the directory, following symbolic links. Never blocks on a FIFO and never opens a device that stands in
    /// the directory's place: both are refused as "not a directory".
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) with the path: it does not exist, is no directory, may not be read, or
    /// the process has no descriptor left.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match retry_on_intr(|| openat(CWD, path, flags, Mode::empty())) {
            Ok(fd) => Ok(Self { fd }),
            Err(errno) => Err(Error::io("open the directory", path, errno.into())),
        }
    }

    /// Opens the directory, and refuses it when there is a policy that does not trust what was opened.
    ///
    /// # Errors
    /// As [`open`](Self::open); and [`ErrorKind::Untrusted`](crate::ErrorKind::Untrusted) with the path and the rule.
    pub(crate) fn open_trusted(path: &Path, trust: Option<&TrustPolicy>) -> Result<Self, Error> {
        let directory = Self::open(path)?;
        if let Some(trust) = trust {
            let stat = directory.stat().map_err(|errno| Error::io("look at the directory", path, errno.into()))?;
            if let Some((_, error)) = breach(&stat, Some(trust), "the directory is ") {
                return Err(error.with_path(path));
            }
        }
        Ok(directory)
    }

    /// What `fstat` says of the directory itself.
    pub(crate) fn stat(&self) -> Result<Stat, Errno> {
        retry_on_intr(|| fstat(&self.fd))
    }

    /// What is under a name. Only an exhausted process is an error; everything else is an answer about this one file.
    ///
    /// The type that the listing may have come with is not used: some file systems do not know it, and it says nothing
    /// of what a symbolic link leads to.
    pub(crate) fn look_at(&self, name: &OsStr, follow_symlinks: bool) -> Result<Seen, Errno> {
        let flags = if follow_symlinks { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
        match retry_on_intr(|| statat(&self.fd, name, flags)) {
            Ok(stat) => Ok(kind(&stat).map_or_else(|| Seen::File(stamp(&stat)), Seen::Other)),
            Err(Errno::NOENT) if follow_symlinks => match self.look_at(name, false)? {
                Seen::Other(OtherKind::Symlink) => Ok(Seen::Absent),
                // Not even a link; or there is something by now, and the next look will tell what.
                _ => Ok(Seen::Vanished),
            },
            Err(Errno::NOENT) => Ok(Seen::Vanished),
            Err(errno) if is_exhaustion(errno) => Err(errno),
            Err(errno) => Ok(Seen::Failed(errno.raw_os_error())),
        }
    }

    /// Opens a file for reading without ever waiting: not for the writer of a FIFO, not for a terminal, and not for the
    /// holder of a lease (that is EAGAIN).
    pub(crate) fn open_file(&self, name: &OsStr, follow_symlinks: bool) -> Result<OwnedFd, Errno> {
        let mut flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        if !follow_symlinks {
            flags |= OFlags::NOFOLLOW;
        }
        retry_on_intr(|| openat(&self.fd, name, flags, Mode::empty()))
    }
}

/// Listing. A descriptor can be listed once.
impl Directory {
    /// Gives every name that is there, in no order, until it is told that this was enough.
    ///
    /// # Errors
    /// Whatever the system says, also that there is nothing any more: an error is not the end of the list.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) fn each_name(&self, buffer: &mut Vec<u8>, mut each: impl FnMut(&[u8]) -> bool) -> Result<(), Errno> {
        let mut entries = rustix::fs::RawDir::new(&self.fd, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            match entry {
                Ok(entry) if each(entry.file_name().to_bytes()) => {}
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Gives every name that is there, in no order, until it is told that this was enough.
    ///
    /// # Errors
    /// Whatever the system says.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(crate) fn each_name(&self, _: &mut Vec<u8>, mut each: impl FnMut(&[u8]) -> bool) -> Result<(), Errno> {
        for entry in rustix::fs::Dir::read_from(&self.fd)? {
            if !each(entry?.file_name().to_bytes()) {
                break;
            }
        }
        Ok(())
    }
}

/// What believing a file at once asks.
impl Directory {
    /// Whether the name itself is a regular file with this stamp, and its only name: whoever opens it does so in this
    /// directory. What a symbolic link leads to, or what has several names, can be opened elsewhere.
    pub(crate) fn has_alone(&self, name: &OsStr, expected: Stamp) -> bool {
        retry_on_intr(|| statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW))
            .is_ok_and(|stat| kind(&stat).is_none() && stat.st_nlink == 1 && stamp(&stat) == expected)
    }
}

#[cfg(all(feature = "inotify", any(target_os = "linux", target_os = "android")))]
impl Directory {
    /// What the stamps of its files prove.
    pub(crate) fn stamps(&self) -> Stamps {
        use magic::{BTRFS, EXT, F2FS, RAMFS, TMPFS, XFS};
        let release = rustix::system::uname();
        let release = release.release().to_string_lossy();
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse::<u32>().ok());
        let version = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
        match self.magic() {
            Some(EXT | XFS | BTRFS | TMPFS) if version >= (6, 13) => Stamps::TellApart,
            Some(EXT | XFS | BTRFS | TMPFS | F2FS | RAMFS) => Stamps::Tick,
            _ => Stamps::Unknown,
        }
    }
}

/// What the stamps of a file system prove of two changes of a file, where they are finer than seconds.
#[cfg(all(feature = "inotify", any(target_os = "linux", target_os = "android")))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stamps {
    /// Whatever changes after `stat` was asked has another stamp than it told: the multigrain timestamps of Linux 6.13.
    TellApart,
    /// Whatever changes after the next tick of this kernel's clock has another one.
    Tick,
    /// Its clock may be another machine's, or coarser than it looks.
    #[default]
    Unknown,
}

/// What `statfs` calls the file systems.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) mod magic {
    pub(crate) const EXT: u32 = 0xEF53;
    pub(crate) const XFS: u32 = 0x5846_5342;
    pub(crate) const BTRFS: u32 = 0x9123_683E;
    pub(crate) const F2FS: u32 = 0xF2F5_2010;
    pub(crate) const TMPFS: u32 = 0x0102_1994;
    pub(crate) const RAMFS: u32 = 0x8584_58F6;
}

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Directory {
    /// On which file system it lies; `None` where the system does not say.
    pub(crate) fn magic(&self) -> Option<u32> {
        retry_on_intr(|| rustix::fs::fstatfs(&self.fd)).ok().map(|stat| stat.f_type as u32)
    }
}

/// The time by which the file systems of this kernel stamp: that of the last tick of its clock.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn ticks() -> Moment {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    Moment::new(now.tv_sec, u32::try_from(now.tv_nsec).unwrap_or_default())
}

/// Elsewhere it is not known.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn ticks() -> Moment {
    Moment::FIRST
}

/// What taking an announcement away needs.
impl Directory {
    /// Gives a file another name, in one step, whatever has that name already.
    ///
    /// # Errors
    /// Whatever the system says; ENOENT where there is no such file.
    pub(crate) fn rename(&self, from: &OsStr, to: &OsStr) -> Result<(), Errno> {
        retry_on_intr(|| renameat(&self.fd, from, &self.fd, to))
    }

    /// Gives a file another name, unless there is something of that name; says whether it did. What nobody else knows of
    /// is to be renamed: not everywhere is that one step.
    ///
    /// # Errors
    /// Whatever the system says; ENOENT where there is no such file.
    pub(crate) fn rename_new(&self, from: &OsStr, to: &OsStr) -> Result<bool, Errno> {
        match rename_exclusively(&self.fd, from, to) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            // Not every file system can, nor every kernel. A second name is as exclusive, where there are such.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP | Errno::PERM) => {
                match retry_on_intr(|| linkat(&self.fd, from, &self.fd, to, AtFlags::empty())) {
                    Ok(()) => self.remove(from).map(|()| true),
                    Err(Errno::EXIST) => Ok(false),
                    Err(errno) => Err(errno),
                }
            }
            Err(errno) => Err(errno),
        }
    }

    pub(crate) fn remove(&self, name: &OsStr) -> Result<(), Errno> {
        retry_on_intr(|| unlinkat(&self.fd, name, AtFlags::empty()))
    }
}

#[cfg(any(target_os = "linux", target_os = "android", target_os = "macos"))]
fn rename_exclusively(directory: &OwnedFd, from: &OsStr, to: &OsStr) -> Result<(), Errno> {
    use rustix::fs::{RenameFlags, renameat_with};
    retry_on_intr(|| renameat_with(directory, from, directory, to, RenameFlags::NOREPLACE))
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "macos")))]
fn rename_exclusively(_: &OwnedFd, _: &OsStr, _: &OsStr) -> Result<(), Errno> {
    Err(Errno::NOSYS)
}

impl AsRawFd for Directory {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The stamp in a `stat`. The types of its fields differ between systems; every value fits its field here.
#[allow(clippy::unnecessary_cast)]
pub(crate) fn stamp(stat: &Stat) -> Stamp {
    Stamp {
        inode: stat.st_ino as u64,
        size: stat.st_size as u64,
        mtime: Moment::new(stat.st_mtime as i64, stat.st_mtime_nsec as u32),
        ctime: Moment::new(stat.st_ctime as i64, stat.st_ctime_nsec as u32),
        device: stat.st_dev as u32,
    }
}

/// What a `stat` is about if it is not a regular file.
pub(crate) fn kind(stat: &Stat) -> Option<OtherKind> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => None,
        FileType::Directory => Some(OtherKind::Directory),
        FileType::Fifo => Some(OtherKind::Fifo),
        FileType::Socket => Some(OtherKind::Socket),
        FileType::Symlink => Some(OtherKind::Symlink),
        // Also what a system has of its own (doors, whiteouts): as little to be opened as a device.
        _ => Some(OtherKind::Device),
    }
}

/// The rule that what a `stat` is about breaks, and what is said of it; none without a policy. The types of the fields
/// differ between systems.
#[allow(clippy::unnecessary_cast)]
pub(crate) fn breach(stat: &Stat, trust: Option<&TrustPolicy>, what: &str) -> Option<(Breach, Error)> {
    let trust = trust?;
    let breach = trust.breach(stat.st_uid as u32, stat.st_mode as u32)?;
    Some((breach, trust.error(what, breach)))
}

/// Whether the process or the machine ran out of something: an error that says nothing of the file it came up at.
pub(crate) fn is_exhaustion(errno: Errno) -> bool {
    matches!(errno, Errno::MFILE | Errno::NFILE | Errno::NOMEM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::bound_by_permissions;
    use std::fs::{self, File};
    use std::io;
    use std::os::unix::fs::{MetadataExt, symlink};

    fn errno_of(path: &Path) -> Option<i32> {
        let error = Directory::open(path).unwrap_err();
        assert_eq!(error.path(), Some(path));
        assert!(error.to_string().contains("cannot open the directory: "), "{error}");
        error.io_error().and_then(io::Error::raw_os_error)
    }

    #[test]
    fn refuses_what_is_no_directory_without_blocking() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name| dir.path().join(name);
        assert_eq!(errno_of(&path("missing")), Some(Errno::NOENT.raw_os_error()));
        File::create(path("file")).unwrap();
        assert_eq!(errno_of(&path("file")), Some(Errno::NOTDIR.raw_os_error()));
        rustix::fs::mknodat(CWD, path("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert_eq!(errno_of(&path("fifo")), Some(Errno::NOTDIR.raw_os_error()));
        symlink("loop", path("loop")).unwrap();
        assert_eq!(errno_of(&path("loop")), Some(Errno::LOOP.raw_os_error()));
    }

    #[test]
    fn a_directory_without_permission_is_an_error() {
        bound_by_permissions(|| {
            let dir = tempfile::tempdir().unwrap();
            rustix::fs::chmod(dir.path(), Mode::empty()).unwrap();
            assert_eq!(errno_of(dir.path()), Some(Errno::ACCESS.raw_os_error()));
            rustix::fs::chmod(dir.path(), Mode::RWXU).unwrap();
        });
    }

    #[test]
    fn a_stamp_says_what_stat_says() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        fs::write(&path, "four").unwrap();
        let before_1970 = std::time::SystemTime::UNIX_EPOCH - std::time::Duration::from_millis(1500);
        // Both times: to set one alone has no effect on some FUSE file systems.
        let times = fs::FileTimes::new().set_accessed(before_1970).set_modified(before_1970);
        File::options().write(true).open(&path).unwrap().set_times(times).unwrap();
        let seen = Directory::open(dir.path()).unwrap().look_at(OsStr::new("a.json"), true).unwrap();
        let Seen::File(stamp) = seen else { panic!("{seen:?}") };
        let meta = fs::metadata(&path).unwrap();
        assert_eq!((u64::from(stamp.device), stamp.inode, stamp.size), (meta.dev(), meta.ino(), 4));
        assert_eq!(stamp.mtime, Moment::new(-2, 500_000_000));
        assert_eq!(stamp.ctime, Moment::new(meta.ctime(), u32::try_from(meta.ctime_nsec()).unwrap()));
    }
}
