//! What was wrong once: each a sequence of acts that the core got wrong, and the random ones had not hit on.

use super::disk::file;
use super::*;
use crate::listing::{Entry, Listing, Seen};
use crate::payload::ContentHash;

/// Two claims, the newer one in force, both settled, polled so often that a name can be missing for a few polls.
fn contested() -> World {
    let mut world = World::with(Settings { poll_interval: ms(5), ..Settings::default() });
    world.disk.replace("a.json", &doc("p", "r0", "a"));
    world.disk.clock += 1_000_000_000;
    world.disk.replace("b.json", &doc("p", "r0", "b"));
    world.settled()
}

/// Nothing spoke of the replica while the file was away, so nothing was remembered of it when it came back as it was.
#[test]
fn regression_a_file_that_comes_back_is_told_although_its_replica_was_forgotten() {
    let mut world = contested();
    let aside = world.disk.files.remove(OsStr::new("a.json")).unwrap();
    world.disk.replace("b.json", &doc("p", "r1", "b"));
    world.run(ms(20));
    let mut heard = world.heard();
    heard.sort();
    assert_eq!(heard, ["ready r1 b", "removed r0 moved"]);
    world.disk.files.insert(file("a.json"), aside);
    world.run(ms(1000));
    assert_eq!(world.heard(), ["ready r0 a"]);
}

/// Where upper and lower case are the same, the old name of a file goes on to be found.
#[test]
fn regression_a_name_that_a_certain_listing_does_not_have_is_gone_whatever_can_be_opened_under_it() {
    let mut world = World::new();
    world.disk.replace("a.json", &doc("p", "r0", "v1"));
    let mut world = world.settled();
    let (stamp, text) = (world.disk.files[OsStr::new("a.json")].stamp, doc("p", "r0", "v1"));
    let listing = Listing { entries: vec![Entry { name: file("A.json"), seen: Seen::File(stamp) }], certain: true };
    let mut polls = Vec::new();
    for _ in 0..6 {
        world.core.handle_listing(world.now, world.now, &listing);
        while let Some((id, _)) = world.core.poll_read(world.now) {
            let (hash, handoff) = (ContentHash::of(text.as_bytes()), Handoff::of(text.as_bytes()));
            let document = Document::Content { stamp, recent: false, moved: false, hash, handoff, process: None };
            world.core.handle_document(world.now, world.now, id, document);
        }
        world.offer();
        world.take();
        polls.push(world.heard());
        world.pass(world.now + INTERVAL);
    }
    assert_eq!(polls.concat(), ["updated r0 v1"], "{polls:?}");
}

/// A name that was missing and is something else now is not missing: what was doubted of it then must not count later.
#[test]
fn regression_what_was_missing_and_cannot_be_looked_at_is_not_missing() {
    let mut world = contested();
    let b = world.disk.files.remove(OsStr::new("b.json")).unwrap();
    world.run(ms(10));
    assert_eq!(world.heard(), ["updated r0 a"]);
    world.disk.files.insert(file("b.json"), b);
    world.disk.fail("b.json", Some(5));
    world.run(ms(3000));
    assert_eq!(world.heard(), ["conflict b.json a.json", "updated r0 b", "invalid b.json"]);
    assert_eq!(world.core.figures().undecided_files, 0);
    // Its next absence gets the time that every absence gets.
    let b = world.disk.files.remove(OsStr::new("b.json")).unwrap();
    world.disk.remove("a.json");
    world.run(ms(20));
    world.disk.files.insert(file("b.json"), b);
    world.disk.fail("b.json", None);
    world.run(ms(1000));
    assert_eq!(world.heard(), [""; 0]);
}

fn conflict_before_a_host_that_sleeps() -> World {
    let mut world = World::new();
    world.disk.replace("b.json", &doc("p", "r0", "b"));
    let mut world = world.settled();
    world.host.mood = Mood::Sleeps;
    world.disk.replace("a.json", &doc("p", "r0", "a"));
    world.run(INTERVAL + GRACE);
    world
}

/// It waited behind a slow host, and was told when there was none any more.
#[test]
fn regression_a_conflict_that_is_over_is_not_told() {
    let mut world = conflict_before_a_host_that_sleeps();
    world.disk.remove("a.json");
    world.run(INTERVAL + GRACE);
    world.host.mood = Mood::Takes;
    world.run(INTERVAL);
    assert_eq!(world.heard(), [""; 0]);
}

/// It ended while it was in the host's hands; when it came back it was taken for one that the host knows of.
#[test]
fn regression_a_conflict_that_comes_back_is_told_again_although_it_ended_in_the_hosts_hands() {
    let mut world = conflict_before_a_host_that_sleeps();
    // All that waits is handed out, and comes back late.
    let out = std::mem::take(&mut world.waiting);
    world.disk.remove("a.json");
    world.run(INTERVAL + GRACE);
    for parcel in out {
        world.hear(&parcel.event());
        world.acknowledge(parcel.ticket, true);
    }
    world.host.mood = Mood::Takes;
    world.run(INTERVAL);
    let heard = world.heard();
    assert!(heard.contains(&"conflict a.json b.json".into()), "{heard:?}");
    world.disk.replace("a.json", &doc("p", "r0", "a"));
    world.run(INTERVAL + GRACE);
    let heard = world.heard();
    assert!(heard.contains(&"conflict a.json b.json".into()), "{heard:?}");
}

