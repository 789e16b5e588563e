//! [pure] The compact form: what the core and the registry keep of every replica.

use std::fmt;
use std::hash::{DefaultHasher, Hasher};

use serde_json::{Map, Value};
use triomphe::ThinArc;

use super::{HandoffPayload, Model};
use crate::error::Error;

/// A hash of a file's bytes: what makes two versions of one file different.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ContentHash(pub(crate) u64);

impl ContentHash {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes);
        Self(hasher.finish())
    }
}

/// A checked handoff, in one allocation that all who hold it share: its ids, which are asked for all the time, and behind
/// them every other field, which is decoded when a host wants to see it. It takes about a quarter of the memory of a
/// [`HandoffPayload`].
#[derive(Clone)]
pub(crate) struct Handoff(
    /// Behind the head: `pool_id`, `replica_id`, and the fields as [`Writer`] puts them, one after the other.
    ThinArc<Head, u8>,
);

struct Head {
    hash: ContentHash,
    /// 0 for none: a handoff never names it.
    pid: u32,
    /// The lengths of the ids less one, as an id has 1 to 256 bytes.
    pool_id: u8,
    replica_id: u8,
    ready: Option<bool>,
}

impl Handoff {
    /// As [`HandoffPayload::parse`], with the same errors. The hash is that of the bytes.
    pub(crate) fn parse(bytes: &[u8], hash: ContentHash) -> Result<Self, Error> {
        HandoffPayload::parse(bytes).map(|payload| Self::new(&payload, hash))
    }

    /// The handoff of a document.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn of(document: &[u8]) -> Result<Self, Error> {
        Self::parse(document, ContentHash::of(document))
    }

    fn new(payload: &HandoffPayload, hash: ContentHash) -> Self {
        let length = |id: &str| u8::try_from(id.len() - 1).expect("BUG: a checked id has 1 to 256 bytes");
        let mut writer = Writer(Vec::with_capacity(256));
        writer.0.extend_from_slice(payload.pool_id.as_bytes());
        writer.0.extend_from_slice(payload.replica_id.as_bytes());
        writer.text(Some(&payload.url));
        for text in [&payload.engine, &payload.engine_version, &payload.provisioning_mode, &payload.device_mask] {
            writer.text(text.as_deref());
        }
        writer.number(payload.slots.map(u64::from));
        writer.number(payload.slots_free.map(u64::from));
        writer.number(payload.model.is_some().then_some(0));
        if let Some(model) = &payload.model {
            writer.text(model.id.as_deref());
            writer.text(model.path.as_deref());
            writer.extra(&model.extra);
        }
        writer.number(payload.flags.as_ref().map(|flags| flags.len() as u64));
        for flag in payload.flags.iter().flatten() {
            writer.text(Some(flag));
        }
        writer.extra(&payload.extra);
        let head = Head {
            hash,
            pid: payload.pid.unwrap_or(0),
            pool_id: length(&payload.pool_id),
            replica_id: length(&payload.replica_id),
            ready: payload.ready,
        };
        Self(ThinArc::from_header_and_slice(head, &writer.0))
    }

    /// The hash of the bytes that it was parsed from.
    pub(crate) fn hash(&self) -> ContentHash {
        self.head().hash
    }

    /// Whether the two are one in memory.
    pub(crate) fn is_shared_with(&self, other: &Self) -> bool {
        std::ptr::eq(self.0.as_ptr(), other.0.as_ptr())
    }

    pub(crate) fn pool_id(&self) -> &str {
        utf8(self.id_bytes().0)
    }

    pub(crate) fn replica_id(&self) -> &str {
        utf8(self.id_bytes().1)
    }

    /// The same as `pool_id` and `replica_id`.
    pub(crate) fn id_bytes(&self) -> (&[u8], &[u8]) {
        self.0.slice[..self.fields_begin()].split_at(self.pool_end())
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.head().ready != Some(false)
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        let pid = self.head().pid;
        (pid != 0).then_some(pid)
    }

    /// The whole handoff, decoded anew: less than a microsecond, but not for comparisons in a loop.
    pub(crate) fn payload(&self) -> HandoffPayload {
        let mut reader = Reader(&self.0.slice[self.fields_begin()..]);
        let url = reader.string().expect("BUG: a handoff has a URL");
        let mut payload = HandoffPayload::bare(self.pool_id().to_owned(), self.replica_id().to_owned(), url);
        payload.engine = reader.string();
        payload.engine_version = reader.string();
        payload.provisioning_mode = reader.string();
        payload.device_mask = reader.string();
        payload.slots = reader.small_number();
        payload.slots_free = reader.small_number();
        payload.model =
            reader.number().map(|_| Model { id: reader.string(), path: reader.string(), extra: reader.extra() });
        payload.flags = reader.number().map(|count| (0..count).map_while(|_| reader.string()).collect());
        payload.extra = reader.extra();
        payload.pid = self.pid();
        payload.ready = self.head().ready;
        payload
    }

    /// `engine`, `slots` and `slots_free`, for the sums of a pool. What stands behind them, however large, is not decoded.
    pub(crate) fn capacity(&self) -> (Option<&str>, Option<u32>, Option<u32>) {
        let mut reader = Reader(&self.0.slice[self.fields_begin()..]);
        let [_url, engine, _engine_version, _provisioning_mode, _device_mask] = [(); 5].map(|()| reader.text());
        (engine, reader.small_number(), reader.small_number())
    }

    /// What it occupies beyond its own size.
    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        size_of::<Head>() + self.0.slice.len()
    }

    fn head(&self) -> &Head {
        &self.0.header.header
    }

    fn pool_end(&self) -> usize {
        usize::from(self.head().pool_id) + 1
    }

    fn fields_begin(&self) -> usize {
        self.pool_end() + usize::from(self.head().replica_id) + 1
    }
}

