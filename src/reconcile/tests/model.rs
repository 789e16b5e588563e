//! Random writers against a model, for thousands of steps: the host ends up with what the directory says, and every event
//! on the way was news. A failure prints the shortest run that fails, and the seed that repeats it.

use proptest::prelude::*;
use proptest::test_runner::Config;

use super::*;

const NAMES: [&str; 5] = ["a.json", "b.json", "c.json", "d.json", "e.json"];
const REPLICAS: [&str; 3] = ["r0", "r1", "r2"];

#[derive(Clone, Debug)]
enum Act {
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

fn act() -> impl Strategy<Value = Act> {
    let name = 0..NAMES.len();
    let replica = 0..REPLICAS.len();
    prop_oneof![
        4 => (name.clone(), replica.clone()).prop_map(|(n, r)| Act::Replace(n, r)),
        4 => (name.clone(), replica.clone()).prop_map(|(n, r)| Act::Overwrite(n, r)),
        2 => (name.clone(), replica.clone()).prop_map(|(n, r)| Act::OverwriteKeepingMtime(n, r)),
        2 => name.clone().prop_map(Act::Truncate),
        2 => name.clone().prop_map(Act::Bad),
        2 => (name.clone(), replica).prop_map(|(n, r)| Act::NotReady(n, r)),
        1 => name.clone().prop_map(Act::Touch),
        3 => name.clone().prop_map(Act::Remove),
        2 => (name.clone(), name.clone()).prop_map(|(from, to)| Act::Rename(from, to)),
        1 => name.clone().prop_map(Act::Special),
        1 => (name, any::<bool>()).prop_map(|(n, on)| Act::Unreadable(n, on)),
        1 => any::<bool>().prop_map(Act::Listing),
        1 => any::<bool>().prop_map(Act::Exhausted),
        2 => (0..3u8).prop_map(Act::Host),
        1 => (-3_600_000i64..3_600_000).prop_map(Act::ClockStep),
        12 => prop_oneof![0..60u64, 0..1200u64, Just(3000u64)].prop_map(Act::Wait),
        2 => Just(Act::Meanwhile),
    ]
}

/// What an act does to the disk; `n` makes every document another one of the same length.
fn apply(disk: &mut Disk, act: &Act, n: usize) {
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
        let Ok(handoff) = Handoff::parse(bytes) else { continue };
        let key = (handoff.pool_id().to_owned(), handoff.replica_id().to_owned());
        let rank = (file.stamp.mtime, file.stamp.mtime_nanos, name.clone());
        let winner = winners.entry(key).or_insert_with(|| (rank.clone(), None));
        if rank >= winner.0 {
            let text = serde_json::to_string(&handoff.payload()).unwrap();
            *winner = (rank, handoff.is_ready().then_some(text));
        }
    }
    winners.into_iter().filter_map(|(key, (_, text))| Some((key, text?))).collect()
}

fn play(tick: i64, acts: &[Act]) -> Result<(), TestCaseError> {
    let mut world = World::with(Settings { channel_capacity: 3, ..Settings::default() });
    world.disk.tick = tick;
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
        let good = matches!(&world.disk.files[OsStr::new(name)].content, Content::Bytes(bytes) if Handoff::parse(bytes).is_ok());
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
    prop_assert_eq!(&held, &expected(&world.disk), "within an interval and 100 ms");
    // Then it is quiet: nothing more is told, and nothing is left over.
    world.heard();
    world.run(ms(5000));
    let late: Vec<_> = world.heard().into_iter().filter(|event| event != "synced").collect();
    prop_assert_eq!(late, Vec::<String>::new());
    prop_assert!(world.host.synced && world.host.available);
    let figures = world.core.figures();
    prop_assert_eq!((figures.undecided_files, figures.backlog, figures.invalid_files), (0, 0, 0));
    prop_assert_eq!(figures.files, world.disk.files.len());
    prop_assert_eq!(world.core.flights.len(), 0);
    world.reads = 0;
    world.run(ms(5000));
    prop_assert_eq!(world.reads, 0, "settled");
    Ok(())
}

proptest! {
    #![proptest_config(Config { cases: 1000, max_shrink_iters: 20_000, ..Config::default() })]

    #[test]
    fn random_writers_and_hosts_end_in_agreement(
        tick in prop_oneof![Just(1i64), Just(4_000_000), Just(1_000_000_000), Just(2_000_000_000)],
        acts in prop::collection::vec(act(), 1..60),
    ) {
        play(tick, &acts)?;
    }
}

proptest! {
    #![proptest_config(Config { cases: 20, max_shrink_iters: 400, ..Config::default() })]

    #[test]
    fn random_writers_and_hosts_end_in_agreement_after_thousands_of_steps(
        tick in prop_oneof![Just(1i64), Just(2_000_000_000)],
        acts in prop::collection::vec(act(), 3000..5000),
    ) {
        play(tick, &acts)?;
    }
}

/// A read between two listings found the winner of a conflict gone, and the loser took over with a version that its file
/// had left long before.
#[test]
fn regression_a_read_alone_lets_no_old_version_take_over() {
    use Act::{Overwrite, Remove, Replace, Special, Wait};
    let acts = [Replace(0, 2), Special(1), Wait(364), Overwrite(3, 2), Wait(686), Replace(0, 0), Remove(3)];
    play(1, &acts).unwrap();
}
