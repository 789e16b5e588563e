//! [pure] What is known, and the picture of it: lines that fit a terminal, or all of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anstyle::Style;
use handoff_watcher::{HandoffEvent, HandoffPayload, Health, LATENCY_BUCKETS_MS, Stats};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::wrong::{Says, Wrongs};
use crate::render;

/// Pieces of text, each with its style, none with anything that a terminal would obey.
pub(crate) type Line = Vec<(Style, String)>;

const PLAIN: Style = Style::new();
const HEADINGS: [&str; 8] = ["POOL", "REPLICA", "AGE", "LATENCY", "SLOTS", "ENGINE", "URL", "FILE"];

/// All that the picture shows.
pub(crate) struct View {
    title: String,
    replicas: BTreeMap<(String, String), Replica>,
    wrongs: Wrongs,
    way_out: &'static str,
    stats: Stats,
    is_ok: bool,
    condition: String,
    /// Why instant mode was asked for and is not in force.
    not_instant: Option<String>,
}

struct Replica {
    file: PathBuf,
    payload: HandoffPayload,
    /// When its file was last written.
    written: Option<SystemTime>,
    latency: Option<Duration>,
}

impl View {
    pub(crate) fn new(dir: &Path, interval_ms: u64) -> Self {
        let dir = render::clean(&dir.to_string_lossy(), usize::MAX);
        Self {
            title: format!("{dir}  every {interval_ms} ms"),
            replicas: BTreeMap::new(),
            wrongs: Wrongs::default(),
            way_out: "q quits",
            stats: Stats::default(),
            is_ok: false,
            condition: String::from("starting"),
            not_instant: None,
        }
    }

    pub(crate) fn has_keys(&mut self, has_keys: bool) {
        self.way_out = if has_keys { "q quits" } else { "Ctrl-C quits" };
    }

    /// `written` is when the event's file was last written.
    pub(crate) fn take(&mut self, event: &HandoffEvent, written: Option<SystemTime>) {
        let replica = event.pool_id().zip(event.replica_id()).map(|(pool, id)| (pool.to_owned(), id.to_owned()));
        match (event, replica) {
            (HandoffEvent::Ready { file, payload, .. } | HandoffEvent::Updated { file, payload, .. }, Some(id)) => {
                self.wrongs.doubt(file, self.stats.scans);
                self.ready(
                    id,
                    Replica { file: file.clone(), payload: payload.clone(), written, latency: event.latency() },
                );
            }
            (HandoffEvent::Removed { file, .. }, Some(id)) => {
                self.wrongs.doubt(file, self.stats.scans);
                self.replicas.remove(&id);
            }
            (HandoffEvent::Conflict { winner, losers, .. }, Some(id)) => self.wrongs.conflict(id, winner, losers),
            (HandoffEvent::Invalid { file, error, .. }, _) => self.wrongs.invalid(file, error),
            _ => {}
        }
    }

    fn ready(&mut self, id: (String, String), replica: Replica) {
        self.replicas.insert(id, replica);
    }

    pub(crate) fn figures(&mut self, stats: Stats, health: &Health) {
        self.stats = stats;
        self.is_ok = health.is_ok();
        self.condition = match (&health.error, health.is_ok()) {
            (Some(error), _) => render::clean(&error.to_string(), render::ERROR_CHARS),
            (None, true) => format!("ok, {}", health.mode.as_str()),
            (None, false) if health.stalled => String::from("stalled: no listing has ended for long"),
            (None, false) => String::from("starting"),
        };
        // A directory that cannot be opened is told of above.
        let error = health.mode_error.as_ref().filter(|error| health.error.as_ref() != Some(error));
        self.not_instant = error.map(|error| render::clean(error.message(), render::ERROR_CHARS));
    }

    /// Looks whether what is wrong still is.
    pub(crate) fn forget(&mut self, says: impl Fn(&Path) -> Says) {
        self.wrongs.forget(&self.stats, says);
    }

