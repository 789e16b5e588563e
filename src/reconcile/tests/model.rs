//! Random writers against a model, for thousands of steps: the host ends up with what the directory says, and every event
//! on the way was news. A failure prints the shortest run that fails, and the seed that repeats it.

use proptest::prelude::*;
use proptest::test_runner::Config;

use super::disk::Hindrance;
use super::ms;
use super::play::{Act, NAMES, PIDS, REPLICAS, Setup, USUAL, play, play_messages};

fn pid() -> impl Strategy<Value = u32> {
    prop::sample::select(PIDS.as_slice())
}

fn hindrance() -> impl Strategy<Value = Option<Hindrance>> {
    prop::option::of(prop::sample::select(vec![Hindrance::Changing, Hindrance::TooLarge, Hindrance::Untrusted]))
}

fn setup() -> impl Strategy<Value = Setup> {
    let tick = prop_oneof![Just(1i64), Just(4_000_000), Just(1_000_000_000), Just(2_000_000_000)];
    let interval = prop_oneof![3 => Just(1000u64), 1 => Just(10), 1 => Just(5000)];
    let settle_time = prop_oneof![3 => Just(1000u64), 1 => Just(0), 1 => Just(100)];
    let arrives = prop_oneof![Just(None), Just(Some(ms(0))), Just(Some(ms(20))), Just(Some(ms(70)))];
    (tick, any::<bool>(), arrives, any::<bool>(), interval, settle_time, 1..4usize).prop_map(
        |(tick, notifies, arrives, check_processes, interval, settle_time, capacity)| Setup {
            tick,
            notifies,
            arrives,
            check_processes,
            interval: ms(interval),
            settle_time: ms(settle_time),
            capacity,
        },
    )
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
        2 => (name.clone(), replica.clone()).prop_map(|(n, r)| Act::NotReady(n, r)),
        1 => name.clone().prop_map(Act::Touch),
        3 => name.clone().prop_map(Act::Remove),
        2 => (name.clone(), name.clone()).prop_map(|(from, to)| Act::Rename(from, to)),
        1 => name.clone().prop_map(Act::Special),
        1 => (name.clone(), any::<bool>()).prop_map(|(n, on)| Act::Unreadable(n, on)),
        2 => (name.clone(), hindrance()).prop_map(|(n, hindrance)| Act::Hinder(n, hindrance)),
        3 => (name, replica, pid()).prop_map(|(n, r, pid)| Act::OfProcess(n, r, pid)),
        2 => pid().prop_map(Act::Start),
        1 => pid().prop_map(Act::Kill),
        1 => pid().prop_map(Act::Hide),
        1 => any::<bool>().prop_map(Act::Contradicts),
        1 => any::<bool>().prop_map(Act::Listing),
        1 => any::<bool>().prop_map(Act::Exhausted),
        2 => (0..3u8).prop_map(Act::Host),
        1 => (-3_600_000i64..3_600_000).prop_map(Act::ClockStep),
        12 => prop_oneof![0..60u64, 0..1200u64, Just(3000u64)].prop_map(Act::Wait),
        2 => Just(Act::Meanwhile),
    ]
}

proptest! {
    #![proptest_config(Config { cases: 1000, max_shrink_iters: 20_000, ..Config::default() })]

    #[test]
    fn random_writers_and_hosts_end_in_agreement(
        setup in setup(),
        acts in prop::collection::vec(act(), 1..60),
    ) {
        play(setup, &acts);
    }
}

proptest! {
    #![proptest_config(Config { cases: 500, max_shrink_iters: 20_000, ..Config::default() })]

    #[test]
    fn random_writers_and_hosts_leave_no_message_behind(
        setup in setup(),
        consume in any::<bool>(),
        acts in prop::collection::vec(act(), 1..60),
    ) {
        play_messages(setup, consume, &acts);
    }
}

proptest! {
    #![proptest_config(Config { cases: 20, max_shrink_iters: 400, ..Config::default() })]

    #[test]
    fn random_writers_and_hosts_end_in_agreement_after_thousands_of_steps(
        setup in setup(),
        acts in prop::collection::vec(act(), 3000..5000),
    ) {
        play(setup, &acts);
    }
}

/// A read between two listings found the winner of a conflict gone, and the loser took over with a version that its file
/// had left long before.
#[test]
fn regression_a_read_alone_lets_no_old_version_take_over() {
    use Act::{Overwrite, Remove, Replace, Special, Wait};
    let acts = [Replace(0, 2), Special(1), Wait(364), Overwrite(3, 2), Wait(686), Replace(0, 0), Remove(3)];
    play(USUAL, &acts);
}

/// The name was listed all the time, and `stat` denied it. With polls as frequent as that, a read that was still due found
/// the same in its turn, and that was taken for the confirmation of a removal.
#[test]
fn regression_what_is_listed_is_not_removed_by_a_read_that_finds_nothing() {
    let acts = [Act::Wait(0), Act::Replace(0, 0), Act::Wait(10), Act::Contradicts(true), Act::Wait(100)];
    play(Setup { interval: ms(10), ..USUAL }, &acts);
}
