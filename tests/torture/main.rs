//! The torture: writer processes that do everything to a directory that can be done, hosts that are slow, fail and panic,
//! and afterwards the questions of the promises. Was anything made up, lost, told twice, falsely removed?
//!
//! `cargo test --all-features --test torture -- --seconds 600 --writers 8 --seed 7`, and the same with `--instant`.

#![cfg(unix)]
#![allow(clippy::print_stdout)]

#[path = "../common/mod.rs"]
mod common;
mod host;
mod random;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use clap::Parser;
use handoff_watcher::HandoffPayload;

use common::witness::vouches;
use host::{Host, Mode};
use writer::{Arena, Writer};

/// Whether a file may ever be told as removed.
type Removable = fn(&Path) -> bool;

/// How long everything may take to come to rest. Far longer than it does.
const REST: Duration = Duration::from_secs(60);

#[derive(Debug, Parser)]
#[command(about = "Writers and hosts at their worst, and the promises afterwards")]
struct Options {
    /// How long the writers write; by default 15, and then 5 more in instant mode
    #[arg(long)]
    seconds: Option<u64>,
    /// What decides the sequence of acts; by default another one each time
    #[arg(long)]
    seed: Option<u64>,
    /// How many processes write into the one directory; three more have one of their own
    #[arg(long, default_value_t = 4)]
    writers: u64,
    /// In instant mode (feature `inotify`)
    #[arg(long)]
    instant: bool,
    /// A writer, started by the program itself
    #[arg(long, hide = true)]
    arena: Option<Arena>,
    #[arg(long, hide = true, default_value = ".")]
    dir: PathBuf,
    #[arg(long, hide = true, default_value_t = 0)]
    number: u64,
    #[command(flatten)]
    harness: Harness,
}