/// A producer that touches its files as a sign of life let every poll call a host that fails.
#[test]
fn regression_a_touch_does_not_reset_the_backoff() {
    let count = |touches: bool| {
        let mut world = World::new();
        world.disk.replace("a.json", &doc("p", "r0", "v1"));
        let mut world = world.settled();
        world.host.mood = Mood::Refuses;
        world.disk.replace("a.json", &doc("p", "r0", "v2"));
        for _ in 0..60 {
            if touches {
                world.disk.touch("a.json");
            }
            world.run(INTERVAL);
        }
        world.refusals
    };
    let (quiet, touched) = (count(false), count(true));
    assert!((1..20).contains(&quiet) && touched <= quiet + 1, "{quiet} tries, and {touched} of what is touched");
}

/// The first version of a file was kept as the name of its replica, for as long as there was one.
#[test]
fn regression_no_version_is_kept_for_its_name_alone() {
    let mut world = World::new();
    world.disk.replace("a.json", &doc("p", "r0", "v1"));
    let mut world = world.settled();
    for version in ["v2", "v3"] {
        world.disk.replace("a.json", &doc("p", "r0", version));
        world.run(INTERVAL + GRACE);
    }
    let (_, replica) = world.core.replicas.iter().next().unwrap();
    let in_force = world.core.in_force_of(replica).unwrap().1.handoff.clone();
    assert!(replica.key.0.is_shared_with(&in_force));
    let (key, _) = world.core.replicas.ids().next().unwrap();
    assert!(key.0.is_shared_with(&in_force));
}

/// A file system that shows what it cannot open was listed twenty times a second, and `synced` never came.
#[test]
fn regression_what_is_listed_and_cannot_be_found_is_invalid() {
    let mut world = World::new();
    world.disk.replace("a.json", &doc("p", "r0", "v1"));
    world.disk.replace("b.json", &doc("p", "r1", "v1"));
    let listing = world.disk.list().unwrap();
    let (mut listings, end) = (0, world.now + ms(10_000));
    while world.now < end {
        world.core.handle_timeout(world.now);
        if world.core.is_scan_due(world.now) {
            listings += 1;
            world.core.handle_listing(world.now, world.now, &listing);
        }
        while let Some((id, name)) = world.core.poll_read(world.now) {
            let document = if name == file("a.json") { Document::Absent } else { world.disk.read(&name).unwrap() };
            world.core.handle_document(world.now, world.now, id, document);
        }
        world.remember();
        world.offer();
        world.take();
        world.pass(world.core.poll_timeout().clamp(world.now + ms(1), end));
    }
    assert_eq!(world.heard(), ["ready r1 v1", "invalid a.json", "synced"]);
    assert!(listings < 15, "{listings} listings in 10 s");
}

/// A verdict that the host had refused was remembered of a file that is gone until its next try was due.
#[test]
fn regression_nothing_is_remembered_of_what_was_refused_of_a_file_that_is_gone() {
    let mut world = World::new();
    world.disk.replace("a.json", "[]");
    world.host.mood = Mood::Refuses;
    world.run(ms(20_000));
    world.disk.remove("a.json");
    world.run(INTERVAL + GRACE);
    assert_eq!(world.core.figures().backlog, 1, "synced alone");
}

/// It could not be read again at that moment, or said something else for a moment: then it stayed for good.
#[test]
fn regression_a_message_that_was_taken_is_deleted_later_where_it_could_not_be_at_once() {
    let acts: [fn(&mut Disk); 3] = [
        |disk| disk.reads_exhausted = true,
        |disk| disk.fail("a.json", Some(5)),
        |disk| disk.overwrite("a.json", "[]"),
    ];
    for act in acts {
        let mode = crate::config::Mode::Announcements { consume: true };
        let mut world = World::with(Settings { poll_interval: INTERVAL, mode, ..Settings::default() }).settled();
        let text = doc("p", "r0", "x");
        world.disk.replace("a.json", &text);
        world.before_deletion.push(Box::new(act));
        world.run(INTERVAL + GRACE);
        assert_eq!((&*world.heard()[0], world.deleted.len()), ("ready r0 x", 0));
        world.disk.reads_exhausted = false;
        world.disk.fail("a.json", None);
        world.disk.overwrite("a.json", &text);
        world.run(INTERVAL + GRACE);
        assert_eq!(world.deleted, ["a.json"]);
        assert!(!world.heard().concat().contains("r0"), "told again");
    }
}

