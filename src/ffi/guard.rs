//! The one place where panics and errors become what C understands.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::status::HANDOFF_STOPPED;
use crate::error::{Error, ErrorKind};
use crate::watcher::panic_text;

/// The last error of a thread, in the form in which C asks for it.
pub(super) struct Last {
    pub(super) text: CString,
    pub(super) path: Option<CString>,
    pub(super) field: Option<CString>,
    pub(super) line: i64,
    pub(super) column: i64,
}

thread_local! {
    static LAST: RefCell<Last> =
        RefCell::new(Last { text: CString::default(), path: None, field: None, line: -1, column: -1 });
}

/// Runs what a function that returns a status does.
pub(super) fn status(body: impl FnOnce() -> Result<i32, Error>) -> i32 {
    match catch(body) {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) if error.kind() == ErrorKind::Stopped => HANDOFF_STOPPED,
        Ok(Err(error)) => remember(&error),
        Err(panic) => {
            let text = panic_text(panic);
            remember(&Error::new(ErrorKind::Internal, format!("a defect of handoff-watcher, please report it: {text}")))
        }
    }
}

/// Runs what a function that returns a value does, which is `otherwise` where the library has a defect.
pub(super) fn value<T>(otherwise: T, body: impl FnOnce() -> T) -> T {
    catch(body).unwrap_or(otherwise)
}

/// Nothing that is seen here can be left half-done by a panic: the locks do not poison, and the core is not run by these.
fn catch<T>(body: impl FnOnce() -> T) -> Result<T, Box<dyn Any + Send>> {
    catch_unwind(AssertUnwindSafe(|| {
        #[cfg(handoff_panic)]
        if std::env::var_os("HANDOFF_PANIC").is_some() {
            panic!("provoked");
        }
        body()
    }))
}

/// Reads the calling thread's last error.
pub(super) fn last<T>(read: impl FnOnce(&Last) -> T) -> T {
    LAST.with_borrow(read)
}

fn remember(error: &Error) -> i32 {
    let place = |number: Option<usize>| number.and_then(|number| i64::try_from(number).ok()).unwrap_or(-1);
    let last = Last {
        text: c_text(&error.to_string()),
        path: error.path().and_then(|path| CString::new(path.as_os_str().as_bytes()).ok()),
        field: error.field().map(c_text),
        line: place(error.line()),
        column: place(error.column()),
    };
    // A thread that is ending has no place for it any more.
    let _ = LAST.try_with(|slot| slot.replace(last));
    error.code()
}

/// Text for people, which C can only see up to a NUL.
pub(super) fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{FFFD}")).unwrap_or_default()
}
