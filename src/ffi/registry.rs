//! What is ready now.

use std::ffi::c_char;
use std::time::Duration;

use super::argument::{self, out};
use super::handle::{Watcher, using};
use super::status::{HANDOFF_NOT_FOUND, HANDOFF_OK, HANDOFF_STOPPED, HANDOFF_TIMEOUT};
use crate::error::Error;
use crate::registry::Registry;

/// Whether at least one replica of a pool is ready. The registry follows the directory, whether or not the host takes
/// events: it changes before the event of a change can be had.
///
/// watcher: not NULL. pool_id: not NULL, UTF-8.
/// Returns HANDOFF_OK when one is, HANDOFF_NOT_FOUND when none is, or HANDOFF_ERROR_INVALID_ARGUMENT, _FORKED.
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_registry_is_ready(watcher: *const Watcher, pool_id: *const c_char) -> i32 {
    let ask = |watcher: &Watcher| {
        // SAFETY: the host's word.
        let pool_id = unsafe { argument::text("pool_id", pool_id) }?;
        Ok(if registry(watcher).is_ready(pool_id) { HANDOFF_OK } else { HANDOFF_NOT_FOUND })
    };
    // SAFETY: the host's word.
    unsafe { using(watcher, ask) }
}

/// Waits until at least one replica of a pool is ready.
///
/// watcher: not NULL. pool_id: not NULL, UTF-8.
/// timeout_ms: how long to wait; 0 only looks, a negative number waits forever.
/// Returns HANDOFF_OK when one is, HANDOFF_TIMEOUT, HANDOFF_STOPPED, or HANDOFF_ERROR_INVALID_ARGUMENT, _FORKED, _BUSY.
/// Thread: any. In callbacks: not in on_log of this watcher; in on_event it delays the events. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_registry_wait_ready(
    watcher: *const Watcher,
    pool_id: *const c_char,
    timeout_ms: i64,
) -> i32 {
    // SAFETY: the host's word.
    let pool_id = || unsafe { argument::text("pool_id", pool_id) };
    // SAFETY: the host's word.
    unsafe { wait(watcher, timeout_ms, |registry, timeout| Ok(registry.wait_ready(pool_id()?, timeout))) }
}

/// Waits until a replica is ready.
///
/// watcher: not NULL. pool_id, replica_id: not NULL, UTF-8.
/// timeout_ms: how long to wait; 0 only looks, a negative number waits forever.
/// Returns HANDOFF_OK when it is, HANDOFF_TIMEOUT, HANDOFF_STOPPED, or HANDOFF_ERROR_INVALID_ARGUMENT, _FORKED, _BUSY.
/// Thread: any. In callbacks: not in on_log of this watcher; in on_event it delays the events. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_registry_wait_replica_ready(
    watcher: *const Watcher,
    pool_id: *const c_char,
    replica_id: *const c_char,
    timeout_ms: i64,
) -> i32 {
    // SAFETY: the host's word.
    let ids = || unsafe { ids(pool_id, replica_id) };
    let wait_replica = |registry: &Registry, timeout| {
        let (pool_id, replica_id) = ids()?;
        Ok(registry.wait_replica_ready(pool_id, replica_id, timeout))
    };
    // SAFETY: the host's word.
    unsafe { wait(watcher, timeout_ms, wait_replica) }
}

/// The handoff of a replica that is ready, as JSON.
///
/// watcher: not NULL. pool_id, replica_id: not NULL, UTF-8.
/// json: not NULL; on HANDOFF_OK set to a string that is the host's, to be freed by handoff_string_free(): one flat object
/// with the fields of the handoff, the unknown ones last.
/// Returns HANDOFF_OK, HANDOFF_NOT_FOUND when it is not ready, or HANDOFF_ERROR_INVALID_ARGUMENT, _FORKED.
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_registry_get(
    watcher: *const Watcher,
    pool_id: *const c_char,
    replica_id: *const c_char,
    json: *mut *mut c_char,
) -> i32 {
    let get = |watcher: &Watcher| {
        out("json", json)?;
        // SAFETY: the host's word.
        let (pool_id, replica_id) = unsafe { ids(pool_id, replica_id) }?;
        match registry(watcher).get(pool_id, replica_id) {
            // SAFETY: the host's word.
            Some(payload) => unsafe { argument::give_json(json, &payload) },
            None => Ok(HANDOFF_NOT_FOUND),
        }
    };
    // SAFETY: the host's word.
    unsafe { using(watcher, get) }
}

