//! What the tests of a real directory share: a place, documents that vouch for themselves, waiting with a deadline, and a
//! host that objects to whatever it should not have been told.
#![allow(dead_code, unused_imports)] // Each test takes what it needs.

pub(crate) mod lines;
pub(crate) mod witness;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use handoff_watcher::{HandoffEvent, HandoffWatcher, HandoffWatcherBuilder, HandoffWatcherConfig, WatcherHandle};

pub(crate) use witness::{Shared, Witness};

/// For what must come. Far longer than it takes, for a machine that is busy.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The interval of most tests.
pub(crate) const INTERVAL_MS: u64 = 50;

/// A test's own directory, gone with it. `TMPDIR` says on which file system.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    #[track_caller]
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }

    /// A directory in it.
    #[track_caller]
    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        let path = self.join(name);
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }
}

/// Writes in place, as a careless producer does.
#[track_caller]
pub(crate) fn write(path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    let path = path.as_ref();
    fs::write(path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Writes beside it and renames, as a careful producer does.
#[track_caller]
pub(crate) fn replace(path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    let path = path.as_ref();
    let beside = path.with_extension("tmp");
    write(&beside, content);
    fs::rename(&beside, path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// A document of `pool/replica`; `text` makes versions of one length different.
pub(crate) fn doc(replica: &str, text: &str) -> String {
    format!(r#"{{"pool_id":"pool","replica_id":"{replica}","url":"http://127.0.0.1/{text}"}}"#)
}

/// Waits for a condition, and fails by its name.
#[track_caller]
pub(crate) fn until(what: &str, is: impl FnMut() -> bool) -> Duration {
    within(DEADLINE, what, is)
}

#[track_caller]
pub(crate) fn within(deadline: Duration, what: &str, mut is: impl FnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !is() {
        assert!(started.elapsed() < deadline, "not in {deadline:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
    started.elapsed()
}

pub(crate) fn builder(dir: &Path, interval_ms: u64) -> HandoffWatcherBuilder {
    HandoffWatcher::builder(HandoffWatcherConfig { runtime_dir: dir.to_owned(), poll_interval_ms: interval_ms })
}

/// A watcher and its host.
pub(crate) struct Watched {
    pub(crate) handle: Option<WatcherHandle>,
    pub(crate) host: Arc<Shared>,
}

impl Watched {
    /// Starts it, and waits until all that is there has been told.
    #[track_caller]
    pub(crate) fn start(dir: &Path) -> Self {
        let watched = Self::with(builder(dir, INTERVAL_MS).settle_time(Duration::from_millis(100)));
        until("synced", || watched.host.lock().synced);
        watched
    }

    #[track_caller]
    pub(crate) fn with(builder: HandoffWatcherBuilder) -> Self {
        let host = Arc::new(Shared::default());
        let hears = host.clone();
        let watcher = builder.on_event(move |event| {
            hears.hear(&event);
            Ok(())
        });
        Self { handle: Some(watcher.try_spawn().expect("it starts")), host }
    }

    pub(crate) fn handle(&self) -> &WatcherHandle {
        self.handle.as_ref().expect("not stopped yet")
    }

    /// Waits until the host holds exactly these: `r0=text`.
    #[track_caller]
    pub(crate) fn holds(&self, expected: &[&str]) {
        let mut held = Vec::new();
        let started = Instant::now();
        while started.elapsed() < DEADLINE {
            held = self.host.lock().holds();
            if held == expected {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("held {held:?}, expected {expected:?}; heard {:?}", self.host.lock().heard);
    }

    /// Waits for an event, and gives what was heard up to now.
    #[track_caller]
    pub(crate) fn hears(&self, expected: &str) -> Vec<String> {
        until(&format!("{expected} in {:?}", self.host.lock().heard), || {
            self.host.lock().heard.iter().any(|event| event == expected)
        });
        std::mem::take(&mut self.host.lock().heard)
    }

    /// Lets several polls pass, and gives what was heard meanwhile.
    #[track_caller]
    pub(crate) fn polls(&self, count: u64) -> Vec<String> {
        let end = self.handle().stats().scans + count;
        until("further polls", || self.handle().stats().scans >= end);
        std::mem::take(&mut self.host.lock().heard)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            handle.stop();
        }
        if !std::thread::panicking() {
            self.host.lock().assert_innocent();
        }
    }
}

/// An event in few words: `ready r0 text`, `invalid a.json`, `conflict b.json a.json`.
pub(crate) fn short(event: &HandoffEvent) -> String {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match event {
        HandoffEvent::Invalid { file, .. } => format!("invalid {}", name(file)),
        HandoffEvent::Conflict { winner, losers, .. } => {
            let losers: Vec<_> = losers.iter().map(|loser| name(loser)).collect();
            format!("conflict {} {}", name(winner), losers.join(" "))
        }
        HandoffEvent::Removed { payload, reason, .. } => format!("removed {} {}", payload.replica_id, reason.as_str()),
        event => match event.payload() {
            Some(payload) => format!("{} {} {}", event.name(), payload.replica_id, witness::text(payload)),
            None => event.name().to_owned(),
        },
    }
}

/// Keeps this many threads busy until it is dropped.
pub(crate) struct Spinners(Arc<std::sync::atomic::AtomicBool>);

impl Spinners {
    pub(crate) fn new(count: usize) -> Self {
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        for _ in 0..count {
            let stop = stop.clone();
            std::thread::spawn(move || {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        Self(stop)
    }
}

impl Drop for Spinners {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}
