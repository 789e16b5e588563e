//! Latencies: from the producer's rename to the host, in all ways in which a host is told; and those of `stop`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::cpu::directory;
use crate::run::{Bench, Started, Who, quantile};
use crate::table::Rows;

/// CLOUD-3013.
const OBJECTIVE_MS: f64 = 2000.0;
/// The goals at 10 ms, beside 10 and beside 10,000 files.
const NEAR_EMPTY_MS: f64 = 11.5;
const CROWDED_MS: f64 = 29.0;

fn figures(sorted: &[f64]) -> String {
    let max = sorted[sorted.len() - 1];
    format!("p50 {:.2}, p99 {:.2}, max {max:.2} ms", quantile(sorted, 0.5), quantile(sorted, 0.99))
}

/// Both processors are busy for as long as it lives.
struct Busy(Arc<AtomicBool>);

impl Busy {
    fn new() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            let stop = stop.clone();
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        Self(stop)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What is measured side by side.
struct Case {
    who: Who,
    role: &'static str,
    others: usize,
    started: Started,
    /// Gone with the case.
    _dir: tempfile::TempDir,
}

fn start(bench: &Bench, who: Who, role: &'static str, interval: u64, others: usize, count: usize) -> Option<Case> {
    let dir = directory(others);
    let started = bench.start(who, role, dir.path(), interval, count)?;
    Some(Case { who, role, others, started, _dir: dir })
}

/// Whether the 2 s were kept at the default interval.
pub(crate) fn detection(bench: &Bench, rows: &mut Rows, quick: bool) -> bool {
    const HOSTS: [&str; 3] = ["iterator", "callback", "c"];
    let crowds: &[usize] = if quick { &[10] } else { &[10, 10_000] };
    let mut kept = true;
    for busy in if quick { &[false][..] } else { &[false, true] } {
        let load = if *busy { "busy" } else { "idle" };
        // At the default interval they do not disturb each other: all at once.
        let spinning = busy.then(Busy::new);
        let cases: Vec<_> = HOSTS
            .iter()
            .flat_map(|role| crowds.iter().map(move |others| (role, others)))
            .filter_map(|(role, others)| start(bench, Who::Ours, role, 1000, *others, if quick { 8 } else { 20 }))
            .collect();
        for case in cases {
            let (role, others) = (case.role, case.others);
            let sorted = case.started.latencies();
            let met = sorted[sorted.len() - 1] <= OBJECTIVE_MS;
            kept &= met;
            let what = format!("detection at 1000 ms, {others} others, {role}, {load}");
            rows.show(what, figures(&sorted), String::from("max 2000 ms"), Some(met), String::new());
        }
        if quick {
            continue;
        }
        for (interval, count) in [(100, 30), (10, 100)] {
            for role in HOSTS {
                for others in crowds {
                    let Some(case) = start(bench, Who::Ours, role, interval, *others, count) else { continue };
                    let sorted = case.started.latencies();
                    let goal = match (interval, *others, *busy) {
                        (10, 10, false) => Some(NEAR_EMPTY_MS),
                        (10, 10_000, false) => Some(CROWDED_MS),
                        (_, 10, false) => Some(interval as f64 + 2.0),
                        _ => None,
                    };
                    let met = goal.map(|goal| quantile(&sorted, 0.99) <= goal);
                    let text = goal.map_or_else(String::new, |goal| format!("p99 {goal} ms"));
                    let what = format!("detection at {interval} ms, {others} others, {role}, {load}");
                    rows.show(what, figures(&sorted), text, met, String::new());
                }
            }
        }
        drop(spinning);
    }
    if !quick {
        peers(bench, rows);
    }
    kept
}

/// The same of the peers at 10 ms, and beside them of this watcher, from a producer that writes and renames within a tick of
/// the clock and does not set the time, as `publish` does and the producer of the rows above: to the peers it is all one, as
/// they believe what they see at once, and a file that is being overwritten too.
fn peers(bench: &Bench, rows: &mut Rows) {
    for (others, goal) in [(10, NEAR_EMPTY_MS), (10_000, CROWDED_MS)] {
        let mut texts = Vec::new();
        let whos = [
            Who::Floor,
            Who::Rust("blind"),
            Who::Rust("notify-poll"),
            Who::Rust("notify-contents"),
            Who::Python("watchdog"),
            Who::Python("watchfiles"),
        ];
        for who in whos {
            if who.name() == "watchfiles" && others > 10 {
                continue;
            }
            let count = if matches!(who, Who::Python(_)) { 20 } else { 100 };
            let Some(case) = start(bench, who, "detection", 10, others, count) else { continue };
            let name = if case.who == Who::Floor { "C" } else { case.who.name() };
            texts.push(format!("{name} p99 {:.1}", quantile(&case.started.latencies(), 0.99)));
        }
        let Some(case) = start(bench, Who::Ours, "plain-rename", 10, others, 100) else { continue };
        let what = format!("detection at 10 ms, {others} others, written and renamed within a tick of the clock");
        let sorted = case.started.latencies();
        let met = quantile(&sorted, 0.99) <= goal;
        rows.show(what, figures(&sorted), format!("p99 {goal} ms"), Some(met), texts.join(", "));
    }
}

/// Instant mode at the default interval, against notify's inotify watcher, which reads and parses as well; and the floor, a
/// C program that waits for inotify and reads.
pub(crate) fn instant(bench: &Bench, rows: &mut Rows) {
    let latencies = |who, role, interval| Some(start(bench, who, role, interval, 10, 500)?.started.latencies());
    let Some(ours) = latencies(Who::Ours, "instant", 1000) else { return };
    let notify = latencies(Who::Rust("notify-inotify"), "detection", 1000);
    let floor = latencies(Who::Floor, "instant", 20);
    let peers: Vec<_> = [("notify-inotify", &notify), ("C", &floor)]
        .into_iter()
        .filter_map(|(name, sorted)| Some(format!("{name} {}", figures(sorted.as_ref()?))))
        .collect();
    let (p50, p99) = (quantile(&ours, 0.5), quantile(&ours, 0.99));
    rows.add("instant mode at 1000 ms, p50", p50, 0.05, " ms", peers.join("; "));
    rows.add("instant mode at 1000 ms, p99", p99, 0.2, " ms", peers.join("; "));
    if let Some(notify) = notify {
        rows.add("the same, to that of notify-inotify", p99 / quantile(&notify, 0.99), 1.0, "", String::new());
    }
}

pub(crate) fn stop(bench: &Bench, rows: &mut Rows) {
    for others in [10, 10_000] {
        let count = if others > 10 { 40 } else { 200 };
        let Some(case) = start(bench, Who::Ours, "stop", 20, others, count) else { continue };
        let sorted = case.started.latencies();
        rows.add(format!("stop, {others} files, p99"), quantile(&sorted, 0.99), 5.0, " ms", figures(&sorted));
    }
}
