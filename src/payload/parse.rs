//! [pure] One pass over a document: known fields go straight to their places, unknown ones into a map.
//!
//! The visitors ask for the type they want instead of "any": a host may switch on serde_json's `arbitrary_precision`,
//! which turns "any" number into a map. What went wrong is noted beside the error, because an error that passes through
//! serde keeps neither field nor kind.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde_json::map::Entry;
use serde_json::{Map, Value};

use super::fault::{self, Fault, Path, What};
use super::{HandoffPayload, Model, check};
use crate::error::Error;

pub(super) const TEXT: &str = "a string";
pub(super) const WHOLE: &str = "a whole number from 0 to 4294967295";
pub(super) const PID: &str = "a whole number from 1 to 4294967295";
const BOOL: &str = "true or false";
const FLAGS: &str = "an array of strings";
const MODEL: &str = "an object";
const DOCUMENT: &str = "one JSON object";

/// The fields that have a place of their own. The numbers are bits of the set of fields seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    PoolId,
    ReplicaId,
    Url,
    Engine,
    EngineVersion,
    ProvisioningMode,
    DeviceMask,
    Slots,
    SlotsFree,
    Pid,
    Model,
    Flags,
    Ready,
}

impl Field {
    /// The field of that name, or of that other name.
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "pool_id" => Self::PoolId,
            "replica_id" => Self::ReplicaId,
            "url" | "http_endpoint" => Self::Url,
            "engine" => Self::Engine,
            "engine_version" => Self::EngineVersion,
            "provisioning_mode" => Self::ProvisioningMode,
            "device_mask" => Self::DeviceMask,
            "slots" | "slots_total" => Self::Slots,
            "slots_free" => Self::SlotsFree,
            "pid" => Self::Pid,
            "model" => Self::Model,
            "flags" => Self::Flags,
            "ready" => Self::Ready,
            _ => return None,
        })
    }

    const fn name(self) -> &'static str {
        match self {
            Self::PoolId => "pool_id",
            Self::ReplicaId => "replica_id",
            Self::Url => "url",
            Self::Engine => "engine",
            Self::EngineVersion => "engine_version",
            Self::ProvisioningMode => "provisioning_mode",
            Self::DeviceMask => "device_mask",
            Self::Slots => "slots",
            Self::SlotsFree => "slots_free",
            Self::Pid => "pid",
            Self::Model => "model",
            Self::Flags => "flags",
            Self::Ready => "ready",
        }
    }
}

/// The whole way from bytes to a checked payload.
pub(super) fn document(bytes: &[u8]) -> Result<HandoffPayload, Error> {
    let text = fault::text(bytes)?;
    let noted = Noted::default();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let parsed =
        (&mut deserializer).deserialize_map(Document(&noted)).and_then(|payload| deserializer.end().map(|()| payload));
    match parsed {
        Ok(payload) => match check::check(&payload) {
            Ok(()) => Ok(payload),
            Err(fault) => Err(fault.into_error(Some(text))),
        },
        Err(error) => Err(explain(text, &error, noted.0.into_inner())),
    }
}

fn explain(text: &str, error: &serde_json::Error, noted: Option<Fault>) -> Error {
    if !error.is_data() && !fault::is_out_of_range(error) {
        return fault::syntax(text, error);
    }
    // The parser stopped at the fault. What is no document at all, half a file above all, is said to be just that.
    match serde_json::from_str::<IgnoredAny>(text) {
        Err(error) => fault::syntax(text, &error),
        Ok(_) => noted
            .unwrap_or(Fault { path: Path::Document, what: What::Wrong { expected: DOCUMENT } })
            .into_error(Some(text)),
    }
}

impl<'de> Deserialize<'de> for HandoffPayload {
    /// Checks what [`HandoffPayload::parse`] checks. `parse` has the better errors.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let payload = deserializer.deserialize_map(Document(&Noted::default()))?;
        check::check(&payload).map_err(|fault| D::Error::custom(fault.into_error(None).message()))?;
        Ok(payload)
    }
}

impl<'de> Deserialize<'de> for Model {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ModelSeed(&Noted::default()))
    }
}

