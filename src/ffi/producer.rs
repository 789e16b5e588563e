//! The producer's side, and the check that both sides share.

use std::ffi::{CString, c_char};
use std::os::unix::ffi::OsStrExt as _;

use super::argument::{self, Versioned};
use super::guard;
use super::status::{HANDOFF_NOT_FOUND, HANDOFF_OK};
use crate::error::Error;
use crate::payload::{HandoffPayload, Model};
use crate::publish::{publish, withdraw};

/// A handoff in fields. All strings are UTF-8 that ends with a NUL, and are only read during the call. What has no field
/// here can be published as JSON. Set all to zero, then struct_size to sizeof(handoff_payload), then what there is.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Payload {
    /// sizeof(handoff_payload), as the host was compiled.
    pub struct_size: usize,
    /// The pool. Required.
    pub pool_id: *const c_char,
    /// The replica, unique within its pool. Required.
    pub replica_id: *const c_char,
    /// Where the engine answers: an http or https URL. Required.
    pub url: *const c_char,
    /// The engine, such as "llamacpp"; NULL for absent, as in all that follows.
    pub engine: *const c_char,
    /// The engine's version.
    pub engine_version: *const c_char,
    /// How the engine was provisioned.
    pub provisioning_mode: *const c_char,
    /// The devices that the engine runs on.
    pub device_mask: *const c_char,
    /// Where the model came from.
    pub model_id: *const c_char,
    /// Where the model lies on this machine.
    pub model_path: *const c_char,
    /// How many requests the engine serves at once.
    pub slots: *const u32,
    /// How many slots are free.
    pub slots_free: *const u32,
    /// The flags that the engine was started with: as many strings as flag_count says.
    pub flags: *const *const c_char,
    /// How many flags there are.
    pub flag_count: usize,
    /// The engine's process; 0 for absent.
    pub pid: u32,
    /// 1: the handoff says "ready": false, which withdraws the replica. 0: it does not.
    pub not_ready: i32,
}

// SAFETY: `repr(C)`; pointers and numbers, in a pair where they have 32 bits.
unsafe impl Versioned for Payload {
    const NAME: &'static str = "payload";
}

impl Payload {
    /// # Safety
    /// What it leads to is there.
    unsafe fn read(&self) -> Result<HandoffPayload, Error> {
        // SAFETY: the caller's word.
        let text = |name, text| unsafe { argument::text(name, text) };
        let optional = |name, text| {
            // SAFETY: the caller's word.
            unsafe { argument::optional_text(name, text) }.map(|text| text.map(str::to_owned))
        };
        let (pool_id, replica_id) = (text("pool_id", self.pool_id)?, text("replica_id", self.replica_id)?);
        let mut payload = HandoffPayload::new(pool_id, replica_id, text("url", self.url)?)?;
        payload.engine = optional("engine", self.engine)?;
        payload.engine_version = optional("engine_version", self.engine_version)?;
        payload.provisioning_mode = optional("provisioning_mode", self.provisioning_mode)?;
        payload.device_mask = optional("device_mask", self.device_mask)?;
        let (id, path) = (optional("model_id", self.model_id)?, optional("model_path", self.model_path)?);
        if id.is_some() || path.is_some() {
            payload.model = Some(Model { id, path, ..Model::default() });
        }
        // SAFETY: the caller's word.
        payload.slots = unsafe { self.slots.as_ref() }.copied();
        // SAFETY: the caller's word.
        payload.slots_free = unsafe { self.slots_free.as_ref() }.copied();
        payload.pid = (self.pid != 0).then_some(self.pid);
        let not_ready = argument::flag(self.not_ready).map_err(|reason| argument::refused("not_ready", &reason))?;
        payload.ready = not_ready.then_some(false);
        if !self.flags.is_null() {
            // SAFETY: the caller's word that there are that many.
            let flags = unsafe { std::slice::from_raw_parts(self.flags, self.flag_count) };
            payload.flags =
                Some(flags.iter().map(|flag| text("flags", *flag).map(str::to_owned)).collect::<Result<_, _>>()?);
        } else if self.flag_count != 0 {
            return Err(argument::refused("flags", "expected strings, found NULL"));
        }
        Ok(payload)
    }
}

