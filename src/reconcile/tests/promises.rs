//! The seven promises of the design, one table or case each.

use super::*;

/// A way of changing the directory, and what is told of it.
type Case = (&'static str, fn(&mut Disk), &'static [&'static str]);

#[test]
fn promise_1_every_kind_of_change_is_told_within_an_interval_and_100_ms() {
    let cases: &[Case] = &[
        ("created", |d| d.replace("b.json", &doc("p", "r1", "v1")), &["ready r1 v1"]),
        ("replaced by rename", |d| d.replace("a.json", &doc("p", "r0", "v2")), &["updated r0 v2"]),
        ("overwritten in place", |d| d.overwrite("a.json", &doc("p", "r0", "longer")), &["updated r0 longer"]),
        ("same size", |d| d.overwrite("a.json", &doc("p", "r0", "v2")), &["updated r0 v2"]),
        (
            "same size, restored mtime",
            |d| d.overwrite_keeping_mtime("a.json", &doc("p", "r0", "v2")),
            &["updated r0 v2"],
        ),
        (
            "replaced by an older file",
            |d| {
                d.clock -= 3_600_000_000_000;
                d.replace("a.json", &doc("p", "r0", "v2"));
                d.clock += 3_600_000_000_000;
            },
            &["updated r0 v2"],
        ),
        ("removed", |d| d.remove("a.json"), &["removed r0 file_removed"]),
        ("renamed", |d| d.rename("a.json", "z.json"), &["updated r0 v1"]),
        ("renamed backwards", |d| d.rename("a.json", "0.json"), &["updated r0 v1"]),
        ("withdrawn", |d| d.overwrite("a.json", &not_ready("p", "r0")), &["removed r0 not_ready"]),
        (
            "moved to another replica",
            |d| d.overwrite("a.json", &doc("p", "r9", "v1")),
            &["removed r0 moved", "ready r9 v1"],
        ),
        ("touched", |d| d.touch("a.json"), &[]),
        ("the same bytes again", |d| d.overwrite("a.json", &doc("p", "r0", "v1")), &[]),
        ("the same bytes by rename", |d| d.replace("a.json", &doc("p", "r0", "v1")), &[]),
    ];
    for (what, change, told) in cases {
        for offset in [0, 1, 499, 950, 999] {
            let mut world = World::new();
            world.disk.replace("a.json", &doc("p", "r0", "v1"));
            let mut world = world.settled();
            world.run(ms(offset));
            change(&mut world.disk);
            world.run(INTERVAL + GRACE);
            assert_eq!(world.heard(), *told, "{what}, {offset} ms into an interval");
            world.run(ms(10_000));
            assert_eq!(world.heard(), [""; 0], "{what}: told again");
        }
    }
}

/// Whenever the write falls, and however coarse the clock: a rewrite in the tick of the last read leaves the same stamp.
#[test]
fn promise_1_holds_when_the_stamp_shows_nothing() {
    for tick in [1, 4_000_000, 1_000_000_000, 2_000_000_000] {
        for delay in (0..2600).step_by(13) {
            let mut world = World::new();
            world.disk.tick = tick;
            world.run(ms(3000));
            world.disk.replace("a.json", &doc("p", "r0", "v1"));
            world.run(ms(delay));
            world.disk.overwrite("a.json", &doc("p", "r0", "v2"));
            world.run(INTERVAL + GRACE);
            let held = world.host.held.values().next().map(|held| held.0.clone());
            assert!(held.as_ref().is_some_and(|text| text.contains("v2")), "tick {tick}, delay {delay}: {held:?}");
        }
    }
}

#[test]
fn promise_1_a_settled_file_is_not_read_again() {
    let mut world = World::new();
    for n in 0..50 {
        world.disk.replace(&format!("{n}.json"), &doc("p", &format!("r{n}"), "v1"));
    }
    world.run(ms(4000));
    world.reads = 0;
    world.run(ms(60_000));
    assert_eq!(world.reads, 0);
}

#[test]
fn promise_2_a_refused_event_is_told_again_with_what_is_true_then() {
    let mut world = World::new();
    world.host.mood = Mood::Refuses;
    world.disk.replace("a.json", &doc("p", "r0", "v1"));
    world.run(ms(5000));
    assert_eq!(world.heard(), [""; 0]);
    world.disk.replace("a.json", &doc("p", "r0", "v2"));
    world.host.mood = Mood::Takes;
    world.run(INTERVAL + GRACE);
    assert_eq!(world.heard(), ["ready r0 v2", "synced"]);
}

#[test]
fn promise_3_what_cannot_be_listed_or_read_is_not_removed() {
    type Fault = (&'static str, fn(&mut Disk), fn(&mut Disk));
    let faults: &[Fault] = &[
        ("listing", |d| d.listing_fails = true, |d| d.listing_fails = false),
        ("exhausted", |d| d.reads_exhausted = true, |d| d.reads_exhausted = false),
        ("one file", |d| d.fail("a.json", Some(5)), |d| d.fail("a.json", None)),
    ];
    for (what, begin, end) in faults {
        let mut world = World::new();
        world.disk.replace("a.json", &doc("p", "r0", "v1"));
        let mut world = world.settled();
        begin(&mut world.disk);
        world.disk.touch("a.json");
        world.run(ms(7000));
        assert_eq!(world.host.held.len(), 1, "{what}");
        end(&mut world.disk);
        world.run(INTERVAL + GRACE);
        assert_eq!(world.host.held.len(), 1, "{what}");
        assert!(world.host.available, "{what}");
        let heard = world.heard();
        assert!(heard.len() <= 2, "{what}: {heard:?}");
        assert!(heard.iter().all(|event| !event.starts_with("removed")), "{what}: {heard:?}");
    }
}

#[test]
fn promise_3_a_bad_rewrite_leaves_the_last_good_version_in_force() {
    let mut world = World::new();
    world.disk.replace("a.json", &doc("p", "r0", "v1"));
    let mut world = world.settled();
    world.disk.overwrite("a.json", "{ broken");
    world.run(ms(5000));
    assert_eq!(world.heard(), ["invalid a.json"]);
    assert_eq!(world.host.held.len(), 1);
    world.disk.overwrite("a.json", &doc("p", "r0", "v1"));
    world.run(ms(5000));
    assert_eq!(world.heard(), [""; 0], "the version in force is no news");
    world.disk.overwrite("a.json", "{ broken");
    world.run(ms(5000));
    assert_eq!(world.heard(), ["invalid a.json"], "bad again after being good");
    world.disk.remove("a.json");
    world.run(ms(2000));
    assert_eq!(world.heard(), ["removed r0 file_removed"]);
}

#[test]
fn promise_3_bytes_that_change_in_place_must_last_before_they_are_believed() {
    let mut world = World::new();
    world.disk.replace("a.json", &doc("p", "r0", "aaaa"));
    let mut world = world.settled();
    // A writer that does not truncate, caught between its two writes: parses, but never was a version.
    world.disk.overwrite("a.json", &doc("p", "r0", "bbaa"));
    world.written.retain(|_, text| !text.contains("bbaa"));
    let next = world.core.poll_timeout();
    world.pass(next);
    world.core.handle_listing(next, next, &world.disk.list().unwrap());
    let (id, name) = world.core.poll_read(next).unwrap();
    let torn = world.disk.read(&name).unwrap();
    world.disk.overwrite("a.json", &doc("p", "r0", "bbbb"));
    world.core.handle_document(next, next, id, torn);
    world.run(ms(2000));
    assert_eq!(world.heard(), ["updated r0 bbbb"]);
}

/// Bytes of the first version that an inode was seen with, already half overwritten by the next one.
#[test]
fn regression_promise_3_a_new_file_that_is_being_overwritten_must_last_before_it_is_believed() {
    for there_before in [false, true] {
        let mut world = World::new();
        if there_before {
            world.disk.replace("a.json", &doc("p", "r0", "v0"));
        }
        let mut world = world.settled();
        world.disk.replace("a.json", &doc("p", "r0", "v1"));
        world.disk.overwrite("a.json", &doc("p", "r0", "mixed"));
        world.written.clear();
        let next = world.core.poll_timeout();
        world.run(next.duration_since(world.now));
        world.run(ms(40));
        assert_eq!(world.heard(), [""; 0], "it was there before: {there_before}");
        world.disk.overwrite("a.json", &doc("p", "r0", "v2"));
        world.run(ms(100));
        assert_eq!(world.heard(), [if there_before { "updated r0 v2" } else { "ready r0 v2" }]);
    }
}

#[test]
fn a_file_that_was_written_in_place_long_ago_is_believed_at_once() {
    let mut world = World::new();
    world.disk.create("a.json", &doc("p", "r0", "v1"));
    world.pass(world.now + ms(5000));
    world.run(ms(10));
    assert_eq!(world.heard(), ["ready r0 v1", "synced"]);
}

#[test]
fn a_file_that_the_kernel_says_was_moved_is_believed_at_once_and_one_that_was_written_to_since_is_not() {
    let mut world = World::new().settled();
    world.disk.notifies = true;
    world.disk.tick = 4_000_000;
    world.disk.replace("a.json", &doc("p", "r0", "v1"));
    world.core.handle_notice(world.now);
    world.round();
    assert_eq!(world.heard(), ["ready r0 v1"]);
    world.disk.replace("a.json", &doc("p", "r0", "v2"));
    world.disk.overwrite("a.json", &doc("p", "r0", "v3"));
    world.core.handle_notice(world.now);
    world.round();
    assert_eq!(world.heard(), [""; 0]);
    world.run(GRACE);
    assert_eq!(world.heard(), ["updated r0 v3"]);
}

#[test]
fn promise_4_a_bad_file_harms_only_itself_and_is_told_once_per_content() {
    let mut world = World::new();
    world.disk.replace("a.json", "{");
    world.disk.replace("b.json", &doc("p", "r0", "v1"));
    world.disk.put("c.json", Content::Other(OtherKind::Fifo));
    world.disk.put("d.json", Content::Dangling);
    world.run(ms(900));
    assert_eq!(world.heard(), ["ready r0 v1"], "half-written files get their time");
    world.run(ms(2000));
    let mut heard = world.heard();
    heard.sort();
    assert_eq!(heard, ["invalid a.json", "invalid c.json", "invalid d.json", "synced"]);
    world.run(ms(60_000));
    assert_eq!(world.heard(), [""; 0]);
    world.disk.touch("a.json");
    world.run(ms(5000));
    assert_eq!(world.heard(), [""; 0], "touching is no news");
    world.disk.overwrite("a.json", "[");
    world.run(ms(5000));
    assert_eq!(world.heard(), ["invalid a.json"]);
}

#[test]
fn promise_4_a_file_that_is_being_written_is_not_called_bad() {
    let mut world = World::new().settled();
    let text = doc("p", "r0", "v1");
    for end in 0..text.len() {
        world.disk.overwrite("a.json", &text[..end]);
        world.run(ms(700));
    }
    assert_eq!(world.heard(), [""; 0]);
    world.disk.overwrite("a.json", &text);
    world.run(ms(200));
    assert_eq!(world.heard(), ["ready r0 v1"], "a suspect is looked at every 100 ms");
}

#[test]
fn promise_4_the_settle_time_is_the_settings() {
    for settle in [0, 1, 250, 5000] {
        let settings = Settings { settle_time: ms(settle), ..Settings::default() };
        let mut world = World::with(settings).settled();
        world.disk.replace("a.json", "{");
        world.run(INTERVAL);
        if settle > 250 {
            assert_eq!(world.heard(), [""; 0]);
        }
        world.run(ms(settle) + GRACE);
        assert_eq!(world.heard(), ["invalid a.json"], "{settle}");
    }
}

#[test]
fn promise_5_a_sleeping_host_finds_one_event_a_replica() {
    let mut world = World::new();
    world.host.mood = Mood::Sleeps;
    for version in 0..500 {
        for n in 0..10 {
            world.disk.replace(&format!("{n}.json"), &doc("p", &format!("r{n}"), &format!("v{version}")));
        }
        world.disk.replace("bad.json", &"{".repeat(version + 1));
        world.run(ms(1500));
        assert!(world.core.figures().backlog <= 12, "{}", world.core.figures().backlog);
        assert!(world.core.flights.len() <= 12);
    }
    world.host.mood = Mood::Takes;
    world.run(ms(10));
    let heard = world.heard();
    assert_eq!(heard.iter().filter(|event| event.starts_with("ready")).count(), 10, "{heard:?}");
    assert!(heard.iter().filter(|event| event.starts_with("ready")).all(|event| event.ends_with("v499")), "{heard:?}");
}

#[test]
fn promise_5_what_came_and_went_while_the_host_slept_is_forgotten() {
    let mut world = World::new();
    world.host.mood = Mood::Sleeps;
    for n in 0..1000 {
        world.disk.replace("a.json", &doc("p", &format!("r{n}"), "v1"));
        world.run(ms(1000));
    }
    world.disk.remove("a.json");
    world.run(ms(3000));
    assert_eq!(world.core.replicas.len(), 0);
    assert_eq!(world.core.flights.len(), 1, "synced");
    world.host.mood = Mood::Takes;
    world.run(ms(3000));
    assert_eq!(world.heard(), ["synced"]);
}

#[test]
fn promise_5_the_channel_is_never_overfilled() {
    let mut world = World::with(Settings { channel_capacity: 2, ..Settings::default() });
    world.host.mood = Mood::Sleeps;
    for n in 0..20 {
        world.disk.replace(&format!("{n:02}.json"), &doc("p", &format!("r{n:02}"), "v1"));
    }
    world.run(ms(5000));
    assert_eq!(world.waiting.len(), 2);
    world.host.mood = Mood::Takes;
    world.run(ms(5000));
    let heard = world.heard();
    assert_eq!(heard.len(), 21, "{heard:?}");
    assert_eq!(heard.last().unwrap(), "synced");
    assert!(heard[..20].is_sorted(), "{heard:?}");
}

#[test]
fn promise_6_the_backoff_doubles_to_its_most_and_new_content_resets_it() {
    let mut world = World::new().settled();
    world.host.mood = Mood::Refuses;
    world.disk.replace("a.json", &doc("p", "r0", "v1"));
    world.run(INTERVAL);
    let mut tries = Vec::new();
    let mut before = world.core.outbox.next_retry().unwrap();
    while tries.len() < 12 {
        let next = world.core.poll_timeout().max(world.now + Duration::from_micros(1));
        world.pass(next);
        world.round();
        let at = world.core.outbox.next_retry().unwrap();
        if at != before {
            tries.push(at.duration_since(world.now).as_millis());
            before = at;
        }
    }
    assert_eq!(tries[..9], [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000]);
    assert_eq!(tries[9..], [30_000; 3]);
    world.disk.replace("a.json", &doc("p", "r0", "v2"));
    world.host.mood = Mood::Takes;
    world.run(INTERVAL + GRACE);
    assert_eq!(world.heard(), ["ready r0 v2"]);
}

#[test]
fn promise_6_one_failing_replica_does_not_hold_up_the_others() {
    let mut world = World::new().settled();
    world.disk.replace("a.json", &doc("p", "r0", "v1"));
    world.host.mood = Mood::Refuses;
    world.run(INTERVAL);
    world.host.mood = Mood::Takes;
    world.disk.replace("b.json", &doc("p", "r1", "v1"));
    world.run(INTERVAL + GRACE);
    let mut heard = world.heard();
    heard.sort();
    assert_eq!(heard, ["ready r0 v1", "ready r1 v1"]);
}

#[test]
fn promise_7_the_figures_are_those_of_the_directory() {
    let mut world = World::new();
    world.disk.replace("a.json", &doc("p", "r0", "v1"));
    world.disk.replace("b.json", "{");
    world.run(ms(500));
    let figures = world.core.figures();
    assert_eq!((figures.files, figures.invalid_files, figures.undecided_files), (2, 0, 1));
    world.run(ms(5000));
    let figures = world.core.figures();
    assert_eq!((figures.files, figures.invalid_files, figures.undecided_files, figures.backlog), (2, 1, 0, 0));
    assert!(figures.available);
    world.disk.remove("b.json");
    world.disk.listing_fails = true;
    world.run(ms(2000));
    assert!(!world.core.figures().available);
    world.disk.listing_fails = false;
    world.run(ms(2000));
    let figures = world.core.figures();
    assert_eq!((figures.files, figures.invalid_files, figures.undecided_files, figures.backlog), (1, 0, 0, 0));
}

#[test]
fn synced_comes_once_when_all_that_was_there_was_taken() {
    let mut world = World::new();
    world.disk.replace("a.json", &doc("p", "r0", "v1"));
    world.disk.replace("b.json", "{");
    world.disk.replace("c.json", &not_ready("p", "r1"));
    world.run(ms(500));
    assert_eq!(world.heard(), ["ready r0 v1"]);
    world.run(ms(1000));
    assert_eq!(world.heard(), ["invalid b.json", "synced"]);
}

#[test]
fn synced_waits_for_a_host_that_refuses_but_not_for_what_came_later() {
    let mut world = World::new();
    world.disk.replace("a.json", &doc("p", "r0", "v1"));
    world.host.mood = Mood::Refuses;
    world.run(ms(50));
    assert!(!world.host.synced);
    world.host.mood = Mood::Takes;
    for n in 0..100 {
        // A stream of new files, half of them bad, must not hold it back.
        world.disk.replace(&format!("x{n}.json"), if n % 2 == 0 { "{" } else { "[]" });
        world.run(ms(50));
    }
    assert!(world.host.synced);
}

/// A host that takes `synced` as "this is all" must not miss what was only being replaced just then.
#[test]
fn regression_synced_waits_for_what_changed_after_the_start() {
    let v2 = || doc("p", "r0", "v2");
    type Change = fn(&mut Disk, &str);
    let overwrite: Change = |disk, text| disk.overwrite("a.json", text);
    let replace: Change = |disk, text| disk.replace("a.json", text);
    for (was, change, after) in [
        (doc("p", "r0", "v1"), overwrite, 30),
        (doc("p", "r0", "v1"), replace, 30),
        (String::from("[]"), overwrite, 500),
        (String::from("[]"), overwrite, 990),
        (String::from("{"), replace, 990),
    ] {
        let mut world = World::new();
        world.disk.create("a.json", &was);
        world.run(ms(after));
        change(&mut world.disk, &v2());
        world.run(INTERVAL + GRACE);
        assert_eq!(world.heard(), ["ready r0 v2", "synced"], "{was} and {after} ms later another");
    }
}

#[test]
fn synced_does_not_wait_for_ever_for_a_file_that_never_comes_to_rest() {
    let mut world = World::new();
    world.disk.replace("a.json", &doc("p", "r0", "0"));
    for n in 0..100 {
        world.disk.overwrite("a.json", &doc("p", "r0", &n.to_string()));
        world.run(ms(40));
        assert_eq!(world.host.synced, n >= 74, "{n}: after the settle time and 2 s");
    }
    // What could not be read at all has not come to rest either, but nobody said so.
    let mut world = World::new();
    world.disk.replace("a.json", &doc("p", "r0", "v1"));
    world.disk.reads_exhausted = true;
    world.run(ms(10_000));
    assert!(!world.host.synced);
    world.disk.reads_exhausted = false;
    world.run(INTERVAL);
    assert_eq!(world.heard(), ["unavailable", "ready r0 v1", "available", "synced"]);
}

#[test]
fn synced_of_an_empty_directory_comes_at_once_and_of_a_missing_one_when_it_is_there() {
    let mut world = World::new();
    world.run(ms(10));
    assert_eq!(world.heard(), ["synced"]);
    let mut world = World::new();
    world.disk.listing_fails = true;
    world.run(ms(5000));
    assert_eq!(world.heard(), ["unavailable"]);
    world.disk.listing_fails = false;
    world.run(INTERVAL);
    assert_eq!(world.heard(), ["available", "synced"]);
}

#[test]
fn promise_4_what_is_no_regular_file_is_said_to_be_what_it_is() {
    let kinds = [
        (OtherKind::Directory, "a directory"),
        (OtherKind::Fifo, "a FIFO"),
        (OtherKind::Socket, "a socket"),
        (OtherKind::Device, "a device"),
        (OtherKind::Symlink, "a symbolic link, which is not followed here"),
    ];
    for (kind, text) in kinds {
        let mut world = World::new();
        world.disk.put("a.json", Content::Other(kind));
        world.run(ms(5000));
        let error = world.host.heard.iter().find_map(HandoffEvent::error).expect("an error");
        assert_eq!(error.kind(), ErrorKind::FileType);
        assert_eq!(error.message(), format!("expected a regular file, found {text}"));
    }
}
