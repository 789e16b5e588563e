//! Random writers against a model: the host ends up with what the directory says, and every event on the way was news.

use super::disk::Hindrance;
use super::*;
use crate::config::Mode;

pub(super) const NAMES: [&str; 5] = ["a.json", "b.json", "c.json", "d.json", "e.json"];
pub(super) const REPLICAS: [&str; 3] = ["r0", "r1", "r2"];
pub(super) const PIDS: [u32; 2] = [7, 4711];

/// What a run is like from its beginning to its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    /// Of the clock of the file system, in nanoseconds.
    pub(super) tick: i64,
    pub(super) notifies: bool,
    /// How long the look at all takes after what came was read; `None` where that does not go first.
    pub(super) arrives: Option<Duration>,
    pub(super) check_processes: bool,
    pub(super) interval: Duration,
    pub(super) settle_time: Duration,
    pub(super) capacity: usize,
}

pub(super) const USUAL: Setup = Setup {
    tick: 1,
    notifies: false,
    arrives: Some(Duration::ZERO),
    check_processes: false,
    interval: INTERVAL,
    settle_time: Duration::from_millis(1000),
    capacity: 3,
};

impl Setup {
    fn world(self, mode: Mode) -> World {
        let mut world = World::with(Settings {
            channel_capacity: self.capacity,
            poll_interval: self.interval,
            settle_time: self.settle_time,
            check_processes: self.check_processes,
            mode,
            ..Settings::default()
        });
        (world.disk.tick, world.disk.notifies) = (self.tick, self.notifies);
        (world.arrives, world.look_takes) = (self.arrives.is_some(), self.arrives.unwrap_or_default());
        world
    }
}

#[derive(Clone, Debug)]
pub(super) enum Act {
    Replace(usize, usize),
    Overwrite(usize, usize),
    OverwriteKeepingMtime(usize, usize),
    /// Truncated, half, whole: in that many steps.
    Truncate(usize),
    Bad(usize),
    NotReady(usize, usize),
    Touch(usize),
    Remove(usize),
    Rename(usize, usize),
    Special(usize),
    Unreadable(usize, bool),
    Hinder(usize, Option<Hindrance>),
    /// A handoff of a process.
    OfProcess(usize, usize, u32),
    Start(u32),
    Kill(u32),
    Hide(u32),
    /// `stat` finds nothing of what is listed.
    Contradicts(bool),
    Listing(bool),
    Exhausted(bool),
    Host(u8),
    ClockStep(i64),
    Wait(u64),
    /// The next act happens between a listing and its reads.
    Meanwhile,
}

/// What an act does to the disk; `n` makes every document another one of the same length.
pub(super) fn apply(disk: &mut Disk, act: &Act, n: usize) {
    let text = |replica: &usize| doc("p", REPLICAS[*replica], &format!("{n:06}"));
    match act {
        Act::Replace(name, replica) => disk.replace(NAMES[*name], &text(replica)),
        Act::Overwrite(name, replica) => disk.overwrite(NAMES[*name], &text(replica)),
        Act::OverwriteKeepingMtime(name, replica) => disk.overwrite_keeping_mtime(NAMES[*name], &text(replica)),
        Act::Truncate(name) => disk.overwrite(NAMES[*name], &text(&0)[..n % 30]),
        Act::Bad(name) => disk.overwrite(NAMES[*name], &format!("[{n}]")),
        Act::NotReady(name, replica) => disk.overwrite(NAMES[*name], &not_ready("p", REPLICAS[*replica])),
        Act::Touch(name) => disk.touch(NAMES[*name]),
        Act::Remove(name) => disk.remove(NAMES[*name]),
        Act::Rename(from, to) => disk.rename(NAMES[*from], NAMES[*to]),
        Act::Special(name) => {
            disk.remove(NAMES[*name]);
            disk.put(
                NAMES[*name],
                if n.is_multiple_of(2) { Content::Dangling } else { Content::Other(OtherKind::Fifo) },
            );
        }
        Act::Unreadable(name, on) => disk.fail(NAMES[*name], on.then_some(5)),
        Act::Hinder(name, hindrance) => disk.hinder(NAMES[*name], *hindrance),
        Act::OfProcess(name, replica, pid) => {
            disk.replace(NAMES[*name], &with_pid(REPLICAS[*replica], &format!("{n:06}"), *pid));
        }
        Act::Start(pid) => disk.start(*pid),
        Act::Kill(pid) => disk.kill(*pid),
        Act::Hide(pid) => drop(disk.processes.insert(*pid, Life::Unknown)),
        Act::Contradicts(does) => disk.contradicts = *does,
        Act::Listing(fails) => disk.listing_fails = *fails,
        Act::Exhausted(is) => disk.reads_exhausted = *is,
        // In nanoseconds; the clock of the file system only: the core has no other.
        Act::ClockStep(millis) => disk.clock += millis * 1_000_000,
        Act::Host(_) | Act::Wait(_) | Act::Meanwhile => {}
    }
}

