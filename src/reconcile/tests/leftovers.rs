//! Handoffs whose process ends, is another one, or ran before the machine started.

use super::*;

const PID: u32 = 4711;

fn world() -> World {
    World::with(Settings { poll_interval: INTERVAL, check_processes: true, ..Settings::default() })
}

/// One engine, announced and told of.
fn running() -> World {
    let mut world = world();
    world.disk.start(PID);
    world.disk.clock += 1_000_000;
    world.disk.replace("a.json", &with_pid("r0", "v1", PID));
    world.settled()
}

fn last_error(world: &World) -> &Error {
    world.host.heard.iter().rev().find_map(HandoffEvent::error).expect("an error")
}

#[test]
fn a_process_that_dies_takes_its_replica_with_it_within_an_interval() {
    for offset in [0, 1, 499, 999] {
        let mut world = running();
        world.run(ms(offset));
        world.disk.kill(PID);
        world.run(INTERVAL);
        let text = last_error(&world).to_string();
        assert!(text.contains("process 4711 has exited: expected a running engine"), "{text}");
        assert_eq!(last_error(&world).kind(), ErrorKind::Stale);
        assert_eq!(world.heard(), ["removed r0 process_exited", "invalid a.json"], "{offset} ms into an interval");
        assert_eq!((world.core.figures().invalid_files, world.host.held.len()), (1, 0));
        // Neither a touch nor a process that is given the same number brings it back.
        world.disk.start(PID);
        world.run(ms(60_000));
        assert_eq!(world.heard(), [""; 0]);
        world.disk.kill(PID);
        world.disk.touch("a.json");
        world.run(ms(60_000));
        assert_eq!(world.heard(), [""; 0]);
        assert_eq!((world.core.figures().undecided_files, world.core.figures().backlog), (0, 0));
    }
}

