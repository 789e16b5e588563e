//! Promise 5, in numbers that no real directory has time for: what the core remembers after a million changes.

use super::*;

/// A turn of fifty files that are all others than before, and a host in this mood.
fn turn(world: &mut World, number: u64, bad: bool) {
    for file in 0..50u64 {
        let text = if bad { format!("[{number},{file}]") } else { doc("p", &format!("r{file}"), &number.to_string()) };
        world.disk.replace(&format!("{file:02}.json"), &text);
    }
    poll(world);
}

/// A poll, and whatever follows from it.
fn poll(world: &mut World) {
    world.pass(world.now + INTERVAL + ms(1));
    world.core.handle_timeout(world.now);
    let listing = world.disk.list().unwrap();
    world.core.handle_listing(world.now, world.now, &listing);
    while let Some((id, name)) = world.core.poll_read(world.now) {
        let document = world.disk.read(&name).unwrap();
        world.core.handle_document(world.now, world.now, id, document);
    }
    while world.core.poll_registry().is_some() {}
    while let Some(ticket) = world.core.poll_revoke() {
        if let Some(place) = world.waiting.iter().position(|parcel| parcel.ticket == ticket) {
            world.waiting.remove(place);
            world.core.handle_revoked(ticket);
        }
    }
    while world.waiting.len() < world.capacity {
        let Some(parcel) = world.core.poll_event(world.waiting.is_empty()) else { break };
        world.waiting.push(parcel);
    }
    if world.host.mood != Mood::Sleeps {
        let taken = world.host.mood == Mood::Takes;
        for parcel in std::mem::take(&mut world.waiting) {
            world.core.handle_ack(world.now, parcel.ticket, taken);
        }
    }
}

fn remembered(core: &Reconciler) -> [usize; 7] {
    let figures = core.figures();
    [
        core.files.len(),
        core.replicas.len(),
        core.reads.len(),
        core.flights.len(),
        core.revocations.len(),
        core.registry_changes.len(),
        figures.backlog,
    ]
}

#[test]
fn promise_5_a_million_changes_and_bad_versions_leave_nothing_behind() {
    for (mood, bad) in [(Mood::Takes, false), (Mood::Sleeps, false), (Mood::Refuses, true), (Mood::Takes, true)] {
        let mut world = World::with(Settings { channel_capacity: 64, ..Settings::default() });
        world.host.mood = mood;
        for number in 0..5_000 {
            turn(&mut world, number, bad);
            let [files, replicas, reads, flights, revocations, changes, backlog] = remembered(&world.core);
            assert!(files == 50 && replicas <= 50 && reads == 0 && revocations == 0 && changes == 0);
            assert!(flights <= 64 && backlog <= 110, "{mood:?} {bad}: {flights} on their way, {backlog} behind");
        }
        world.disk.files.clear();
        world.host.mood = Mood::Takes;
        (0..60).for_each(|_| poll(&mut world));
        let left = remembered(&world.core);
        assert_eq!(left[0], 0, "{mood:?} {bad}: {left:?}");
        assert_eq!((left[1], left[3], left[6]), (0, 0, 0), "{mood:?} {bad}: {left:?}");
    }
}

#[test]
fn regression_a_burst_is_told_within_a_few_polls_where_polls_leave_no_time_between_them() {
    const FILES: usize = 5_000;
    let mut world = World::new();
    for number in 0..FILES {
        world.disk.replace(&format!("{number:04}.json"), &doc("p", &format!("r{number}"), "x"));
    }
    let mut polls = 0;
    while world.core.figures().backlog > 0 || polls < 2 {
        poll(&mut world);
        polls += 1;
    }
    assert!(polls <= 7, "told after {polls} polls");
}
