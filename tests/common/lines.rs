//! What all watchers of this process log.

use parking_lot::Mutex;

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Lines;

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LINES.lock().push(record.args().to_string());
    }

    fn flush(&self) {}
}

/// Keeps the lines of every level from now on.
pub(crate) fn keep() {
    // Another test of this process may have been first.
    let _ = log::set_logger(&Lines);
    log::set_max_level(log::LevelFilter::Trace);
}

/// Those with that text in them: a directory, or words that are one test's own.
pub(crate) fn with(text: &str) -> Vec<String> {
    LINES.lock().iter().filter(|line| line.contains(text)).cloned().collect()
}

/// All of them.
pub(crate) fn all() -> Vec<String> {
    LINES.lock().clone()
}
