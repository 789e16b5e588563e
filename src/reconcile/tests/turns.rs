//! When the next scan comes: the interval, what asks for one earlier, and what keeps the processor for others.

use super::*;

#[test]
fn the_scans_own_time_is_taken_off_the_interval() {
    let mut core = Reconciler::new(Instant::now(), &Settings::default());
    let now = Instant::now();
    core.handle_listing(now, now + ms(200), &Listing::default());
    core.handle_round_end(now, now + ms(300), Duration::ZERO);
    assert_eq!(core.poll_timeout(), now + INTERVAL);
    core.handle_listing(now, now + ms(200), &Listing::default());
    core.handle_round_end(now, now + ms(5000), Duration::ZERO);
    assert_eq!(core.poll_timeout(), now + ms(5500), "a round longer than the interval leaves the processor to others");
}

/// Scans that follow one another without a poll between them, as each finds a reason for the next.
#[test]
fn regression_scans_between_polls_take_a_fifth_of_the_processor_at_most() {
    let interval = ms(10_000);
    let mut world = World::with(Settings { poll_interval: interval, ..Settings::default() }).settled();
    world.scan_costs = ms(100);
    let (mut scans, end) = (0, world.now + interval);
    for n in 1.. {
        // One comes and one goes all the time, and what came is missing at each scan.
        world.disk.replace(&format!("{n}.json"), &doc("p", &format!("r{n}"), "x"));
        world.disk.remove(&format!("{}.json", n - 1));
        scans += usize::from(world.core.is_scan_due(world.now));
        world.round();
        world.pass(world.now + ms(20));
        if world.now > end {
            break;
        }
    }
    assert!((2..=25).contains(&scans), "{scans} scans of 100 ms in 10 s");
}

/// What follows from a scan counts as the scan does: the host has a tenth of the time for itself, at least.
#[test]
fn a_host_has_its_turn_also_where_a_round_takes_longer_than_the_interval() {
    let now = Instant::now();
    let mut core = Reconciler::new(now, &Settings { poll_interval: ms(100), ..Settings::default() });
    core.handle_listing(now, now + ms(10), &Listing::default());
    core.handle_round_end(now, now + ms(400), Duration::ZERO);
    assert_eq!(core.poll_timeout(), now + ms(440));
    core.handle_notice(now + ms(400));
    assert_eq!(core.poll_timeout(), now + ms(440), "whoever asks");
}

/// With polls once an hour it is a notification that asks for a scan, and it asks once.
#[test]
fn regression_a_scan_that_was_notified_and_failed_is_tried_again_before_the_next_poll() {
    let mut world = World::with(Settings { poll_interval: ms(3_600_000), ..Settings::default() }).settled();
    world.disk.listing_fails = true;
    world.disk.replace("a.json", &doc("p", "r0", "x"));
    world.notice();
    world.run(ms(2500));
    assert_eq!(world.heard(), ["unavailable"]);
    world.disk.listing_fails = false;
    world.run(ms(1100));
    let mut heard = world.heard();
    heard.sort();
    assert_eq!(heard, ["available", "ready r0 x"]);
}
