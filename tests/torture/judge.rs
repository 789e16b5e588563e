//! The judge of one directory: it waits until its writers are quiet, and asks whether the hosts were told the truth.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use handoff_watcher::HandoffPayload;

use crate::common::witness::{Contests, Held, monotonic, vouches};
use crate::deeds::Deeds;
use crate::hitch::Hitch;
use crate::host::Host;
use crate::writer::Absence;

/// From the last byte until it is seen: the objective of CLOUD-3013, which holds an interval and the 100 ms that are promised.
const OBJECTIVE: Duration = Duration::from_secs(2);
/// What the hosts add to that themselves: the longest they dawdle, and the longest until they are asked again.
const HOSTS_OWN: Duration = Duration::from_millis(700);
/// How long is waited for what is late, to learn whether it is lost.
const REST: Duration = Duration::from_secs(60);
/// Whatever is still to be told is told by then.
const NEWS: Duration = Duration::from_secs(1);
/// Longer than a stamp takes to settle, and the polls that find it settled.
const SETTLED: Duration = Duration::from_millis(2300);
/// From the end of an absence until it can no longer be told, beside the interval: the 100 ms until the file is believed, and
/// the rest between two scans.
const BELIEVED: Duration = Duration::from_millis(600);
/// To scan, to read, to deliver: each may be held up for as long as somebody else was.
const HELD_UP: u32 = 3;

#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) wrong: Vec<String>,
    /// Mixtures of pieces that were further apart than is promised.
    pub(crate) excused: u64,
    pub(crate) removals: u64,
    /// The longest time from the last byte until the registry had all, and until the host was told.
    pub(crate) seen: Duration,
    pub(crate) told: Duration,
    /// The longest time from the end of an absence until the removal was told.
    pub(crate) belated: Duration,
}

impl Verdict {
    pub(crate) fn add(&mut self, other: Self) {
        self.wrong.extend(other.wrong);
        self.excused += other.excused;
        self.removals += other.removals;
        self.seen = self.seen.max(other.seen);
        self.told = self.told.max(other.told);
        self.belated = self.belated.max(other.belated);
    }
}

/// Waits until the host was told what the directory says, and says how long that took; and that it is so for good, if all
/// is `settled` before this returns. The host goes on as it is. `hitch` is the machine's own fault.
pub(crate) fn agree(dir: &Path, host: &Host, quiet: Duration, hitch: &Hitch, settled: bool) -> Verdict {
    let mut verdict = Verdict::default();
    let (name, registry) = (&host.name, host.registry());
    let expected = match Said::read(dir) {
        Ok(expected) => expected,
        Err(fault) => {
            verdict.wrong.push(format!("the writers are at fault: {fault}"));
            return verdict;
        }
    };
    let (mut seen, mut told) = (None, None);
    let since_quiet = || monotonic().saturating_sub(quiet);
    while (seen.is_none() || told.is_none()) && since_quiet() < REST {
        seen = seen.or_else(|| (registry.list() == expected.payloads()).then(since_quiet));
        told = told.or_else(|| expected.is_told_to(host).then(since_quiet));
        sleep(Duration::from_millis(2));
    }
    let wrong = &mut verdict.wrong;
    for (what, took, limit, longest) in [
        ("the registry had all", seen, OBJECTIVE, &mut verdict.seen),
        ("all was told", told, OBJECTIVE + HOSTS_OWN, &mut verdict.told),
    ] {
        *longest = took.unwrap_or(REST);
        let limit = limit + hitch.longest() * HELD_UP;
        if *longest > limit {
            wrong.push(format!("{name}: {what} only {longest:?} after the last byte; {limit:?} are too many"));
        }
    }
    if !settled {
        return verdict;
    }
    let settled = since_quiet() + SETTLED;
    sleep(NEWS.saturating_sub(since_quiet()));
    let events = host.witness.lock().events;
    sleep(settled.saturating_sub(since_quiet()));

    let witness = host.witness.lock();
    if witness.events != events {
        let late = witness.heard.len().saturating_sub((witness.events - events) as usize);
        wrong.push(format!("{name}: told when all was quiet: {:?}", &witness.heard[late..]));
    }
    if let Some(stats) = host.stats()
        && (stats.backlog, stats.pending_files, stats.invalid_files, stats.files) != (0, 0, 0, expected.files)
    {
        wrong.push(format!("{name}: not at rest with {} files: {stats:?}", expected.files));
    }
    if !witness.synced || !witness.available {
        wrong.push(format!("{name}: synced {}, available {}", witness.synced, witness.available));
    }
    wrong.extend(difference(&expected.held, &witness.held).map(|it| format!("{name}: {it}")));
    wrong.extend(difference(&expected.contests, &witness.contests).map(|it| format!("{name}: of the contests, {it}")));
    if registry.list() != expected.payloads() {
        wrong.push(format!("{name}: the registry has {:?}, and not {:?}", registry.list(), expected.payloads()));
    }
    verdict
}

