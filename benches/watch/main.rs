//! The watcher against what a user would pick instead, and against the limit, in one run: `cargo bench --all-features`.
//! Without a feature, what is built with it is left out.
//!
//! Each is measured in a process of its own, and what is compared is measured in turns: the figures are ratios, as the
//! machines are noisy. At the end stands one table. `-- --quick` is the short form: the watcher against the floor in C.
//! Only the promise of CLOUD-3013, 2 s at the default interval, makes it fail.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[cfg(feature = "capi")]
mod c_host;
mod cpu;
mod lab;
mod latency;
mod ours;
mod run;
mod table;

use std::path::Path;
use std::time::Instant;

use clap::Parser;

use run::Bench;
use table::Rows;

#[derive(Debug, Parser)]
struct Args {
    /// The short form: few files, few rounds, no peers
    #[arg(long)]
    quick: bool,
    /// Only the parts of these names: idle, calls, initial, memory, boundary, detection, instant, stop
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some("role") {
        let rest: Vec<String> = args.collect();
        let [role, dir, interval_ms, count] = &rest[..] else { panic!("role ROLE DIR INTERVAL_MS COUNT: {rest:?}") };
        return ours::run(role, Path::new(dir), interval_ms.parse().unwrap(), count.parse().unwrap());
    }
    let args = Args::parse();
    let began = Instant::now();
    let bench = Bench::new(!args.quick);
    let mut rows = Rows::default();
    let wanted = |part: &str| {
        let wanted = args.only.is_empty() || args.only.iter().any(|only| only == part);
        if wanted {
            println!("\n== {part} ({:.0} s)", began.elapsed().as_secs_f64());
        }
        wanted
    };
    if wanted("idle") {
        cpu::idle(&bench, &mut rows, args.quick);
    }
    if wanted("calls") && bench.strace {
        cpu::system_calls(&bench, &mut rows);
    }
    if wanted("initial") {
        cpu::initial(&bench, &mut rows, args.quick);
    }
    if wanted("memory") && !args.quick {
        cpu::memory(&bench, &mut rows);
    }
    if wanted("boundary") && !args.quick {
        cpu::boundary(&bench, &mut rows);
    }
    if wanted("instant") && !args.quick {
        latency::instant(&bench, &mut rows);
    }
    if wanted("stop") && !args.quick {
        latency::stop(&bench, &mut rows);
    }
    let kept = !wanted("detection") || latency::detection(&bench, &mut rows, args.quick);
    rows.print();
    println!("\n{:.0} s", began.elapsed().as_secs_f64());
    assert!(kept, "a handoff took longer than the 2 s of CLOUD-3013 at the default interval");
}
