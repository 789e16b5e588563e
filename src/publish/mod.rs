//! [fs] The producer's side: a payload in, a handoff file out, complete and durable the moment that it can be seen.
//!
//! `names` says under which names a replica's handoff may be; here it is decided which, by what the files there say.

mod names;
#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use self::names::names;
use crate::config::check_dir;
use crate::error::{Error, ErrorKind};
use crate::payload::{HandoffPayload, check_ids};

/// More than any watcher takes by default. A larger file is not read to see whose it is.
const MAX_READ_BYTES: u64 = 16 << 20;
/// How often a name may be snatched away by another producer, or a temporary name be taken, before giving up.
const ATTEMPTS: usize = 16;

/// Writes a handoff into a directory, so that a watcher sees the old one or the new one whole, and never a part.
///
/// Returns the path of the file: `{dir}/{pool_id}-{replica_id}.json`, with characters that cannot be in a file name as
/// `%2F` and the like. Names that are too long, or are taken by the handoff of another replica, as `a-b-c.json` may be,
/// get a hash of the ids: another replica's handoff is never overwritten. Anything else under that name is replaced.
///
/// The directory is made if it is not there. The content is on the disk before the name is, and the name before this
/// returns; that costs two syncs, typically some milliseconds. The file's mode is 0644 less the umask.
///
/// A producer that is killed midway can leave a temporary file behind, `.handoff-*.tmp`. No watcher takes it, nothing
/// else depends on it, and it may be deleted when it is older than a minute. Any number of threads and processes may
/// publish into one directory; calls for *one* replica should come one after the other, or the last one to finish wins.
///
/// ```
/// use handoff_watcher::{HandoffPayload, publish, withdraw};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// let mut payload = HandoffPayload::new("pool-0", "r0", "http://localhost:8080")?;
/// payload.slots = Some(4);
/// let path = publish(dir.path(), &payload)?;
/// assert_eq!(path.file_name().unwrap(), "pool-0-r0.json");
/// assert_eq!(HandoffPayload::parse(&std::fs::read(&path)?)?, payload);
/// assert!(withdraw(dir.path(), "pool-0", "r0")?);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`ErrorKind::Config`] when `dir` is empty: the working directory is `.`. [`ErrorKind::Schema`] when the payload does
/// not pass [`HandoffPayload::validate`]. In both cases nothing was touched.
/// [`ErrorKind::Io`], with the path, when the system refuses. Then the former handoff is still in force and the
/// temporary file is gone; but where the message says that the *directory* cannot be synced, the new one can be seen
/// already, and only might not survive a power failure.
pub fn publish(dir: impl AsRef<Path>, payload: &HandoffPayload) -> Result<PathBuf, Error> {
    publish_in(dir.as_ref(), payload)
}

/// Removes the handoff of a replica that [`publish`] wrote; a watcher then reports the replica as removed.
///
/// `false` when there was none: no file, no directory, or under these names nothing that speaks of this replica. What
/// another replica says under the same name stays, and so does what is no handoff.
///
/// # Errors
/// [`ErrorKind::Config`] when `dir` is empty: the working directory is `.`. [`ErrorKind::Schema`] when no replica can
/// have these ids. [`ErrorKind::Io`], with the path, when the system refuses to read or to remove the file, or to sync
/// the directory; in the last case the file is gone.
pub fn withdraw(dir: impl AsRef<Path>, pool_id: &str, replica_id: &str) -> Result<bool, Error> {
    let dir = dir.as_ref();
    check_dir(dir)?;
    check_ids(pool_id, replica_id)?;
    let mut removed = false;
    for name in names(pool_id, replica_id) {
        let path = dir.join(name);
        if owner(&path, pool_id, replica_id)? == Owner::This {
            removed |= remove(&path)?;
        }
    }
    if removed {
        sync_directory(dir)?;
    }
    Ok(removed)
}

fn publish_in(dir: &Path, payload: &HandoffPayload) -> Result<PathBuf, Error> {
    check_dir(dir)?;
    payload.validate()?;
    let mut text = serde_json::to_vec(payload)
        .map_err(|error| Error::new(ErrorKind::Internal, format!("cannot serialise a checked payload: {error}")))?;
    text.push(b'\n');

    fs::create_dir_all(dir).map_err(|error| {
        let error = match error.kind() {
            io::ErrorKind::AlreadyExists => io::Error::new(io::ErrorKind::NotADirectory, "a file is in its place"),
            _ => error,
        };
        Error::io("create the directory", dir, error)
    })?;
    let temporary = Temporary::write(dir, &text)?;
    let (pool_id, replica_id) = (&*payload.pool_id, &*payload.replica_id);
    let paths = names(pool_id, replica_id).map(|name| dir.join(name));
    for _ in 0..ATTEMPTS {
        let owners = [owner(&paths[0], pool_id, replica_id)?, owner(&paths[1], pool_id, replica_id)?];
        // Where it is already comes first, or the replica would be claimed by two files.
        let chosen = owners
            .iter()
            .position(|owner| *owner == Owner::This)
            .or_else(|| owners.iter().position(|owner| *owner != Owner::Other));
        let Some(chosen) = chosen else {
            break;
        };
        if !temporary.rename(&paths[chosen], owners[chosen] != Owner::Nobody)? {
            continue;
        }
        if chosen == 0 && owners[1] == Owner::This && paths[0] != paths[1] {
            remove(&paths[1])?;
        }
        sync_directory(dir)?;
        return Ok(paths[chosen].clone());
    }
    let taken = io::Error::new(io::ErrorKind::AlreadyExists, "its names hold the handoffs of other replicas");
    Err(Error::io("publish the handoff", &paths[0], taken))
}

