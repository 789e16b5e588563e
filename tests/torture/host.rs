//! The hosts: one that calls for events and one that is called, both slow, and the second one failing and panicking at
//! random until it is told to behave.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use handoff_watcher::{HandoffWatcherBuilder, Registry, Stats, StopHandle, WatcherHandle};

use crate::common::{self, Shared};
use crate::random::Random;

pub(crate) enum Running {
    Called(WatcherHandle),
    Calling { thread: JoinHandle<()>, stop: StopHandle, registry: Registry },
}

/// How a host is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mode {
    pub(crate) seed: u64,
    /// Woken by notifications; the polls are then so rare that they hide nothing.
    pub(crate) instant: bool,
}

pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) witness: Arc<Shared>,
    pub(crate) behaves: Arc<AtomicBool>,
    pub(crate) running: Running,
}

fn builder(dir: &Path, interval_ms: u64, instant: bool) -> HandoffWatcherBuilder {
    let builder = common::builder(dir, interval_ms);
    #[cfg(feature = "inotify")]
    let builder = builder.instant(instant);
    #[cfg(not(feature = "inotify"))]
    assert!(!instant, "without the feature inotify there is no instant mode");
    builder
        .channel_capacity(4)
        .settle_time(Duration::from_millis(200))
        .retry_backoff(Duration::from_millis(5), Duration::from_millis(200))
}

fn witness(removable: fn(&Path) -> bool) -> Arc<Shared> {
    let shared = Shared::default();
    {
        let mut witness = shared.lock();
        witness.removable = removable;
        witness.digests = true;
    }
    Arc::new(shared)
}

fn dawdle(random: &mut Random) {
    if random.one_in(4) {
        let most = if random.one_in(20) { 500 } else { 10 };
        sleep(Duration::from_micros(random.below(most * 1000) as u64));
    }
}

impl Host {
    /// A host that calls for events.
    pub(crate) fn calling(arena: &str, dir: &Path, removable: fn(&Path) -> bool, mode: Mode) -> Self {
        let (witness, behaves) = (witness(removable), Arc::new(AtomicBool::new(false)));
        let events = builder(dir, if mode.instant { 3000 } else { 30 }, mode.instant).iter().expect("it starts");
        let (stop, registry) = (events.stop_handle(), events.registry());
        let (hears, good) = (witness.clone(), behaves.clone());
        let mut random = Random::new(mode.seed);
        let thread = spawn(move || {
            for event in events {
                hears.hear(&event);
                if !good.load(Ordering::Relaxed) {
                    dawdle(&mut random);
                }
            }
        });
        let running = Running::Calling { thread, stop, registry };
        Self { name: format!("{arena}, iterator"), witness, behaves, running }
    }

    /// A host that is called.
    pub(crate) fn called(arena: &str, dir: &Path, removable: fn(&Path) -> bool, mode: Mode) -> Self {
        let (witness, behaves) = (witness(removable), Arc::new(AtomicBool::new(false)));
        let (hears, good, random) = (witness.clone(), behaves.clone(), Mutex::new(Random::new(mode.seed)));
        let watcher = builder(dir, if mode.instant { 3000 } else { 70 }, mode.instant).on_event(move |event| {
            let mood = {
                let mut random = random.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if good.load(Ordering::Relaxed) {
                    7
                } else {
                    dawdle(&mut random);
                    random.below(8)
                }
            };
            hears.lock().examine(&event);
            match mood {
                0 => return Err("not now".into()),
                1 => panic!("not like this"),
                _ => hears.lock().take(&event),
            }
            Ok(())
        });
        let running = Running::Called(watcher.try_spawn().expect("it starts"));
        Self { name: format!("{arena}, callback"), witness, behaves, running }
    }

    pub(crate) fn registry(&self) -> Registry {
        match &self.running {
            Running::Called(handle) => handle.registry(),
            Running::Calling { registry, .. } => registry.clone(),
        }
    }

    pub(crate) fn stats(&self) -> Option<Stats> {
        match &self.running {
            Running::Called(handle) => Some(handle.stats()),
            Running::Calling { .. } => None,
        }
    }

    pub(crate) fn stop(self) {
        match self.running {
            Running::Called(handle) => handle.stop(),
            Running::Calling { thread, stop, .. } => {
                stop.stop();
                thread.join().expect("the host lives");
            }
        }
    }
}