    /// The picture, for this many columns and rows; without a size, all of it.
    pub(crate) fn frame(&self, now: SystemTime, size: Option<(usize, usize)>) -> Vec<Line> {
        let (columns, rows) = size.unwrap_or((usize::MAX, usize::MAX));
        let mut lines = self.head();
        let bad = self.bad();
        // What is wrong gets a third at least; the last row is for the way out.
        let room = rows.saturating_sub(lines.len() + usize::from(size.is_some()));
        let for_bad = bad.len().min((room / 3).max(room.saturating_sub(self.replicas.len() + 2)));
        lines.extend(self.table(now, room - for_bad));
        lines.extend(shortened(bad, for_bad, "more"));
        if size.is_some() {
            lines.truncate(rows.saturating_sub(1));
            lines.push(vec![(render::QUIET, String::from(self.way_out))]);
            lines.truncate(rows);
        }
        lines.into_iter().map(|line| fit(line, columns)).collect()
    }

    fn head(&self) -> Vec<Line> {
        let stats = &self.stats;
        let age = stats.scan_age.map_or(String::from("not scanned yet"), |age| format!("scanned {} ago", short(age)));
        let took = stats.scan_duration.map(|took| format!(" in {}", render::millis(took))).unwrap_or_default();
        let failed = match stats.scan_errors {
            0 => String::new(),
            count => format!("  {count} failed"),
        };
        let figures = format!(
            "{age}{took}{failed}   files {}   ready {}   invalid {}   undecided {}   backlog {}",
            stats.files, stats.replicas, stats.invalid_files, stats.pending_files, stats.backlog
        );
        let events = &stats.events;
        let events = [
            ("ready", events.ready),
            ("updated", events.updated),
            ("removed", events.removed),
            ("invalid", events.invalid),
            ("conflict", events.conflict),
            ("unavailable", events.unavailable),
        ];
        let events: Vec<_> =
            events.iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!("{name} {count}")).collect();
        let style = if self.is_ok { render::GOOD } else { render::BAD };
        let mut lines = vec![
            vec![(render::STRONG, self.title.clone()), (PLAIN, String::from("  ")), (style, self.condition.clone())],
            vec![(PLAIN, figures)],
            vec![(render::QUIET, String::from("events   ")), (PLAIN, or_none(events.join("   ")))],
            self.latency(),
        ];
        if let Some(why) = &self.not_instant {
            lines.insert(1, vec![(render::GONE, String::from("not instant: ")), (PLAIN, why.clone())]);
        }
        lines
    }

    fn latency(&self) -> Line {
        let latency = &self.stats.latency;
        let bounds = LATENCY_BUCKETS_MS.iter().zip(latency.buckets).filter(|(_, count)| *count > 0);
        let mut told: Vec<_> = bounds.map(|(bound, count)| format!("≤{bound} ms {count}")).collect();
        let beyond = latency.count - latency.buckets.iter().sum::<u64>();
        if beyond > 0 {
            told.push(format!("longer {beyond}"));
        }
        if let Some(last) = latency.last {
            told.push(format!("last {}   most {}", render::millis(last), render::millis(latency.max)));
        }
        let mut line = vec![(render::QUIET, String::from("latency  ")), (PLAIN, or_none(told.join("   ")))];
        if latency.over_objective > 0 {
            line.push((render::BAD, format!("   over 2 s: {}", latency.over_objective)));
        }
        line
    }

    fn table(&self, now: SystemTime, room: usize) -> Vec<Line> {
        if self.replicas.is_empty() {
            return shortened(vec![Line::new(), vec![(PLAIN, String::from("nothing is ready"))]], room, "more");
        }
        // A blank line and the headings; of what is not shown nothing is made ready.
        let shown = room.saturating_sub(2);
        let more = self.replicas.len() > shown;
        let shown = if more { shown.saturating_sub(1) } else { shown };
        let heading = HEADINGS.map(String::from).to_vec();
        let rows = self.replicas.values().take(shown).map(|replica| replica.row(now));
        let rows = std::iter::once(heading).chain(rows).collect::<Vec<_>>();
        let mut lines = vec![Line::new()];
        for (index, text) in render::columns(&rows).into_iter().enumerate() {
            lines.push(vec![(if index == 0 { render::STRONG } else { PLAIN }, text)]);
        }
        if more {
            lines.push(vec![(render::QUIET, format!("… {} more", self.replicas.len() - shown))]);
        }
        lines.truncate(room);
        lines
    }

    fn bad(&self) -> Vec<Line> {
        let line = |(title, text): (&str, &str)| vec![(render::BAD, format!("{title:8}  ")), (PLAIN, text.to_owned())];
        let mut lines: Vec<_> = self.wrongs.told().map(line).collect();
        if !lines.is_empty() {
            lines.insert(0, Line::new());
        }
        lines
    }
}

