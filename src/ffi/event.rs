//! Events as C sees them.

use std::ffi::{CStr, c_char};
use std::os::unix::ffi::OsStrExt as _;
use std::ptr::null;

use super::argument::{self, refused};
use super::guard;
use super::status::HANDOFF_OK;
use crate::error::Error;
use crate::event::{HandoffEvent, RemovedReason};
use crate::payload::HandoffPayload;

/// A replica that the host does not know, or was told is gone, is ready.
pub const HANDOFF_EVENT_READY: i32 = 1;
/// A replica that the host holds as ready is ready with another payload, or by another file.
pub const HANDOFF_EVENT_UPDATED: i32 = 2;
/// A replica that the host holds as ready no longer is.
pub const HANDOFF_EVENT_REMOVED: i32 = 3;
/// A file cannot be taken as a handoff; the last good version stays in force.
pub const HANDOFF_EVENT_INVALID: i32 = 4;
/// More than one file claims a replica.
pub const HANDOFF_EVENT_CONFLICT: i32 = 5;
/// Everything that was there at the start has been taken, also what changed since. Once. A file that never comes to rest is
/// waited for until 2 s beyond the settle time.
pub const HANDOFF_EVENT_SYNCED: i32 = 6;
/// The directory cannot be listed; everything known stays in force.
pub const HANDOFF_EVENT_UNAVAILABLE: i32 = 7;
/// The directory can be listed again.
pub const HANDOFF_EVENT_AVAILABLE: i32 = 8;

/// The handoff file is gone.
pub const HANDOFF_REASON_FILE_REMOVED: i32 = 1;
/// The handoff file says "ready": false.
pub const HANDOFF_REASON_NOT_READY: i32 = 2;
/// The handoff file now speaks of another replica.
pub const HANDOFF_REASON_MOVED: i32 = 3;
/// The process that the handoff names has ended. The file is told of as invalid besides.
pub const HANDOFF_REASON_PROCESS_EXITED: i32 = 4;

/// Something that the host is told. It does not change: any number of threads may read it at once.
///
/// All functions that read one take NULL, and answer as if the event did not have what is asked for. The strings that they
/// return end with a NUL and live as long as the event. None of them sets the last error. A host meets a kind of event
/// that it does not know by ignoring it.
pub struct Event {
    event: HandoffEvent,
    /// Its texts, each with a NUL behind it.
    texts: Box<[u8]>,
    places: [Place; TEXTS],
    losers: Box<[Place]>,
}

/// Where in the texts one begins, and its length.
type Place = Option<(usize, usize)>;

const FILE: usize = 0;
const POOL_ID: usize = 1;
const REPLICA_ID: usize = 2;
const URL: usize = 3;
const ENGINE: usize = 4;
const ERROR: usize = 5;
const FIELD: usize = 6;
const TEXTS: usize = 7;

impl Event {
    pub(super) fn new(event: HandoffEvent) -> Self {
        let mut texts = Vec::with_capacity(256);
        let mut add = |text: Option<&[u8]>| {
            text.map(|text| {
                let start = texts.len();
                texts.extend_from_slice(text);
                texts.push(0);
                (start, text.len())
            })
        };
        let payload = event.payload();
        let error = event.error().map(|error| guard::c_text(&error.to_string()));
        let mut places = [None; TEXTS];
        places[FILE] = add(event.file().map(|file| file.as_os_str().as_bytes()));
        places[POOL_ID] = add(event.pool_id().map(str::as_bytes));
        places[REPLICA_ID] = add(event.replica_id().map(str::as_bytes));
        places[URL] = add(payload.map(|payload| payload.url.as_bytes()));
        places[ENGINE] = add(payload.and_then(|payload| payload.engine.as_deref()).map(str::as_bytes));
        places[ERROR] = add(error.as_deref().map(CStr::to_bytes));
        places[FIELD] = add(event.error().and_then(Error::field).map(str::as_bytes));
        let losers = match &event {
            HandoffEvent::Conflict { losers, .. } => {
                losers.iter().map(|file| add(Some(file.as_os_str().as_bytes()))).collect()
            }
            _ => Box::default(),
        };
        Self { texts: texts.into_boxed_slice(), places, losers, event }
    }

