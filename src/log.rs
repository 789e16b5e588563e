//! Where a watcher's log lines go: to the `log` facade, or to a sink of its own.
//!
//! The facade has one logger per process, which belongs to the application. A host on the other side of the C ABI cannot
//! reach it, so each of its watchers may have its own.

use std::fmt;
use std::sync::Arc;

pub(crate) use log::{Level, LevelFilter};

/// Takes a line, on any thread.
pub(crate) type Sink = dyn Fn(Level, &str) + Send + Sync;

/// Where the log lines of one watcher go. The facade by default.
#[derive(Clone, Default)]
pub(crate) struct Log {
    sink: Option<(LevelFilter, Arc<Sink>)>,
}

impl Log {
    /// Lines up to that level go there, and nowhere else.
    #[cfg(feature = "capi")]
    pub(crate) fn to(most: LevelFilter, sink: Arc<Sink>) -> Self {
        Self { sink: Some((most, sink)) }
    }

    /// What a host is told as an event, too, under a target of its own: who has the events needs no such line.
    pub(crate) fn event(&self, level: Level, line: fmt::Arguments<'_>) {
        self.line("handoff_watcher::event", level, line);
    }

    pub(crate) fn error(&self, line: fmt::Arguments<'_>) {
        self.line("handoff_watcher", Level::Error, line);
    }

    pub(crate) fn warn(&self, line: fmt::Arguments<'_>) {
        self.line("handoff_watcher", Level::Warn, line);
    }

    pub(crate) fn info(&self, line: fmt::Arguments<'_>) {
        self.line("handoff_watcher", Level::Info, line);
    }

    fn line(&self, target: &str, level: Level, line: fmt::Arguments<'_>) {
        match &self.sink {
            None => log::log!(target: target, level, "{line}"),
            Some((most, sink)) if level <= *most => sink(level, &line.to_string()),
            Some(_) => {}
        }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.sink.is_some() { "Log(a sink of its own)" } else { "Log(the facade)" })
    }
}