/// What is there at the start, and what is told of it. The file was written when the disk's clock said so.
type Start = (&'static str, fn(&mut Disk), &'static [&'static str], &'static str);

#[test]
fn what_is_left_over_is_invalid_and_says_why() {
    const HOUR: i64 = 3_600_000;
    fn put_after(disk: &mut Disk, millis: i64) {
        let now = disk.clock;
        disk.clock += millis * 1_000_000;
        disk.replace("a.json", &with_pid("r0", "v1", PID));
        disk.clock = now;
    }
    let cases: &[Start] = &[
        ("runs", |d| (d.start(PID), put_after(d, 5)).1, &["ready r0 v1", "synced"], ""),
        ("the file's clock is coarse", |d| (d.start(PID), put_after(d, -2000)).1, &["ready r0 v1", "synced"], ""),
        ("gone", |d| put_after(d, 0), &["invalid a.json", "synced"], "process 4711 does not run: "),
        (
            "another process",
            |d| (d.start(PID), put_after(d, -10_000)).1,
            &["invalid a.json", "synced"],
            "process 4711 started 10 s after this was written",
        ),
        (
            "another boot",
            |d| put_after(d, -2 * HOUR),
            &["invalid a.json", "synced"],
            "written before this machine started",
        ),
        (
            "another boot, and a process that cannot be seen",
            |d| (d.processes.insert(PID, Life::Unknown), put_after(d, -2 * HOUR)).1,
            &["invalid a.json", "synced"],
            "written before this machine started",
        ),
        (
            "a process that cannot be seen",
            |d| (d.processes.insert(PID, Life::Unknown), put_after(d, -60_000)).1,
            &["ready r0 v1", "synced"],
            "",
        ),
        ("no pid", |d| d.replace("a.json", &doc("p", "r0", "v1")), &["ready r0 v1", "synced"], ""),
        (
            "not ready",
            |d| {
                let text = with_pid("r0", "v1", PID).replace("\"pid\"", "\"ready\":false,\"pid\"");
                d.replace("a.json", &text);
            },
            &["synced"],
            "",
        ),
    ];
    for (what, begin, told, reason) in cases {
        let mut world = world();
        begin(&mut world.disk);
        world.run(ms(5000));
        if !reason.is_empty() {
            let error = last_error(&world);
            assert!(error.message().starts_with(reason), "{what}: {error}");
            assert_eq!((error.code(), error.kind().as_str(), error.field()), (-21, "stale", Some("pid")), "{what}");
        }
        assert_eq!(world.heard(), *told, "{what}");
        world.run(ms(20_000));
        assert_eq!(world.heard(), [""; 0], "{what}: told again");
    }
}

#[test]
fn an_engine_that_comes_back_under_a_new_handoff_is_ready_again() {
    for same_pid in [false, true] {
        let pid = if same_pid { PID } else { PID + 1 };
        let mut world = running();
        world.disk.kill(PID);
        world.run(INTERVAL);
        assert_eq!(world.heard(), ["removed r0 process_exited", "invalid a.json"]);
        world.run(ms(10_000));
        world.disk.start(pid);
        world.disk.replace("a.json", &with_pid("r0", "v1", pid));
        world.run(INTERVAL + GRACE);
        assert_eq!(world.heard(), ["ready r0 v1"], "the same pid: {same_pid}");
        assert_eq!(world.core.figures().invalid_files, 0);
        world.disk.kill(pid);
        world.run(INTERVAL);
        assert_eq!(world.heard(), ["removed r0 process_exited", "invalid a.json"]);
    }
}

/// The engine ended, came back and announced itself, all between two polls.
#[test]
fn a_quick_restart_is_an_update_or_nothing() {
    let mut world = running();
    world.run(ms(10_000));
    world.disk.kill(PID);
    world.disk.start(PID + 1);
    world.disk.replace("a.json", &with_pid("r0", "v1", PID + 1));
    world.run(INTERVAL + GRACE);
    assert_eq!(world.heard(), ["updated r0 v1"]);
    // In a container an engine has the same number each time, and so the same handoff.
    world.run(ms(10_000));
    world.disk.kill(PID + 1);
    world.disk.start(PID + 1);
    world.disk.replace("a.json", &with_pid("r0", "v1", PID + 1));
    world.run(ms(10_000));
    assert_eq!(world.heard(), [""; 0]);
    // Not announced: it is another process.
    world.disk.kill(PID + 1);
    world.disk.start(PID + 1);
    world.run(INTERVAL);
    assert!(last_error(&world).message().contains("another one has its number"), "{}", last_error(&world));
    assert_eq!(world.heard(), ["removed r0 process_exited", "invalid a.json"]);
}

#[test]
fn clocks_that_are_set_end_no_engine() {
    for millis in [-3_600_000, -5000, 5000, 3_600_000] {
        let mut world = running();
        world.disk.step(millis);
        world.run(ms(10_000));
        world.disk.touch("a.json");
        world.run(ms(10_000));
        assert_eq!(world.heard(), [""; 0], "by {millis} ms");
        world.disk.kill(PID);
        world.run(INTERVAL);
        assert_eq!(world.heard(), ["removed r0 process_exited", "invalid a.json"], "by {millis} ms");
    }
    // The documented limit: set forward before the first look, it is one until it is touched.
    let mut world = world();
    world.disk.start(PID);
    world.disk.replace("a.json", &with_pid("r0", "v1", PID));
    world.disk.step(3_600_000);
    world.run(ms(5000));
    assert_eq!(world.heard(), ["invalid a.json", "synced"]);
    world.disk.touch("a.json");
    world.run(INTERVAL + GRACE);
    assert_eq!(world.heard(), ["ready r0 v1"]);
}

#[test]
fn what_cannot_be_seen_any_more_goes_on() {
    let mut world = running();
    world.disk.processes.insert(PID, Life::Unknown);
    world.run(ms(10_000));
    assert_eq!(world.heard(), [""; 0]);
    world.disk.kill(PID);
    world.run(INTERVAL);
    assert_eq!(world.heard(), ["removed r0 process_exited", "invalid a.json"]);
    // Dead is dead: that some process has the number now, and hides, does not bring it back.
    world.disk.processes.insert(PID, Life::Unknown);
    let now = world.disk.time();
    world.disk.files.get_mut(OsStr::new("a.json")).unwrap().stamp.ctime = now;
    world.run(ms(10_000));
    assert_eq!(world.heard(), [""; 0]);
}

#[test]
fn the_loser_of_a_conflict_takes_over_when_the_winners_process_dies() {
    let mut world = running();
    world.disk.start(PID + 1);
    world.disk.replace("b.json", &with_pid("r0", "v2", PID + 1));
    world.run(INTERVAL + GRACE);
    assert_eq!(world.heard(), ["conflict b.json a.json", "updated r0 v2"]);
    world.disk.kill(PID + 1);
    world.run(INTERVAL);
    assert_eq!(world.heard(), ["updated r0 v1", "invalid b.json"]);
    // And a loser that dies is no removal.
    world.disk.start(PID + 2);
    world.disk.replace("b.json", &with_pid("r0", "v3", PID + 2));
    world.run(INTERVAL + GRACE);
    world.heard();
    world.disk.kill(PID);
    world.run(INTERVAL);
    assert_eq!(world.heard(), ["invalid a.json"]);
}

#[test]
fn a_stale_version_is_like_any_bad_one_the_last_good_one_stays_in_force() {
    let mut world = running();
    world.disk.replace("a.json", &with_pid("r0", "v2", 99));
    world.run(INTERVAL * 3);
    assert_eq!(world.heard(), ["invalid a.json"]);
    assert_eq!(world.host.held.len(), 1);
    // As long as its own process runs.
    world.disk.kill(PID);
    world.run(INTERVAL);
    assert_eq!(world.heard(), ["removed r0 process_exited"]);
    world.disk.remove("a.json");
    world.run(INTERVAL * 3);
    assert_eq!(world.heard(), [""; 0]);
    assert_eq!(world.core.figures().files, 0);
}

#[test]
fn a_directory_that_is_unavailable_removes_nothing_this_way_either() {
    let mut world = running();
    world.disk.listing_fails = true;
    world.disk.kill(PID);
    world.run(ms(10_000));
    assert_eq!(world.heard(), ["unavailable"]);
    assert_eq!(world.host.held.len(), 1);
    world.disk.listing_fails = false;
    world.run(INTERVAL);
    assert_eq!(world.heard(), ["available", "removed r0 process_exited", "invalid a.json"]);
}

#[test]
fn a_file_that_goes_with_its_process_is_one_removal() {
    for offset in (0..1000).step_by(37) {
        let mut world = running();
        world.run(ms(offset));
        world.disk.kill(PID);
        world.disk.remove("a.json");
        world.run(INTERVAL + GRACE);
        let heard = world.heard();
        assert!(heard.len() == 1 && heard[0].starts_with("removed r0 "), "{heard:?}");
        assert_eq!(world.core.figures().files, 0);
    }
}

#[test]
fn only_what_is_in_force_and_has_a_process_is_looked_at() {
    let mut world = running();
    world.disk.replace("b.json", &doc("p", "r1", "v1"));
    world.disk.replace("c.json", "not a handoff");
    world.disk.replace("d.json", &with_pid("r2", "v1", 99));
    world.run(ms(10_000));
    world.looks = 0;
    world.run(ms(10_000));
    assert_eq!(world.looks, 10);
    // Switched off: never.
    let mut world = World::new();
    world.disk.replace("a.json", &with_pid("r0", "v1", 99));
    world.run(ms(10_000));
    assert_eq!((world.looks, world.heard()), (0, vec!["ready r0 v1".to_owned(), "synced".to_owned()]));
}

/// Both between two looks: a touch speaks for the process that ran then, not for one that came long after.
#[test]
fn a_process_that_came_after_the_touch_is_another_one() {
    let mut world = running();
    world.disk.touch("a.json");
    world.disk.clock += 10_000_000_000;
    world.disk.kill(PID);
    world.disk.start(PID);
    world.run(INTERVAL);
    let text = last_error(&world).to_string();
    assert!(text.contains("started 10 s after this was written"), "{text}");
    assert_eq!(world.heard(), ["removed r0 process_exited", "invalid a.json"]);
}