/// What a host should hold: the winner of each replica, if it is ready.
fn expected(disk: &Disk) -> BTreeMap<(String, String), String> {
    let mut winners = BTreeMap::new();
    for (name, file) in &disk.files {
        let Content::Bytes(bytes) = &file.content else { continue };
        let Ok(handoff) = Handoff::of(bytes) else { continue };
        let key = (handoff.pool_id().to_owned(), handoff.replica_id().to_owned());
        let rank = (file.stamp.mtime, name.clone());
        let winner = winners.entry(key).or_insert_with(|| (rank.clone(), None));
        if rank >= winner.0 {
            let text = serde_json::to_string(&handoff.payload()).unwrap();
            *winner = (rank, handoff.is_ready().then_some(text));
        }
    }
    winners.into_iter().filter_map(|(key, (_, text))| Some((key, text?))).collect()
}

/// Everything works again, but for what single files are.
fn mend(world: &mut World) {
    let disk = &mut world.disk;
    (disk.listing_fails, disk.reads_exhausted, disk.contradicts, disk.deletions_fail) = (false, false, false, false);
    for name in NAMES {
        disk.fail(name, None);
        if disk.files.get(OsStr::new(name)).is_some_and(|file| file.hindrance.is_some()) {
            disk.hinder(name, None);
        }
    }
    // Long after the machine started, whatever the clock has been set to; and all that was hidden shows.
    disk.boot = disk.clock - 3_600_000_000_000;
    PIDS.iter().for_each(|pid| disk.start(*pid));
    world.host.mood = Mood::Takes;
}

/// What follows from a state in which the files are the truth: the host ends up with what the directory says.
pub(super) fn play(setup: Setup, acts: &[Act]) {
    let mut world = setup.world(Mode::State);
    let mut meanwhile = false;
    for (n, act) in acts.iter().enumerate() {
        match act {
            Act::Wait(millis) => world.run(ms(*millis)),
            Act::Host(mood) => world.host.mood = [Mood::Takes, Mood::Refuses, Mood::Sleeps][usize::from(*mood)],
            Act::Meanwhile => meanwhile = true,
            act if std::mem::take(&mut meanwhile) => {
                let act = act.clone();
                world.meanwhile.push(Box::new(move |disk| apply(disk, &act, n)));
            }
            act => apply(&mut world.disk, act, n),
        }
        world.remember();
    }
    // Everything works again, and every file says something: then the directory decides everything.
    for act in std::mem::take(&mut world.meanwhile) {
        act(&mut world.disk);
    }
    mend(&mut world);
    let names: Vec<_> = world.disk.files.keys().cloned().collect();
    for name in names {
        let name = name.to_str().unwrap();
        let good = match &world.disk.files[OsStr::new(name)].content {
            Content::Bytes(bytes) => Handoff::of(bytes).ok(),
            _ => None,
        };
        let text = format!("final-{name}");
        match good.map(|handoff| handoff.pid()) {
            None => world.disk.replace(name, &doc("p", REPLICAS[0], &text)),
            // Whatever process wrote it, it is another one by now.
            Some(Some(pid)) if setup.check_processes => world.disk.replace(name, &with_pid(REPLICAS[1], &text, pid)),
            Some(_) => {}
        }
    }
    world.remember();
    if acts.iter().any(|act| matches!(act, Act::Host(1))) {
        // What was refused waits for its next try; new content would not.
        world.run(ms(31_000));
    }
    // What the look takes is taken off no promise, and there may be several looks.
    world.run(setup.interval + GRACE + 6 * world.look_takes);
    let held: BTreeMap<_, _> = world.host.held.iter().map(|(key, held)| (key.clone(), held.0.clone())).collect();
    assert_eq!(&held, &expected(&world.disk), "within an interval and 100 ms");
    // Then it is quiet: nothing more is told, and nothing is left over.
    world.heard();
    world.run(ms(5000));
    let late: Vec<_> = world.heard().into_iter().filter(|event| event != "synced").collect();
    assert_eq!(late, Vec::<String>::new());
    assert!(world.host.synced && world.host.available);
    let figures = world.core.figures();
    assert_eq!((figures.undecided_files, figures.backlog, figures.invalid_files), (0, 0, 0));
    assert_eq!(figures.files, world.disk.files.len());
    assert_eq!(world.core.flights.len(), 0);
    world.reads = 0;
    world.run(ms(5000));
    assert_eq!(world.reads, 0, "settled");
}

