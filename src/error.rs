//! What can go wrong, said for people and for programs.
//!
//! One opaque [`Error`] for the whole crate. Everything that fails, and every `invalid` event, carries one: a
//! [kind](ErrorKind) with a stable number for programs, and a single line for people that says what, where (file, line,
//! column, field) and what was expected.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The longest piece of a file's content that an error text shows, in bytes before escaping.
const EXCERPT_BYTES: usize = 40;
/// And after it: a control character takes up to six bytes, one without a shape up to ten.
const ESCAPED_BYTES: usize = 80;
/// And of an id, where there is little room.
const ESCAPED_ID_BYTES: usize = EXCERPT_BYTES + 2;
/// The same for what the host says, which may be what a file says, and should be of some use.
const HOST_BYTES: usize = 100;

/// What kind of thing went wrong. The numbers are stable: they are the status codes of the C ABI.
///
/// New kinds may be added in any release; a host treats one that it does not know like [`ErrorKind::Internal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(i32)]
pub enum ErrorKind {
    /// A setting or an environment variable has an impossible value.
    Config = -1,
    /// The operating system refused: a directory that cannot be listed, a file that cannot be read or written.
    Io = -2,
    /// The content is not one JSON document in UTF-8.
    Syntax = -3,
    /// The content is JSON, but not a handoff: a field is missing, doubled or impossible.
    Schema = -4,
    /// The file is larger than the largest accepted one.
    TooLarge = -5,
    /// The name does not lead to a regular file.
    FileType = -6,
    /// A thread could not be started.
    Spawn = -7,
    /// The watcher has been stopped.
    Stopped = -8,
    /// A defect of this library; please report it.
    Internal = -9,
    /// C ABI: an argument that cannot be, such as NULL where that is not allowed.
    InvalidArgument = -10,
    /// C ABI: the watcher belongs to another process, of which this one is a fork.
    Forked = -11,
    /// C ABI: from inside a callback, a call that would wait for this callback to end.
    Busy = -12,
    /// The file, or the watched directory, is not to be believed; see [`TrustPolicy`](crate::TrustPolicy).
    Untrusted = -20,
    /// The handoff is a leftover: the process that it names is not its engine any more; see
    /// [`check_processes`](crate::HandoffWatcherBuilder::check_processes).
    Stale = -21,
}

impl ErrorKind {
    /// The stable number: negative, the same in the C ABI.
    pub const fn code(self) -> i32 {
        self as i32
    }

    /// The stable name, as it stands in JSON: `config`, `io`, `syntax`, `schema`, `too_large`, `file_type`, `spawn`,
    /// `stopped`, `internal`, `invalid_argument`, `forked`, `busy`, `untrusted`, `stale`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Io => "io",
            Self::Syntax => "syntax",
            Self::Schema => "schema",
            Self::TooLarge => "too_large",
            Self::FileType => "file_type",
            Self::Spawn => "spawn",
            Self::Stopped => "stopped",
            Self::Internal => "internal",
            Self::InvalidArgument => "invalid_argument",
            Self::Forked => "forked",
            Self::Busy => "busy",
            Self::Untrusted => "untrusted",
            Self::Stale => "stale",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error of this library.
///
/// It prints as one line without a line feed, complete in itself: the place first, then what was found and what was
/// expected. It is cheap to clone.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    path: Option<PathBuf>,
    field: Option<String>,
    position: Option<(usize, usize)>,
    source: Option<Arc<io::Error>>,
}

impl Error {
    /// The kind, for a `match`.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The stable number of the kind; see [`ErrorKind::code`].
    pub fn code(&self) -> i32 {
        self.0.kind.code()
    }

    /// The file or directory that it is about.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// The field of the handoff, the setting or the environment variable that it is about. Of a field that this library
    /// does not know it is the name as the message shows it: escaped, and not all of a long one.
    pub fn field(&self) -> Option<&str> {
        self.0.field.as_deref()
    }

    /// The line in the file, counted from 1.
    pub fn line(&self) -> Option<usize> {
        self.0.position.map(|(line, _)| line)
    }

    /// The column in the line, counted from 1 in bytes; 0 is the place before the first byte of a line.
    pub fn column(&self) -> Option<usize> {
        self.0.position.map(|(_, column)| column)
    }

