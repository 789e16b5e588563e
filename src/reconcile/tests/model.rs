//! Random writers against a model, for thousands of steps: the host ends up with what the directory says, and every event
//! on the way was news. A failure prints the shortest run that fails, and the seed that repeats it.

use proptest::prelude::*;
use proptest::test_runner::Config;

use super::play::{Act, NAMES, REPLICAS, play};

pub(super) fn act() -> impl Strategy<Value = Act> {
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

proptest! {
    #![proptest_config(Config { cases: 1000, max_shrink_iters: 20_000, ..Config::default() })]

    #[test]
    fn random_writers_and_hosts_end_in_agreement(
        tick in prop_oneof![Just(1i64), Just(4_000_000), Just(1_000_000_000), Just(2_000_000_000)],
        notifies in any::<bool>(),
        acts in prop::collection::vec(act(), 1..60),
    ) {
        play(tick, notifies, &acts);
    }
}

proptest! {
    #![proptest_config(Config { cases: 20, max_shrink_iters: 400, ..Config::default() })]

    #[test]
    fn random_writers_and_hosts_end_in_agreement_after_thousands_of_steps(
        tick in prop_oneof![Just(1i64), Just(2_000_000_000)],
        acts in prop::collection::vec(act(), 3000..5000),
    ) {
        play(tick, tick == 1, &acts);
    }
}

/// A read between two listings found the winner of a conflict gone, and the loser took over with a version that its file
/// had left long before.
#[test]
fn regression_a_read_alone_lets_no_old_version_take_over() {
    use Act::{Overwrite, Remove, Replace, Special, Wait};
    let acts = [Replace(0, 2), Special(1), Wait(364), Overwrite(3, 2), Wait(686), Replace(0, 0), Remove(3)];
    play(1, false, &acts);
}