/// What went wrong first, innermost first.
#[derive(Default)]
struct Noted(RefCell<Option<Fault>>);

impl Noted {
    fn note(&self, path: Path, what: What) {
        self.0.borrow_mut().get_or_insert(Fault { path, what });
    }

    /// The value of the current entry; a failure is noted as that of `path`.
    fn value<'de, A: MapAccess<'de>, T>(
        &self,
        map: &mut A,
        path: impl FnOnce() -> Path,
        expected: &'static str,
        seed: impl DeserializeSeed<'de, Value = T>,
    ) -> Result<T, A::Error> {
        map.next_value_seed(seed).inspect_err(|_| self.note(path(), What::Wrong { expected }))
    }

    fn field<'de, A: MapAccess<'de>, T>(
        &self,
        map: &mut A,
        field: Field,
        expected: &'static str,
        seed: impl DeserializeSeed<'de, Value = T>,
    ) -> Result<T, A::Error> {
        self.value(map, || Path::Top(Cow::Borrowed(field.name())), expected, seed)
    }

    /// Keeps an entry that has no place of its own.
    fn unknown<'de, A: MapAccess<'de>>(
        &self,
        map: &mut A,
        extra: &mut Map<String, Value>,
        name: String,
        path: fn(Cow<'static, str>) -> Path,
    ) -> Result<(), A::Error> {
        match extra.entry(name) {
            Entry::Occupied(entry) => Err(self.refuse(path(Cow::Owned(entry.key().clone())), What::Twice)),
            Entry::Vacant(entry) => {
                let value = map.next_value().inspect_err(|_| {
                    self.note(path(Cow::Owned(entry.key().clone())), What::OutOfRange);
                })?;
                entry.insert(value);
                Ok(())
            }
        }
    }

    fn refuse<E: serde::de::Error>(&self, path: Path, what: What) -> E {
        let fault = Fault { path, what };
        let error = E::custom(fault.clone().into_error(None).message());
        self.0.borrow_mut().get_or_insert(fault);
        error
    }
}

struct Document<'n>(&'n Noted);

impl<'de> Visitor<'de> for Document<'_> {
    type Value = HandoffPayload;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a handoff: one object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<HandoffPayload, A::Error> {
        let Self(noted) = self;
        let mut payload = HandoffPayload::bare(String::new(), String::new(), String::new());
        let mut seen = 0_u16;
        while let Some(name) = map.next_key_seed(Name(Field::of))? {
            let field = match name {
                Ok(field) => field,
                Err(name) => {
                    noted.unknown(&mut map, &mut payload.extra, name, Path::Top)?;
                    continue;
                }
            };
            if seen & (1 << field as u16) != 0 {
                return Err(noted.refuse(Path::Top(Cow::Borrowed(field.name())), What::Twice));
            }
            seen |= 1 << field as u16;
            let (map, text) = (&mut map, Text(field.name()));
            match field {
                Field::PoolId => payload.pool_id = noted.field(map, field, TEXT, text)?,
                Field::ReplicaId => payload.replica_id = noted.field(map, field, TEXT, text)?,
                Field::Url => payload.url = noted.field(map, field, TEXT, text)?,
                Field::Engine => payload.engine = noted.field(map, field, TEXT, Maybe(text))?,
                Field::EngineVersion => payload.engine_version = noted.field(map, field, TEXT, Maybe(text))?,
                Field::ProvisioningMode => payload.provisioning_mode = noted.field(map, field, TEXT, Maybe(text))?,
                Field::DeviceMask => payload.device_mask = noted.field(map, field, TEXT, Maybe(text))?,
                Field::Slots => payload.slots = noted.field(map, field, WHOLE, Maybe(Whole("slots")))?,
                Field::SlotsFree => payload.slots_free = noted.field(map, field, WHOLE, Maybe(Whole("slots_free")))?,
                Field::Pid => payload.pid = noted.field(map, field, PID, Maybe(Whole("pid")))?,
                Field::Model => payload.model = noted.field(map, field, MODEL, Maybe(ModelSeed(noted)))?,
                Field::Flags => payload.flags = noted.field(map, field, FLAGS, Maybe(Flags(noted)))?,
                Field::Ready => payload.ready = noted.field(map, field, BOOL, Maybe(Bool("ready")))?,
            }
        }
        let mut missing = [Field::PoolId, Field::ReplicaId, Field::Url]
            .into_iter()
            .filter(|field| seen & (1 << *field as u16) == 0)
            .map(Field::name);
        if let Some(first) = missing.next() {
            return Err(noted.refuse(Path::Top(Cow::Borrowed(first)), What::Missing { also: missing.collect() }));
        }
        Ok(payload)
    }
}