/// What follows where files are messages: each event is news, nothing ends that was not ended, and at the end every
/// message was taken, and is gone where that is asked for.
pub(super) fn play_messages(setup: Setup, consume: bool, acts: &[Act]) {
    let mut world = setup.world(Mode::Announcements { consume });
    for (n, act) in acts.iter().enumerate() {
        match act {
            Act::Wait(millis) => world.run(ms(*millis)),
            Act::Host(mood) => world.host.mood = [Mood::Takes, Mood::Refuses, Mood::Sleeps][usize::from(*mood)],
            Act::Meanwhile => {
                let act = Act::Replace(n % NAMES.len(), n % 3);
                world.before_deletion.push(Box::new(move |disk| apply(disk, &act, n)));
            }
            Act::Touch(_) if consume => world.disk.deletions_fail = !world.disk.deletions_fail,
            act => apply(&mut world.disk, act, n),
        }
        world.remember();
    }
    world.before_deletion.clear();
    mend(&mut world);
    for (n, name) in NAMES.into_iter().enumerate() {
        world.disk.replace(name, &doc("p", &format!("last-{n}"), "x"));
    }
    world.run(ms(31_000) + setup.interval + GRACE);
    for n in 0..NAMES.len() {
        assert!(world.host.held.contains_key(&("p".to_owned(), format!("last-{n}"))), "{n}: {:?}", world.host.held);
    }
    assert_eq!(world.disk.files.len(), if consume { 0 } else { NAMES.len() }, "every message was taken");
    for event in &world.host.heard {
        let HandoffEvent::Removed { reason, .. } = event else { continue };
        let may_exit = setup.check_processes && *reason == RemovedReason::ProcessExited;
        assert!(may_exit || *reason == RemovedReason::NotReady, "{event:?}");
    }
    world.heard();
    world.run(ms(5000));
    let figures = world.core.figures();
    assert_eq!((figures.files, figures.backlog, world.core.flights.len()), (world.disk.files.len(), 0, 0));
    assert_eq!(world.core.replicas.len(), world.host.held.len(), "what is told, and nothing else, is remembered");
    // What was announced of a process ends with it, whatever became of its file.
    PIDS.iter().for_each(|pid| world.disk.kill(*pid));
    world.run(setup.interval + GRACE);
    if setup.check_processes {
        let of_process = |(text, _): &(String, PathBuf)| Handoff::of(text.as_bytes()).unwrap().pid().is_some();
        assert!(!world.host.held.values().any(of_process), "{:?}", world.host.held);
    }
}

/// A run that arbitrary bytes describe.
#[cfg(fuzzing)]
pub(super) fn fuzz(bytes: &[u8]) {
    let mut bytes = bytes.iter().map(|byte| usize::from(*byte));
    let mut next = || bytes.next();
    let (Some(clock), Some(settings)) = (next(), next()) else { return };
    let setup = Setup {
        tick: [1, 4_000_000, 1_000_000_000, 2_000_000_000][clock % 4],
        notifies: clock & 4 > 0,
        arrives: [None, Some(ms(0)), Some(ms(20)), Some(ms(70))][settings / 64 % 4],
        check_processes: clock & 8 > 0,
        interval: ms([1000, 10, 200, 5000][settings % 4]),
        settle_time: ms([1000, 0, 100, 3000][settings / 4 % 4]),
        capacity: 1 + settings / 16 % 4,
    };
    let mut acts = Vec::new();
    while let (Some(kind), Some(what)) = (next(), next()) {
        let (name, other, replica) = (what % NAMES.len(), what / 8 % NAMES.len(), what / 8 % REPLICAS.len());
        let (on, pid) = (what >= 128, PIDS[what / 64 % PIDS.len()]);
        acts.push(match kind % 32 {
            0 | 1 => Act::Replace(name, replica),
            2 | 3 => Act::Overwrite(name, replica),
            4 => Act::OverwriteKeepingMtime(name, replica),
            5 => Act::Truncate(name),
            6 => Act::Bad(name),
            7 => Act::NotReady(name, replica),
            8 => Act::Touch(name),
            9 | 10 => Act::Remove(name),
            11 => Act::Rename(name, other),
            12 => Act::Special(name),
            13 => Act::Unreadable(name, on),
            14 => Act::Listing(on),
            15 => Act::Exhausted(on),
            16 => Act::Host((what % 3) as u8),
            17 => Act::ClockStep((what as i64 - 128) * 28_000),
            18 => Act::Meanwhile,
            19 | 20 => Act::Wait(what as u64 / 4),
            21 | 22 => Act::Wait(what as u64 * 5),
            23 => Act::Wait(3000),
            24 | 25 => Act::OfProcess(name, replica, pid),
            26 => Act::Start(pid),
            27 => Act::Kill(pid),
            28 => Act::Hide(pid),
            29 => Act::Contradicts(on),
            30 => Act::Hinder(
                name,
                [Some(Hindrance::Changing), Some(Hindrance::TooLarge), Some(Hindrance::Untrusted), None][what / 8 % 4],
            ),
            _ => Act::Start(PIDS[what % PIDS.len()]),
        });
    }
    match clock / 16 % 4 {
        0 | 1 => play(setup, &acts),
        mode => play_messages(setup, mode == 2, &acts),
    }
}
