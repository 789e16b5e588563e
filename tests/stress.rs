//! The C ABI under as many threads as like to come: watchers are made, asked, stopped and freed while files change and
//! callbacks run. A program, not a test in a harness, so that ThreadSanitizer sees nothing else; without it, it is a test
//! all the same. `HANDOFF_STRESS_MS` says for how long. `.ci/capi-checks` compiles it with nothing but the library.
#![allow(unsafe_code)]
#![allow(clippy::unwrap_used)] // A test, though it has no harness.

#[cfg(unix)]
mod stress {
    use std::ffi::{CString, c_char, c_void};
    use std::path::Path;
    use std::ptr::{null, null_mut};
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread::ScopedJoinHandle;
    use std::time::{Duration, Instant};
    use std::{fs, thread};

    use handoff_watcher as _;

    /// The beginning of `handoff_config`: a host that was compiled against a smaller one.
    #[repr(C)]
    struct Config {
        struct_size: usize,
        runtime_dir: *const c_char,
        poll_interval_ms: u64,
        numbers: [u64; 5],
        thread_name: *const c_char,
        no_follow_symlinks: i32,
        read_environment: i32,
        log_level: i32,
        reserved: i32,
        on_event: Option<unsafe extern "C" fn(*const c_void, *mut c_void) -> i32>,
        on_log: Option<unsafe extern "C" fn(i32, *const c_char, *mut c_void)>,
        on_destroy: Option<unsafe extern "C" fn(*mut c_void)>,
        user_data: *mut c_void,
    }

    #[derive(Clone, Copy)]
    struct Handle(*mut c_void);

    // SAFETY: the header says that a watcher may be used from any thread.
    unsafe impl Send for Handle {}
    // SAFETY: as above.
    unsafe impl Sync for Handle {}

    #[derive(Default)]
    struct Host {
        events: AtomicU64,
        lines: AtomicU64,
        destroyed: AtomicU64,
    }

    unsafe extern "C" {
        fn handoff_watcher_new(config: *const Config, watcher: *mut *mut c_void) -> i32;
        fn handoff_watcher_next(watcher: *mut c_void, timeout_ms: i64, event: *mut *mut c_void) -> i32;
        fn handoff_watcher_fd(watcher: *mut c_void) -> i32;
        fn handoff_watcher_rescan(watcher: *mut c_void) -> i32;
        fn handoff_watcher_stop(watcher: *mut c_void) -> i32;
        fn handoff_watcher_join(watcher: *mut c_void, timeout_ms: i64) -> i32;
        fn handoff_watcher_free(watcher: *mut c_void) -> i32;
        fn handoff_watcher_stats_json(watcher: *const c_void, json: *mut *mut c_char) -> i32;
        fn handoff_registry_list(watcher: *const c_void, json: *mut *mut c_char) -> i32;
        fn handoff_registry_wait_ready(watcher: *const c_void, pool_id: *const c_char, timeout_ms: i64) -> i32;
        fn handoff_event_kind(event: *const c_void) -> i32;
        fn handoff_event_json(event: *const c_void, json: *mut *mut c_char) -> i32;
        fn handoff_event_free(event: *mut c_void);
        fn handoff_string_free(string: *mut c_char);
    }

    unsafe extern "C" fn on_event(event: *const c_void, host: *mut c_void) -> i32 {
        // SAFETY: `user_data` is a host, and the event is there for the call.
        let (host, kind) = unsafe { (&*host.cast::<Host>(), handoff_event_kind(event)) };
        assert!(kind > 0);
        // Now and then a retry.
        i32::from(host.events.fetch_add(1, Ordering::Relaxed) % 5 == 4)
    }

    unsafe extern "C" fn on_log(_: i32, _: *const c_char, host: *mut c_void) {
        // SAFETY: `user_data` is a host.
        unsafe { &*host.cast::<Host>() }.lines.fetch_add(1, Ordering::Relaxed);
    }

