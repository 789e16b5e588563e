//! What things look like in a terminal. Names, ids and texts come from files that anyone may have written: whatever a
//! terminal would obey, or would not show, is escaped, and whatever is long is cut.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anstyle::{AnsiColor, Style};
use handoff_watcher::{Error, HandoffEvent, HandoffPayload};
use serde::Serialize;
use serde_json::Value;
use unicode_width::UnicodeWidthStr;

use crate::output::Failure;

/// The longest id, file name and URL that a line shows, in characters.
const ID_CHARS: usize = 40;
const URL_CHARS: usize = 80;
const NAME_CHARS: usize = 80;
/// The longest error text that a line shows.
pub(crate) const ERROR_CHARS: usize = 400;

pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const CHANGED: Style = AnsiColor::Cyan.on_default();
pub(crate) const GONE: Style = AnsiColor::Yellow.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default();
pub(crate) const QUIET: Style = Style::new().dimmed();
pub(crate) const STRONG: Style = Style::new().bold();

pub(crate) fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Whether a terminal would obey it, or would show nothing or something misleading: controls, changes of direction,
/// characters without width, line separators.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Fit for a terminal: one line, nothing to obey, at most this many characters before escaping.
pub(crate) fn clean(text: &str, most: usize) -> String {
    let mut out = String::with_capacity(text.len().min(most));
    for (index, c) in text.chars().enumerate() {
        if index == most {
            out.push('…');
            break;
        }
        if is_unprintable(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// One line of JSON that a terminal can be shown: the same value, with `\u` escapes where the plain character is unfit.
pub(crate) fn json(value: &impl Serialize) -> Result<String, Failure> {
    let plain = serde_json::to_string(value).map_err(Failure::new)?;
    if !plain.chars().any(is_unprintable) {
        return Ok(plain);
    }
    let mut out = String::with_capacity(plain.len() + 16);
    for c in plain.chars() {
        if is_unprintable(c) {
            // Between the strings JSON has ASCII only: this one is inside of a string.
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    Ok(out)
}

/// Filled with spaces to a width in columns of the terminal, which are not characters.
fn pad(text: &str, columns: usize) -> String {
    format!("{text}{:1$}", "", columns.saturating_sub(text.width()))
}

/// The time of day, UTC, to the millisecond.
pub(crate) fn clock() -> String {
    let now = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
    now.split_once('T').map_or(now.clone(), |(_, time)| time.to_owned())
}

pub(crate) fn id(id: &str) -> String {
    clean(id, ID_CHARS)
}

pub(crate) fn replica(pool_id: &str, replica_id: &str) -> String {
    format!("{}/{}", id(pool_id), id(replica_id))
}

pub(crate) fn url(url: &str) -> String {
    clean(url, URL_CHARS)
}

/// The name without its directory, which the reader knows.
pub(crate) fn name(file: &Path) -> String {
    clean(&file.file_name().unwrap_or(file.as_os_str()).to_string_lossy(), NAME_CHARS)
}

pub(crate) fn millis(duration: Duration) -> String {
    match duration.as_millis() {
        0 => String::from("<1 ms"),
        ms => format!("{ms} ms"),
    }
}

/// The place and the reason, after the name of the file.
pub(crate) fn reason(file: &Path, error: &Error) -> String {
    let place = match (error.line(), error.column()) {
        (Some(line), Some(column)) => format!(":{line}:{column}"),
        _ => String::new(),
    };
    format!("{}{place}: {}", name(file), clean(error.message(), ERROR_CHARS))
}

/// The name of an event, padded and coloured.
pub(crate) fn title(event: &HandoffEvent) -> String {
    let style = match event {
        HandoffEvent::Ready { .. } | HandoffEvent::Available => GOOD,
        HandoffEvent::Updated { .. } => CHANGED,
        HandoffEvent::Removed { .. } => GONE,
        HandoffEvent::Invalid { .. } | HandoffEvent::Conflict { .. } | HandoffEvent::Unavailable { .. } => BAD,
        _ => QUIET,
    };
    styled(style, &pad(event.name(), 8))
}

/// What an event says, after its name; without its latency.
pub(crate) fn details(event: &HandoffEvent) -> String {
    match event {
        HandoffEvent::Ready { file, payload, .. } => told(file, payload),
        HandoffEvent::Updated { file, payload, previous, .. } => {
            format!("{}  {}", told(file, payload), styled(QUIET, &changes(payload, previous)))
        }
        HandoffEvent::Removed { file, payload, reason, .. } => {
            format!("{}  {}", told(file, payload), reason.as_str().replace('_', " "))
        }
        HandoffEvent::Invalid { file, error, .. } => reason(file, error),
        HandoffEvent::Conflict { pool_id, replica_id, winner, losers, .. } => {
            format!("{}  {}", pad(&replica(pool_id, replica_id), 10), claims(winner, losers))
        }
        HandoffEvent::Unavailable { error, .. } => clean(&error.to_string(), ERROR_CHARS),
        HandoffEvent::Available => String::from("the directory can be listed again"),
        _ => String::new(),
    }
}

fn told(file: &Path, payload: &HandoffPayload) -> String {
    let replica = replica(&payload.pool_id, &payload.replica_id);
    format!("{}  {}  {}", pad(&replica, 10), pad(&url(&payload.url), 22), name(file))
}

pub(crate) fn claims(winner: &Path, losers: &[PathBuf]) -> String {
    const SHOWN: usize = 3;
    let mut text = format!("{} wins over ", name(winner));
    let shown: Vec<String> = losers.iter().take(SHOWN).map(|loser| name(loser)).collect();
    text.push_str(&shown.join(", "));
    if losers.len() > SHOWN {
        let _ = write!(text, " and {} more", losers.len() - SHOWN);
    }
    text
}

/// What is new in an update, in brackets.
fn changes(payload: &HandoffPayload, previous: &HandoffPayload) -> String {
    let fields = |payload| match serde_json::to_value(payload) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (now, before) = (fields(payload), fields(previous));
    let mut said = Vec::new();
    if payload.url != previous.url {
        said.push(format!("was {}", url(&previous.url)));
    }
    let names = now.iter().filter(|(name, value)| before.get(*name) != Some(*value)).map(|(name, _)| name);
    let names = names.chain(before.keys().filter(|name| !now.contains_key(*name)));
    let names: Vec<String> = names.filter(|name| *name != "url").map(|name| id(name)).collect();
    match names.len() {
        0 if said.is_empty() => said.push(String::from("another file")),
        0 => {}
        1..=4 => said.push(format!("changed: {}", names.join(", "))),
        count => said.push(format!("changed: {count} fields")),
    }
    format!("({})", said.join("; "))
}

/// Rows as columns that stand below each other; the first row is the heading.
pub(crate) fn table(rows: &[Vec<String>]) -> Vec<String> {
    let lines = columns(rows).into_iter().enumerate();
    lines.map(|(index, line)| if index == 0 { styled(STRONG, &line) } else { line }).collect()
}

/// The same without a style.
pub(crate) fn columns(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.width()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| pad(cell, *width)).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_shown_nothing_that_it_would_obey() {
        let hostile = "a\u{1b}[31mb\n\r\u{9b}2Jc\u{202e}d\u{200b}e\u{7f}";
        let shown = clean(hostile, 100);
        assert!(!shown.chars().any(is_unprintable), "{shown:?}");
        assert_eq!(clean("größe-模型 'x' \"y\" \\", 100), "größe-模型 'x' \"y\" \\");
        assert_eq!(clean("abcdef", 3), "abc…");
        assert_eq!(clean("abc", 3), "abc");
    }

    #[test]
    fn json_for_a_terminal_is_the_same_value() {
        let hostile = "a\u{1b}[31m\u{9b}2J\u{202e}\u{e0041}\u{2028}größe";
        let line = json(&hostile).unwrap();
        assert!(!line.chars().any(is_unprintable), "{line:?}");
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), hostile);
    }

    #[test]
    fn wide_characters_take_their_columns() {
        let rows = [["A", "B"], ["模型", "x"], ["abcd", "y"]];
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(ToString::to_string).collect()).collect();
        let lines = table(&rows);
        assert_eq!(lines[1], "模型  x");
        assert_eq!(lines[2], "abcd  y");
    }
}
