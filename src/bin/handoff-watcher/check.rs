//! `check`: whether a watcher would accept a file.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use handoff_watcher::{ErrorKind, HandoffPayload, TrustPolicy};
use serde::Serialize;

use crate::args::CheckArgs;
use crate::output::{Exit, Failure, Output, complain};
use crate::render;

/// The largest file that a watcher accepts by default.
const MOST_BYTES: u64 = 1 << 20;
/// The name that stands for standard input.
const STDIN: &str = "-";

pub(crate) fn run(args: CheckArgs) -> Result<Exit, Failure> {
    let trust = args.trust.policy();
    if trust.is_some() && args.files.iter().any(|file| file.as_os_str() == STDIN) {
        return Err(Failure::new("--trust: standard input has no owner to trust; name the file"));
    }
    let mut output = Output::new();
    let mut exit = Exit::Yes;
    for file in &args.files {
        let verdict = Verdict::of(file, trust.as_ref());
        let unread = verdict.error_kind == Some(ErrorKind::Io.as_str());
        if unread {
            complain(&format!("{}: {}", verdict.file, verdict.error.as_deref().unwrap_or_default()));
            exit = Exit::Cannot;
        } else if !verdict.ok && exit == Exit::Yes {
            exit = Exit::No;
        }
        if args.json {
            output.json(&verdict)?;
        } else if !unread {
            output.line(verdict.line())?;
        }
    }
    Ok(exit)
}

/// What is said of one file: the names are those of the events.
#[derive(Debug, Default, Serialize)]
struct Verdict {
    file: String,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<HandoffPayload>,
    /// What keeps a good document from being announced.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
}

impl Verdict {
    fn of(file: &Path, trust: Option<&TrustPolicy>) -> Self {
        let name = file.to_string_lossy().into_owned();
        let bytes = match read(file, trust) {
            Ok(bytes) => bytes,
            Err((kind, error)) => {
                return Self { file: name, error: Some(error), error_kind: Some(kind.as_str()), ..Self::default() };
            }
        };
        match HandoffPayload::parse(&bytes) {
            Ok(payload) => {
                Self { file: name, ok: true, note: note(file, &payload), payload: Some(payload), ..Self::default() }
            }
            Err(error) => Self {
                file: name,
                error: Some(error.message().to_owned()),
                error_kind: Some(error.kind().as_str()),
                field: error.field().map(str::to_owned),
                line: error.line(),
                column: error.column(),
                ..Self::default()
            },
        }
    }

    fn line(&self) -> String {
        let mut line = render::clean(&self.file, usize::MAX);
        if let (Some(row), Some(column)) = (self.line, self.column) {
            line.push_str(&format!(":{row}:{column}"));
        }
        line.push_str(": ");
        match (&self.payload, &self.error) {
            (Some(payload), _) => {
                line.push_str(&render::styled(render::GOOD, "ok"));
                line.push_str(&format!(
                    "  {}  {}",
                    render::replica(&payload.pool_id, &payload.replica_id),
                    render::url(&payload.url)
                ));
                if let Some(note) = self.note {
                    line.push_str(&format!("  ({note})"));
                }
            }
            (None, error) => {
                let error = render::clean(error.as_deref().unwrap_or_default(), render::ERROR_CHARS);
                line.push_str(&render::styled(render::BAD, &error));
            }
        }
        line
    }
}

fn note(file: &Path, payload: &HandoffPayload) -> Option<&'static str> {
    let name = file.file_name().unwrap_or_default().as_encoded_bytes();
    let taken = name.ends_with(b".json") && !name.starts_with(b".");
    if !taken && file.as_os_str() != STDIN {
        return Some("but watchers take only *.json that is not hidden");
    }
    (!payload.is_ready()).then_some("says that it is not ready")
}

/// The bytes, or the kind of refusal and its text.
fn read(file: &Path, trust: Option<&TrustPolicy>) -> Result<Vec<u8>, (ErrorKind, String)> {
    let cannot = |error: io::Error| (ErrorKind::Io, format!("cannot read: {error}"));
    let mut bytes = Vec::new();
    if file.as_os_str() == STDIN {
        io::stdin().lock().take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(cannot)?;
    } else {
        // Before it is opened: opening a device may have effects of its own.
        let found = fs::metadata(file).or_else(|error| match fs::symlink_metadata(file) {
            // A watcher calls that invalid, not missing.
            Ok(link) if error.kind() == io::ErrorKind::NotFound => Ok(link),
            _ => Err(cannot(error)),
        })?;
        regular(&found)?;
        let opened = open(file).map_err(cannot)?;
        let found = opened.metadata().map_err(cannot)?;
        regular(&found)?;
        if let Some(trust) = trust {
            trusted(trust, file, &found)?;
        }
        opened.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(cannot)?;
    }
    if bytes.len() as u64 > MOST_BYTES {
        return Err((ErrorKind::TooLarge, format!("expected at most {MOST_BYTES} bytes, found more")));
    }
    Ok(bytes)
}

fn regular(found: &fs::Metadata) -> Result<(), (ErrorKind, String)> {
    let kind = match found.file_type() {
        kind if kind.is_file() => return Ok(()),
        kind if kind.is_dir() => "a directory",
        kind if kind.is_symlink() => "a symbolic link that leads to nothing",
        #[cfg(unix)]
        kind if std::os::unix::fs::FileTypeExt::is_fifo(&kind) => "a FIFO",
        #[cfg(unix)]
        kind if std::os::unix::fs::FileTypeExt::is_socket(&kind) => "a socket",
        _ => "a device",
    };
    Err((ErrorKind::FileType, format!("expected a regular file, found {kind}")))
}

/// The file that was opened, and the directory that a watcher would have to watch for it.
fn trusted(trust: &TrustPolicy, file: &Path, found: &fs::Metadata) -> Result<(), (ErrorKind, String)> {
    trust.check(found).map_err(|error| (error.kind(), error.message().to_owned()))?;
    let dir = match file.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let opened = File::open(dir).and_then(|dir| dir.metadata());
    let found = opened.map_err(|error| (ErrorKind::Io, format!("cannot look at its directory: {error}")))?;
    trust.check(&found).map_err(|error| (error.kind(), format!("its directory is {}", error.message())))
}

/// Without waiting for a writer, should it have become a FIFO in the meantime.
#[cfg(unix)]
fn open(file: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    Ok(File::from(rustix::fs::open(file, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?))
}

#[cfg(not(unix))]
fn open(file: &Path) -> io::Result<File> {
    File::open(file)
}
