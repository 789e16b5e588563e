//! [pure] The compact form: what the core and the registry keep of every replica.

use std::fmt;

use super::HandoffPayload;
use crate::error::Error;

/// A checked handoff in one allocation: the two ids, which are asked for all the time, and the document, which is
/// decoded again when a host wants to see it. It takes about half the memory of a [`HandoffPayload`].
pub(crate) struct Handoff {
    /// `pool_id`, `replica_id` and the document, one after the other.
    bytes: Box<[u8]>,
    /// 0 for none: a handoff never names it.
    pid: u32,
    /// The lengths of the ids less one, as an id has 1 to 256 bytes.
    pool_id: u8,
    replica_id: u8,
    ready: bool,
}

impl Handoff {
    /// As [`HandoffPayload::parse`], with the same errors.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let payload = HandoffPayload::parse(bytes)?;
        let mut document = bytes.trim_ascii();
        // Indentation, escapes and nulls are worth dropping. What is kept has been parsed to the same, so that it can
        // be again.
        let compact = document
            .iter()
            .any(|byte| byte.is_ascii_whitespace() || *byte == b'\\')
            .then(|| serde_json::to_vec(&payload).ok())
            .flatten()
            .filter(|compact| compact.len() < document.len())
            .filter(|compact| HandoffPayload::parse(compact).is_ok_and(|again| again == payload));
        if let Some(compact) = &compact {
            document = compact;
        }
        let length = |id: &str| u8::try_from(id.len() - 1).expect("BUG: a checked id has 1 to 256 bytes");
        Ok(Self {
            pid: payload.pid.unwrap_or(0),
            pool_id: length(&payload.pool_id),
            replica_id: length(&payload.replica_id),
            ready: payload.is_ready(),
            bytes: [payload.pool_id.as_bytes(), payload.replica_id.as_bytes(), document].concat().into_boxed_slice(),
        })
    }

    pub(crate) fn pool_id(&self) -> &str {
        utf8(&self.bytes[..self.pool_end()])
    }

    pub(crate) fn replica_id(&self) -> &str {
        utf8(&self.bytes[self.pool_end()..self.replica_end()])
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        (self.pid != 0).then_some(self.pid)
    }

    /// The whole document, decoded anew: about a microsecond, so not for comparisons in a loop.
    pub(crate) fn payload(&self) -> HandoffPayload {
        HandoffPayload::parse(self.document()).expect("BUG: what is kept was parsed before")
    }

    /// What it occupies beyond its own size.
    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes.len()
    }

    fn document(&self) -> &[u8] {
        &self.bytes[self.replica_end()..]
    }

    fn pool_end(&self) -> usize {
        usize::from(self.pool_id) + 1
    }

    fn replica_end(&self) -> usize {
        self.pool_end() + usize::from(self.replica_id) + 1
    }
}

/// Equal when they say the same, in whatever order and with whatever white space.
impl PartialEq for Handoff {
    fn eq(&self, other: &Self) -> bool {
        let ids = |it: &Self| (it.pid, it.ready, it.pool_id, it.replica_id);
        self.bytes == other.bytes
            || (ids(self) == ids(other)
                && self.bytes[..self.replica_end()] == other.bytes[..other.replica_end()]
                && self.payload() == other.payload())
    }
}

impl fmt::Debug for Handoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handoff({})", String::from_utf8_lossy(self.document()).escape_debug())
    }
}

fn utf8(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("BUG: the ids were copied from strings, whole")
}
