//! What comes in by pointer, checked; and the way out of what the host is to own.

use std::ffi::{CStr, CString, OsStr, c_char};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::guard;
use super::status::HANDOFF_OK;
use crate::error::{Error, ErrorKind};

/// No structure of any version is as large: who says so has not set `struct_size`.
const MAX_STRUCT_SIZE: usize = 1 << 16;

/// A structure that begins with its size, grows only at its end, and may be all zero.
///
/// # Safety
/// `repr(C)`, without padding, the first field a `usize` that is the size, and every bit pattern of zeros is a value.
pub(super) unsafe trait Versioned: Copy {
    /// As the header calls it.
    const NAME: &'static str;
}

pub(super) fn refused(argument: &str, reason: &str) -> Error {
    let message = format!("argument `{argument}`: {reason}");
    Error::new(ErrorKind::InvalidArgument, message).with_field(argument)
}

/// # Safety
/// NULL, or a string that ends with a NUL and lives for `'a`.
pub(super) unsafe fn optional_bytes<'a>(text: *const c_char) -> Option<&'a [u8]> {
    // SAFETY: the caller's word, and not NULL.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_bytes())
}

/// # Safety
/// As [`optional_bytes`].
pub(super) unsafe fn optional_text<'a>(name: &str, text: *const c_char) -> Result<Option<&'a str>, Error> {
    // SAFETY: the caller's word.
    let bytes = unsafe { optional_bytes(text) };
    bytes.map(std::str::from_utf8).transpose().map_err(|_| refused(name, "expected UTF-8"))
}

/// # Safety
/// As [`optional_bytes`].
pub(super) unsafe fn text<'a>(name: &str, text: *const c_char) -> Result<&'a str, Error> {
    // SAFETY: the caller's word.
    unsafe { optional_text(name, text) }?.ok_or_else(|| refused(name, "expected a string, found NULL"))
}

/// # Safety
/// As [`optional_bytes`].
pub(super) unsafe fn path<'a>(name: &str, path: *const c_char) -> Result<&'a Path, Error> {
    // SAFETY: the caller's word.
    let bytes = unsafe { optional_bytes(path) }.ok_or_else(|| refused(name, "expected a path, found NULL"))?;
    Ok(Path::new(OsStr::from_bytes(bytes)))
}

/// # Safety
/// `bytes` is NULL and `length` 0, or `bytes` has that length and lives for `'a`.
pub(super) unsafe fn bytes<'a>(name: &str, bytes: *const c_char, length: usize) -> Result<&'a [u8], Error> {
    match (bytes.is_null(), length) {
        (true, 0) => Ok(&[]),
        (true, _) => Err(refused(name, "expected bytes, found NULL")),
        (false, _) if isize::try_from(length).is_err() => Err(refused(name, "expected a length that can be")),
        // SAFETY: the caller's word, not NULL, and not longer than anything can be.
        (false, _) => Ok(unsafe { std::slice::from_raw_parts(bytes.cast(), length) }),
    }
}

/// What is wrong with it is for the caller to say of the argument or of the setting.
pub(super) fn flag(value: i32) -> Result<bool, String> {
    match value {
        0 | 1 => Ok(value == 1),
        _ => Err(format!("expected 0 or 1, found {value}")),
    }
}

/// Negative is forever.
pub(super) fn timeout(ms: i64) -> Option<Duration> {
    u64::try_from(ms).ok().map(Duration::from_millis)
}

/// Refused before anything is done, so that nothing is lost for want of a place to put it.
pub(super) fn out<T>(name: &str, place: *mut T) -> Result<(), Error> {
    if place.is_null() { Err(refused(name, "expected a place for the result, found NULL")) } else { Ok(()) }
}

/// Writes JSON to where it is wanted, as a string of the host.
///
/// # Safety
/// `place` can be written, or is NULL.
pub(super) unsafe fn give_json(place: *mut *mut c_char, value: &impl Serialize) -> Result<i32, Error> {
    let json = serde_json::to_string(value)
        .map_err(|error| Error::new(ErrorKind::Internal, format!("cannot serialise: {error}")))?;
    // SAFETY: the caller's word.
    unsafe { give(place, guard::c_text(&json)) };
    Ok(HANDOFF_OK)
}

