//! [pure] What is wrong with a document, worded for people, and where: found by a second look at the text, so that the
//! pass that succeeds pays nothing for it.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;

use super::check::MAX_DEPTH;
use super::parse::Field;
use crate::error::{Error, ErrorKind, excerpt};

/// The longest piece of a name or a number that is shown, in bytes.
const MAX_SHOWN: usize = 40;

/// One thing that is wrong with a handoff that is JSON.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) path: Path,
    pub(super) what: What,
}

/// The part of a document that a fault is about.
#[derive(Clone, Debug)]
pub(super) enum Path {
    Document,
    Top(Cow<'static, str>),
    Model(Cow<'static, str>),
    Flag(usize),
}

#[derive(Clone, Debug)]
pub(super) enum What {
    /// Not the type that is expected; the text says what it is.
    Wrong { expected: &'static str },
    /// The right type, but impossible.
    Refused { expected: Cow<'static, str>, found: String },
    /// A number somewhere in an unknown field that does not fit into a 64-bit float.
    OutOfRange,
    /// Given more than once, in one name or in two.
    Twice,
    /// Missing, and these too.
    Missing { also: Vec<&'static str> },
}

impl Fault {
    /// The error; with its place and what was found there when the text, one valid JSON document, is at hand.
    pub(super) fn into_error(self, text: Option<&str>) -> Error {
        let item = |nth| text.and_then(|text| self.path.find(text, nth));
        let found = item(0);
        let name = match (text, &found) {
            (Some(text), Some(item)) => self.path.name(item.name(text)),
            _ => self.path.name(None),
        };
        let (message, offset) = match &self.what {
            What::Wrong { expected } => {
                let shown = match (text, &found) {
                    (Some(text), Some(item)) => describe(&text[item.value.clone()]),
                    _ => String::from("something else"),
                };
                (format!("expected {expected}, found {shown}"), found.map(|item| item.value.start))
            }
            What::Refused { expected, found: shown } => {
                (format!("expected {expected}, found {shown}"), found.map(|item| item.value.start))
            }
            What::OutOfRange => {
                (String::from("expected numbers that fit into a 64-bit float"), found.map(|item| item.value.start))
            }
            What::Twice => {
                let second = item(1);
                let other = match (text, &second) {
                    (Some(text), Some(item)) => Some(self.path.name(item.name(text))),
                    _ => None,
                };
                let message = match other.filter(|other| *other != name) {
                    Some(other) => format!("expected once, found again as {}", quoted(&other)),
                    None => String::from("expected once, found twice"),
                };
                (message, second.and_then(|item| item.key).map(|key| key.start))
            }
            What::Missing { also } => {
                let mut message = String::from("required, but missing");
                for (i, other) in also.iter().enumerate() {
                    let _ = write!(message, "{} `{other}`", if i == 0 { "; so is" } else { ", and so is" });
                }
                (message, text.map(|text| text.trim_end().len().saturating_sub(1)))
            }
        };
        let error = match &self.path {
            Path::Document => Error::new(ErrorKind::Schema, message),
            _ => {
                Error::new(ErrorKind::Schema, format!("field {}: {message}", quoted(&name))).with_field(escaped(&name))
            }
        };
        match (text, offset) {
            (Some(text), Some(offset)) => positioned(error, text.as_bytes(), offset),
            _ => error,
        }
    }
}

impl Path {
    /// The name, with the field called as the document calls it where that is known.
    fn name(&self, written: Option<Cow<'_, str>>) -> String {
        match self {
            Self::Document => String::new(),
            Self::Top(name) => written.as_deref().unwrap_or(name).to_owned(),
            Self::Model(name) => format!("model.{name}"),
            Self::Flag(index) => format!("flags[{index}]"),
        }
    }

    /// The item that it leads to in one valid JSON document; of several of one field, the one with that number.
    fn find(&self, text: &str, nth: usize) -> Option<Item> {
        let root = Item { key: None, value: value_at(text, skip_space(text, 0)) };
        let top = |field: &str, nth: usize| {
            let same = |name: &str| name == field || Field::of(name).is_some_and(|it| Field::of(field) == Some(it));
            items(text, &root.value).filter(|item| item.name(text).is_some_and(|name| same(&name))).nth(nth)
        };
        match self {
            Self::Document => Some(root),
            Self::Top(name) => top(name, nth),
            Self::Model(name) => {
                let model = top("model", 0)?;
                items(text, &model.value).filter(|item| item.name(text).as_deref() == Some(name)).nth(nth)
            }
            Self::Flag(index) => items(text, &top("flags", 0)?.value).nth(*index),
        }
    }
}

/// The text of a document, when there is some and it is UTF-8.
pub(super) fn text(bytes: &[u8]) -> Result<&str, Error> {
    let refuse = |message: &str| Error::new(ErrorKind::Syntax, format!("{message}: expected one JSON object"));
    if bytes.is_empty() {
        return Err(refuse("the file is empty"));
    }
    match bytes[0] {
        // What some file systems leave of a file whose data did not reach the disk before a crash.
        0 if bytes.iter().all(|byte| *byte == 0) => return Err(refuse("the file holds nothing but NUL bytes")),
        b' ' | b'\t' | b'\r' | b'\n' if bytes.trim_ascii().is_empty() => {
            return Err(refuse("the file holds nothing but white space"));
        }
        _ => {}
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let offset = error.valid_up_to();
        let message = match error.error_len() {
            None => format!("not UTF-8: the file ends within the character at byte offset {offset}"),
            Some(_) => format!("not UTF-8: byte 0x{:02X} at byte offset {offset}", bytes[offset]),
        };
        positioned(Error::new(ErrorKind::Syntax, message), bytes, offset)
    })?;
    if text.starts_with('\u{feff}') {
        let message = "expected one JSON object, found a byte order mark";
        return Err(Error::new(ErrorKind::Syntax, message).with_position(1, 1));
    }
    Ok(text)
}

/// The error of a text that is not one JSON document.
pub(super) fn syntax(text: &str, error: &serde_json::Error) -> Error {
    let (line, column) = (error.line(), error.column());
    let reason = reason(error);
    let message = if error.is_eof() {
        let within = reason.strip_prefix("EOF while parsing").map(|what| format!(", within{what}"));
        format!("the file ends too early{}", within.unwrap_or_default())
    } else if reason == "recursion limit exceeded" {
        format!("nested too deep: expected at most {MAX_DEPTH} levels")
    } else if reason == "trailing characters" {
        let line = text.split('\n').nth(line.saturating_sub(1)).unwrap_or_default();
        let rest = line.get(column.saturating_sub(1)..).unwrap_or_default();
        format!("expected nothing after the JSON document, found {}", excerpt(rest.trim_end()))
    } else {
        format!("not JSON: {reason}")
    };
    Error::new(ErrorKind::Syntax, message).with_position(line, column)
}

/// Whether serde_json calls a number a syntax error that is none, only too large to be held.
pub(super) fn is_out_of_range(error: &serde_json::Error) -> bool {
    error.is_syntax() && reason(error) == "number out of range"
}

/// serde_json's text without the place, which the error has of its own.
fn reason(error: &serde_json::Error) -> String {
    let mut text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.truncate(text.strip_suffix(&place).unwrap_or(&text).len());
    text
}

fn positioned(error: Error, bytes: &[u8], offset: usize) -> Error {
    let before = &bytes[..offset];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    error.with_position(line, offset - start + 1)
}

fn describe(value: &str) -> String {
    match value.as_bytes().first() {
        Some(b'{') => String::from("an object"),
        Some(b'[') => String::from("an array"),
        Some(b'"') => serde_json::from_str::<String>(value).map_or_else(|_| excerpt(value), |text| excerpt(&text)),
        _ => shortened(value).into_owned(),
    }
}

/// A name as it stands in a message: plain if it is, else as an excerpt.
fn quoted(name: &str) -> String {
    if name.len() <= MAX_SHOWN && name.escape_debug().eq(name.chars()) { format!("`{name}`") } else { excerpt(name) }
}

/// A name for programs: what is plain stays as it is.
fn escaped(name: &str) -> String {
    let mut shown = String::new();
    for c in name.chars() {
        let escaped = c.escape_debug();
        if shown.len() + escaped.clone().map(char::len_utf8).sum::<usize>() > MAX_SHOWN {
            return shown + "…";
        }
        shown.extend(escaped);
    }
    shown
}

fn shortened(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_SHOWN {
        return Cow::Borrowed(text);
    }
    let mut end = MAX_SHOWN;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Cow::Owned(format!("{}…", &text[..end]))
}

/// One entry of an object or element of an array, by its place in the text.
struct Item {
    key: Option<Range<usize>>,
    value: Range<usize>,
}

impl Item {
    fn name<'t>(&self, text: &'t str) -> Option<Cow<'t, str>> {
        let token = &text[self.key.clone()?];
        match token.get(1..token.len().checked_sub(1)?)? {
            plain if !plain.contains('\\') => Some(Cow::Borrowed(plain)),
            _ => serde_json::from_str(token).ok().map(Cow::Owned),
        }
    }
}

/// The items of a container in one valid JSON document; none of anything else.
fn items<'t>(text: &'t str, container: &Range<usize>) -> impl Iterator<Item = Item> + 't {
    let closes = match text.as_bytes().get(container.start) {
        Some(b'{') => Some(b'}'),
        Some(b'[') => Some(b']'),
        _ => None,
    };
    let mut at = container.start + 1;
    std::iter::from_fn(move || {
        let closes = closes?;
        at = skip_space(text, at);
        if text.as_bytes().get(at) == Some(&b',') {
            at = skip_space(text, at + 1);
        }
        if text.as_bytes().get(at).is_none_or(|byte| *byte == closes) {
            return None;
        }
        let mut key = None;
        if closes == b'}' {
            let token = value_at(text, at);
            at = skip_space(text, skip_space(text, token.end) + 1);
            key = Some(token);
        }
        let value = value_at(text, at);
        at = value.end;
        Some(Item { key, value })
    })
}

fn skip_space(text: &str, at: usize) -> usize {
    let rest = text.as_bytes().get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).count()
}

/// The value that begins there, without recursion.
fn value_at(text: &str, start: usize) -> Range<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (start, 0_usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = string_end(bytes, at),
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                at += 1;
            }
            b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' => at += 1,
            _ => {
                let rest = bytes[at..].iter();
                let is_scalar = |byte: &&u8| !matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n');
                at += rest.take_while(is_scalar).count();
            }
        }
        if depth == 0 {
            break;
        }
    }
    start..at
}

fn string_end(bytes: &[u8], quote: usize) -> usize {
    let mut at = quote + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}
