//! The torture: writer processes that do everything to a directory that can be done, hosts that are slow, fail and panic,
//! and again and again, when the writers are quiet, the questions of the promises. Was anything made up, lost, told twice,
//! falsely removed, or told late?
//!
//! `cargo test --all-features --test torture -- --seconds 600 --writers 8 --seed 7`, and the same with `--instant`.

#![cfg(unix)]
#![allow(clippy::print_stdout)]

#[path = "../common/mod.rs"]
mod common;
mod deeds;
mod hitch;
mod host;
mod judge;
mod random;
mod writer;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use clap::Parser;

use common::Place;
use deeds::{Deeds, Pen};
use hitch::Hitch;
use host::{Host, Mode};
use judge::{Verdict, agree, objections};
use writer::{Arena, Writer};

/// How many seconds are written at most before all is judged.
const ROUND: u64 = 12;

#[derive(Debug, Parser)]
#[command(about = "Writers and hosts at their worst, and the promises afterwards")]
struct Options {
    /// How long the writers write, in rounds, after each of which all is quiet and judged; by default 9, and then 4 more in
    /// instant mode
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
        return match deeds::write(Writer::new(&options.dir, options.number, seed), arena) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                println!("writer {}: {error}", options.number);
                ExitCode::FAILURE
            }
        };
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
    let first = run(9, options.instant);
    let second = !both || run(4, true);
    if first && second { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A directory, its writers and its hosts.
struct Ring {
    arena: Arena,
    dir: PathBuf,
    pens: Vec<Pen>,
    hosts: [Host; 2],
}

impl Ring {
    fn new(place: &Place, arena: Arena, numbers: std::ops::Range<u64>, mode: Mode) -> Self {
        let dir = place.dir(&arena.name()).join("engines");
        if matches!(arena, Arena::Plain | Arena::Kubernetes) {
            place.dir(&format!("{}/engines", arena.name()));
        }
        let hosts = [Host::calling(arena, &dir, mode), Host::called(arena, &dir, Mode { seed: !mode.seed, ..mode })];
        let pens = numbers.map(|number| Pen::new(arena, &dir, number, mode.seed)).collect();
        Self { arena, dir, pens, hosts }
    }

    /// Writes for so long, then is quiet and judged.
    fn round(&mut self, time: Duration, hitch: &Hitch) -> Result<(Deeds, Verdict), String> {
        let mut deeds = Deeds::default();
        let behave = |ring: &Self, well| ring.hosts.iter().for_each(|host| host.behaves.store(well, Ordering::Relaxed));
        behave(self, false);
        self.pens.iter_mut().try_for_each(|pen| pen.go(time))?;
        self.pens.iter_mut().try_for_each(|pen| pen.hear(&mut deeds))?;
        behave(self, true);
        let mut verdict = self.agree(&deeds, hitch, true);
        if self.arena == Arena::Plain {
            // While much is going on, each file is looked at for the sake of another. Now nothing else tells of it.
            for place in 0..self.pens.len() {
                if !verdict.wrong.is_empty() {
                    break;
                }
                self.pens[place].go(Duration::ZERO)?;
                self.pens[place].hear(&mut deeds)?;
                verdict.add(self.agree(&deeds, hitch, false));
            }
        }
        self.hosts.iter().for_each(|host| verdict.add(objections(host, &deeds, hitch)));
        Ok((deeds, verdict))
    }

    fn agree(&self, deeds: &Deeds, hitch: &Hitch, settled: bool) -> Verdict {
        let mut verdict = Verdict::default();
        thread::scope(|scope| {
            let agree = |host| agree(&self.dir, host, deeds.quiet, hitch, settled);
            let judges = self.hosts.each_ref().map(|host| scope.spawn(move || agree(host)));
            judges.into_iter().for_each(|judge| verdict.add(judge.join().expect("a verdict")));
        });
        verdict
    }
}

/// Whether all went well.
fn torture(options: &Options, seconds: u64, mode: Mode) -> bool {
    let (seed, started) = (mode.seed, Instant::now());
    let rounds = seconds.div_ceil(ROUND).max(2);
    let time = Duration::from_secs(seconds) / rounds as u32;
    let place = Place::new();
    let many = options.writers + 1;
    let mut rings = [
        Ring::new(&place, Arena::Plain, 1..many, mode),
        Ring::new(&place, Arena::Flip, many..many + 1, mode),
        Ring::new(&place, Arena::Kubernetes, many + 1..many + 2, mode),
        Ring::new(&place, Arena::Recreate, many + 2..many + 3, mode),
    ];

    let (mut acts, mut versions, mut late, mut all) = (0, 0, 0, Verdict::default());
    let (hitch, mut hitches) = (&Hitch::new(rings[0].dir.clone()), Duration::ZERO);
    for round in 1..=rounds {
        hitch.start();
        thread::scope(|scope| {
            let running = rings.each_mut().map(|ring| scope.spawn(move || ring.round(time, hitch)));
            for ring in running {
                match ring.join().expect("it ends") {
                    Ok((deeds, mut verdict)) => {
                        acts += deeds.acts;
                        versions += deeds.versions;
                        late += deeds.late.len();
                        verdict.wrong.iter_mut().for_each(|wrong| *wrong = format!("round {round}, {wrong}"));
                        all.add(verdict);
                    }
                    Err(wrong) => all.wrong.push(wrong),
                }
            }
        });
        hitches = hitches.max(hitch.longest());
        if !all.wrong.is_empty() {
            break;
        }
    }
    let mut events = 0;
    for Ring { hosts, .. } in rings {
        for host in hosts {
            let witness = host.witness.clone();
            host.stop();
            events += witness.lock().events;
        }
    }
    for wrong in &all.wrong {
        println!("WRONG {wrong}");
    }
    println!(
        "torture{}: {} wrong in {rounds} rounds; {versions} versions written in {acts} acts by {} writers, {events} events \
         taken, {} of them removals, {} excused ({late} mixtures lay there too long); after the last byte all was seen in \
         {:.0?} and told in {:.0?}, a removal at most {:.0?} after the file was back, \
         where the machine held up others for {hitches:.0?}; {:.0} s, --seed {seed}",
        if mode.instant { ", instant" } else { "" },
        all.wrong.len(),
        options.writers + 3,
        all.removals,
        all.excused,
        all.seen,
        all.told,
        all.belated,
        started.elapsed().as_secs_f64()
    );
    all.wrong.is_empty()
}
