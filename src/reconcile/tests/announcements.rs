//! Files as messages: what was announced stands, and what was taken may go.

use super::*;
use crate::config::Mode;

fn world(consume: bool) -> World {
    let mode = Mode::Announcements { consume };
    World::with(Settings { poll_interval: INTERVAL, mode, ..Settings::default() }).settled()
}

impl World {
    fn told(&mut self) -> Vec<String> {
        self.run(INTERVAL + GRACE);
        self.heard()
    }

    fn held(&self) -> Vec<&str> {
        self.host.held.keys().map(|(_, replica)| &**replica).collect()
    }
}

#[test]
fn one_fixed_file_announces_every_engine() {
    let mut world = world(false);
    for (n, replica) in ["r0", "r1", "r2"].into_iter().enumerate() {
        world.disk.replace("handoff.json", &doc("p", replica, "x"));
        assert_eq!(world.told(), [format!("ready r{n} x")]);
    }
    assert_eq!(world.held(), ["r0", "r1", "r2"]);
    world.disk.replace("handoff.json", &doc("p", "r1", "y"));
    assert_eq!(world.told(), ["updated r1 y"]);
    // Bad content announces nothing, and takes nothing back.
    world.disk.overwrite("handoff.json", "[]");
    world.run(ms(3000));
    assert_eq!(world.heard(), ["invalid handoff.json"]);
    assert_eq!(world.held(), ["r0", "r1", "r2"]);
}

#[test]
fn the_file_may_go() {
    let mut world = world(false);
    world.disk.replace("a.json", &doc("p", "r0", "x"));
    assert_eq!(world.told(), ["ready r0 x"]);
    world.disk.remove("a.json");
    world.run(ms(5000));
    assert_eq!(world.heard(), [""; 0]);
    assert_eq!((world.held(), world.core.figures().files), (vec!["r0"], 0));
    // The same once more is no news; of another engine it is.
    world.disk.replace("a.json", &doc("p", "r0", "x"));
    assert_eq!(world.told(), [""; 0]);
    world.disk.replace("a.json", &doc("p", "r0", "y"));
    assert_eq!(world.told(), ["updated r0 y"]);
}

#[test]
fn not_ready_ends_it_and_is_then_forgotten() {
    let mut world = world(false);
    for n in 0..100 {
        let replica = format!("r{n}");
        world.disk.replace("handoff.json", &doc("p", &replica, "x"));
        assert_eq!(world.told(), [format!("ready {replica} x")]);
        world.disk.replace("handoff.json", &not_ready("p", &replica));
        assert_eq!(world.told(), [format!("removed {replica} not_ready")]);
    }
    assert_eq!(world.held(), [""; 0]);
    // An older message could still turn up of those of the last seconds.
    assert!(world.core.replicas.len() < 4, "{}", world.core.replicas.len());
    world.run(ms(3000));
    assert_eq!(world.core.replicas.len(), 1, "the one that the file says is not ready");
    world.disk.remove("handoff.json");
    world.run(ms(3000));
    assert_eq!((world.heard(), world.core.replicas.len()), (vec![], 0));
}

/// The end of an announcement that the host has not taken before its file moves on.
#[test]
fn an_end_is_told_also_when_the_file_has_moved_on() {
    let mut world = world(false);
    world.disk.replace("handoff.json", &doc("p", "r0", "x"));
    assert_eq!(world.told(), ["ready r0 x"]);
    world.host.mood = Mood::Sleeps;
    world.disk.replace("handoff.json", &not_ready("p", "r0"));
    world.run(INTERVAL + GRACE);
    world.disk.replace("handoff.json", &doc("p", "r1", "y"));
    world.run(INTERVAL + GRACE);
    world.host.mood = Mood::Takes;
    let mut heard = world.told();
    heard.sort();
    assert_eq!(heard, ["ready r1 y", "removed r0 not_ready"]);
}

#[test]
fn the_last_message_about_a_replica_counts_and_nothing_is_a_conflict() {
    let mut world = world(false);
    world.disk.replace("b.json", &doc("p", "r0", "b"));
    assert_eq!(world.told(), ["ready r0 b"]);
    // Found later, although its clock says otherwise: a clock that was set back must not silence an engine.
    world.disk.clock -= 3_600_000_000_000;
    world.disk.replace("a.json", &doc("p", "r0", "a"));
    assert_eq!(world.told(), ["updated r0 a"]);
    world.disk.remove("a.json");
    assert_eq!(world.told(), [""; 0]);
}