    /// The text without the path, the line and the column, for a host that shows those in places of their own.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The operating system's error, where there was one.
    pub fn io_error(&self) -> Option<&io::Error> {
        self.0.source.as_deref()
    }

    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner { kind, message: message.into(), path: None, field: None, position: None, source: None }))
    }

    /// What is asked of a watcher that will not do it any more.
    pub(crate) fn stopped() -> Self {
        Self::new(ErrorKind::Stopped, "the watcher has been stopped")
    }

    /// `doing` completes the sentence "cannot …".
    pub(crate) fn io(doing: &str, path: &Path, source: io::Error) -> Self {
        let mut error = Self::new(ErrorKind::Io, format!("cannot {doing}: {source}")).with_path(path);
        error.inner().source = Some(Arc::new(source));
        error
    }

    pub(crate) fn with_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.inner().path = Some(path.into());
        self
    }

    pub(crate) fn with_field(mut self, field: impl Into<String>) -> Self {
        self.inner().field = Some(field.into());
        self
    }

    pub(crate) fn with_position(mut self, line: usize, column: usize) -> Self {
        self.inner().position = Some((line, column));
        self
    }

    fn inner(&mut self) -> &mut Inner {
        Arc::make_mut(&mut self.0)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.0.path {
            write!(f, "{}", path.to_string_lossy().escape_debug())?;
            if let Some((line, column)) = self.0.position {
                write!(f, ":{line}:{column}")?;
            }
            f.write_str(": ")?;
        } else if let Some((line, column)) = self.0.position {
            write!(f, "line {line}, column {column}: ")?;
        }
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({}: {self})", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// Two errors are equal when they say the same of the same place.
impl PartialEq for Error {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (&self.0, &other.0);
        (a.kind, &a.message, &a.path, &a.field, a.position) == (b.kind, &b.message, &b.path, &b.field, b.position)
    }
}

impl Eq for Error {}

/// A short, escaped, quoted piece of what a file says, so that a hostile or huge file cannot flood or garble a log.
pub(crate) fn excerpt(content: &str) -> String {
    excerpt_of(content, EXCERPT_BYTES, ESCAPED_BYTES)
}

/// The same where two of them stand beside what the host says: as long as a line may be.
pub(crate) fn id_excerpt(id: &str) -> String {
    excerpt_of(id, EXCERPT_BYTES, ESCAPED_ID_BYTES)
}

/// The same of what the host says of an event: it may quote all of it.
pub(crate) fn host_excerpt(text: &str) -> String {
    excerpt_of(text, HOST_BYTES, HOST_BYTES)
}

fn excerpt_of(content: &str, most: usize, most_escaped: usize) -> String {
    let mut shown = String::from('"');
    for (at, c) in content.char_indices() {
        let escaped = c.escape_debug();
        let is_over = content.len() > most && at + c.len_utf8() > most;
        if is_over || shown.len() + escaped.len() > most_escaped {
            return format!("{shown}…\" ({} bytes)", content.len());
        }
        shown.extend(escaped);
    }
    shown + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_place_first_and_stays_on_one_line() {
        let error = Error::new(ErrorKind::Schema, "field `slots`: expected a whole number")
            .with_path("dir/a\nb.json")
            .with_field("slots")
            .with_position(3, 14);
        assert_eq!(error.to_string(), "dir/a\\nb.json:3:14: field `slots`: expected a whole number");
        assert_eq!((error.line(), error.column(), error.field()), (Some(3), Some(14), Some("slots")));
        assert_eq!((error.code(), error.kind().as_str()), (-4, "schema"));
    }

    #[test]
    fn keeps_the_operating_systems_error_as_its_source() {
        let error = Error::io("list the directory", Path::new("x"), io::Error::from_raw_os_error(13));
        assert_eq!(error.io_error().and_then(io::Error::raw_os_error), Some(13));
        assert!(std::error::Error::source(&error).is_some());
        assert!(error.to_string().starts_with("x: cannot list the directory: "), "{error}");
    }

    #[test]
    fn excerpts_are_short_escaped_and_cut_between_characters() {
        assert_eq!(excerpt("a\u{0}\n"), "\"a\\0\\n\"");
        let long = "größe".repeat(100);
        let shown = excerpt(&long);
        assert!(shown.len() < 80, "{shown}");
        assert!(shown.ends_with("(700 bytes)"), "{shown}");
        assert_eq!(excerpt(&"x".repeat(40)), format!("\"{}\"", "x".repeat(40)));
        assert_eq!(excerpt(&"x".repeat(41)), format!("\"{}…\" (41 bytes)", "x".repeat(40)));
        for c in ['\u{1b}', '\u{202e}', '\u{e0041}', '"', '\u{301}'] {
            let shown = excerpt(&c.to_string().repeat(1 << 20));
            assert!(shown.len() < 110, "{shown}");
            assert!(shown.is_ascii() || shown.replace('…', "").is_ascii(), "{shown}");
        }
    }
}
