//! The numbers and names of what a call can come to.

use std::ffi::{CStr, c_char};

use super::guard;
use crate::error::ErrorKind;

/// The major version of this header. It changes when hosts have to be changed.
pub const HANDOFF_VERSION_MAJOR: i32 = 0;
/// The minor version of this header. It changes when something is added.
pub const HANDOFF_VERSION_MINOR: i32 = 1;
/// The patch version of this header.
pub const HANDOFF_VERSION_PATCH: i32 = 0;

/// Done. Statuses are int32_t: 0 is this, positive ones are outcomes that a host expects, negative ones are errors, of
/// which handoff_last_error() has the text. A host treats a negative status that it does not know like
/// HANDOFF_ERROR_INTERNAL, and a positive one like HANDOFF_NOT_FOUND.
pub const HANDOFF_OK: i32 = 0;
/// The time was over before it happened.
pub const HANDOFF_TIMEOUT: i32 = 1;
/// The watcher has been stopped, by this host or by a defect (see handoff_watcher_health): nothing will come any more.
pub const HANDOFF_STOPPED: i32 = 2;
/// There is none: no such replica is ready, or no such handoff is there.
pub const HANDOFF_NOT_FOUND: i32 = 3;

/// A setting or an environment variable has an impossible value, whatever is wrong with it; the text names it.
pub const HANDOFF_ERROR_CONFIG: i32 = -1;
/// The operating system refused.
pub const HANDOFF_ERROR_IO: i32 = -2;
/// The content is not one JSON document in UTF-8.
pub const HANDOFF_ERROR_SYNTAX: i32 = -3;
/// The content is JSON, but not a handoff: a field is missing, doubled or impossible.
pub const HANDOFF_ERROR_SCHEMA: i32 = -4;
/// The file is larger than the largest accepted one. Only in events.
pub const HANDOFF_ERROR_TOO_LARGE: i32 = -5;
/// The name does not lead to a regular file. Only in events.
pub const HANDOFF_ERROR_FILE_TYPE: i32 = -6;
/// A thread could not be started.
pub const HANDOFF_ERROR_SPAWN: i32 = -7;
/// A defect of this library, which caught itself; please report it with the text.
pub const HANDOFF_ERROR_INTERNAL: i32 = -9;
/// An argument that cannot be: NULL where that is not allowed, text that is not UTF-8, an impossible struct_size.
pub const HANDOFF_ERROR_INVALID_ARGUMENT: i32 = -10;
/// The watcher belongs to another process, of which this one is a fork. Nothing was touched.
pub const HANDOFF_ERROR_FORKED: i32 = -11;
/// From inside a callback: a call that would wait for this very callback. Nothing was done.
pub const HANDOFF_ERROR_BUSY: i32 = -12;
/// The file, or the watched directory, is not to be believed: it belongs to somebody else, or others may write it.
pub const HANDOFF_ERROR_UNTRUSTED: i32 = -20;
/// The handoff is a leftover: the process that it names is not its engine any more.
pub const HANDOFF_ERROR_STALE: i32 = -21;

// cbindgen wants literals.
const _: () = {
    assert!(HANDOFF_VERSION_MAJOR == number(env!("CARGO_PKG_VERSION_MAJOR")));
    assert!(HANDOFF_VERSION_MINOR == number(env!("CARGO_PKG_VERSION_MINOR")));
    assert!(HANDOFF_VERSION_PATCH == number(env!("CARGO_PKG_VERSION_PATCH")));
    assert!(HANDOFF_ERROR_CONFIG == ErrorKind::Config.code());
    assert!(HANDOFF_ERROR_IO == ErrorKind::Io.code());
    assert!(HANDOFF_ERROR_SYNTAX == ErrorKind::Syntax.code());
    assert!(HANDOFF_ERROR_SCHEMA == ErrorKind::Schema.code());
    assert!(HANDOFF_ERROR_TOO_LARGE == ErrorKind::TooLarge.code());
    assert!(HANDOFF_ERROR_FILE_TYPE == ErrorKind::FileType.code());
    assert!(HANDOFF_ERROR_SPAWN == ErrorKind::Spawn.code());
    assert!(HANDOFF_ERROR_INTERNAL == ErrorKind::Internal.code());
    assert!(HANDOFF_ERROR_INVALID_ARGUMENT == ErrorKind::InvalidArgument.code());
    assert!(HANDOFF_ERROR_FORKED == ErrorKind::Forked.code());
    assert!(HANDOFF_ERROR_BUSY == ErrorKind::Busy.code());
    assert!(HANDOFF_ERROR_UNTRUSTED == ErrorKind::Untrusted.code());
    assert!(HANDOFF_ERROR_STALE == ErrorKind::Stale.code());
};