    fn text(&self, place: Place) -> Option<(*const c_char, usize)> {
        place.map(|(start, length)| (self.texts[start..].as_ptr().cast(), length))
    }
}

/// What an event says, or `otherwise` where there is no event, or it does not say.
///
/// # Safety
/// `event` is NULL or one of ours, that nobody has begun to free.
unsafe fn ask<T: Copy>(event: *const Event, otherwise: T, read: impl FnOnce(&Event) -> Option<T>) -> T {
    // SAFETY: the caller's word.
    guard::value(otherwise, || unsafe { event.as_ref() }.and_then(read).unwrap_or(otherwise))
}

/// # Safety
/// As [`ask`].
unsafe fn text(event: *const Event, which: usize) -> *const c_char {
    // SAFETY: the caller's word.
    unsafe { ask(event, null(), |event| event.text(event.places[which]).map(|(text, _)| text)) }
}

/// # Safety
/// As [`ask`]; `length` is NULL, or can be written.
unsafe fn text_of_length(
    event: *const Event,
    length: *mut usize,
    place: impl FnOnce(&Event) -> Place,
) -> *const c_char {
    // SAFETY: the caller's word.
    let (text, bytes) = unsafe { ask(event, (null(), 0), |event| event.text(place(event))) };
    if !length.is_null() {
        // SAFETY: the caller's word.
        unsafe { length.write(bytes) };
    }
    text
}

/// # Safety
/// As [`ask`].
unsafe fn number(event: *const Event, read: impl FnOnce(&HandoffPayload) -> Option<u32>) -> i64 {
    // SAFETY: the caller's word.
    unsafe { ask(event, -1, |event| event.event.payload().and_then(read).map(i64::from)) }
}

/// # Safety
/// As [`ask`].
unsafe fn place_of_error(event: *const Event, read: impl FnOnce(&Error) -> Option<usize>) -> i64 {
    // SAFETY: the caller's word.
    unsafe { ask(event, -1, |event| event.event.error().and_then(read).and_then(|place| i64::try_from(place).ok())) }
}

/// What kind of event it is: HANDOFF_EVENT_READY and so on; 0 for NULL.
///
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_event_kind(event: *const Event) -> i32 {
    // SAFETY: the host's word.
    unsafe { ask(event, 0, |event| Some(kind(&event.event).0)) }
}

/// The name of its kind, as in the JSON: "ready", "updated", "removed", "invalid", "conflict", "synced", "unavailable",
/// "available"; "" for NULL.
///
/// Returns a static string, never NULL.
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_event_name(event: *const Event) -> *const c_char {
    // SAFETY: the host's word.
    unsafe { ask(event, c"".as_ptr(), |event| Some(kind(&event.event).1.as_ptr())) }
}

/// The file that it is about: the handoff, the one that is invalid, or the one in force in a conflict. A path as the
/// system has it, not necessarily UTF-8.
///
/// length: set to the length in bytes, 0 where there is no file; NULL is allowed.
/// Returns a string of the event, or NULL where it is about the whole directory.
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_event_file(event: *const Event, length: *mut usize) -> *const c_char {
    // SAFETY: the host's word.
    unsafe { text_of_length(event, length, |event| event.places[FILE]) }
}

/// The pool that it is about, in UTF-8.
///
/// Returns a string of the event, or NULL where it is about no replica.
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_event_pool_id(event: *const Event) -> *const c_char {
    // SAFETY: the host's word.
    unsafe { text(event, POOL_ID) }
}

/// The replica, within its pool, that it is about, in UTF-8.
///
/// Returns a string of the event, or NULL where it is about no replica.
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_event_replica_id(event: *const Event) -> *const c_char {
    // SAFETY: the host's word.
    unsafe { text(event, REPLICA_ID) }
}

/// Where the engine answers: an http or https URL. Of ready and updated the new one, of removed the last one.
///
/// Returns a string of the event, or NULL where there is no payload.
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_event_url(event: *const Event) -> *const c_char {
    // SAFETY: the host's word.
    unsafe { text(event, URL) }
}

