//! Random writers against a model: the host ends up with what the directory says, and every event on the way was news.

use super::*;

pub(super) const NAMES: [&str; 5] = ["a.json", "b.json", "c.json", "d.json", "e.json"];
pub(super) const REPLICAS: [&str; 3] = ["r0", "r1", "r2"];

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

pub(super) fn play(tick: i64, notifies: bool, acts: &[Act]) {
    let mut world = World::with(Settings { channel_capacity: 3, ..Settings::default() });
    (world.disk.tick, world.disk.notifies) = (tick, notifies);
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
    world.disk.listing_fails = false;
    world.disk.reads_exhausted = false;
    world.host.mood = Mood::Takes;
    let names: Vec<_> = world.disk.files.keys().cloned().collect();
    for name in names {
        let name = name.to_str().unwrap();
        world.disk.fail(name, None);
        let good =
            matches!(&world.disk.files[OsStr::new(name)].content, Content::Bytes(bytes) if Handoff::of(bytes).is_ok());
        if !good {
            world.disk.replace(name, &doc("p", REPLICAS[0], &format!("final-{name}")));
        }
    }
    world.remember();
    if acts.iter().any(|act| matches!(act, Act::Host(1))) {
        // What was refused waits for its next try; new content would not.
        world.run(ms(31_000));
    }
    world.run(INTERVAL + GRACE);
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

/// A run that arbitrary bytes describe.
#[cfg(fuzzing)]
pub(super) fn fuzz(bytes: &[u8]) {
    let mut bytes = bytes.iter().map(|byte| usize::from(*byte));
    let mut next = || bytes.next();
    let Some(tick) = next() else { return };
    let (tick, notifies) = ([1, 4_000_000, 1_000_000_000, 2_000_000_000][tick % 4], tick % 8 >= 4);
    let mut acts = Vec::new();
    while let (Some(kind), Some(what)) = (next(), next()) {
        let (name, other, replica) = (what % NAMES.len(), what / 8 % NAMES.len(), what / 8 % REPLICAS.len());
        let on = what >= 128;
        acts.push(match kind % 24 {
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
            _ => Act::Wait(3000),
        });
    }
    play(tick, notifies, &acts);
}
