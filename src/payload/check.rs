//! [pure] What the content of a field must satisfy, whether it came from a document or from a hand.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use serde_json::{Map, Value};

use super::HandoffPayload;
use super::fault::{Fault, Path, What};
use super::parse::{Field, PID};
use crate::error::{Error, excerpt};

/// The longest id, in bytes. The compact form counts on it.
pub(super) const MAX_ID_BYTES: usize = 256;
const MAX_URL_BYTES: usize = 2048;
/// How deep a document may be nested: what serde_json parses, the document's own object included.
pub(super) const MAX_DEPTH: usize = 127;

/// Everything that the types do not say already.
pub(super) fn check(payload: &HandoffPayload) -> Result<(), Fault> {
    id("pool_id", &payload.pool_id)?;
    id("replica_id", &payload.replica_id)?;
    url(&payload.url)?;
    if payload.pid == Some(0) {
        return Err(refused("pid", PID, String::from("0")));
    }
    unknown(&payload.extra, MAX_DEPTH - 1, |name| Field::of(name).is_some(), Path::Top)?;
    if let Some(model) = &payload.model {
        unknown(&model.extra, MAX_DEPTH - 2, |name| matches!(name, "id" | "path"), Path::Model)?;
    }
    Ok(())
}

/// The checks of the two ids alone, for what names a replica without a payload.
pub(crate) fn check_ids(pool_id: &str, replica_id: &str) -> Result<(), Error> {
    id("pool_id", pool_id).and_then(|()| id("replica_id", replica_id)).map_err(|fault| fault.into_error(None))
}

fn id(field: &'static str, value: &str) -> Result<(), Fault> {
    if value.is_empty() {
        Err(refused(field, "a name", excerpt(value)))
    } else if value.len() > MAX_ID_BYTES {
        Err(refused(field, format!("at most {MAX_ID_BYTES} bytes"), excerpt(value)))
    } else if value.contains(char::is_control) {
        Err(refused(field, "a name without control characters", excerpt(value)))
    } else {
        Ok(())
    }
}

fn url(value: &str) -> Result<(), Fault> {
    let refuse = |expected: &'static str| Err(refused("url", expected, excerpt(value)));
    if value.len() > MAX_URL_BYTES {
        return Err(refused("url", format!("at most {MAX_URL_BYTES} bytes"), excerpt(value)));
    }
    if value.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return refuse("a URL without white space and control characters");
    }
    let rest = match value.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https") => rest,
        _ => return refuse("an absolute http or https URL"),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // A backslash is a slash to browsers and part of a name to others: whose host it is would be a matter of taste.
    if authority.contains(['\\', '<', '>', '"', '^', '`', '{', '|', '}']) {
        return refuse("a host without \\ < > \" ^ ` { | }");
    }
    let host_port = authority.rsplit_once('@').map_or(authority, |(_user, host_port)| host_port);
    let port = if let Some(literal) = host_port.strip_prefix('[') {
        match literal.split_once(']') {
            Some((address, port)) if address.parse::<Ipv6Addr>().is_ok() => port,
            _ => return refuse("an IPv6 address in the brackets"),
        }
    } else {
        let (host, port) = host_port.split_at(host_port.find(':').unwrap_or(host_port.len()));
        if host.is_empty() {
            return refuse("a URL with a host");
        }
        if host.contains(['[', ']']) {
            return refuse("an IPv6 address in the brackets");
        }
        if port.matches(':').count() > 1 {
            return refuse("an IPv6 address in brackets, or a port after one colon");
        }
        port
    };
    // `parse` alone would take a sign.
    let valid = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok_and(|p| p > 0);
    if port.is_empty() || port.strip_prefix(':').is_some_and(valid) {
        return Ok(());
    }
    refuse("a port from 1 to 65535")
}

fn unknown(
    extra: &Map<String, Value>,
    depth: usize,
    is_known: impl Fn(&str) -> bool,
    path: impl Fn(Cow<'static, str>) -> Path,
) -> Result<(), Fault> {
    for (name, value) in extra {
        let refuse = |expected: String, found: &str| {
            let what = What::Refused { expected: expected.into(), found: found.to_owned() };
            Err(Fault { path: path(Cow::Owned(name.clone())), what })
        };
        if is_known(name) {
            return refuse(String::from("the field's own place in the payload"), "it in `extra`");
        }
        if !is_shallow(value, depth) {
            return refuse(format!("at most {MAX_DEPTH} levels of nesting"), "more");
        }
    }
    Ok(())
}

/// Whether objects and arrays are nested `depth` levels at most. It goes no deeper than that, whatever it is given.
fn is_shallow(value: &Value, depth: usize) -> bool {
    match value {
        Value::Array(items) => depth > 0 && items.iter().all(|item| is_shallow(item, depth - 1)),
        Value::Object(map) => depth > 0 && map.values().all(|item| is_shallow(item, depth - 1)),
        _ => true,
    }
}

fn refused(field: &'static str, expected: impl Into<Cow<'static, str>>, found: String) -> Fault {
    Fault { path: Path::Top(Cow::Borrowed(field)), what: What::Refused { expected: expected.into(), found } }
}
