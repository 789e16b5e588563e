//! How long the machine holds up somebody who does next to nothing: what it does to all others, too, is not their fault.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

const REST: Duration = Duration::from_millis(10);

/// Somebody who looks at a directory, and sleeps.
#[derive(Debug)]
pub(crate) struct Hitch {
    longest: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Hitch {
    pub(crate) fn new(dir: PathBuf) -> Self {
        let (longest, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (told, stopped) = (longest.clone(), stop.clone());
        let thread = spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let began = Instant::now();
                sleep(REST);
                let looks =
                    fs::read_dir(&dir).into_iter().flatten().flatten().filter_map(|entry| entry.metadata().ok());
                let _ = looks.count();
                let late = began.elapsed().saturating_sub(REST);
                told.fetch_max(u64::try_from(late.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
        });
        Self { longest, stop, thread: Some(thread) }
    }

    /// The longest one of all so far.
    pub(crate) fn longest(&self) -> Duration {
        Duration::from_micros(self.longest.load(Ordering::Relaxed))
    }

    /// From now on.
    pub(crate) fn start(&self) {
        self.longest.store(0, Ordering::Relaxed);
    }
}

impl Drop for Hitch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
