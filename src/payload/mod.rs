//! [pure] The document: bytes in, a checked [`HandoffPayload`] or a precise [`Error`] out.
//!
//! `parse` reads it in one pass, `check` holds what a field's content must satisfy, `fault` words what is wrong and
//! finds the place of it, and `handoff` is the compact form in which the stages keep it.

mod check;
mod fault;
mod handoff;
mod parse;
#[cfg(test)]
mod tests;

use std::str::FromStr;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

use crate::error::Error;

pub(crate) use check::check_ids;
#[allow(unused_imports)]
pub(crate) use handoff::{ContentHash, Handoff};

/// One handoff: what an engine-provisioner says of a running engine.
///
/// Only `pool_id`, `replica_id` and `url` are required. `null` counts as absent for every other field. What this
/// library does not know is kept in [`extra`](Self::extra) and comes back when the payload is serialised, so a producer
/// may be newer than the watcher.
///
/// It serialises as one flat JSON object with the names below, without the fields that are absent, the unknown ones
/// last. Parsing what was printed gives an equal payload.
///
/// ```
/// use handoff_watcher::HandoffPayload;
/// # fn main() -> Result<(), handoff_watcher::Error> {
/// let payload = HandoffPayload::parse(
///     br#"{"pool_id":"pool-0","replica_id":"r0","url":"http://localhost:8080","slots":4,"zone":"b"}"#,
/// )?;
/// assert_eq!((payload.pool_id.as_str(), payload.replica_id.as_str(), payload.slots), ("pool-0", "r0", Some(4)));
/// assert_eq!(payload.extra["zone"], "b");
/// assert!(payload.is_ready());
///
/// let error = HandoffPayload::parse(
///     br#"{"pool_id":"pool-0","replica_id":"r0","url":"http://localhost:8080","slots":-1}"#,
/// )
/// .unwrap_err();
/// assert_eq!((error.field(), error.line(), error.column()), (Some("slots"), Some(1), Some(77)));
/// assert_eq!(error.message(), "field `slots`: expected a whole number from 0 to 4294967295, found -1");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct HandoffPayload {
    /// The pool that the replica belongs to. 1 to 256 bytes, no control characters.
    pub pool_id: String,
    /// The replica, unique within its pool. 1 to 256 bytes, no control characters.
    pub replica_id: String,
    /// Where the engine answers: an absolute `http` or `https` URL with a host, at most 2048 bytes, without white
    /// space. A document may call it `http_endpoint` instead. It is kept as written: nothing is normalised or resolved.
    pub url: String,
    /// The engine, such as `llamacpp` or `vllm`.
    pub engine: Option<String>,
    /// The engine's version, in the engine's own notation.
    pub engine_version: Option<String>,
    /// How the engine was provisioned, such as `source`.
    pub provisioning_mode: Option<String>,
    /// The devices that the engine runs on, such as `0,1`. Not interpreted.
    pub device_mask: Option<String>,
    /// How many requests the engine serves at once. A document may call it `slots_total` instead.
    pub slots: Option<u32>,
    /// How many slots were free when the document was written. Not compared with [`slots`](Self::slots).
    pub slots_free: Option<u32>,
    /// The engine's process on this machine; never 0. Nothing says that the process still runs.
    pub pid: Option<u32>,
    /// The model that the engine serves.
    pub model: Option<Model>,
    /// The flags that the engine was started with.
    pub flags: Option<Vec<String>>,
    /// Whether the engine takes requests. Absent means that it does; see [`is_ready`](Self::is_ready).
    pub ready: Option<bool>,
    /// Every other field of the document, as it stands there. A name of one of the fields above is refused here.
    ///
    /// A whole number that fits into neither `i64` nor `u64` becomes the nearest `f64`: 123456789012345678901234567890 comes
    /// back as 1.2345678901234568e+29. A number beyond the range of an `f64` is refused. Neither is so where the host
    /// builds serde_json with `arbitrary_precision`.
    pub extra: Map<String, Value>,
}

