//! A thread of the library that dies, however: the handles say so, and nobody goes on waiting for it.

mod common;

use std::sync::atomic::{AtomicBool, Ordering};

use common::{INTERVAL_MS, Place, builder, doc, until, write};
use handoff_watcher::ErrorKind;

/// A host's logger that panics on the library's threads.
struct Logger;

static ARMED: AtomicBool = AtomicBool::new(false);

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let doomed = std::thread::current().name().is_some_and(|name| name.starts_with("doomed"));
        if doomed && ARMED.load(Ordering::SeqCst) {
            panic!("the logger cannot write: {}", record.args());
        }
    }

    fn flush(&self) {}
}

#[test]
fn regression_a_delivery_thread_that_dies_is_not_called_alive() {
    log::set_logger(&Logger).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let place = Place::new();
    let handle = builder(place.path(), INTERVAL_MS).thread_name("doomed").on_event(|_| Ok(())).spawn();
    until("synced", || handle.stats().events.synced == 1);
    assert!(handle.health().is_ok());
    ARMED.store(true, Ordering::SeqCst);
    write(place.join("a.json"), doc("r0", "v1"));
    until("not running", || !handle.health().running);
    let error = handle.health().error.expect("it says why");
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.to_string().contains("delivery thread") && error.to_string().contains("cannot write"), "{error}");
    // Why it ended is known before it is the end.
    until("stopped", || handle.stop_handle().is_stopped());
    assert_eq!(handle.rescan().unwrap_err().kind(), ErrorKind::Stopped);
    handle.stop();
}