/// Whom a file speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// There is no file.
    Nobody,
    /// The replica in question.
    This,
    /// Another replica; or it is too large to be read for this, and so better left alone.
    Other,
    /// No handoff: the remains of a producer that writes in place, or not a file at all.
    Unclear,
}

fn owner(path: &Path, pool_id: &str, replica_id: &str) -> Result<Owner, Error> {
    match read(path) {
        Ok(Some(bytes)) if bytes.len() as u64 > MAX_READ_BYTES => Ok(Owner::Other),
        Ok(Some(bytes)) => Ok(match HandoffPayload::parse(&bytes) {
            Ok(found) if found.pool_id == pool_id && found.replica_id == replica_id => Owner::This,
            Ok(_) => Owner::Other,
            Err(_) => Owner::Unclear,
        }),
        Ok(None) => Ok(Owner::Unclear),
        // A symbolic link to nothing is something in the way all the same. Nothing else is: a file that has appeared
        // since is another producer's, and taken for "in the way" it would be overwritten.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let is_link = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
            Ok(if is_link { Owner::Unclear } else { Owner::Nobody })
        }
        Err(error) => Err(Error::io("read the handoff that is there", path, error)),
    }
}

/// The content of a regular file, one byte beyond the limit at most; `None` for anything else.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    // To open a device may do something, and to open a socket fails.
    if !fs::metadata(path)?.is_file() {
        return Ok(None);
    }
    // A FIFO that has come since would block the producer for good.
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as _;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(MAX_READ_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// A written file that is removed again unless it gets its name.
struct Temporary {
    path: PathBuf,
}

impl Temporary {
    /// The name is hidden and has another ending, so that no watcher takes it.
    fn write(dir: &Path, content: &[u8]) -> Result<Self, Error> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o644);

        let mut attempts = 0;
        loop {
            // In containers all producers can have one process id, and the same one after each crash: hence the time.
            let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
            let count = COUNTER.fetch_add(1, Ordering::Relaxed);
            let path = dir.join(format!(".handoff-{}-{nanos:x}-{count}.tmp", std::process::id()));
            attempts += 1;
            let mut file = match options.open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempts < ATTEMPTS => continue,
                opened => opened.map_err(|error| Error::io("create the temporary file", &path, error))?,
            };
            let temporary = Self { path };
            file.write_all(content)
                .and_then(|()| {
                    // The exact time: of two claims the newer one wins. And another one than the change time, which the
                    // kernel sets: to a watcher the sign of a file that was finished before it got its name. A file
                    // system that cannot is believed a moment later.
                    let _ = file.set_modified(SystemTime::now());
                    file.sync_all()
                })
                .map_err(|error| Error::io("write the temporary file", &temporary.path, error))?;
            return Ok(temporary);
        }
    }

    /// Gives it its name; `false` when it was to be a new one, and has come into use meanwhile.
    fn rename(&self, path: &Path, replace: bool) -> Result<bool, Error> {
        let renamed = if replace { fs::rename(&self.path, path).map(|()| true) } else { rename_new(&self.path, path) };
        renamed.map_err(|error| Error::io("put the handoff into its place", path, error))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Once it has its name this finds nothing.
        let _ = fs::remove_file(&self.path);
    }
}

/// Two replicas whose names are the same may be published at the same moment: only one may believe that it was first.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "macos"))]
fn rename_new(from: &Path, to: &Path) -> io::Result<bool> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        // Not every file system can, and not every kernel: NFS and much of FUSE cannot.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP | Errno::PERM) => link_new(from, to),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "macos")))]
fn rename_new(from: &Path, to: &Path) -> io::Result<bool> {
    link_new(from, to)
}

/// A second name is refused where there is one already, on every file system that has hard links; the first one goes with
/// the [`Temporary`]. Where there are none, two that race may both believe that they were first.
fn link_new(from: &Path, to: &Path) -> io::Result<bool> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(_) => fs::rename(from, to).map(|()| true),
    }
}

fn remove(path: &Path) -> Result<bool, Error> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("remove the handoff", path, error)),
    }
}

/// Makes the names last. Not every file system can sync a directory; those that cannot say so, and need not be asked.
fn sync_directory(dir: &Path) -> Result<(), Error> {
    match File::open(dir).and_then(|dir| dir.sync_all()) {
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        synced => synced.map_err(|error| Error::io("sync the directory", dir, error)),
    }
}