/// Writes a handoff, so that a watcher sees the old one or the new one whole. The directory is made if it is not there. The
/// content is on the disk when this returns, which typically takes some milliseconds. Calls for one replica should come
/// one after the other.
///
/// runtime_dir: the directory, not NULL and not ""; a path as the system has it.
/// payload: not NULL, with its struct_size set.
/// file: NULL, or on HANDOFF_OK set to the path of the file: a string that is the host's, to be freed by
/// handoff_string_free().
/// Returns HANDOFF_OK, HANDOFF_ERROR_SCHEMA for an impossible field, HANDOFF_ERROR_CONFIG for an empty runtime_dir,
/// HANDOFF_ERROR_IO, or HANDOFF_ERROR_INVALID_ARGUMENT.
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_publish(
    runtime_dir: *const c_char,
    payload: *const Payload,
    file: *mut *mut c_char,
) -> i32 {
    // SAFETY: the host's word.
    unsafe { put(runtime_dir, file, || argument::read(payload)?.read()) }
}

/// The same as handoff_publish(), of a handoff that is JSON already.
///
/// runtime_dir: the directory, not NULL and not ""; a path as the system has it.
/// json, length: the document in UTF-8 and its length in bytes; not NULL. It need not end with a NUL. What this library
/// does not know is kept; but there a whole number beyond 64 bits becomes the nearest double, and one beyond the range of
/// a double is refused.
/// file: as in handoff_publish().
/// Returns as handoff_publish(), and HANDOFF_ERROR_SYNTAX.
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_publish_json(
    runtime_dir: *const c_char,
    json: *const c_char,
    length: usize,
    file: *mut *mut c_char,
) -> i32 {
    // SAFETY: the host's word.
    unsafe {
        put(runtime_dir, file, || {
            if json.is_null() {
                return Err(argument::refused("json", "expected bytes, found NULL"));
            }
            HandoffPayload::parse(argument::bytes("json", json, length)?)
        })
    }
}

/// Removes the handoff of a replica that was published; a watcher then reports the replica as removed.
///
/// runtime_dir: the directory, not NULL and not ""; a path as the system has it. pool_id, replica_id: not NULL, UTF-8.
/// Returns HANDOFF_OK, HANDOFF_NOT_FOUND when there was none, HANDOFF_ERROR_SCHEMA for ids that no replica can have,
/// HANDOFF_ERROR_CONFIG for an empty runtime_dir, HANDOFF_ERROR_IO, or HANDOFF_ERROR_INVALID_ARGUMENT.
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_withdraw(
    runtime_dir: *const c_char,
    pool_id: *const c_char,
    replica_id: *const c_char,
) -> i32 {
    guard::status(|| {
        // SAFETY: the host's word.
        let (dir, pool_id, replica_id) = unsafe {
            let ids = (argument::text("pool_id", pool_id)?, argument::text("replica_id", replica_id)?);
            (argument::path("runtime_dir", runtime_dir)?, ids.0, ids.1)
        };
        Ok(if withdraw(dir, pool_id, replica_id)? { HANDOFF_OK } else { HANDOFF_NOT_FOUND })
    })
}

/// Checks a document as a watcher does, whose size limit apart.
///
/// json, length: the document and its length in bytes; NULL only with length 0. It need not end with a NUL.
/// normalized: NULL, or on HANDOFF_OK set to the handoff in the order, and with the names and the numbers, in which this
/// library writes it (see handoff_publish_json): a string that is the host's, to be freed by handoff_string_free().
/// Returns HANDOFF_OK, HANDOFF_ERROR_SYNTAX, HANDOFF_ERROR_SCHEMA, or HANDOFF_ERROR_INVALID_ARGUMENT. Of the error,
/// handoff_last_error(), _field(), _line() and _column() say what and where.
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_check(json: *const c_char, length: usize, normalized: *mut *mut c_char) -> i32 {
    guard::status(|| {
        // SAFETY: the host's word.
        let payload = HandoffPayload::parse(unsafe { argument::bytes("json", json, length) }?)?;
        // SAFETY: the host's word.
        unsafe { argument::give_json(normalized, &payload) }
    })
}

/// # Safety
/// The strings end with a NUL or are NULL; `file` is NULL, or can be written.
unsafe fn put(
    runtime_dir: *const c_char,
    file: *mut *mut c_char,
    payload: impl FnOnce() -> Result<HandoffPayload, Error>,
) -> i32 {
    guard::status(|| {
        // SAFETY: the caller's word.
        let dir = unsafe { argument::path("runtime_dir", runtime_dir) }?;
        let path = publish(dir, &payload()?)?;
        // SAFETY: the caller's word. A path that a file was written to has no NUL.
        unsafe { argument::give(file, CString::new(path.as_os_str().as_bytes()).unwrap_or_default()) };
        Ok(HANDOFF_OK)
    })
}