#[test]
fn of_messages_found_together_the_newest_counts() {
    let start = |acts: &dyn Fn(&mut Disk)| {
        let mode = Mode::Announcements { consume: false };
        let mut world = World::with(Settings { poll_interval: INTERVAL, mode, ..Settings::default() });
        acts(&mut world.disk);
        world.run(ms(3000));
        world.heard()
    };
    let newer_first = start(&|disk| {
        disk.replace("b.json", &doc("p", "r0", "b"));
        disk.clock += 1_000_000;
        disk.replace("a.json", &doc("p", "r0", "a"));
        disk.clock += 10_000_000_000;
    });
    assert_eq!(newer_first, ["ready r0 a", "synced"]);
    let same_time = start(&|disk| {
        disk.tick = 1_000_000_000;
        disk.replace("a.json", &doc("p", "r0", "a"));
        disk.replace("b.json", &doc("p", "r0", "b"));
        disk.clock += 10_000_000_000;
    });
    assert_eq!(same_time, ["ready r0 b", "synced"]);
}

#[test]
fn what_was_taken_is_deleted_and_what_was_refused_is_not() {
    let mut world = world(true);
    world.host.mood = Mood::Refuses;
    world.disk.replace("a.json", &doc("p", "r0", "x"));
    world.disk.overwrite("bad.json", "[]");
    world.run(ms(5000));
    assert_eq!((world.heard(), world.deleted.len()), (vec![], 0));
    world.host.mood = Mood::Takes;
    world.run(ms(31_000));
    let mut heard = world.heard();
    heard.sort();
    assert_eq!(heard, ["invalid bad.json", "ready r0 x"]);
    assert_eq!(world.deleted, ["a.json"]);
    // What is no message stays, and a message that says the same once more goes as well.
    world.disk.replace("a.json", &doc("p", "r0", "x"));
    assert_eq!(world.told(), [""; 0]);
    assert_eq!(world.deleted, ["a.json", "a.json"]);
    assert_eq!(world.disk.files.len(), 1);
    // The end is a message, too.
    world.disk.replace("a.json", &not_ready("p", "r0"));
    assert_eq!(world.told(), ["removed r0 not_ready"]);
    world.run(ms(3000));
    assert_eq!((world.deleted.len(), world.core.replicas.len()), (3, 0));
}

#[test]
fn a_version_that_comes_before_the_deletion_survives_and_is_told() {
    let mut world = world(true);
    world.disk.replace("a.json", &doc("p", "r0", "x"));
    world.before_deletion.push(Box::new(|disk| disk.replace("a.json", &doc("p", "r1", "y"))));
    world.run(INTERVAL + GRACE);
    let heard = world.told();
    assert_eq!([heard, world.told()].concat(), ["ready r0 x", "ready r1 y"]);
    assert_eq!((world.deleted.len(), world.disk.files.len()), (1, 0));
}

#[test]
fn a_superseded_message_is_deleted_as_well() {
    let mut world = world(true);
    world.disk.replace("a.json", &doc("p", "r0", "a"));
    world.disk.replace("b.json", &doc("p", "r0", "b"));
    assert_eq!(world.told(), ["ready r0 b"]);
    assert_eq!(world.deleted, ["a.json", "b.json"]);
}

#[test]
fn a_deletion_that_fails_is_tried_again_with_each_poll() {
    let mut world = world(true);
    world.disk.deletions_fail = true;
    world.disk.replace("a.json", &doc("p", "r0", "x"));
    assert_eq!(world.told(), ["ready r0 x"]);
    world.run(ms(10_000));
    assert_eq!((world.heard(), world.disk.files.len()), (vec![], 1));
    world.disk.deletions_fail = false;
    assert_eq!(world.told(), [""; 0]);
    assert_eq!(world.deleted, ["a.json"]);
}

#[test]
fn the_end_of_its_process_ends_an_announcement() {
    let mode = Mode::Announcements { consume: true };
    let settings = Settings { poll_interval: INTERVAL, mode, check_processes: true, ..Settings::default() };
    let mut world = World::with(settings).settled();
    let start = Duration::from_secs(3600);
    world.disk.processes.insert(7, Life::Runs { since_boot: start });
    let text = r#"{"pool_id":"p","replica_id":"r0","url":"http://h/x","pid":7}"#;
    world.disk.replace("a.json", text);
    assert_eq!(world.told(), ["ready r0 x"]);
    assert_eq!(world.disk.files.len(), 0);
    // From the next poll on it is known which process it is.
    assert_eq!(world.told(), [""; 0]);
    // Another process under the same number is not the engine.
    world.disk.processes.insert(7, Life::Runs { since_boot: start + ms(5000) });
    assert_eq!(world.told(), ["removed r0 process_exited"]);
    assert_eq!(world.core.replicas.len(), 0);
}

