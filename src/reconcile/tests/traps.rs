//! What others fell into, as far as the core can: conflicts, moves, things that come and go. The real directory is in
//! `tests/traps.rs`.

use super::disk::file;
use super::*;
use crate::listing::Listing;

#[test]
fn of_two_claims_the_newest_mtime_wins_then_the_greater_name() {
    let mut world = World::new();
    world.disk.replace("b.json", &doc("p", "r0", "old"));
    world.disk.clock += 1_000_000_000;
    world.disk.replace("a.json", &doc("p", "r0", "new"));
    world.run(ms(10));
    assert_eq!(world.heard(), ["ready r0 new", "conflict a.json b.json", "synced"]);
    let mut world = World::new();
    world.disk.tick = 2_000_000_000;
    world.disk.replace("b.json", &doc("p", "r0", "b"));
    world.disk.replace("a.json", &doc("p", "r0", "a"));
    world.run(ms(10));
    assert_eq!(world.heard(), ["ready r0 b", "conflict b.json a.json", "synced"]);
}

#[test]
fn when_the_winner_goes_the_loser_takes_over_as_an_update() {
    let mut world = World::new();
    world.disk.replace("a.json", &doc("p", "r0", "a"));
    world.disk.clock += 1_000_000_000;
    world.disk.replace("b.json", &doc("p", "r0", "b"));
    let mut world = world.settled();
    world.disk.remove("b.json");
    world.run(INTERVAL + GRACE);
    assert_eq!(world.heard(), ["updated r0 a"]);
    world.disk.replace("b.json", &doc("p", "r0", "b"));
    world.run(INTERVAL + GRACE);
    assert_eq!(world.heard(), ["conflict b.json a.json", "updated r0 b"], "a new conflict is told again");
    world.disk.remove("a.json");
    world.run(ms(3000));
    assert_eq!(world.heard(), [""; 0], "a loser that goes changes nothing");
}

#[test]
fn when_both_claims_go_one_after_the_other_the_first_does_not_come_back() {
    let mut world = World::with(Settings { poll_interval: ms(5), ..Settings::default() });
    world.disk.replace("a.json", &doc("p", "r0", "a"));
    world.disk.clock += 1_000_000_000;
    world.disk.replace("b.json", &doc("p", "r0", "b"));
    let mut world = world.settled();
    world.disk.remove("b.json");
    // Seen, but not long enough to be believed.
    world.run(ms(10));
    assert_eq!(world.heard(), ["updated r0 a"]);
    world.disk.remove("a.json");
    world.run(ms(3000));
    assert_eq!(world.heard(), ["removed r0 file_removed"]);
}

/// The old name of a file that moved was told once more when the new one went on to another replica at once.
#[test]
fn regression_a_name_that_is_gone_does_not_come_back_when_the_new_one_moves_on() {
    let mut world = World::with(Settings { poll_interval: ms(5), ..Settings::default() });
    world.disk.replace("a.json", &doc("p", "r0", "v1"));
    let mut world = world.settled();
    world.disk.rename("a.json", "b.json");
    world.run(ms(10));
    assert_eq!(world.heard(), ["updated r0 v1"]);
    world.disk.replace("b.json", &doc("p", "r1", "v1"));
    world.run(ms(1000));
    let mut heard = world.heard();
    heard.sort();
    assert_eq!(heard, ["ready r1 v1", "removed r0 moved"]);
}

#[test]
fn a_name_that_was_missing_for_a_moment_claims_again() {
    let mut world = World::with(Settings { poll_interval: ms(5), ..Settings::default() });
    world.disk.replace("a.json", &doc("p", "r0", "a"));
    world.disk.clock += 1_000_000_000;
    world.disk.replace("b.json", &doc("p", "r0", "b"));
    let mut world = world.settled();
    let aside = world.disk.files.remove(OsStr::new("b.json")).unwrap();
    world.run(ms(10));
    assert_eq!(world.heard(), ["updated r0 a"]);
    world.disk.files.insert(file("b.json"), aside);
    world.run(ms(1000));
    let mut heard = world.heard();
    heard.sort();
    assert_eq!(heard, ["conflict b.json a.json", "updated r0 b"]);
}