/// The engine, such as "llamacpp", in UTF-8.
///
/// length: set to the length in bytes, 0 where there is none; NULL is allowed. A handoff may hold \u0000, behind which the
/// string goes on.
/// Returns a string of the event, or NULL where the payload does not say, or there is none.
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_event_engine(event: *const Event, length: *mut usize) -> *const c_char {
    // SAFETY: the host's word.
    unsafe { text_of_length(event, length, |event| event.places[ENGINE]) }
}

/// How many requests the engine serves at once; -1 where the payload does not say, or there is none.
///
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_event_slots(event: *const Event) -> i64 {
    // SAFETY: the host's word.
    unsafe { number(event, |payload| payload.slots) }
}

/// How many slots were free when the handoff was written; -1 where the payload does not say, or there is none.
///
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_event_slots_free(event: *const Event) -> i64 {
    // SAFETY: the host's word.
    unsafe { number(event, |payload| payload.slots_free) }
}

/// The engine's process, never 0; -1 where the payload does not say, or there is none.
///
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_event_pid(event: *const Event) -> i64 {
    // SAFETY: the host's word.
    unsafe { number(event, |payload| payload.pid) }
}

/// From the file's last change to this delivery, in microseconds; -1 for what was there at the start, and for all but ready
/// and updated.
///
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_event_latency_us(event: *const Event) -> i64 {
    // SAFETY: the host's word.
    unsafe { ask(event, -1, |event| event.event.latency().and_then(|latency| latency.as_micros().try_into().ok())) }
}

/// Why it was removed: HANDOFF_REASON_FILE_REMOVED and so on; 0 for other events.
///
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_event_reason(event: *const Event) -> i32 {
    // SAFETY: the host's word.
    unsafe { ask(event, 0, |event| reason(&event.event).map(|(number, _)| number)) }
}

/// The name of the reason, as in the JSON: "file_removed", "not_ready", "moved".
///
/// Returns a static string, or NULL for events other than removed.
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_event_reason_name(event: *const Event) -> *const c_char {
    // SAFETY: the host's word.
    unsafe { ask(event, null(), |event| reason(&event.event).map(|(_, name)| name.as_ptr())) }
}

/// What is wrong, of invalid and unavailable: one line, with file, place and what was expected.
///
/// Returns a string of the event, or NULL for other events.
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_event_error(event: *const Event) -> *const c_char {
    // SAFETY: the host's word.
    unsafe { text(event, ERROR) }
}

/// What kind of error that is, as a status, such as HANDOFF_ERROR_SCHEMA; HANDOFF_OK where there is none.
///
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_event_error_status(event: *const Event) -> i32 {
    // SAFETY: the host's word.
    unsafe { ask(event, HANDOFF_OK, |event| event.event.error().map(Error::code)) }
}

/// The field of the handoff that the error is about, such as "model.path".
///
/// Returns a string of the event, or NULL where it is about none.
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_event_error_field(event: *const Event) -> *const c_char {
    // SAFETY: the host's word.
    unsafe { text(event, FIELD) }
}

/// The line of the file that the error is about, counted from 1; -1 where it is about none.
///
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_event_error_line(event: *const Event) -> i64 {
    // SAFETY: the host's word.
    unsafe { place_of_error(event, Error::line) }
}

/// The column of that line, counted from 1 in bytes; -1 where the error is about no line.
///
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_event_error_column(event: *const Event) -> i64 {
    // SAFETY: the host's word.
    unsafe { place_of_error(event, Error::column) }
}

/// How many files claim the replica of a conflict in vain; 0 for other events.
///
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_event_loser_count(event: *const Event) -> usize {
    // SAFETY: the host's word.
    unsafe { ask(event, 0, |event| Some(event.losers.len())) }
}

/// One of the files that claim the replica of a conflict in vain: a path as the system has it, not necessarily UTF-8.
///
/// index: from 0, less than handoff_event_loser_count().
/// length: set to the length in bytes, 0 where there is no such file; NULL is allowed.
/// Returns a string of the event, or NULL where there is no such file.
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_event_loser(event: *const Event, index: usize, length: *mut usize) -> *const c_char {
    // SAFETY: the host's word.
    unsafe { text_of_length(event, length, |event| event.losers.get(index).copied().flatten()) }
}