/// # Safety
/// `place` can be written, or is NULL, which means that nobody wants it.
pub(super) unsafe fn give(place: *mut *mut c_char, text: CString) {
    if !place.is_null() {
        // SAFETY: the caller's word.
        unsafe { place.write(text.into_raw()) };
    }
}

/// Reads a structure of the host, which may be older or newer than this library.
///
/// # Safety
/// `from` is NULL, or leads to as many bytes as its first field says.
pub(super) unsafe fn read<T: Versioned>(from: *const T) -> Result<T, Error> {
    // SAFETY: the caller's word.
    let size = unsafe { struct_size(from) }?;
    // SAFETY: zeros are a value of every such type.
    let mut here: T = unsafe { std::mem::zeroed() };
    // SAFETY: as many bytes as both have; the host's do not overlap with ours.
    unsafe { from.cast::<u8>().copy_to_nonoverlapping((&raw mut here).cast(), size.min(size_of::<T>())) };
    let beyond = size.saturating_sub(size_of::<T>());
    // SAFETY: within what the host says is there; where `beyond` is 0, nothing is read.
    let newer = unsafe { std::slice::from_raw_parts(from.cast::<u8>().wrapping_add(size - beyond), beyond) };
    if newer.iter().any(|byte| *byte != 0) {
        let reason = format!("it uses settings that version {} does not have", env!("CARGO_PKG_VERSION"));
        return Err(refused(T::NAME, &reason));
    }
    Ok(here)
}

/// Writes a structure of the host, which may be older or newer than this library: as much as both know, zeros for the
/// rest. Its size stays as the host set it.
///
/// # Safety
/// `to` is NULL, or leads to as many bytes as its first field says.
pub(super) unsafe fn write<T: Versioned>(to: *mut T, value: &T) -> Result<(), Error> {
    // SAFETY: the caller's word.
    let size = unsafe { struct_size(to) }?;
    let (own, skip) = (size.min(size_of::<T>()), size_of::<usize>());
    // SAFETY: behind the size, as many bytes as both have, then zeros for what the host has more.
    unsafe {
        let to = to.cast::<u8>();
        to.add(skip).copy_from_nonoverlapping((&raw const *value).cast::<u8>().add(skip), own - skip);
        to.add(own).write_bytes(0, size - own);
    }
    Ok(())
}

/// # Safety
/// `from` is NULL, or leads to a structure that begins with its size.
unsafe fn struct_size<T: Versioned>(from: *const T) -> Result<usize, Error> {
    if from.is_null() {
        return Err(refused(T::NAME, "expected a structure, found NULL"));
    }
    // SAFETY: the caller's word, at whatever address.
    let size = unsafe { from.cast::<usize>().read_unaligned() };
    check_size(from, size)?;
    Ok(size)
}

/// Whether a structure of some version can be there, and be as large.
pub(super) fn check_size<T: Versioned>(place: *const T, size: usize) -> Result<(), Error> {
    if !place.is_aligned() {
        return Err(refused(T::NAME, "expected a structure, found an address that is not aligned"));
    }
    // Every size that a compiler gives to a structure of these is a multiple of its alignment, so no field is cut.
    if size < size_of::<usize>() || size > MAX_STRUCT_SIZE || !size.is_multiple_of(align_of::<T>()) {
        return Err(refused(T::NAME, &format!("expected struct_size to be its size, found {size}")));
    }
    Ok(())
}

/// Frees a string that this library gave away.
///
/// string: from a function that says so; NULL is allowed, and nothing.
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_string_free(string: *mut c_char) {
    guard::value((), || {
        if !string.is_null() {
            // SAFETY: the host's word that it is one of ours, which all come from `give`.
            drop(unsafe { CString::from_raw(string) });
        }
    });
}