#[test]
fn a_copy_under_another_name_is_named() {
    let mut world = World::new();
    world.disk.replace("a.json", &doc("p", "r0", "v1"));
    let mut world = world.settled();
    world.disk.replace("b.json", &doc("p", "r0", "v1"));
    world.run(ms(3000));
    assert_eq!(world.heard(), ["conflict b.json a.json", "updated r0 v1"]);
}

#[test]
fn the_winner_decides_even_if_it_is_not_ready() {
    let mut world = World::new();
    world.disk.replace("a.json", &doc("p", "r0", "a"));
    let mut world = world.settled();
    world.disk.replace("b.json", &not_ready("p", "r0"));
    world.run(ms(3000));
    assert_eq!(world.heard(), ["conflict b.json a.json", "removed r0 not_ready"]);
    world.disk.remove("b.json");
    world.run(ms(3000));
    assert_eq!(world.heard(), ["ready r0 a"]);
}

#[test]
fn two_files_that_swap_their_replicas_are_two_updates() {
    let mut world = World::new();
    world.disk.replace("a.json", &doc("p", "r0", "v1"));
    world.disk.replace("b.json", &doc("p", "r1", "v1"));
    let mut world = world.settled();
    world.disk.replace("a.json", &doc("p", "r1", "v2"));
    world.disk.replace("b.json", &doc("p", "r0", "v2"));
    world.run(ms(3000));
    let mut heard = world.heard();
    heard.sort();
    assert_eq!(heard, ["updated r0 v2", "updated r1 v2"], "never removed-then-ready");
}

#[test]
fn a_replica_that_moves_between_files_is_an_update() {
    let mut world = World::new();
    world.disk.replace("a.json", &doc("p", "r0", "v1"));
    let mut world = world.settled();
    world.disk.remove("a.json");
    world.disk.replace("b.json", &doc("p", "r0", "v2"));
    world.run(ms(3000));
    assert_eq!(world.heard(), ["updated r0 v2"]);
}

#[test]
fn unlink_and_create_is_an_update_if_the_gap_is_short_and_a_removal_if_it_is_long() {
    for (gap, told) in [(40, vec!["updated r0 v2"]), (2000, vec!["removed r0 file_removed", "ready r0 v2"])] {
        let mut world = World::new();
        world.disk.replace("a.json", &doc("p", "r0", "v1"));
        let mut world = world.settled();
        // Just before a poll, so that the poll falls into the gap.
        world.run(ms(999));
        world.disk.remove("a.json");
        world.run(ms(gap));
        world.disk.replace("a.json", &doc("p", "r0", "v2"));
        world.run(ms(3000));
        assert_eq!(world.heard(), told, "gap {gap}");
    }
}

#[test]
fn a_name_that_a_listing_missed_is_not_removed() {
    let mut world = World::new();
    world.disk.replace("a.json", &doc("p", "r0", "v1"));
    let mut world = world.settled();
    // The listing does not show it, twice; the file is there all the time.
    for _ in 0..2 {
        let now = world.core.poll_timeout();
        world.pass(now);
        world.core.handle_listing(now, now, &Listing::default());
        while let Some((id, name)) = world.core.poll_read(now) {
            let document = world.disk.read(&name).unwrap();
            world.core.handle_document(now, now, id, document);
        }
    }
    world.run(ms(3000));
    assert_eq!(world.heard(), [""; 0]);
    assert_eq!(world.host.held.len(), 1);
}

/// A file system that lists a name and says in the same breath that there is none.
#[test]
fn regression_a_listed_name_is_not_removed_whatever_stat_says() {
    let mut world = World::new();
    world.disk.replace("a.json", &doc("p", "r0", "v1"));
    world.disk.replace("b.json", &doc("p", "r1", "v1"));
    let mut world = world.settled();
    world.disk.contradicts = true;
    let before = world.reads;
    world.run(ms(10_000));
    assert_eq!(world.heard(), ["invalid a.json", "invalid b.json"]);
    assert_eq!(world.reads, before, "there is nothing to read");
    world.disk.remove("b.json");
    world.run(INTERVAL + GRACE);
    assert_eq!(world.heard(), ["removed r1 file_removed"], "not listed any more");
    world.disk.contradicts = false;
    world.run(ms(5000));
    assert_eq!(world.heard(), [""; 0]);
    assert_eq!(world.core.figures().invalid_files, 0);
}

