//! Where output goes: whole lines on standard output, one line of complaint on standard error, and the exit codes.

use std::ffi::OsStr;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use serde::Serialize;

use crate::render;

/// The longest complaint, in characters: an error carries paths and excerpts, and all of them may be hostile.
const COMPLAINT_CHARS: usize = 2000;

/// What a command ends with. `grep`'s convention: 0 yes, 1 no, 2 could not be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done; the answer is yes.
    Yes,
    /// Done; the answer is no: something invalid, a timeout, nothing to withdraw.
    No,
    /// It could not be done: bad usage, a bad path, a bad environment.
    Cannot,
    /// Ended by this signal, after cleaning up.
    Signal(i32),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Yes => Self::SUCCESS,
            Exit::No => Self::from(1),
            Exit::Cannot => Self::from(2),
            // As a shell shows a process that the signal killed.
            Exit::Signal(signal) => Self::from(u8::try_from(128 + signal).unwrap_or(u8::MAX)),
        }
    }
}

/// Why a command ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nobody reads standard output any more.
    Closed,
    /// It could not be done, for this reason.
    Cannot(String),
}

impl Failure {
    pub(crate) fn new(message: impl Display) -> Self {
        Self::Cannot(message.to_string())
    }
}

impl From<handoff_watcher::Error> for Failure {
    fn from(error: handoff_watcher::Error) -> Self {
        Self::new(error)
    }
}

/// Standard output, line by line: a line is written whole and is on its way before the next thing happens.
#[derive(Debug)]
pub(crate) struct Output {
    /// Drops the colours where they do not belong: no terminal, `NO_COLOR`, `TERM=dumb`.
    stream: anstream::AutoStream<io::Stdout>,
}

impl Output {
    pub(crate) fn new() -> Self {
        Self { stream: anstream::stdout() }
    }

    pub(crate) fn is_terminal() -> bool {
        io::stdout().is_terminal()
    }

    pub(crate) fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        let line = format!("{text}\n");
        self.stream.write_all(line.as_bytes()).and_then(|()| self.stream.flush()).map_err(unwritten)
    }

    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        self.line(render::json(value)?)
    }

    /// A path or a URL that a script takes on: byte for byte, but for a terminal, which must not obey it.
    pub(crate) fn value(&mut self, value: &OsStr) -> Result<(), Failure> {
        if Self::is_terminal() {
            return self.line(render::clean(&value.to_string_lossy(), usize::MAX));
        }
        let mut stdout = io::stdout().lock();
        stdout
            .write_all(value.as_encoded_bytes())
            .and_then(|()| stdout.write_all(b"\n"))
            .and_then(|()| stdout.flush())
            .map_err(unwritten)
    }
}

fn unwritten(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::Closed,
        _ => Failure::new(format_args!("cannot write to standard output: {error}")),
    }
}

/// One line on standard error. That it cannot be written changes nothing.
pub(crate) fn complain(message: &str) {
    let _ = writeln!(io::stderr(), "handoff-watcher: {}", render::clean(message, COMPLAINT_CHARS));
}

/// Calls `closed` when standard output is a pipe or a socket that nobody reads any more.
///
/// Without it, `watch | head -1` would stay until the next event.
pub(crate) fn when_closed(closed: impl FnOnce() + Send + 'static) {
    use rustix::event::{PollFd, PollFlags, poll};
    let wait = move || {
        let stdout = io::stdout();
        // Asks for nothing: the kernel reports errors and hang-ups unasked.
        let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
        loop {
            match poll(&mut watched, None) {
                Err(rustix::io::Errno::INTR) => {}
                Ok(_) if watched[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) => return closed(),
                // A system that cannot tell: the next write will.
                Ok(_) | Err(_) => return,
            }
        }
    };
    // Without the thread, the next write finds out.
    let _ = std::thread::Builder::new().name("stdout-closed".into()).spawn(wait);
}

#[cfg(not(unix))]
pub(crate) fn when_closed(closed: impl FnOnce() + Send + 'static) {
    drop(closed);
}