/// What is invalid by now may stay so for long, and is not to be listed ten times a second for that.
#[test]
fn a_message_that_turned_bad_before_it_was_deleted_is_looked_at_with_the_polls() {
    let mode = crate::config::Mode::Announcements { consume: true };
    let mut world = World::with(Settings { poll_interval: INTERVAL, mode, ..Settings::default() }).settled();
    world.disk.replace("a.json", &doc("p", "r0", "x"));
    world.before_deletion.push(Box::new(|disk| disk.overwrite("a.json", "[]")));
    world.run(ms(10_000));
    assert_eq!(world.heard(), ["ready r0 x", "invalid a.json"]);
    let reads = world.reads;
    world.run(ms(10_000));
    assert!(world.reads - reads < 5 && world.deleted.is_empty(), "{} reads", world.reads - reads);
}

/// A file that is removed is no file that cannot be opened, however little time bad content is given.
#[test]
fn regression_a_removal_is_no_invalid_file_where_nothing_is_given_time() {
    let settings = Settings { poll_interval: INTERVAL, settle_time: Duration::ZERO, ..Settings::default() };
    for after in [30, 80, 130, 250, 700, 1500] {
        let mut world = World::with(settings.clone());
        world.run(ms(10));
        world.disk.replace("a.json", &doc("p", "r0", "v1"));
        world.run(INTERVAL + ms(after));
        world.disk.remove("a.json");
        world.run(INTERVAL + GRACE);
        assert_eq!(world.heard(), ["synced", "ready r0 v1", "removed r0 file_removed"], "after {after} ms");
    }
}

/// In instant mode hiding a file and putting it back is itself notified: that must not ask for the next attempt.
#[test]
fn regression_what_cannot_be_deleted_is_tried_with_the_polls_however_often_it_is_listed() {
    let mode = crate::config::Mode::Announcements { consume: true };
    let mut world = World::with(Settings { poll_interval: INTERVAL, mode, ..Settings::default() }).settled();
    world.disk.deletions_fail = true;
    world.disk.replace("a.json", &doc("p", "r0", "x"));
    let (mut attempts, end) = (0, world.now + ms(10_000));
    while world.now < end {
        // A notification each time.
        world.core.handle_notice(world.now);
        world.before_deletion.push(Box::new(|_| ()));
        world.round();
        attempts += usize::from(world.before_deletion.is_empty());
        world.before_deletion.clear();
        world.pass(world.now + ms(5));
    }
    assert!((8..=22).contains(&attempts), "{attempts} attempts in 10 s");
}

/// Between two polls a notification asked for all recent files to be read again, each time: what it was about came last.
#[test]
fn regression_a_notification_has_only_what_shows_read() {
    let mut world = World::new();
    for n in 0..100 {
        world.disk.replace(&format!("{n:03}.json"), &doc("p", &format!("r{n}"), "v1"));
    }
    world.run(ms(300));
    world.heard();
    let before = world.reads;
    for n in 0..20 {
        world.disk.replace("new.json", &doc("p", "new", &format!("v{n}")));
        world.core.handle_notice(world.now);
        world.round();
        assert_eq!(world.heard().len(), 1);
        world.pass(world.now + ms(20));
    }
    let reads = world.reads - before;
    assert!(reads <= 20 + 2 * 100, "{reads} reads for 20 changes");
    // A poll, and a host that asks, see also what does not show.
    let stamp = world.disk.files[OsStr::new("000.json")].stamp;
    world.disk.overwrite("000.json", &doc("p", "r0", "v2"));
    world.disk.files.get_mut(OsStr::new("000.json")).unwrap().stamp = stamp;
    world.run(INTERVAL + GRACE);
    assert_eq!(world.heard(), ["updated r0 v2"]);
}

/// One of a megabyte takes long to parse, and is looked at ten times a second while it may be half-written.
#[test]
fn regression_what_was_refused_need_not_be_parsed_again() {
    let mut world = World::new().settled();
    let hash = |text: &str| ContentHash::of(text.as_bytes());
    world.disk.replace("a.json", "[1]");
    let listing = world.disk.list().unwrap();
    world.core.handle_listing(world.now, world.now, &listing);
    let (id, name) = world.core.poll_read(world.now).unwrap();
    assert!(world.core.parsed(id, hash("[1]")).is_none());
    let document = world.disk.read(&name).unwrap();
    world.core.handle_document(world.now, world.now, id, document);
    assert!(world.core.parsed(id, hash("[1]")).unwrap().is_err(), "suspect");
    world.run(ms(2000));
    assert_eq!(world.heard(), ["invalid a.json"]);
    assert!(world.core.parsed(id, hash("[1]")).unwrap().is_err(), "refused");
    assert!(world.core.parsed(id, hash("[2]")).is_none());
    let good = doc("p", "r0", "v1");
    world.disk.replace("a.json", &good);
    world.run(INTERVAL);
    assert!(world.core.parsed(id, hash(&good)).unwrap().is_ok(), "in force");
    assert!(world.core.parsed(id, hash("[1]")).is_none());
}