#[test]
fn a_file_that_vanishes_between_listing_and_reading_is_no_error() {
    let mut world = World::new().settled();
    world.disk.replace("a.json", &doc("p", "r0", "v1"));
    world.meanwhile.push(Box::new(|disk| disk.remove("a.json")));
    world.run(ms(5000));
    assert_eq!(world.heard(), [""; 0]);
    assert_eq!(world.core.figures().files, 0);
}

#[test]
fn a_file_that_is_replaced_between_listing_and_reading_is_told_as_it_is() {
    let mut world = World::new().settled();
    world.disk.replace("a.json", &doc("p", "r0", "v1"));
    world.meanwhile.push(Box::new(|disk| disk.replace("a.json", &doc("p", "r0", "v2"))));
    world.run(ms(5000));
    assert_eq!(world.heard(), ["ready r0 v2"]);
}

#[test]
fn a_link_that_leads_to_nothing_ends_what_it_said_and_is_named() {
    let mut world = World::new();
    world.disk.replace("a.json", &doc("p", "r0", "v1"));
    let mut world = world.settled();
    world.disk.put("a.json", Content::Dangling);
    world.disk.removed.insert(file("a.json"));
    world.run(ms(6000));
    assert_eq!(world.heard(), ["removed r0 file_removed", "invalid a.json"]);
    world.run(ms(60_000));
    assert_eq!(world.heard(), [""; 0]);
    world.disk.replace("a.json", &doc("p", "r0", "v2"));
    world.run(ms(3000));
    assert_eq!(world.heard(), ["ready r0 v2"]);
}

#[test]
fn a_file_that_cannot_be_read_for_long_is_named_and_comes_back() {
    let mut world = World::new().settled();
    world.disk.replace("a.json", &doc("p", "r0", "v1"));
    world.disk.fail("a.json", Some(13));
    world.run(ms(10_000));
    assert_eq!(world.heard(), ["invalid a.json"]);
    world.disk.fail("a.json", None);
    world.run(INTERVAL + GRACE);
    assert_eq!(world.heard(), ["ready r0 v1"]);
}

#[test]
fn a_file_that_never_holds_still_is_not_told_and_not_called_bad() {
    let mut world = World::new();
    world.disk.replace("a.json", &doc("p", "r0", "v1"));
    world.disk.replace("b.json", &doc("p", "r1", "v1"));
    world.core.handle_listing(world.now, world.now, &world.disk.list().unwrap());
    for _ in 0..40 {
        while let Some((id, name)) = world.core.poll_read(world.now) {
            let document = match &*name.to_string_lossy() {
                "a.json" => Document::Changing,
                _ => world.disk.read(&name).unwrap(),
            };
            world.core.handle_document(world.now, world.now, id, document);
        }
        let mut told = Vec::new();
        while let Some(parcel) = world.core.poll_event(true) {
            told.push(parcel.event().name());
            world.acknowledge(parcel.ticket, true);
        }
        assert!(!told.contains(&"invalid"), "{told:?}");
        let next = world.core.poll_timeout();
        world.pass(next);
        if world.core.is_scan_due(next) {
            world.core.handle_listing(next, next, &world.disk.list().unwrap());
        }
    }
    assert!(world.elapsed() > ms(1000));
    assert!(world.core.figures().undecided_files >= 1);
}

#[test]
fn going_and_coming_while_the_host_sleeps_is_no_news() {
    let mut world = World::new().settled();
    world.host.mood = Mood::Sleeps;
    world.disk.listing_fails = true;
    world.run(ms(3000));
    world.disk.listing_fails = false;
    world.run(ms(3000));
    world.host.mood = Mood::Takes;
    world.run(ms(3000));
    assert_eq!(world.heard(), [""; 0]);
}

