//! Starts who is to be measured, each in a process of its own, and reads the line of JSON that it prints.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::ours;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Ours,
    /// The C program of `benches/peers/floor.c`.
    Floor,
    /// A peer in the crate `benches/peers`.
    Rust(&'static str),
    /// A peer in `benches/peers/peers.py`.
    Python(&'static str),
}

impl Who {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "handoff-watcher",
            Self::Floor => "floor",
            Self::Rust(name) | Self::Python(name) => name,
        }
    }
}

/// The programs that there are on this machine.
#[derive(Debug, Default)]
pub(crate) struct Bench {
    floor: Option<PathBuf>,
    rust: Option<PathBuf>,
    python: bool,
    /// This library's own package.
    pub(crate) python_host: bool,
    pub(crate) strace: bool,
}

impl Bench {
    /// Builds what is measured; what cannot be had is said in one line and left out.
    pub(crate) fn new(with_peers: bool) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let floor = target.join("floor");
        let mut cc = Command::new("cc");
        cc.args(["-O2", "-o"]).arg(&floor).arg(root.join("benches/peers/floor.c"));
        for (has, what) in [(ours::has("c"), "the host in C"), (ours::has("instant"), "instant mode")] {
            if !has {
                println!("left out: {what} (cargo bench --all-features)");
            }
        }
        let mut bench = Self { strace: runs(Command::new("strace").arg("-V")), ..Self::default() };
        if runs(&mut cc) {
            bench.floor = Some(floor);
        } else {
            println!("left out: the floor in C, as there is no C compiler (apt-get install gcc)");
        }
        if !bench.strace {
            println!("left out: the count of system calls (apt-get install strace)");
        }
        if with_peers {
            println!("building the peers (benches/peers)");
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["build", "--release", "--quiet", "--locked"]).current_dir(root.join("benches/peers"));
            cargo.env("CARGO_TARGET_DIR", target.join("peers"));
            if cargo.status().is_ok_and(|status| status.success()) {
                bench.rust = Some(target.join("peers/release/handoff-watcher-peers"));
            } else {
                println!("left out: the peers in Rust, which could not be built");
            }
            bench.python = runs(Command::new("python3").args(["-c", "import watchdog, watchfiles"]));
            bench.python_host = runs(Command::new("python3").args(["-c", "import handoff_watcher"]));
            if !bench.python_host {
                println!("left out: events in Python (pip install .)");
            }
            if !bench.python {
                println!("left out: the peers in Python (pip install watchdog watchfiles)");
            }
        }
        bench
    }

    fn command(&self, who: Who, role: &str, dir: &Path, interval_ms: u64, count: usize) -> Option<Command> {
        let numbers = [interval_ms.to_string(), count.to_string()];
        let mut command = match who {
            Who::Ours if !ours::has(role) => return None,
            Who::Ours => {
                let mut command = Command::new(std::env::current_exe().expect("this program"));
                command.args(["role", role]);
                command
            }
            Who::Floor => {
                let mut command = Command::new(self.floor.as_ref()?);
                command.arg(role);
                command
            }
            Who::Rust(name) => {
                let mut command = Command::new(self.rust.as_ref()?);
                command.args([role, name]);
                command
            }
            Who::Python(name) => {
                let mut command = Command::new("python3");
                command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/peers.py")).args([role, name]);
                let is_there = if name == "handoff_watcher" { self.python_host } else { self.python };
                is_there.then_some(command)?
            }
        };
        command.arg(dir).args(numbers).stdout(Stdio::piped());
        Some(command)
    }

    /// Starts it; `None` where it was left out.
    pub(crate) fn start(&self, who: Who, role: &str, dir: &Path, interval_ms: u64, count: usize) -> Option<Started> {
        let mut command = self.command(who, role, dir, interval_ms, count)?;
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Some(Started { child, what: format!("{} {role}", who.name()) })
    }

    /// Runs it to its end, and gives a number that it printed.
    pub(crate) fn number(
        &self,
        who: Who,
        role: &str,
        dir: &Path,
        interval: u64,
        count: usize,
        of: &str,
    ) -> Option<f64> {
        self.start(who, role, dir, interval, count)?.finish()[of].as_f64()
    }

    /// How many system calls a poll makes, by `strace`: all but the one that waits for the next.
    pub(crate) fn system_calls(&self, role: &str, dir: &Path, interval_ms: u64, polls: usize) -> Option<f64> {
        let inner = self.command(Who::Ours, role, dir, interval_ms, polls)?;
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-e", "trace=!futex,poll,ppoll"]);
        let output = strace.arg("--").arg(inner.get_program()).args(inner.get_args()).output().ok()?;
        let trace = String::from_utf8_lossy(&output.stderr).into_owned();
        // From one opening of the directory to the next is one poll; the last ones are those of a directory at rest.
        let dir = format!("\"{}\"", dir.display());
        let mut polls: Vec<usize> = Vec::new();
        let mut scanner = None;
        for line in trace.lines() {
            let thread = line.strip_prefix("[pid ").and_then(|line| line.split(']').next());
            if line.contains("openat(") && line.contains(&dir) {
                polls.push(0);
                scanner = thread;
            }
            if let Some(poll) = polls.last_mut()
                && thread == scanner
                && !line.contains("resumed>")
            {
                *poll += 1;
            }
        }
        // The very last one may be cut off.
        polls.pop();
        let last = polls.split_off(polls.len().saturating_sub(5));
        (!last.is_empty()).then(|| last.iter().sum::<usize>() as f64 / last.len() as f64)
    }
}

/// It runs.
pub(crate) struct Started {
    child: Child,
    what: String,
}

impl Started {
    pub(crate) fn finish(self) -> Value {
        let output = self.child.wait_with_output().expect("it can be waited for");
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(text.lines().last().unwrap_or_default())
            .unwrap_or_else(|error| panic!("{}: {error}: {text:?}, {}", self.what, output.status))
    }

    /// Its latencies in milliseconds, sorted.
    pub(crate) fn latencies(self) -> Vec<f64> {
        let value = self.finish();
        let mut ms: Vec<f64> =
            value["latencies_us"].as_array().into_iter().flatten().filter_map(|us| Some(us.as_f64()? / 1e3)).collect();
        assert!(!ms.is_empty(), "no latencies");
        ms.sort_by(f64::total_cmp);
        ms
    }
}

fn runs(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// The value below which that part of the sorted values lies.
pub(crate) fn quantile(sorted: &[f64], part: f64) -> f64 {
    let place = (part * sorted.len() as f64).ceil() as usize;
    sorted[place.clamp(1, sorted.len()) - 1]
}

pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
