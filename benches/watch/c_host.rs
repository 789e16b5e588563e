//! A host in C, as far as it can be written in Rust: the functions of the ABI and nothing else.
#![allow(unsafe_code, dead_code)]

use std::ffi::{CStr, CString, c_char, c_void};
use std::path::Path;
use std::ptr::null_mut;

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

pub(crate) struct Host(*mut c_void);

impl Host {
    pub(crate) fn new(dir: &Path, poll_interval_ms: u64, channel_capacity: u64) -> Self {
        let path = CString::new(dir.as_os_str().as_encoded_bytes()).unwrap();
        let config =
            Config { struct_size: size_of::<Config>(), runtime_dir: path.as_ptr(), poll_interval_ms, channel_capacity };
        let mut watcher = null_mut();
        // SAFETY: the configuration is whole, and the path outlives the call.
        assert_eq!(unsafe { handoff_watcher_new(&raw const config, &raw mut watcher) }, 0);
        Self(watcher)
    }

    pub(crate) fn rescan(&self) {
        // SAFETY: the watcher lives until the drop.
        assert_eq!(unsafe { handoff_watcher_rescan(self.0) }, 0);
    }

    /// The next event: its kind, and its URL if it has one. -1 waits for it.
    pub(crate) fn next(&self, timeout_ms: i64) -> (i32, Option<String>) {
        let mut event = null_mut();
        // SAFETY: the watcher lives until the drop, the event until it is freed, and its texts for as long.
        unsafe {
            assert_eq!(handoff_watcher_next(self.0, timeout_ms, &raw mut event), 0);
            let (kind, url) = (handoff_event_kind(event), handoff_event_url(event));
            let url = (!url.is_null()).then(|| CStr::from_ptr(url).to_string_lossy().into_owned());
            handoff_event_free(event);
            (kind, url)
        }
    }

    /// Takes an event that waits already, as a host does that looks at what it says.
    pub(crate) fn take_ready(&self) {
        let mut event = null_mut();
        // SAFETY: as above.
        unsafe {
            assert_eq!(handoff_watcher_next(self.0, 0, &raw mut event), 0);
            assert_eq!(handoff_event_kind(event), 1);
            assert!(!handoff_event_pool_id(event).is_null());
            assert!(!handoff_event_replica_id(event).is_null());
            assert!(!handoff_event_url(event).is_null());
            handoff_event_free(event);
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // SAFETY: it is used no more.
        assert_eq!(unsafe { handoff_watcher_free(self.0) }, 0);
    }
}