#[test]
fn a_verdict_that_is_out_of_date_before_the_host_hears_it_is_taken_back() {
    let mut world = World::new().settled();
    world.host.mood = Mood::Sleeps;
    world.disk.replace("a.json", "{");
    world.run(ms(5000));
    assert_eq!(world.waiting.len(), 1);
    world.disk.replace("a.json", &doc("p", "r0", "v1"));
    world.run(ms(2000));
    world.host.mood = Mood::Takes;
    world.run(ms(2000));
    assert_eq!(world.heard(), ["ready r0 v1"]);
}

#[test]
fn latency_is_of_new_files_only() {
    let mut world = World::new();
    world.disk.replace("a.json", &doc("p", "r0", "v1"));
    world.host.mood = Mood::Sleeps;
    world.run(ms(100));
    assert_eq!(world.waiting[0].changed, None, "it was there at the start");
    world.disk.replace("b.json", &doc("p", "r1", "v1"));
    let stamp = world.disk.files[OsStr::new("b.json")].stamp;
    world.run(ms(1000));
    let parcel = world.waiting.iter().find(|parcel| parcel.event().replica_id() == Some("r1")).unwrap();
    assert_eq!(parcel.changed, Some(stamp.ctime));
}

/// The thread spun: the retry was due, there was no room for it, and so the time of its next turn was in the past.
#[test]
fn regression_a_retry_that_finds_no_room_does_not_keep_the_thread_awake() {
    let mut world = World::with(Settings { channel_capacity: 1, ..Settings::default() }).settled();
    world.host.mood = Mood::Refuses;
    world.disk.replace("a.json", &doc("p", "r0", "v1"));
    world.run(INTERVAL);
    world.host.mood = Mood::Sleeps;
    world.disk.replace("b.json", &doc("p", "r1", "v1"));
    world.run(ms(60_000));
    assert_eq!(world.waiting.len(), 1);
    assert!(world.core.poll_timeout() > world.now);
}

#[test]
fn what_changes_while_the_host_has_the_event_in_its_hands_is_told_when_it_is_through() {
    for taken in [true, false] {
        let mut world = World::new().settled();
        world.host.mood = Mood::Sleeps;
        world.disk.replace("a.json", &doc("p", "r0", "v1"));
        world.run(INTERVAL);
        let parcel = world.waiting.remove(0);
        world.disk.replace("a.json", &doc("p", "r0", "v2"));
        world.run(INTERVAL);
        assert_eq!(world.waiting.len(), 0, "it cannot be taken back any more");
        world.core.handle_ack(world.now, parcel.ticket, taken);
        // At once: new content is no retry.
        world.round();
        let told: Vec<_> = world.waiting.iter().map(|parcel| parcel.event().name()).collect();
        assert_eq!(told, [if taken { "updated" } else { "ready" }]);
    }
}

/// `list` waited its 30 s for it, although it had been told what it is.
#[test]
fn regression_what_leads_nowhere_is_decided_when_that_is_told() {
    let mut world = World::new();
    world.disk.put("a.json", Content::Dangling);
    world.run(ms(2500));
    assert_eq!(world.heard(), ["invalid a.json", "synced"]);
    assert_eq!(world.core.figures().undecided_files, 0);
    world.disk.replace("a.json", &doc("p", "r0", "x"));
    world.run(INTERVAL + GRACE);
    assert_eq!(world.heard(), ["ready r0 x"]);
    // What it said ends when that is confirmed, and it is a file of its own from then on.
    world.disk.remove("a.json");
    world.disk.put("a.json", Content::Dangling);
    world.run(ms(5000));
    assert_eq!(world.heard(), ["removed r0 file_removed", "invalid a.json"]);
    assert_eq!(world.core.figures().undecided_files, 0);
    // Listed, and nothing is there.
    world.disk.contradicts = true;
    world.run(ms(5000));
    assert_eq!(world.core.figures().undecided_files, 0);
    world.disk.contradicts = false;
    world.disk.remove("a.json");
    world.run(ms(2000));
    assert_eq!((world.heard().len(), world.core.figures().files), (1, 0));
}