/// The file that the host was told of moved on meanwhile, which in itself ends nothing.
#[test]
fn regression_the_reason_is_what_ended_the_announcement_and_not_what_became_of_a_file() {
    let mode = Mode::Announcements { consume: false };
    let settings = Settings { poll_interval: INTERVAL, mode, check_processes: true, ..Settings::default() };
    let mut world = World::with(settings).settled();
    world.disk.start(7);
    world.disk.replace("d.json", &doc("p", "r0", "x"));
    assert_eq!(world.told(), ["ready r0 x"]);
    world.host.mood = Mood::Refuses;
    world.disk.replace("a.json", &with_pid("r0", "y", 7));
    assert_eq!(world.told(), [""; 0]);
    world.disk.kill(7);
    assert_eq!(world.told(), [""; 0]);
    world.disk.replace("d.json", &doc("p", "r1", "z"));
    assert_eq!(world.told(), [""; 0]);
    world.host.mood = Mood::Takes;
    world.run(ms(31_000));
    let mut heard = world.heard();
    heard.sort();
    assert_eq!(heard, ["ready r1 z", "removed r0 process_exited"]);
}

/// What is written in place is believed later than what is moved to its name: that makes it no newer.
#[test]
fn regression_a_message_that_is_believed_later_was_not_written_later() {
    for consume in [false, true] {
        let mut world = world(consume);
        world.disk.create("a.json", &doc("p", "r0", "older"));
        world.notice();
        world.run(ms(10));
        world.disk.replace("b.json", &doc("p", "r0", "newer"));
        world.notice();
        world.run(ms(10));
        // Whatever else comes, and makes further listings.
        world.disk.replace("c.json", &doc("p", "r1", "x"));
        world.notice();
        world.run(ms(3000));
        let mut heard = world.heard();
        heard.sort();
        assert_eq!(heard, ["ready r0 newer", "ready r1 x"]);
        assert_eq!(world.deleted.len(), if consume { 3 } else { 0 }, "{:?}", world.deleted);
    }
}

/// The end of an engine is not undone by what was said of it before.
#[test]
fn regression_an_end_outlasts_an_older_message_that_is_believed_later() {
    for consume in [false, true] {
        let mut world = world(consume);
        world.disk.replace("handoff.json", &doc("p", "r0", "x"));
        assert_eq!(world.told(), ["ready r0 x"]);
        world.disk.create("a.json", &doc("p", "r0", "older"));
        world.notice();
        world.run(ms(10));
        world.disk.replace("b.json", &not_ready("p", "r0"));
        world.notice();
        world.run(ms(10));
        world.disk.remove("b.json");
        world.notice();
        world.run(ms(3000));
        assert_eq!(world.heard(), ["removed r0 not_ready"]);
        world.disk.remove("a.json");
        world.disk.remove("handoff.json");
        world.run(ms(3000));
        assert_eq!((world.heard(), world.core.replicas.len()), (vec![], 0));
    }
}

/// What a host that has ended was about to delete comes back at any time, under a name that says so.
#[test]
fn regression_what_came_back_is_older_than_whatever_is_not() {
    let back = "handoff-71-18c3f2a5b6d7e8f9-3.json";
    for late in [true, false] {
        let mut world = world(false);
        let clock = world.disk.clock;
        if late {
            world.disk.replace("a.json", &doc("p", "r0", "newer"));
            assert_eq!(world.told(), ["ready r0 newer"]);
            let now = std::mem::replace(&mut world.disk.clock, clock);
            // Of the same tick, too.
            world.disk.replace(back, &doc("p", "r0", "older"));
            world.disk.clock = now;
        } else {
            world.disk.tick = 1_000_000_000;
            world.disk.create(back, &doc("p", "r0", "older"));
            world.disk.create("a.json", &doc("p", "r0", "newer"));
            assert_eq!(world.told(), ["ready r0 newer"]);
        }
        world.run(ms(5000));
        assert_eq!(world.heard(), [""; 0]);
        // Nobody else speaks of these.
        world.disk.replace("handoff-71-18c3f2a5b6d7e8f9-4.json", &doc("p", "r1", "x"));
        assert_eq!(world.told(), ["ready r1 x"]);
    }
}