/// Puts fields behind one another. A number takes seven bits to the byte, the lowest first, and is one more than it says:
/// 0 is a field that is absent. A text is its length and its bytes; what has no field of its own is a text in JSON.
struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, number: Option<u64>) {
        let mut rest = number.map_or(0, |number| number + 1);
        while rest >= 0x80 {
            self.0.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.0.push(rest as u8);
    }

    fn text(&mut self, text: Option<&str>) {
        self.number(text.map(|text| text.len() as u64));
        self.0.extend_from_slice(text.unwrap_or_default().as_bytes());
    }

    fn extra(&mut self, extra: &Map<String, Value>) {
        let text = (!extra.is_empty()).then(|| serde_json::to_string(extra).expect("BUG: it came from JSON"));
        self.text(text.as_deref());
    }
}

/// Takes the fields apart in the order in which [`Writer`] put them.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Option<u64> {
        let (mut number, mut shift) = (0, 0);
        loop {
            let (&byte, rest) = self.0.split_first().expect("BUG: every field was written");
            self.0 = rest;
            number |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return u64::checked_sub(number, 1);
            }
            shift += 7;
        }
    }

    fn small_number(&mut self) -> Option<u32> {
        self.number().and_then(|number| u32::try_from(number).ok())
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.number()?).expect("BUG: it was in memory before");
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        Some(utf8(text))
    }

    fn string(&mut self) -> Option<String> {
        self.text().map(str::to_owned)
    }

    fn extra(&mut self) -> Map<String, Value> {
        let text = self.text();
        text.map(|text| serde_json::from_str(text).expect("BUG: it was written as JSON")).unwrap_or_default()
    }
}

/// Equal when they say the same, in whatever order and with whatever white space.
impl PartialEq for Handoff {
    fn eq(&self, other: &Self) -> bool {
        self.is_shared_with(other) || self.id_bytes() == other.id_bytes() && self.payload() == other.payload()
    }
}

impl fmt::Debug for Handoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.payload().fmt(f)
    }
}

fn utf8(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("BUG: the ids were copied from strings, whole")
}