/// Another file takes the place of the one that goes, written in place: both are believed after the same time, and the one
/// was read when the other had been missed.
#[test]
fn regression_a_replica_whose_file_goes_is_not_removed_before_it_is_known_what_came() {
    for (read_takes, fails) in [(0, false), (1, false), (15, false), (0, true), (1, true), (15, true)] {
        let read_takes = ms(read_takes);
        let mut world = World::new();
        world.read_takes = read_takes;
        world.disk.replace("a.json", &doc("p", "r0", "a"));
        let mut world = world.settled();
        // What comes back as a whole is not told file by file.
        world.disk.listing_fails = fails;
        world.run(INTERVAL);
        world.disk.remove("a.json");
        world.disk.create("b.json", &doc("p", "r0", "b"));
        world.disk.listing_fails = false;
        world.run(ms(3000));
        let heard: Vec<_> = world.heard().into_iter().filter(|event| !event.contains("available")).collect();
        assert_eq!(heard, ["updated r0 b"], "{read_takes:?} {fails}");
        // One that never comes to rest holds up nothing.
        world.disk.create("c.json", &doc("p", "r1", "x"));
        world.run(ms(1000));
        world.heard();
        world.disk.remove("b.json");
        let gone = world.now;
        let mut version = 0;
        while world.host.held.len() == 2 {
            version += 1;
            world.disk.overwrite("c.json", &doc("p", "r1", &format!("{version}")));
            world.run(ms(10));
        }
        assert!(world.now - gone <= INTERVAL + GRACE, "{:?}", world.now - gone);
    }
}

/// Three pieces, of which the second changes no byte: the first two are no version, however long they look the same.
#[test]
fn regression_bytes_that_are_written_again_have_to_last_anew() {
    for interval in [10, 1000] {
        let mut world = World::with(Settings { poll_interval: ms(interval), ..Settings::default() });
        world.disk.replace("a.json", &doc("p", "r0", "old"));
        let mut world = world.settled();
        for piece in ["mixed", "mixed", "whole"] {
            world.disk.overwrite("a.json", &doc("p", "r0", piece));
            world.notice();
            world.run(ms(45));
            assert_eq!(world.heard(), [""; 0], "{interval} {piece}");
        }
        world.run(ms(3000));
        assert_eq!(world.heard(), ["updated r0 whole"]);
    }
}

/// What comes in the place of a file is rewritten before it is believed.
#[test]
fn regression_a_replica_is_not_removed_as_long_as_what_comes_speaks_of_it() {
    for truncated in [false, true] {
        let mut world = World::new();
        world.disk.replace("a.json", &doc("p", "r0", "a"));
        let mut world = world.settled();
        world.disk.create("b.json", &doc("p", "r0", "b"));
        world.disk.remove("a.json");
        world.notice();
        world.run(ms(30));
        if truncated {
            world.disk.overwrite("b.json", "");
            world.notice();
            world.run(ms(45));
        }
        world.disk.overwrite("b.json", &doc("p", "r0", "c"));
        world.run(ms(3000));
        assert_eq!(world.heard(), ["updated r0 c"], "{truncated}");
        // What comes and goes without having been believed takes nothing with it but what was there before.
        world.disk.create("d.json", &doc("p", "r0", "d"));
        world.disk.remove("b.json");
        world.notice();
        world.run(ms(20));
        world.disk.remove("d.json");
        world.run(INTERVAL + GRACE);
        assert_eq!(world.heard(), ["removed r0 file_removed"], "{truncated}");
    }
}

/// In place, and read one after the other.
#[test]
fn regression_files_that_change_roles_in_place_remove_nothing() {
    let mut world = World::new();
    let names = ["a.json", "b.json", "c.json"];
    for (name, replica) in names.into_iter().zip(["r0", "r1", "r2"]) {
        world.disk.replace(name, &doc("p", replica, "x"));
    }
    let mut world = world.settled();
    world.read_takes = ms(3);
    for (name, replica) in names.into_iter().zip(["r1", "r2", "r0"]) {
        world.disk.overwrite(name, &doc("p", replica, "x"));
    }
    world.notice();
    world.run(ms(3000));
    // For a moment two of them say the same.
    let mut heard: Vec<_> = world.heard().into_iter().filter(|event| !event.starts_with("conflict")).collect();
    heard.sort();
    assert_eq!(heard, ["updated r0 x", "updated r1 x", "updated r2 x"]);
}