impl Replica {
    fn row(&self, now: SystemTime) -> Vec<String> {
        let payload = &self.payload;
        // A file that is newer than the clock is as good as new.
        let age = self.written.map(|written| short(now.duration_since(written).unwrap_or_default()));
        let slots = match (payload.slots_free, payload.slots) {
            (None, None) => String::from("-"),
            (free, all) => {
                [free, all].map(|slots| slots.map_or(String::from("?"), |slots| slots.to_string())).join("/")
            }
        };
        vec![
            render::id(&payload.pool_id),
            render::id(&payload.replica_id),
            age.unwrap_or_else(|| String::from("-")),
            self.latency.map_or(String::from("-"), render::millis),
            slots,
            payload.engine.as_deref().map_or(String::from("-"), render::id),
            render::url(&payload.url),
            render::name(&self.file),
        ]
    }
}

fn or_none(text: String) -> String {
    if text.is_empty() { String::from("none yet") } else { text }
}

/// A span of time in at most six columns: `312 ms`, `41 s`, `3 m`, `2 h`, `12 d`.
fn short(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        seconds @ 1..=119 => format!("{seconds} s"),
        seconds @ 120..=7199 => format!("{} m", seconds / 60),
        seconds @ 7200..=172_799 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// At most so many lines; the last one says how many are missing.
fn shortened(mut lines: Vec<Line>, most: usize, what: &str) -> Vec<Line> {
    if lines.len() > most {
        let missing = lines.len() - most + 1;
        lines.truncate(most.saturating_sub(1));
        if most > 0 {
            lines.push(vec![(render::QUIET, format!("… {missing} {what}"))]);
        }
    }
    lines
}

/// Cut to this many columns, with a mark where something is missing.
fn fit(line: Line, columns: usize) -> Line {
    if line.iter().map(|(_, text)| text.width()).sum::<usize>() <= columns {
        return line;
    }
    let mut left = columns.saturating_sub(1);
    let mut short = Line::new();
    'line: for (style, text) in line {
        let mut part = String::new();
        for c in text.chars() {
            let width = c.width().unwrap_or(0);
            if width > left {
                part.push('…');
                short.push((style, part));
                break 'line;
            }
            left -= width;
            part.push(c);
        }
        short.push((style, part));
    }
    if columns == 0 { Line::new() } else { short }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)
    }

    fn view() -> View {
        let mut view = View::new(Path::new("/run/engines"), 1000);
        let mut replica = |pool: &str, id: &str, age: u32, slots: Option<u32>, latency: Option<u64>| {
            let mut payload = HandoffPayload::new(pool, id, format!("http://{id}:8080")).unwrap();
            payload.slots = slots;
            payload.engine = slots.map(|_| String::from("vllm"));
            let replica = Replica {
                file: PathBuf::from(format!("/run/engines/{id}.json")),
                payload,
                written: Some(now() - age * SECOND),
                latency: latency.map(Duration::from_millis),
            };
            view.ready((pool.to_owned(), id.to_owned()), replica);
        };
        replica("pool-0", "r0", 7, Some(4), None);
        replica("pool-0", "r1", 7200, None, Some(312));
        let error = HandoffPayload::parse(b"[]").unwrap_err();
        let file = Path::new("/run/engines/b\u{1b}[31m.json");
        view.wrongs.invalid(file, &error);
        view.stats.files = 3;
        view.stats.replicas = 2;
        view.stats.invalid_files = 1;
        view.stats.scan_age = Some(Duration::from_millis(250));
        view.stats.scan_duration = Some(Duration::from_millis(3));
        view.stats.events.ready = 2;
        view.stats.latency.count = 2;
        view.stats.latency.buckets[7] = 1;
        view.stats.latency.last = Some(Duration::from_millis(11_000));
        view.stats.latency.max = Duration::from_millis(11_000);
        view.stats.latency.over_objective = 1;
        view.is_ok = true;
        view.condition = String::from("ok, polling");
        view
    }

    fn plain(lines: &[Line]) -> Vec<String> {
        lines.iter().map(|line| line.iter().map(|(_, text)| text.as_str()).collect()).collect()
    }

    #[test]
    fn the_picture() {
        let expected = [
            "/run/engines  every 1000 ms  ok, polling",
            "scanned 250 ms ago in 3 ms   files 3   ready 2   invalid 1   undecided 0   backlog 0",
            "events   ready 2",
            "latency  ≤500 ms 1   longer 1   last 11000 ms   most 11000 ms   over 2 s: 1",
            "",
            "POOL    REPLICA  AGE  LATENCY  SLOTS  ENGINE  URL             FILE",
            "pool-0  r0       7 s  -        ?/4    vllm    http://r0:8080  r0.json",
            "pool-0  r1       2 h  312 ms   -      -       http://r1:8080  r1.json",
            "",
            "invalid   b\\u{1b}[31m.json:1:1: expected one JSON object, found an array",
        ];
        assert_eq!(plain(&view().frame(now(), None)), expected);
        let mut live = plain(&view().frame(now(), Some((200, 50))));
        assert_eq!(live.pop().unwrap(), "q quits");
        assert_eq!(live, expected);
    }

    #[test]
    fn why_it_is_not_instant_is_a_line() {
        let mut view = view();
        let without = plain(&view.frame(now(), Some((120, 24))));
        let why = "cannot be notified of changes (fs.inotify.max_user_watches): No space left on device (os error 28)";
        view.not_instant = Some(why.to_owned());
        let mut lines = plain(&view.frame(now(), Some((120, 24))));
        assert_eq!(lines.remove(1), format!("not instant: {why}"));
        assert_eq!(lines, without, "and all else is as it was");
        let narrow = plain(&view.frame(now(), Some((80, 24)))).remove(1);
        assert!(narrow.contains("(fs.inotify.max_user_watches)") && narrow.width() == 80, "{narrow:?}");
    }

    #[test]
    fn it_fits_every_terminal() {
        let mut view = view();
        let file = PathBuf::from("模型".repeat(40));
        view.wrongs.conflict(("p".into(), "r".into()), &file, std::slice::from_ref(&file));
        fits_every_terminal(&view, 12, &["pool-0  r0", "conflict", "q quits"]);
        view.not_instant = Some("模型".repeat(40));
        fits_every_terminal(&view, 13, &["not instant: 模", "pool-0  r0", "conflict", "q quits"]);
    }

    /// With so many rows it has all of these.
    fn fits_every_terminal(view: &View, enough: usize, has: &[&str]) {
        for rows in 0..30 {
            for columns in 0..120 {
                let lines = plain(&view.frame(now(), Some((columns, rows))));
                assert!(lines.len() <= rows, "{columns}x{rows}: {lines:#?}");
                for line in &lines {
                    assert!(line.width() <= columns, "{columns}x{rows}: {line:?}");
                    assert!(!line.chars().any(char::is_control), "{line:?}");
                }
                if rows >= enough && columns >= 20 {
                    let all = lines.join("\n");
                    assert!(has.iter().all(|part| all.contains(part)), "{all}");
                }
            }
        }
    }

    #[test]
    fn what_is_left_out_is_counted() {
        let mut view = view();
        for i in 0..100 {
            let id = format!("s{i:03}");
            let payload = HandoffPayload::new("pool-1", &id, "http://h").unwrap();
            let file = PathBuf::from("s.json");
            view.ready(("pool-1".into(), id), Replica { file, payload, written: None, latency: None });
            view.wrongs.invalid(Path::new(&format!("/{i:03}")), &HandoffPayload::parse(b"").unwrap_err());
        }
        let lines = plain(&view.frame(now(), Some((80, 24))));
        assert_eq!(lines.len(), 24);
        let missing: Vec<usize> =
            lines.iter().filter_map(|line| line.strip_prefix("… ")?.split(' ').next()?.parse().ok()).collect();
        let shown = |start: &str| lines.iter().filter(|line| line.starts_with(start)).count();
        assert_eq!(missing, [102 - shown("pool-"), 101 - shown("invalid")], "{lines:#?}");
        assert!(shown("pool-") >= 5 && shown("invalid") >= 4, "{lines:#?}");
    }

    #[test]
    fn spans_of_time_are_short() {
        let told = [0, 1, 119, 120, 7199, 7200, 172_800].map(|seconds| short(Duration::from_secs(seconds)));
        assert_eq!(told, ["0 ms", "1 s", "119 s", "2 m", "119 m", "2 h", "2 d"]);
    }
}
