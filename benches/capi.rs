//! What an event costs through the C ABI, beyond what it costs in Rust. The objective: less than 2 µs.
//!
//! `cargo bench --features capi --bench capi`
#![allow(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[cfg(unix)]
mod capi {
    use std::ffi::{CString, c_char, c_void};
    use std::path::Path;
    use std::ptr::null_mut;
    use std::time::{Duration, Instant};

    use handoff_watcher::{HandoffEvent, HandoffIter, HandoffWatcher, HandoffWatcherConfig};

    const REPLICAS: usize = 20_000;
    const ROUNDS: usize = 5;

    /// The beginning of `handoff_config`.
    #[repr(C)]
    struct Config {
        struct_size: usize,
        runtime_dir: *const c_char,
        poll_interval_ms: u64,
        channel_capacity: u64,
    }

    unsafe extern "C" {
        fn handoff_watcher_new(config: *const Config, watcher: *mut *mut c_void) -> i32;
        fn handoff_watcher_next(watcher: *mut c_void, timeout_ms: i64, event: *mut *mut c_void) -> i32;
        fn handoff_watcher_rescan(watcher: *mut c_void) -> i32;
        fn handoff_watcher_free(watcher: *mut c_void) -> i32;
        fn handoff_event_kind(event: *const c_void) -> i32;
        fn handoff_event_pool_id(event: *const c_void) -> *const c_char;
        fn handoff_event_replica_id(event: *const c_void) -> *const c_char;
        fn handoff_event_url(event: *const c_void) -> *const c_char;
        fn handoff_event_free(event: *mut c_void);
    }

    pub(super) fn main() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..REPLICAS {
            let text = format!(
                r#"{{"pool_id":"pool-0","replica_id":"r{number}","url":"http://localhost:8080","engine":"llamacpp","slots":4}}"#
            );
            std::fs::write(dir.path().join(format!("{number}.json")), text).unwrap();
        }
        let best = |run: fn(&Path) -> Duration| (0..ROUNDS).map(|_| run(dir.path())).min().unwrap();
        let (rust, c) = (best(rust), best(c));
        let each = |time: Duration| time.as_nanos() as f64 / REPLICAS as f64;
        println!("iterator   {:7.0} ns an event", each(rust));
        println!("C ABI      {:7.0} ns an event", each(c));
        println!("difference {:7.0} ns an event", each(c) - each(rust));
    }

    /// The events wait already: what is measured is the taking, nothing else.
    fn rust(dir: &Path) -> Duration {
        let config = HandoffWatcherConfig { runtime_dir: dir.to_owned(), poll_interval_ms: 60_000 };
        let events: HandoffIter = HandoffWatcher::builder(config).channel_capacity(65_536).iter().unwrap();
        events.rescan().unwrap();
        let began = Instant::now();
        for _ in 0..REPLICAS {
            let event = events.try_next().unwrap();
            assert!(matches!(event, HandoffEvent::Ready { .. }));
        }
        began.elapsed()
    }

    fn c(dir: &Path) -> Duration {
        let path = CString::new(dir.to_str().unwrap()).unwrap();
        let config = Config {
            struct_size: size_of::<Config>(),
            runtime_dir: path.as_ptr(),
            poll_interval_ms: 60_000,
            channel_capacity: 65_536,
        };
        let (mut watcher, mut event) = (null_mut(), null_mut());
        // SAFETY: the configuration is whole; the watcher and the events are used until they are freed.
        unsafe {
            assert_eq!(handoff_watcher_new(&raw const config, &raw mut watcher), 0);
            assert_eq!(handoff_watcher_rescan(watcher), 0);
            let began = Instant::now();
            for _ in 0..REPLICAS {
                assert_eq!(handoff_watcher_next(watcher, 0, &raw mut event), 0);
                assert_eq!(handoff_event_kind(event), 1);
                assert!(!handoff_event_pool_id(event).is_null());
                assert!(!handoff_event_replica_id(event).is_null());
                assert!(!handoff_event_url(event).is_null());
                handoff_event_free(event);
            }
            let time = began.elapsed();
            assert_eq!(handoff_watcher_free(watcher), 0);
            time
        }
    }
}

fn main() {
    #[cfg(unix)]
    capi::main();
}
