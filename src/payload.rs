//! [pure] The document: bytes in, a checked [`HandoffPayload`] or a precise [`Error`] out.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::Error;

/// One handoff: what an engine-provisioner says of a running engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HandoffPayload {
    /// The pool that the replica belongs to.
    pub pool_id: String,
    /// The replica, unique within its pool.
    pub replica_id: String,
    /// Where the engine answers.
    pub url: String,
    /// The engine.
    pub engine: Option<String>,
    /// Its version.
    pub engine_version: Option<String>,
    /// How it was provisioned.
    pub provisioning_mode: Option<String>,
    /// The devices it runs on.
    pub device_mask: Option<String>,
    /// How many requests it serves at once.
    pub slots: Option<u32>,
    /// How many of them are free.
    pub slots_free: Option<u32>,
    /// Its process.
    pub pid: Option<u32>,
    /// Its model.
    pub model: Option<Model>,
    /// The flags it was started with.
    pub flags: Option<Vec<String>>,
    /// Whether it takes requests.
    pub ready: Option<bool>,
    /// Unknown fields.
    pub extra: Map<String, Value>,
}

/// The model that an engine serves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Model {
    /// Its id.
    pub id: Option<String>,
    /// Its path.
    pub path: Option<String>,
    /// Unknown fields.
    pub extra: Map<String, Value>,
}

impl HandoffPayload {
    /// Parses.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let _ = bytes;
        Err(Error::new(crate::error::ErrorKind::Internal, "not yet"))
    }
}