/// What `cargo test` hands to every test program.
#[derive(Debug, clap::Args)]
struct Harness {
    #[arg(hide = true)]
    filters: Vec<String>,
    #[arg(long, hide = true)]
    list: bool,
    #[arg(long, short, hide = true)]
    quiet: bool,
    #[arg(long, hide = true)]
    nocapture: bool,
    #[arg(long, hide = true)]
    exact: bool,
    #[arg(long, hide = true)]
    ignored: bool,
    #[arg(long, hide = true)]
    include_ignored: bool,
    #[arg(long, hide = true)]
    test_threads: Option<usize>,
    #[arg(long, hide = true)]
    format: Option<String>,
    #[arg(long, hide = true)]
    skip: Vec<String>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let harness = &options.harness;
    let chosen = |filters: &[String]| filters.iter().any(|filter| "torture".contains(filter.as_str()));
    if harness.list || harness.ignored {
        return ExitCode::SUCCESS;
    }
    if !harness.filters.is_empty() && !chosen(&harness.filters) || chosen(&harness.skip) {
        return ExitCode::SUCCESS;
    }
    let seed = options.seed.unwrap_or_else(|| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        since.as_nanos() as u64 % 1_000_000
    });
    if let Some(arena) = options.arena {
        return write(&options, arena, seed);
    }
    // Panics of the hosts are part of the plan; those of the library's scanning thread are found by its health.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().name() != Some("handoff-watcher-cb") {
            hook(info);
        }
    }));
    let run = |seconds, instant| torture(&options, options.seconds.unwrap_or(seconds), Mode { seed, instant });
    let both = cfg!(feature = "inotify") && !options.instant && options.seconds.is_none();
    let first = run(15, options.instant);
    let second = !both || run(5, true);
    if first && second { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The part of a writer process.
fn write(options: &Options, arena: Arena, seed: u64) -> ExitCode {
    let writer = Writer::new(&options.dir, options.number, seed);
    match writer.run(arena, Duration::from_secs(options.seconds.unwrap_or(0))) {
        Ok(work) => {
            println!("{} {}", work.acts, work.versions);
            work.late.iter().for_each(|(file, mixture)| println!("late {mixture} {}", file.display()));
            work.removed.iter().for_each(|(file, times)| println!("removed {times} {}", file.display()));
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("writer {}: {error}", options.number);
            ExitCode::FAILURE
        }
    }
}

fn start(seconds: u64, arena: Arena, dir: &Path, number: u64, seed: u64) -> Child {
    let name = clap::ValueEnum::to_possible_value(&arena).expect("a name").get_name().to_owned();
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--arena", &name, "--seed", &seed.to_string(), "--number", &number.to_string()])
        .args(["--seconds", &seconds.to_string()])
        .arg("--dir")
        .arg(dir)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a writer starts")
}

/// What the writers did that the judges must know.
#[derive(Debug, Default)]
struct Deeds {
    /// Mixtures that lay on the disk for longer than is promised.
    late: BTreeSet<(PathBuf, u64)>,
    removed: BTreeMap<PathBuf, u64>,
}

impl Deeds {
    fn note(&mut self, line: &str) -> Option<()> {
        let mut words = line.splitn(3, ' ');
        let (what, number, file) = (words.next()?, words.next()?.parse().ok()?, PathBuf::from(words.next()?));
        match what {
            "late" => drop(self.late.insert((file, number))),
            "removed" => *self.removed.entry(file).or_default() += number,
            _ => return None,
        }
        Some(())
    }
}

/// Whether all went well.
fn torture(options: &Options, seconds: u64, mode: Mode) -> bool {
    let seed = mode.seed;
    let started = Instant::now();
    let place = common::Place::new();
    let arenas: [(&str, Arena, u64, Removable); 4] = [
        ("plain", Arena::Plain, options.writers, |file| file.to_string_lossy().contains("-gone")),
        ("flip", Arena::Flip, 1, |_| false),
        ("kubernetes", Arena::Kubernetes, 1, |_| false),
        ("recreate", Arena::Recreate, 1, |_| true),
    ];
    let (mut hosts, mut writers, mut number) = (Vec::new(), Vec::new(), 0);
    for (name, arena, count, removable) in arenas {
        let dir = place.dir(name).join("engines");
        if matches!(arena, Arena::Plain | Arena::Kubernetes) {
            place.dir(&format!("{name}/engines"));
        }
        hosts.push((dir.clone(), Host::calling(name, &dir, removable, mode)));
        hosts.push((dir.clone(), Host::called(name, &dir, removable, Mode { seed: !seed, ..mode })));
        for _ in 0..count {
            number += 1;
            writers.push(start(seconds, arena, &dir, number, seed));
        }
    }

    let (mut acts, mut versions, mut deeds, mut wrong) = (0, 0, Deeds::default(), Vec::new());
    for writer in writers {
        let output = writer.wait_with_output().expect("a writer ends");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut lines = said.lines();
        let figures = lines.next().unwrap_or_default();
        match figures.split_once(' ').map(|(acts, versions)| (acts.parse::<u64>(), versions.parse::<u64>())) {
            Some((Ok(done), Ok(written))) if output.status.success() => {
                acts += done;
                versions += written;
                let strange = lines.filter(|line| deeds.note(line).is_none());
                wrong.extend(strange.map(|line| format!("a writer said {line:?}")));
            }
            _ => wrong.push(format!("{said:?}")),
        }
    }

    for (_, host) in &hosts {
        host.behaves.store(true, Ordering::Relaxed);
    }
    let (mut events, mut excused, mut removals) = (0, 0, 0);
    std::thread::scope(|scope| {
        let deeds = &deeds;
        let judges: Vec<_> =
            hosts.into_iter().map(|(dir, host)| scope.spawn(move || judge(&dir, host, deeds))).collect();
        for judge in judges {
            let verdict = judge.join().expect("a verdict");
            (events, excused) = (events + verdict.events, excused + verdict.excused);
            removals += verdict.removals;
            wrong.extend(verdict.wrong);
        }
    });
    for wrong in &wrong {
        println!("WRONG {wrong}");
    }
    println!(
        "torture{}: {} wrong; {versions} versions written in {acts} acts by {} writers, {events} events taken, {removals} \
         of them removals, {excused} excused ({} mixtures lay there too long), {:.0} s, --seed {seed}",
        if mode.instant { ", instant" } else { "" },
        wrong.len(),
        options.writers + 3,
        deeds.late.len(),
        started.elapsed().as_secs_f64()
    );
    wrong.is_empty()
}

#[derive(Debug, Default)]
struct Verdict {
    wrong: Vec<String>,
    events: u64,
    /// Mixtures of pieces that were further apart than is promised.
    excused: u64,
    removals: u64,
}

/// The questions, when all is quiet.
fn judge(dir: &Path, host: Host, deeds: &Deeds) -> Verdict {
    let mut verdict = Verdict::default();
    let wrong = &mut verdict.wrong;
    let expected = says(dir, wrong);
    let agree = || {
        let held = host.witness.lock().held.clone();
        held == expected
    };
    let since = Instant::now();
    while !agree() && since.elapsed() < REST {
        std::thread::sleep(Duration::from_millis(10));
    }
    if !agree() {
        let held = host.witness.lock().held.clone();
        let lost: Vec<_> = expected.iter().filter(|(key, value)| held.get(*key) != Some(value)).collect();
        let more: Vec<_> = held.iter().filter(|(key, _)| !expected.contains_key(*key)).collect();
        wrong.push(format!("{}: lost {lost:?}, and held too much {more:?}", host.name));
    }
    let told = host.witness.lock().events;
    if host.registry().len() != expected.len() {
        wrong.push(format!("{}: the registry has {} of {}", host.name, host.registry().len(), expected.len()));
    }
    // Longer than any stamp takes to settle, and any retry to come.
    std::thread::sleep(Duration::from_millis(2500));
    let (name, witness, stats) = (host.name.clone(), host.witness.clone(), host.stats());
    host.stop();
    let mut witness = witness.lock();
    if witness.events != told && since.elapsed() < REST {
        // `invalid` may still have to come; a replica may not.
        let tail = witness.heard.len().saturating_sub((witness.events - told) as usize);
        let late_news: Vec<_> = witness.heard[tail..].iter().filter(|event| !event.starts_with("invalid")).collect();
        if late_news.iter().any(|event| !matches!(event.as_str(), "available" | "unavailable" | "synced")) {
            wrong.push(format!("{name}: told when all was quiet: {late_news:?}"));
        }
    }
    if let Some(stats) = stats
        && (stats.backlog, stats.pending_files, stats.invalid_files) != (0, 0, 0)
    {
        wrong.push(format!("{name}: not at rest: {stats:?}"));
    }
    if !witness.synced || !witness.available {
        wrong.push(format!("{name}: synced {}, available {}", witness.synced, witness.available));
    }
    let mut objections = std::mem::take(&mut witness.objections);
    for (file, mixture, objection) in witness.mixtures.drain(..) {
        if deeds.late.contains(&(file, mixture)) {
            verdict.excused += 1;
        } else {
            objections.push(objection);
        }
    }
    for (file, times) in &witness.removals {
        let most = deeds.removed.get(file).copied().unwrap_or(0);
        if *times > most {
            objections.push(format!("falsely removed: {} was removed {most} times, and told {times}", file.display()));
        }
    }
    for objection in objections {
        let short: String = objection.chars().take(600).collect();
        wrong.push(format!("{name}: {short}"));
    }
    verdict.removals = witness.removals.values().sum();
    verdict.events = witness.events;
    verdict
}

type Held = BTreeMap<(String, String), (HandoffPayload, PathBuf)>;

/// What the directory says: of two claims the newest mtime wins, then the greater name.
fn says(dir: &Path, wrong: &mut Vec<String>) -> Held {
    let mut winners = BTreeMap::new();
    for entry in fs::read_dir(dir).expect("the directory") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let payload = HandoffPayload::parse(&fs::read(&path).expect("a file")).expect("a good one");
        if !vouches(&payload) {
            wrong.push(format!("the writers are at fault: {}", path.display()));
        }
        let rank = (fs::metadata(&path).and_then(|meta| meta.modified()).expect("its mtime"), path.clone());
        let key = (payload.pool_id.clone(), payload.replica_id.clone());
        match winners.get(&key) {
            Some((before, _)) if *before > rank => {}
            _ => {
                winners.insert(key, (rank, payload));
            }
        }
    }
    winners.into_iter().map(|(key, ((_, path), payload))| (key, (payload, path))).collect()
}