    unsafe extern "C" fn on_destroy(host: *mut c_void) {
        // SAFETY: `user_data` is a host.
        unsafe { &*host.cast::<Host>() }.destroyed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn main() {
        let ms = std::env::var("HANDOFF_STRESS_MS").ok().and_then(|ms| ms.parse().ok()).unwrap_or(1000);
        let end = Instant::now() + Duration::from_millis(ms);
        let dir = std::env::temp_dir().join(format!("handoff-stress-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let total = AtomicU64::new(0);
        thread::scope(|scope| {
            let mut threads = vec![scope.spawn(|| write(&dir, end))];
            for called in [true, false] {
                let (dir, total) = (&dir, &total);
                threads.push(scope.spawn(move || {
                    while Instant::now() < end {
                        total.fetch_add(one_life(dir, called), Ordering::Relaxed);
                    }
                }));
            }
            join(threads);
        });
        fs::remove_dir_all(&dir).unwrap();
        assert!(total.load(Ordering::Relaxed) > 0, "nothing was ever told");
    }

    /// The end of a scope waits too, but in a way that ThreadSanitizer does not see.
    fn join(threads: Vec<ScopedJoinHandle<'_, ()>>) {
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    fn write(dir: &Path, end: Instant) {
        for round in 0_u64.. {
            if Instant::now() > end {
                return;
            }
            let (path, temporary) = (dir.join(format!("r{}.json", round % 7)), dir.join("new.tmp"));
            match round % 11 {
                0 => drop(fs::remove_file(path)),
                1 => fs::write(path, "{").unwrap(),
                _ => {
                    let text = format!(
                        r#"{{"pool_id":"p","replica_id":"r{}","url":"http://h:{}"}}"#,
                        round % 6,
                        1 + round % 9000
                    );
                    fs::write(&temporary, text).unwrap();
                    fs::rename(&temporary, path).unwrap();
                }
            }
            thread::sleep(Duration::from_micros(300));
        }
    }

    /// Makes a watcher, has several threads use it at once, stops it under them, and frees it. How many events it told.
    fn one_life(dir: &Path, called: bool) -> u64 {
        let host = Host::default();
        let path = CString::new(dir.to_str().unwrap()).unwrap();
        let config = Config {
            struct_size: size_of::<Config>(),
            runtime_dir: path.as_ptr(),
            poll_interval_ms: 1,
            numbers: [4, 0, 1, 1, 10],
            thread_name: null(),
            no_follow_symlinks: 0,
            read_environment: 0,
            log_level: 4,
            reserved: 0,
            on_event: called.then_some(on_event),
            on_log: Some(on_log),
            on_destroy: Some(on_destroy),
            user_data: (&raw const host).cast_mut().cast(),
        };
        let mut watcher = null_mut();
        // SAFETY: the configuration is whole, and what it leads to outlives the watcher.
        assert_eq!(unsafe { handoff_watcher_new(&raw const config, &raw mut watcher) }, 0);
        let watcher = Handle(watcher);
        let taken = AtomicU64::new(0);
        thread::scope(|scope| {
            let mut threads = vec![scope.spawn(|| ask(watcher)), scope.spawn(|| wait(watcher))];
            threads.extend((0..2).map(|_| scope.spawn(|| take(watcher, &taken))));
            thread::sleep(Duration::from_millis(20));
            // SAFETY: the watcher is freed after all of these threads have ended.
            assert_eq!(unsafe { handoff_watcher_stop(watcher.0) }, 0);
            join(threads);
        });
        // SAFETY: nobody uses it any more.
        assert_eq!(unsafe { handoff_watcher_free(watcher.0) }, 0);
        assert_eq!(host.destroyed.load(Ordering::Relaxed), 1);
        host.events.load(Ordering::Relaxed) + taken.load(Ordering::Relaxed)
    }

    fn take(watcher: Handle, taken: &AtomicU64) {
        let mut event = null_mut();
        // SAFETY: the watcher is there until this has returned.
        while unsafe { handoff_watcher_next(watcher.0, -1, &raw mut event) } == 0 {
            let mut json = null_mut();
            // SAFETY: the event is ours until it is freed.
            unsafe {
                assert_eq!(handoff_event_json(event, &raw mut json), 0);
                handoff_string_free(json);
                handoff_event_free(event);
            }
            taken.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn ask(watcher: Handle) {
        let watcher = watcher.0;
        let mut text = null_mut();
        // SAFETY: the watcher is there until this has returned.
        unsafe {
            handoff_watcher_fd(watcher);
            while handoff_watcher_rescan(watcher) != 2 {
                assert_eq!(handoff_registry_list(watcher, &raw mut text), 0);
                handoff_string_free(text);
                assert_eq!(handoff_watcher_stats_json(watcher, &raw mut text), 0);
                handoff_string_free(text);
            }
        }
    }

    fn wait(watcher: Handle) {
        // SAFETY: the watcher is there until this has returned.
        unsafe {
            assert_eq!(handoff_registry_wait_ready(watcher.0, c"never".as_ptr(), -1), 2);
            assert_eq!(handoff_watcher_join(watcher.0, -1), 0);
        }
    }
}

fn main() {
    #[cfg(unix)]
    stress::main();
}