struct ModelSeed<'n>(&'n Noted);

impl<'de> DeserializeSeed<'de> for ModelSeed<'_> {
    type Value = Model;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Model, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ModelSeed<'_> {
    type Value = Model;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MODEL} in field `model`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Model, A::Error> {
        let Self(noted) = self;
        let mut model = Model::default();
        let mut seen = [false; 2];
        let known = |name: &str| ["id", "path"].into_iter().position(|known| known == name);
        while let Some(name) = map.next_key_seed(Name(known))? {
            let index = match name {
                Ok(index) => index,
                Err(name) => {
                    noted.unknown(&mut map, &mut model.extra, name, Path::Model)?;
                    continue;
                }
            };
            let (name, full_name, place) = match index {
                0 => ("id", "model.id", &mut model.id),
                _ => ("path", "model.path", &mut model.path),
            };
            let path = || Path::Model(Cow::Borrowed(name));
            if std::mem::replace(&mut seen[index], true) {
                return Err(noted.refuse(path(), What::Twice));
            }
            *place = noted.value(&mut map, path, TEXT, Maybe(Text(full_name)))?;
        }
        Ok(model)
    }
}

struct Flags<'n>(&'n Noted);

impl<'de> DeserializeSeed<'de> for Flags<'_> {
    type Value = Vec<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<String>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Flags<'_> {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{FLAGS} in field `flags`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<String>, A::Error> {
        let mut flags = Vec::new();
        loop {
            match seq.next_element_seed(Text("flags")) {
                Ok(Some(flag)) => flags.push(flag),
                Ok(None) => return Ok(flags),
                Err(error) => {
                    self.0.note(Path::Flag(flags.len()), What::Wrong { expected: TEXT });
                    return Err(error);
                }
            }
        }
    }
}

/// The name of an entry: what the function makes of it, or itself. Known names are not copied.
struct Name<F>(F);

impl<'de, T, F: FnOnce(&str) -> Option<T>> DeserializeSeed<'de> for Name<F> {
    type Value = Result<T, String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de, T, F: FnOnce(&str) -> Option<T>> Visitor<'de> for Name<F> {
    type Value = Result<T, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok((self.0)(name).ok_or_else(|| name.to_owned()))
    }
}

/// A value, or `null` for none.
struct Maybe<S>(S);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Maybe<S> {
    type Value = Option<S::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for Maybe<S> {
    type Value = Option<S::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or null")
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        self.0.deserialize(deserializer).map(Some)
    }
}

/// A seed for one scalar of the named field, made of the hint and the `visit_` functions that take it.
macro_rules! scalar {
    ($seed:ident -> $value:ty, $hint:ident, $expected:expr, { $($visit:tt)+ }) => {
        struct $seed(&'static str);

        impl<'de> DeserializeSeed<'de> for $seed {
            type Value = $value;

            fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<$value, D::Error> {
                deserializer.$hint(self)
            }
        }

        impl<'de> Visitor<'de> for $seed {
            type Value = $value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} in field `{}`", $expected, self.0)
            }

            $($visit)+
        }
    };
}

scalar!(Text -> String, deserialize_string, TEXT, {
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<String, E> {
        Ok(text)
    }
});

scalar!(Whole -> u32, deserialize_u64, WHOLE, {
    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<u32, E> {
        u32::try_from(number).map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<u32, E> {
        u32::try_from(number).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
    }
});

scalar!(Bool -> bool, deserialize_bool, BOOL, {
    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<bool, E> {
        Ok(value)
    }
});