const fn number(text: &str) -> i32 {
    match i32::from_str_radix(text, 10) {
        Ok(number) => number,
        Err(_) => panic!("expected a version's number"),
    }
}

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");

/// The version of the library that runs, such as "0.1.0"; that of the header is in HANDOFF_VERSION_MAJOR and so on.
///
/// Returns a static string, never NULL.
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn handoff_version() -> *const c_char {
    VERSION.as_ptr().cast()
}

/// The name of a status, such as "ok", "timeout" or "invalid_argument", for logs.
///
/// Returns a static string, never NULL: "unknown" for a number that is no status.
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn handoff_status_name(status: i32) -> *const c_char {
    let name: &CStr = match status {
        HANDOFF_OK => c"ok",
        HANDOFF_TIMEOUT => c"timeout",
        HANDOFF_STOPPED => c"stopped",
        HANDOFF_NOT_FOUND => c"not_found",
        HANDOFF_ERROR_CONFIG => c"config",
        HANDOFF_ERROR_IO => c"io",
        HANDOFF_ERROR_SYNTAX => c"syntax",
        HANDOFF_ERROR_SCHEMA => c"schema",
        HANDOFF_ERROR_TOO_LARGE => c"too_large",
        HANDOFF_ERROR_FILE_TYPE => c"file_type",
        HANDOFF_ERROR_SPAWN => c"spawn",
        HANDOFF_ERROR_INTERNAL => c"internal",
        HANDOFF_ERROR_INVALID_ARGUMENT => c"invalid_argument",
        HANDOFF_ERROR_FORKED => c"forked",
        HANDOFF_ERROR_BUSY => c"busy",
        HANDOFF_ERROR_UNTRUSTED => c"untrusted",
        HANDOFF_ERROR_STALE => c"stale",
        _ => c"unknown",
    };
    name.as_ptr()
}

/// What the last call on this thread that returned a negative status failed with: one line, for people. A call that does
/// not fail leaves it as it is.
///
/// Returns a string of the library, never NULL: "" before the first failure. It is valid until the next call on this
/// thread that fails, or the end of the thread.
/// Thread: any; each has its own. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn handoff_last_error() -> *const c_char {
    guard::value(c"".as_ptr(), || guard::last(|last| last.text.as_ptr()))
}

/// The field of the handoff, the setting, the argument or the environment variable that the last error is about.
///
/// Returns a string of the library, or NULL when it is about none. Valid as that of handoff_last_error().
/// Thread: any; each has its own. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn handoff_last_error_field() -> *const c_char {
    guard::value(std::ptr::null(), || guard::last(|last| last.field.as_deref().map_or(std::ptr::null(), CStr::as_ptr)))
}

/// The file or directory that the last error is about: a path as the system has it, not necessarily UTF-8.
///
/// Returns a string of the library, or NULL when it is about none. Valid as that of handoff_last_error().
/// Thread: any; each has its own. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn handoff_last_error_path() -> *const c_char {
    guard::value(std::ptr::null(), || guard::last(|last| last.path.as_deref().map_or(std::ptr::null(), CStr::as_ptr)))
}

/// The line in the document that the last error is about, counted from 1; -1 when it is about none.
///
/// Thread: any; each has its own. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn handoff_last_error_line() -> i64 {
    guard::value(-1, || guard::last(|last| last.line))
}

/// The column in that line, counted from 1 in bytes; -1 when the last error is about no document.
///
/// Thread: any; each has its own. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn handoff_last_error_column() -> i64 {
    guard::value(-1, || guard::last(|last| last.column))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_called_the_same_in_c() {
        for kind in [ErrorKind::Config, ErrorKind::Io, ErrorKind::Syntax, ErrorKind::Schema, ErrorKind::TooLarge] {
            assert_eq!(name(kind.code()), kind.as_str());
        }
        for kind in [ErrorKind::FileType, ErrorKind::Spawn, ErrorKind::Internal, ErrorKind::InvalidArgument] {
            assert_eq!(name(kind.code()), kind.as_str());
        }
        for kind in [ErrorKind::Forked, ErrorKind::Busy, ErrorKind::Untrusted, ErrorKind::Stale] {
            assert_eq!(name(kind.code()), kind.as_str());
        }
    }

    fn name(status: i32) -> &'static str {
        // SAFETY: it returns static strings.
        unsafe { CStr::from_ptr(handoff_status_name(status)) }.to_str().unwrap()
    }
}
