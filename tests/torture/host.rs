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
use crate::writer::Arena;

/// In instant mode, where polls would repair whatever a notification should have told.
const NEVER: Duration = Duration::from_secs(3600);

pub(crate) enum Running {
    Called(WatcherHandle),
    Calling { thread: JoinHandle<()>, stop: StopHandle, registry: Registry },
}

/// How a host is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mode {
    pub(crate) seed: u64,
    /// Woken by notifications.
    pub(crate) instant: bool,
}

pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) witness: Arc<Shared>,
    pub(crate) behaves: Arc<AtomicBool>,
    pub(crate) interval: Duration,
    pub(crate) running: Running,
}

/// `polled` is the interval where nothing is notified.
fn interval(arena: Arena, instant: bool, polled: u64) -> Duration {
    match arena {
        _ if !instant => Duration::from_millis(polled),
        Arena::Plain => NEVER,
        // That a directory appears, and where a link leads, is found by polls.
        Arena::Flip | Arena::Kubernetes | Arena::Recreate => Duration::from_secs(1),
    }
}

fn builder(dir: &Path, interval: Duration, instant: bool) -> HandoffWatcherBuilder {
    let builder = common::builder(dir, interval.as_millis() as u64);
    #[cfg(feature = "inotify")]
    let builder = builder.instant(instant);
    #[cfg(not(feature = "inotify"))]
    assert!(!instant, "without the feature inotify there is no instant mode");
    builder
        .channel_capacity(4)
        .settle_time(Duration::from_millis(200))
        .retry_backoff(Duration::from_millis(5), Duration::from_millis(200))
}

fn witness(arena: Arena) -> Arc<Shared> {
    let shared = Shared::default();
    {
        let mut witness = shared.lock();
        witness.digests = true;
        witness.steady = matches!(arena, Arena::Plain | Arena::Kubernetes);
        witness.removable = match arena {
            Arena::Plain => |file| file.to_string_lossy().contains("-gone"),
            Arena::Flip | Arena::Kubernetes => |_| false,
            Arena::Recreate => |_| true,
        };
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
    pub(crate) fn calling(arena: Arena, dir: &Path, mode: Mode) -> Self {
        let (witness, behaves) = (witness(arena), Arc::new(AtomicBool::new(false)));
        let interval = interval(arena, mode.instant, 30);
        let events = builder(dir, interval, mode.instant).iter().expect("it starts");
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
        Self { name: format!("{}, iterator", arena.name()), witness, behaves, interval, running }
    }

    /// A host that is called.
    pub(crate) fn called(arena: Arena, dir: &Path, mode: Mode) -> Self {
        let (witness, behaves) = (witness(arena), Arc::new(AtomicBool::new(false)));
        let interval = interval(arena, mode.instant, 70);
        let (hears, good, random) = (witness.clone(), behaves.clone(), Mutex::new(Random::new(mode.seed)));
        let watcher = builder(dir, interval, mode.instant).on_event(move |event| {
            hears.lock().examine(&event);
            let mood = {
                let mut random = random.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if good.load(Ordering::Relaxed) {
                    7
                } else {
                    dawdle(&mut random);
                    random.below(8)
                }
            };
            match mood {
                0 => return Err("not now".into()),
                1 => panic!("not like this"),
                _ => hears.lock().take(&event),
            }
            Ok(())
        });
        let running = Running::Called(watcher.try_spawn().expect("it starts"));
        Self { name: format!("{}, callback", arena.name()), witness, behaves, interval, running }
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