/// The whole event as one flat JSON object, in the form in which the command line prints it.
///
/// event: not NULL.
/// json: not NULL; on HANDOFF_OK set to a string that is the host's, to be freed by handoff_string_free().
/// Returns HANDOFF_OK, or HANDOFF_ERROR_INVALID_ARGUMENT.
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_event_json(event: *const Event, json: *mut *mut c_char) -> i32 {
    guard::status(|| {
        argument::out("json", json)?;
        // SAFETY: the host's word.
        let event = unsafe { event.as_ref() }.ok_or_else(no_event)?;
        // SAFETY: the host's word.
        unsafe { argument::give_json(json, &event.event) }
    })
}

/// Copies an event, to keep what was only borrowed.
///
/// event: not NULL.
/// copy: not NULL; on HANDOFF_OK set to an event that is the host's, to be freed by handoff_event_free(). It may outlive
/// its watcher.
/// Returns HANDOFF_OK, or HANDOFF_ERROR_INVALID_ARGUMENT.
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_event_clone(event: *const Event, copy: *mut *mut Event) -> i32 {
    guard::status(|| {
        argument::out("copy", copy)?;
        // SAFETY: the host's word.
        let event = unsafe { event.as_ref() }.ok_or_else(no_event)?;
        // SAFETY: the host's word, and not NULL.
        unsafe { copy.write(Box::into_raw(Box::new(Event::new(event.event.clone())))) };
        Ok(HANDOFF_OK)
    })
}

/// Frees an event that is the host's: from handoff_watcher_next() or handoff_event_clone(). Never one that a callback was
/// given.
///
/// event: NULL is allowed, and nothing. It may be freed after its watcher.
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_event_free(event: *mut Event) {
    guard::value((), || {
        if !event.is_null() {
            // SAFETY: the host's word that it is its own, all of which come from `Box`.
            drop(unsafe { Box::from_raw(event) });
        }
    });
}

fn no_event() -> Error {
    refused("event", "expected one, found NULL")
}

fn kind(event: &HandoffEvent) -> (i32, &'static CStr) {
    match event {
        HandoffEvent::Ready { .. } => (HANDOFF_EVENT_READY, c"ready"),
        HandoffEvent::Updated { .. } => (HANDOFF_EVENT_UPDATED, c"updated"),
        HandoffEvent::Removed { .. } => (HANDOFF_EVENT_REMOVED, c"removed"),
        HandoffEvent::Invalid { .. } => (HANDOFF_EVENT_INVALID, c"invalid"),
        HandoffEvent::Conflict { .. } => (HANDOFF_EVENT_CONFLICT, c"conflict"),
        HandoffEvent::Synced => (HANDOFF_EVENT_SYNCED, c"synced"),
        HandoffEvent::Unavailable { .. } => (HANDOFF_EVENT_UNAVAILABLE, c"unavailable"),
        HandoffEvent::Available => (HANDOFF_EVENT_AVAILABLE, c"available"),
    }
}

fn reason(event: &HandoffEvent) -> Option<(i32, &'static CStr)> {
    let HandoffEvent::Removed { reason, .. } = event else { return None };
    Some(match reason {
        RemovedReason::FileRemoved => (HANDOFF_REASON_FILE_REMOVED, c"file_removed"),
        RemovedReason::NotReady => (HANDOFF_REASON_NOT_READY, c"not_ready"),
        RemovedReason::Moved => (HANDOFF_REASON_MOVED, c"moved"),
        RemovedReason::ProcessExited => (HANDOFF_REASON_PROCESS_EXITED, c"process_exited"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_and_a_reason_are_called_the_same_in_c() {
        let payload = HandoffPayload::new("p", "r", "http://h").unwrap();
        let reasons =
            [RemovedReason::FileRemoved, RemovedReason::NotReady, RemovedReason::Moved, RemovedReason::ProcessExited];
        for reason_ in reasons {
            let event = HandoffEvent::Removed { file: "x".into(), payload: payload.clone(), reason: reason_ };
            assert_eq!(kind(&event).1.to_str().unwrap(), event.name());
            assert_eq!(reason(&event).unwrap().1.to_str().unwrap(), reason_.as_str());
        }
        for event in [HandoffEvent::Synced, HandoffEvent::Available] {
            assert_eq!(kind(&event).1.to_str().unwrap(), event.name());
        }
    }
}