/// The handoffs of all replicas that are ready, as a JSON array, sorted by pool and replica.
///
/// watcher: not NULL.
/// json: not NULL; on HANDOFF_OK set to a string that is the host's, to be freed by handoff_string_free().
/// Returns HANDOFF_OK, or HANDOFF_ERROR_INVALID_ARGUMENT, _FORKED.
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_registry_list(watcher: *const Watcher, json: *mut *mut c_char) -> i32 {
    let list = |watcher: &Watcher| {
        out("json", json)?;
        // SAFETY: the host's word.
        unsafe { argument::give_json(json, &registry(watcher).list()) }
    };
    // SAFETY: the host's word.
    unsafe { using(watcher, list) }
}

/// Every pool of which there is a handoff, ready or not, as a JSON array sorted by pool: what the next heartbeat carries.
/// Each is {"pool_id", "ready", "slots_free", "slots_total", "engine", "replicas_ready"}.
///
/// watcher: not NULL.
/// json: not NULL; on HANDOFF_OK set to a string that is the host's, to be freed by handoff_string_free().
/// Returns HANDOFF_OK, or HANDOFF_ERROR_INVALID_ARGUMENT, _FORKED.
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_registry_pools(watcher: *const Watcher, json: *mut *mut c_char) -> i32 {
    let pools = |watcher: &Watcher| {
        out("json", json)?;
        // SAFETY: the host's word.
        unsafe { argument::give_json(json, registry(watcher)) }
    };
    // SAFETY: the host's word.
    unsafe { using(watcher, pools) }
}

/// How many replicas are ready.
///
/// watcher: not NULL.
/// count: not NULL; set on HANDOFF_OK.
/// Returns HANDOFF_OK, or HANDOFF_ERROR_INVALID_ARGUMENT, _FORKED.
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_registry_count(watcher: *const Watcher, count: *mut u64) -> i32 {
    // SAFETY: the host's word.
    unsafe { number(watcher, "count", count, |registry| registry.len() as u64) }
}

/// A number that grows with every change of the registry, and with nothing else.
///
/// watcher: not NULL.
/// generation: not NULL; set on HANDOFF_OK.
/// Returns HANDOFF_OK, or HANDOFF_ERROR_INVALID_ARGUMENT, _FORKED.
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_registry_generation(watcher: *const Watcher, generation: *mut u64) -> i32 {
    // SAFETY: the host's word.
    unsafe { number(watcher, "generation", generation, Registry::generation) }
}

fn registry(watcher: &Watcher) -> &Registry {
    &watcher.threads.shared().registry
}

/// # Safety
/// Both are NULL, or strings that end with a NUL and live for `'a`.
unsafe fn ids<'a>(pool_id: *const c_char, replica_id: *const c_char) -> Result<(&'a str, &'a str), Error> {
    // SAFETY: the caller's word.
    unsafe { Ok((argument::text("pool_id", pool_id)?, argument::text("replica_id", replica_id)?)) }
}

/// # Safety
/// As [`using`]; `place` is NULL, or can be written.
unsafe fn number(watcher: *const Watcher, name: &str, place: *mut u64, read: impl FnOnce(&Registry) -> u64) -> i32 {
    let read = |watcher: &Watcher| {
        out(name, place)?;
        // SAFETY: the caller's word, and not NULL.
        unsafe { place.write(read(registry(watcher))) };
        Ok(HANDOFF_OK)
    };
    // SAFETY: the caller's word.
    unsafe { using(watcher, read) }
}

/// # Safety
/// As [`using`].
unsafe fn wait(
    watcher: *const Watcher,
    timeout_ms: i64,
    wait: impl FnOnce(&Registry, Duration) -> Result<bool, Error>,
) -> i32 {
    let wait = |watcher: &Watcher| {
        watcher.may_wait()?;
        let timeout = argument::timeout(timeout_ms).unwrap_or(Duration::MAX);
        let outcome = match wait(registry(watcher), timeout)? {
            true => HANDOFF_OK,
            false if watcher.threads.shared().is_stopped() => HANDOFF_STOPPED,
            false => HANDOFF_TIMEOUT,
        };
        Ok(outcome)
    };
    // SAFETY: the caller's word.
    unsafe { using(watcher, wait) }
}