/// The model that an engine serves.
///
/// ```
/// let mut model = handoff_watcher::Model::default();
/// model.path = Some(String::from("/var/lib/models/llama-3-8b.gguf"));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Model {
    /// Where the model came from, such as `hf:meta-llama/Llama-3.1-8B-Instruct`.
    pub id: Option<String>,
    /// Where the model lies on this machine.
    pub path: Option<String>,
    /// Every other field of the object, as it stands there; see [`HandoffPayload::extra`] for very large numbers.
    pub extra: Map<String, Value>,
}

impl HandoffPayload {
    /// The smallest payload: the three required fields, checked; everything else absent.
    ///
    /// # Errors
    /// [`ErrorKind::Schema`](crate::ErrorKind::Schema), naming the field, when one of them is impossible.
    pub fn new(
        pool_id: impl Into<String>,
        replica_id: impl Into<String>,
        url: impl Into<String>,
    ) -> Result<Self, Error> {
        let payload = Self::bare(pool_id.into(), replica_id.into(), url.into());
        payload.validate()?;
        Ok(payload)
    }

    /// The payload that a document holds: one JSON object in UTF-8, with white space around it at most.
    ///
    /// Strict where a mistake would go unseen: a field that is given twice, in either of its names, is refused, and so
    /// is a number in the place of a string. Objects and arrays may be nested 127 levels deep. Time and memory are
    /// linear in the input, which is not limited here; an error's text is short whatever the input is.
    ///
    /// # Errors
    /// [`ErrorKind::Syntax`](crate::ErrorKind::Syntax) when the bytes are not one JSON document, else
    /// [`ErrorKind::Schema`](crate::ErrorKind::Schema) when they are no handoff. One error, the first found; with line
    /// and column, but for an empty document. For a wrong value that is the place where the value begins, for a field
    /// that is given twice the second name, for a missing field the end of the object. A field is named as the document
    /// names it: `slots`, `http_endpoint`, `model.path`, `flags[2]`.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        parse::document(bytes)
    }

    /// Checks a payload that was built or changed by hand as strictly as [`parse`](Self::parse) checks a document, so
    /// that whatever passes here is accepted by a watcher (up to the watcher's size limit).
    ///
    /// # Errors
    /// [`ErrorKind::Schema`](crate::ErrorKind::Schema), naming the field: also when [`extra`](Self::extra) holds a
    /// field that has a place of its own, or is nested too deep.
    pub fn validate(&self) -> Result<(), Error> {
        check::check(self).map_err(|fault| fault.into_error(None))
    }

    /// Whether the engine takes requests: unless the document says `"ready": false`, it does.
    pub fn is_ready(&self) -> bool {
        self.ready != Some(false)
    }

    fn bare(pool_id: String, replica_id: String, url: String) -> Self {
        Self {
            pool_id,
            replica_id,
            url,
            engine: None,
            engine_version: None,
            provisioning_mode: None,
            device_mask: None,
            slots: None,
            slots_free: None,
            pid: None,
            model: None,
            flags: None,
            ready: None,
            extra: Map::new(),
        }
    }
}

impl FromStr for HandoffPayload {
    type Err = Error;

    /// The same as [`HandoffPayload::parse`].
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text.as_bytes())
    }
}

impl Serialize for HandoffPayload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("pool_id", &self.pool_id)?;
        map.serialize_entry("replica_id", &self.replica_id)?;
        entry(&mut map, "engine", &self.engine)?;
        entry(&mut map, "engine_version", &self.engine_version)?;
        entry(&mut map, "provisioning_mode", &self.provisioning_mode)?;
        map.serialize_entry("url", &self.url)?;
        entry(&mut map, "device_mask", &self.device_mask)?;
        entry(&mut map, "slots", &self.slots)?;
        entry(&mut map, "slots_free", &self.slots_free)?;
        entry(&mut map, "pid", &self.pid)?;
        entry(&mut map, "model", &self.model)?;
        entry(&mut map, "flags", &self.flags)?;
        entry(&mut map, "ready", &self.ready)?;
        for (name, value) in &self.extra {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl Serialize for Model {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        entry(&mut map, "id", &self.id)?;
        entry(&mut map, "path", &self.path)?;
        for (name, value) in &self.extra {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

fn entry<M: SerializeMap, T: Serialize>(map: &mut M, name: &str, value: &Option<T>) -> Result<(), M::Error> {
    match value {
        Some(value) => map.serialize_entry(name, value),
        None => Ok(()),
    }
}
