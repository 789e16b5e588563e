//! The writer processes, as the judge sees them: they are sent off for a round, and say afterwards what they did.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::common::witness::monotonic;
use crate::writer::{Absence, Arena, Work, Writer};

/// What the writers of a directory did in one round, as far as the judge must know it.
#[derive(Debug, Default)]
pub(crate) struct Deeds {
    pub(crate) acts: u64,
    pub(crate) versions: u64,
    /// When the last of them was done.
    pub(crate) quiet: Duration,
    /// Mixtures that lay on the disk for longer than is promised.
    pub(crate) late: BTreeSet<(PathBuf, u64)>,
    /// When each file was not there, in order.
    pub(crate) absences: BTreeMap<PathBuf, Vec<Absence>>,
}

impl Deeds {
    /// Takes a line of [`write`]; true if it was the last one of the round.
    fn note(&mut self, line: &str) -> Option<bool> {
        let (what, rest) = line.split_once(' ')?;
        let mut words = rest.splitn(4, ' ');
        let mut number = || words.next()?.parse::<u64>().ok();
        match what {
            "late" => {
                let (mixture, file) = rest.split_once(' ')?;
                self.late.insert((file.into(), mixture.parse().ok()?));
            }
            "absent" => {
                let (since, until) = (Duration::from_nanos(number()?), Duration::from_nanos(number()?));
                let absence = Absence { since, until, times: number()? };
                self.absences.entry(words.next()?.into()).or_default().push(absence);
            }
            "quiet" => {
                self.quiet = self.quiet.max(Duration::from_nanos(number()?));
                self.acts += number()?;
                self.versions += number()?;
                return Some(true);
            }
            _ => return None,
        }
        Some(false)
    }
}

/// The part of a writer process: a round for each line, which says for how many milliseconds.
pub(crate) fn write(mut writer: Writer, arena: Arena) -> Result<(), String> {
    for line in std::io::stdin().lines() {
        let line = line.map_err(|error| error.to_string())?;
        let time = line.parse().map_err(|error| format!("{line:?}: {error}"))?;
        let Work { acts, versions, late, absences } =
            writer.round(arena, Duration::from_millis(time)).map_err(|error| error.to_string())?;
        let quiet = monotonic().as_nanos();
        late.iter().for_each(|(file, mixture)| println!("late {mixture} {}", file.display()));
        for (file, Absence { since, until, times }) in &absences {
            println!("absent {} {} {times} {}", since.as_nanos(), until.as_nanos(), file.display());
        }
        println!("quiet {quiet} {acts} {versions}");
    }
    Ok(())
}

/// A writer process, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Pen {
    child: Child,
    /// Closed, it is the end of the process.
    orders: Option<ChildStdin>,
    reports: BufReader<ChildStdout>,
}

impl Pen {
    pub(crate) fn new(arena: Arena, dir: &Path, number: u64, seed: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--arena", &arena.name(), "--seed", &seed.to_string(), "--number", &number.to_string()])
            .arg("--dir")
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a writer starts");
        let (orders, reports) = (child.stdin.take(), child.stdout.take().expect("piped"));
        Self { child, orders, reports: BufReader::new(reports) }
    }

    pub(crate) fn go(&mut self, time: Duration) -> Result<(), String> {
        let orders = self.orders.as_mut().expect("piped");
        writeln!(orders, "{}", time.as_millis()).map_err(|error| format!("a writer has ended: {error}"))
    }

    /// Waits until it is quiet.
    pub(crate) fn hear(&mut self, deeds: &mut Deeds) -> Result<(), String> {
        loop {
            let mut line = String::new();
            let length = self.reports.read_line(&mut line).map_err(|error| error.to_string())?;
            if length == 0 {
                return Err(String::from("a writer has ended"));
            }
            match deeds.note(line.trim_end()) {
                Some(true) => return Ok(()),
                Some(false) => {}
                None => return Err(format!("a writer said {line:?}")),
            }
        }
    }
}

impl Drop for Pen {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.child.wait();
    }
}