/// What the host objects to, as far as what its writers did is no excuse.
pub(crate) fn objections(host: &Host, deeds: &Deeds, hitch: &Hitch) -> Verdict {
    let mut verdict = Verdict::default();
    let mut witness = host.witness.lock();
    let mut objections = std::mem::take(&mut witness.objections);
    for (file, mixture, objection) in witness.mixtures.drain(..) {
        if deeds.late.contains(&(file, mixture)) {
            verdict.excused += 1;
        } else {
            objections.push(objection);
        }
    }
    let removals = std::mem::take(&mut witness.removals);
    // Where polls come once an hour, it is notifications that tell.
    let polls = Some(host.interval).filter(|interval| *interval < OBJECTIVE).unwrap_or_default();
    let tolerance = polls + BELIEVED + hitch.longest() * HELD_UP;
    let mut absences = deeds.absences.clone();
    verdict.removals = removals.len() as u64;
    for (file, at) in removals {
        // Each absence explains one removal, and the first one that can is of no use to those that follow.
        let explains = |it: &&mut Absence| it.times > 0 && it.since <= at && at <= it.until.saturating_add(tolerance);
        let mine = absences.get_mut(&file).and_then(|absences| absences.iter_mut().find(explains));
        let before = |it: &&Absence| it.since <= at;
        let near = deeds.absences.get(&file).and_then(|absences| absences.iter().rfind(before));
        match (mine, near) {
            (Some(absence), Some(near)) => {
                absence.times -= 1;
                verdict.belated = verdict.belated.max(at.saturating_sub(near.until));
            }
            _ => objections.push(format!("falsely removed, at {at:?}: {}, absent only {near:?}", file.display())),
        }
    }
    for objection in objections {
        let short: String = objection.chars().take(600).collect();
        verdict.wrong.push(format!("{}: {short}", host.name));
    }
    verdict
}

/// What the directory says.
struct Said {
    held: Held,
    contests: Contests,
    files: usize,
}

impl Said {
    /// Of several claims the newest mtime wins, then the greater name.
    fn read(dir: &Path) -> Result<Self, String> {
        let mut claims = BTreeMap::<_, Vec<_>>::new();
        let mut files = 0;
        for entry in fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))? {
            let path = entry.map_err(|error| error.to_string())?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let fault = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
            let payload = HandoffPayload::parse(&fs::read(&path).map_err(|error| fault(&error))?);
            let payload = payload.map_err(|error| fault(&error))?;
            if !vouches(&payload) {
                return Err(fault(&"a wrong digest"));
            }
            let mtime = fs::metadata(&path).and_then(|meta| meta.modified()).map_err(|error| fault(&error))?;
            let key = (payload.pool_id.clone(), payload.replica_id.clone());
            claims.entry(key).or_default().push((mtime, path, payload));
            files += 1;
        }
        let mut said = Self { held: Held::new(), contests: Contests::new(), files };
        for (key, mut claims) in claims {
            claims.sort_by(|(mtime, path, _), (other, than, _)| (mtime, path).cmp(&(other, than)));
            let Some((_, winner, payload)) = claims.pop() else { continue };
            if !claims.is_empty() {
                let mut losers: Vec<PathBuf> = claims.into_iter().map(|(_, path, _)| path).collect();
                losers.sort();
                said.contests.insert(key.clone(), (winner.clone(), losers));
            }
            said.held.insert(key, (payload, winner));
        }
        Ok(said)
    }

    /// As the registry lists them.
    fn payloads(&self) -> Vec<HandoffPayload> {
        self.held.values().map(|(payload, _)| payload.clone()).collect()
    }

    fn is_told_to(&self, host: &Host) -> bool {
        let witness = host.witness.lock();
        witness.synced && witness.available && witness.held == self.held && witness.contests == self.contests
    }
}

fn difference<K: Ord + std::fmt::Debug, V: PartialEq + std::fmt::Debug>(
    expected: &BTreeMap<K, V>,
    held: &BTreeMap<K, V>,
) -> Option<String> {
    let lost: Vec<_> = expected.iter().filter(|(key, value)| held.get(key) != Some(value)).collect();
    let more: Vec<_> = held.iter().filter(|(key, value)| expected.get(key) != Some(value)).collect();
    (!lost.is_empty() || !more.is_empty()).then(|| format!("lost {lost:?}, and held instead {more:?}"))
}
