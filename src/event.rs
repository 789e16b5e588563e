//! What a host receives: [`HandoffEvent`], the same names in Rust, C, Python, on the command line and in JSON.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::error::Error;
use crate::payload::HandoffPayload;

/// Something that the host is told, once.
///
/// An event is the difference between what the directory says and what the host has taken, computed as late as
/// possible: changes that pile up behind a slow host collapse into one event per replica.
///
/// It serialises as one flat JSON object, with the fields that apply: `event`, `file`, `pool_id`, `replica_id`,
/// `payload`, `previous`, `reason`, `error`, `error_kind`, `field`, `line`, `column`, `winner`, `losers`, `latency_ms`.
/// A path that is not UTF-8 is written with replacement characters, and its exact bytes follow in `file_bytes`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum HandoffEvent {
    /// A replica that the host does not know, or was told is gone, is ready.
    #[non_exhaustive]
    Ready {
        /// The handoff file.
        file: PathBuf,
        /// What it says.
        payload: HandoffPayload,
        /// From the file's last change to this delivery; `None` for what was there at the start. See CLOUD-3013.
        latency: Option<Duration>,
    },
    /// A replica that the host holds as ready is ready with another payload, or by another file.
    #[non_exhaustive]
    Updated {
        /// The handoff file.
        file: PathBuf,
        /// What it says now.
        payload: HandoffPayload,
        /// What the host was told last.
        previous: Box<HandoffPayload>,
        /// From the file's last change to this delivery.
        latency: Option<Duration>,
    },
    /// A replica that the host holds as ready no longer is.
    #[non_exhaustive]
    Removed {
        /// The handoff file that said so last.
        file: PathBuf,
        /// The last payload that the host was told.
        payload: HandoffPayload,
        /// Why.
        reason: RemovedReason,
    },
    /// A file cannot be taken as a handoff. Told once per bad content; the last good version stays in force.
    #[non_exhaustive]
    Invalid {
        /// The file.
        file: PathBuf,
        /// What is wrong, where, and what was expected.
        error: Error,
    },
    /// More than one file claims a replica. Told once per change of the claims.
    #[non_exhaustive]
    Conflict {
        /// The pool of the claimed replica.
        pool_id: String,
        /// The claimed replica.
        replica_id: String,
        /// The file that is in force: the newest mtime, then the greater name.
        winner: PathBuf,
        /// The other files, sorted.
        losers: Vec<PathBuf>,
    },
    /// Everything that was there at the start has been taken, also what changed since. Told once. A file that never comes to
    /// rest is waited for until 2 s beyond the settle time.
    Synced,
    /// The directory cannot be listed; everything known stays in force. Told once per change.
    #[non_exhaustive]
    Unavailable {
        /// Why not.
        error: Error,
    },
    /// The directory can be listed again. Told once per change.
    Available,
}

/// Why a replica is no longer ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RemovedReason {
    /// The handoff file is gone.
    FileRemoved,
    /// The handoff file says `"ready": false`.
    NotReady,
    /// The handoff file now speaks of another replica.
    Moved,
    /// The process that the handoff names has ended. The file, a leftover now, is `invalid` besides. Only where
    /// [processes are checked](crate::HandoffWatcherBuilder::check_processes).
    ProcessExited,
}

impl RemovedReason {
    /// The stable name, as it stands in JSON: `file_removed`, `not_ready`, `moved`, `process_exited`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FileRemoved => "file_removed",
            Self::NotReady => "not_ready",
            Self::Moved => "moved",
            Self::ProcessExited => "process_exited",
        }
    }
}

impl HandoffEvent {
    /// The stable name, as it stands in JSON: `ready`, `updated`, `removed`, `invalid`, `conflict`, `synced`,
    /// `unavailable`, `available`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ready { .. } => "ready",
            Self::Updated { .. } => "updated",
            Self::Removed { .. } => "removed",
            Self::Invalid { .. } => "invalid",
            Self::Conflict { .. } => "conflict",
            Self::Synced => "synced",
            Self::Unavailable { .. } => "unavailable",
            Self::Available => "available",
        }
    }

    /// The file that the event is about; the winner of a conflict; `None` where it is about the directory.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Ready { file, .. }
            | Self::Updated { file, .. }
            | Self::Removed { file, .. }
            | Self::Invalid { file, .. }
            | Self::Conflict { winner: file, .. } => Some(file),
            Self::Synced | Self::Unavailable { .. } | Self::Available => None,
        }
    }

    /// The payload of `ready`, `updated` and `removed`.
    pub fn payload(&self) -> Option<&HandoffPayload> {
        match self {
            Self::Ready { payload, .. } | Self::Updated { payload, .. } | Self::Removed { payload, .. } => {
                Some(payload)
            }
            _ => None,
        }
    }

    /// The pool that the event is about.
    pub fn pool_id(&self) -> Option<&str> {
        match self {
            Self::Conflict { pool_id, .. } => Some(pool_id),
            _ => self.payload().map(|payload| payload.pool_id.as_str()),
        }
    }

    /// The replica, within its pool, that the event is about.
    pub fn replica_id(&self) -> Option<&str> {
        match self {
            Self::Conflict { replica_id, .. } => Some(replica_id),
            _ => self.payload().map(|payload| payload.replica_id.as_str()),
        }
    }

    /// The error of `invalid` and `unavailable`.
    pub fn error(&self) -> Option<&Error> {
        match self {
            Self::Invalid { error, .. } | Self::Unavailable { error } => Some(error),
            _ => None,
        }
    }

    /// From the file's last change to the delivery, for `ready` and `updated` of what came after the start.
    pub fn latency(&self) -> Option<Duration> {
        match self {
            Self::Ready { latency, .. } | Self::Updated { latency, .. } => *latency,
            _ => None,
        }
    }
}

impl Serialize for HandoffEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("event", self.name())?;
        if let (Some(file), false) = (self.file(), matches!(self, Self::Conflict { .. })) {
            map.serialize_entry("file", &file.to_string_lossy())?;
            if file.to_str().is_none() {
                map.serialize_entry("file_bytes", file.as_os_str().as_encoded_bytes())?;
            }
        }
        if let (Some(pool_id), Some(replica_id)) = (self.pool_id(), self.replica_id()) {
            map.serialize_entry("pool_id", pool_id)?;
            map.serialize_entry("replica_id", replica_id)?;
        }
        if let Some(payload) = self.payload() {
            map.serialize_entry("payload", payload)?;
        }
        if let Self::Updated { previous, .. } = self {
            map.serialize_entry("previous", previous)?;
        }
        if let Self::Removed { reason, .. } = self {
            map.serialize_entry("reason", reason.as_str())?;
        }
        if let Some(error) = self.error() {
            map.serialize_entry("error", error.message())?;
            map.serialize_entry("error_kind", error.kind().as_str())?;
            if let Some(field) = error.field() {
                map.serialize_entry("field", field)?;
            }
            if let (Some(line), Some(column)) = (error.line(), error.column()) {
                map.serialize_entry("line", &line)?;
                map.serialize_entry("column", &column)?;
            }
        }
        if let Self::Conflict { winner, losers, .. } = self {
            let losers: Vec<_> = losers.iter().map(|loser| loser.to_string_lossy()).collect();
            map.serialize_entry("winner", &winner.to_string_lossy())?;
            map.serialize_entry("losers", &losers)?;
        }
        if let Some(latency) = self.latency() {
            // Three decimals: instant mode delivers in fractions of a millisecond.
            map.serialize_entry("latency_ms", &((latency.as_secs_f64() * 1e6).round() / 1e3))?;
        }
        map.end()
    }
}
