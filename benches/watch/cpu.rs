//! Processor time, system calls and memory.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use crate::lab;
use crate::run::{Bench, Who, median};
use crate::table::Rows;

/// Who it is, and what gives its figure.
type Measured<'a> = (&'static str, Box<dyn Fn() -> Option<f64> + 'a>);

const POLLERS: [Who; 7] = [
    Who::Rust("plain"),
    Who::Rust("blind"),
    Who::Rust("blind-tokio"),
    Who::Rust("notify-poll"),
    Who::Rust("notify-contents"),
    Who::Python("watchdog"),
    Who::Floor,
];

/// A directory of so many typical handoffs, whose stamps have settled.
pub(crate) fn directory(files: usize) -> tempfile::TempDir {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    lab::fill(dir.path(), files);
    dir
}

/// In each round all of them, one after the other; of each the median of its ratios to the floor of the same round.
fn ratios(rounds: usize, floor: impl Fn() -> Option<f64>, all: &[Measured<'_>]) -> BTreeMap<&'static str, f64> {
    let mut ratios: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    for _ in 0..rounds {
        let Some(floor) = floor() else { return BTreeMap::new() };
        for (name, measure) in all {
            if let Some(figure) = measure() {
                ratios.entry(name).or_default().push(figure / floor);
            }
        }
    }
    ratios.into_iter().map(|(name, mut ratios)| (name, median(&mut ratios))).collect()
}

fn others(ratios: &BTreeMap<&'static str, f64>) -> String {
    let others = ratios.iter().filter(|(name, _)| **name != Who::Ours.name());
    others.map(|(name, ratio)| format!("{name} {ratio:.2}")).collect::<Vec<_>>().join(", ")
}

/// The processor time of a poll in which nothing changed, as a ratio to listing and looking in C.
pub(crate) fn idle(bench: &Bench, rows: &mut Rows, quick: bool) {
    let sizes: &[(usize, u64, usize, f64)] = &[
        (10, 20, 100, 1.2),
        (100, 20, 100, 1.0),
        (1_000, 20, 100, 1.0),
        (10_000, 100, 20, 1.0),
        (100_000, 600, 5, 1.0),
    ];
    for &(files, interval, polls, most) in if quick { &sizes[2..3] } else { sizes } {
        let dir = directory(files);
        // The floor that lists only after a change must find the times settled.
        thread::sleep(Duration::from_millis(100));
        let measure = |who: Who, role: &'static str| bench.number(who, role, dir.path(), interval, polls, "cpu_us");
        let mut all: Vec<Measured<'_>> = vec![(Who::Ours.name(), Box::new(|| measure(Who::Ours, "idle")))];
        if !quick && matches!(files, 10 | 1_000 | 100_000) {
            for who in POLLERS {
                match who {
                    Who::Floor => all.push(("C without listing", Box::new(|| measure(Who::Floor, "skip")))),
                    who => all.push((who.name(), Box::new(move || measure(who, "idle")))),
                }
            }
        }
        let ratios = ratios(if files > 10_000 { 2 } else { 3 }, || measure(Who::Floor, "list"), &all);
        if let Some(ours) = ratios.get(Who::Ours.name()) {
            rows.add(
                format!("processor time of an idle poll, {files} files, to list + stat in C"),
                *ours,
                most,
                "",
                others(&ratios),
            );
        }
    }
}

/// The system calls of a poll in which nothing changed, but for the one that waits.
pub(crate) fn system_calls(bench: &Bench, rows: &mut Rows) {
    for files in [10, 1000] {
        let dir = directory(files);
        let calls = |role| bench.system_calls(role, dir.path(), 200, 12);
        if let Some(polling) = calls("idle") {
            let instant = calls("idle-instant").map(|calls| format!("in instant mode {calls}"));
            let what = format!("system calls of an idle poll, {files} files");
            rows.add(what, polling, (files + 3) as f64, "", instant.unwrap_or_default());
        }
    }
}

/// The processor time from the start to `synced`, as a ratio to reading and parsing every file once.
pub(crate) fn initial(bench: &Bench, rows: &mut Rows, quick: bool) {
    let sizes: &[usize] = if quick { &[1_000] } else { &[100, 10_000, 100_000] };
    for &files in sizes {
        let dir = directory(files);
        // Files that may still be written to are looked at twice; those of a start have been there for long.
        thread::sleep(Duration::from_millis(3500));
        let measure = |who: Who, role: &'static str| bench.number(who, role, dir.path(), 60_000, 1, "cpu_us");
        let mut all: Vec<Measured<'_>> = vec![(Who::Ours.name(), Box::new(|| measure(Who::Ours, "initial")))];
        if !quick && files > 100 {
            for name in ["blind", "blind-tokio", "notify-poll", "notify-inotify"] {
                all.push((name, Box::new(move || measure(Who::Rust(name), "initial"))));
            }
            for name in ["watchdog", "watchfiles"] {
                all.push((name, Box::new(move || measure(Who::Python(name), "initial"))));
            }
        }
        let ratios = ratios(if files > 10_000 { 2 } else { 3 }, || measure(Who::Ours, "floor"), &all);
        if let Some(ours) = ratios.get(Who::Ours.name()) {
            rows.add(format!("initial sync, {files} files, to read + parse"), *ours, 1.6, "", others(&ratios));
        }
    }
}

/// What an event costs by each way to the host.
pub(crate) fn boundary(bench: &Bench, rows: &mut Rows) {
    const EVENTS: usize = 10_000;
    let dir = directory(EVENTS);
    thread::sleep(Duration::from_millis(3500));
    let measure = |who: Who, role: &'static str| bench.number(who, role, dir.path(), 60_000, EVENTS, "us");
    let mut ways: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    let mut beyond = Vec::new();
    for _ in 0..7 {
        let Some(iterator) = measure(Who::Ours, "take-iterator") else { return };
        let Some(c) = measure(Who::Ours, "take-c") else { return };
        ways.entry("iterator").or_default().push(iterator);
        ways.entry("C").or_default().push(c);
        ways.entry("callback").or_default().extend(measure(Who::Ours, "take-callback"));
        if bench.python_host {
            ways.entry("Python").or_default().extend(measure(Who::Python("handoff_watcher"), "take"));
        }
        beyond.push(c - iterator);
    }
    let ways: Vec<_> = ways.iter_mut().map(|(way, us)| format!("{way} {:.2}", median(us))).collect();
    let what = "an event through the C ABI, beyond the iterator";
    rows.add(what, median(&mut beyond), 2.0, " us", format!("an event costs: {}", ways.join(", ")));
}

/// What is held for each file.
pub(crate) fn memory(bench: &Bench, rows: &mut Rows) {
    const FILES: usize = 10_000;
    let dir = directory(FILES);
    thread::sleep(Duration::from_millis(3500));
    let measure = |who: Who| bench.number(who, "memory", dir.path(), 500, FILES, "bytes");
    let mut peers = Vec::new();
    for name in ["blind", "notify-poll", "notify-contents"] {
        peers.extend(measure(Who::Rust(name)).map(|bytes| format!("{name} {bytes:.0}")));
    }
    for name in ["watchdog", "watchfiles"] {
        peers.extend(measure(Who::Python(name)).map(|bytes| format!("{name} {bytes:.0} (resident)")));
    }
    if let Some(ours) = measure(Who::Ours) {
        rows.add("bytes held for each file, payload and registry included", ours, 400.0, "", peers.join(", "));
    }
}
