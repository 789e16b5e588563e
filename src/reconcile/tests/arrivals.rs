//! What comes with a listing is told before the rest of the directory is looked at; unless something else speaks of it.

use super::*;

impl World {
    /// A scan that has begun: the names are known, and of those that came the reads are made.
    fn begin_scan(&mut self) -> Listing {
        self.remember();
        let listing = self.disk.list().unwrap();
        self.arrive(listing)
    }
}

fn world() -> World {
    let mut world = World::new();
    world.disk.create("a.json", &doc("p", "r0", "v1"));
    world.settled()
}

#[test]
fn a_new_file_is_told_before_the_rest_is_looked_at() {
    let mut world = world();
    world.disk.replace("b.json", &doc("p", "r1", "v1"));
    world.disk.replace("a.json", &doc("p", "r0", "v2"));
    world.reads = 0;
    let listing = world.begin_scan();
    assert_eq!(world.heard(), ["ready r1 v1"]);
    world.core.handle_listing(world.now, world.now, &listing);
    world.run(ms(0));
    assert_eq!(world.heard(), ["updated r0 v2"]);
    assert_eq!(world.reads, 2, "each version is read once");
}

#[test]
fn a_name_that_was_given_to_another_file_is_one_update() {
    let mut world = world();
    world.disk.rename("a.json", "b.json");
    let listing = world.begin_scan();
    assert_eq!(world.heard(), Vec::<String>::new());
    world.core.handle_listing(world.now, world.now, &listing);
    world.run(ms(0));
    assert_eq!(world.heard(), ["updated r0 v1"]);
    world.run(ms(5000));
    assert_eq!(world.heard(), Vec::<String>::new());
}

#[test]
fn a_second_claim_waits_for_the_look_at_the_first() {
    let mut world = world();
    // The first gives the replica up at the same time: there is no conflict, and it is never gone.
    world.disk.replace("b.json", &doc("p", "r0", "v2"));
    world.disk.replace("a.json", &doc("p", "r1", "v1"));
    let listing = world.begin_scan();
    assert_eq!(world.heard(), Vec::<String>::new());
    world.core.handle_listing(world.now, world.now, &listing);
    world.run(ms(0));
    let mut heard = world.heard();
    heard.sort_unstable();
    assert_eq!(heard, ["ready r1 v1", "updated r0 v2"]);
}

#[test]
fn a_file_that_goes_again_before_the_look_is_told_as_gone() {
    let mut world = world();
    world.disk.replace("b.json", &doc("p", "r1", "v1"));
    let listing = world.begin_scan();
    assert_eq!(world.heard(), ["ready r1 v1"]);
    world.disk.remove("b.json");
    world.core.handle_listing(world.now, world.now, &world.disk.look_again(&listing));
    world.run(ms(1100));
    assert_eq!(world.heard(), ["removed r1 file_removed"]);
}

#[test]
fn of_two_that_come_the_winner_is_told_first() {
    let mut world = world();
    for (name, text) in [("b.json", "v2"), ("c.json", "v3"), ("d.json", "v4")] {
        world.disk.replace(name, &doc("p", "r1", text));
        world.pass(world.now + ms(1));
    }
    let listing = world.begin_scan();
    assert_eq!(world.heard(), Vec::<String>::new());
    world.core.handle_listing(world.now, world.now, &listing);
    world.run(ms(0));
    assert_eq!(world.heard(), ["ready r1 v4", "conflict d.json b.json c.json"]);
}

#[test]
fn a_scan_that_breaks_off_makes_nothing_up() {
    let mut world = world();
    world.disk.replace("b.json", &doc("p", "r1", "v1"));
    world.disk.rename("a.json", "c.json");
    world.begin_scan();
    assert_eq!(world.heard(), Vec::<String>::new(), "one of them waits, and the others with it");
    world.core.handle_scan_error(world.now, Error::new(ErrorKind::Io, "simulated"));
    world.tell();
    assert_eq!(world.heard(), ["ready r1 v1", "unavailable"]);
    world.run(ms(5000));
    assert_eq!(world.heard(), ["updated r0 v1", "available"]);
}

/// Missing in one listing and there again in the next one, in which another one came.
#[test]
fn what_was_missing_is_looked_at_first() {
    let mut world = world();
    world.disk.remove("a.json");
    world.pass(world.core.poll_timeout());
    world.round();
    world.disk.replace("b.json", &doc("p", "r0", "v2"));
    world.pass(world.now + ms(10));
    world.disk.replace("a.json", &doc("p", "r0", "v3"));
    world.run(ms(1100));
    assert_eq!(world.heard(), ["updated r0 v3", "conflict a.json b.json"]);
}

#[test]
fn regression_a_replacement_under_another_name_has_its_latency() {
    for (name, moves_on) in [("b.json", false), ("b.json", true), ("0.json", false), ("0.json", true)] {
        let mut world = world();
        world.host.mood = Mood::Sleeps;
        world.disk.replace(name, &doc("p", "r0", "v2"));
        if moves_on {
            world.disk.replace("a.json", &doc("p", "r1", "v2"));
        } else {
            world.disk.remove("a.json");
        }
        world.run(ms(1100));
        assert!(!world.waiting.is_empty());
        assert!(world.waiting.iter().all(|parcel| parcel.changed.is_some()), "{:?}", world.waiting);
    }
}

/// It vanished between the listing and the look; the look at all others took longer than it takes to confirm an absence.
#[test]
fn what_only_came_and_went_is_not_invalid() {
    let mut world = World::with(Settings { settle_time: ms(0), ..Settings::default() }).settled();
    world.disk.replace("b.json", &doc("p", "r1", "v1"));
    let listing = world.disk.list().unwrap();
    world.disk.remove("b.json");
    let listing = world.disk.look_again(&listing);
    assert!(!world.core.handle_arrivals(world.now, &listing.entries));
    let began = world.now;
    world.pass(world.now + 2 * crate::reconcile::file::CONFIRM);
    world.core.handle_listing(began, world.now, &listing);
    world.run(ms(2000));
    assert_eq!(world.heard(), Vec::<String>::new());
}

/// The thread is late: a scan is due, and the second look at a file that changed. The two files have swapped their replicas.
#[test]
fn only_what_came_goes_first() {
    let mut world = world();
    world.disk.create("b.json", &doc("p", "r1", "v1"));
    let mut world = world.settled();
    world.disk.touch("a.json");
    world.run(ms(1000));
    world.pass(world.now + ms(2000));
    world.disk.replace("a.json", &doc("p", "r1", "v2"));
    world.disk.replace("b.json", &doc("p", "r0", "v2"));
    world.disk.replace("c.json", &doc("p", "r2", "v2"));
    let listing = world.disk.list().unwrap();
    let came: Vec<Entry> = listing.entries.iter().filter(|it| it.name == disk::file("c.json")).cloned().collect();
    assert!(world.core.handle_arrivals(world.now, &came));
    world.read();
    let changes: Vec<_> = std::iter::from_fn(|| world.core.poll_registry()).map(|it| it.replica).collect();
    assert_eq!(changes.iter().map(|it| it.0.replica_id()).collect::<Vec<_>>(), ["r2"]);
}

#[test]
fn what_comes_back_or_comes_first_comes_as_a_whole() {
    let mut world = World::new();
    world.disk.create("a.json", &doc("p", "r0", "v1"));
    world.begin_scan();
    assert_eq!(world.heard(), Vec::<String>::new(), "the very first listing");
    let mut world = world.settled();
    world.disk.listing_fails = true;
    world.run(ms(1000));
    world.disk.listing_fails = false;
    world.disk.replace("b.json", &doc("p", "r1", "v1"));
    world.begin_scan();
    assert_eq!(world.heard(), ["unavailable"]);
    world.run(ms(1000));
    assert_eq!(world.heard(), ["ready r1 v1", "available"]);
}

#[test]
fn the_registry_waits_with_the_events() {
    let mut world = world();
    world.disk.replace("b.json", &doc("p", "r1", "v2"));
    world.pass(world.now + ms(1));
    world.disk.replace("d.json", &doc("p", "r1", "v4"));
    let listing = world.disk.list().unwrap();
    assert!(world.core.handle_arrivals(world.now, &listing.entries));
    world.read();
    assert!(world.core.poll_registry().is_none(), "one of them is the loser");
    world.core.handle_listing(world.now, world.now, &listing);
    world.read();
    let urls: Vec<_> =
        std::iter::from_fn(|| world.core.poll_registry()).map(|it| it.handoff.unwrap().payload().url).collect();
    assert!(!urls.is_empty() && urls.iter().all(|url| url.ends_with("v4")));
}

/// The kernel says once that a file was moved to its name: whoever opens it takes that away.
#[test]
fn regression_what_waits_is_not_read_again() {
    let mut world = world();
    world.disk.notifies = true;
    world.disk.tick = 1_000_000_000;
    world.disk.remove("a.json");
    world.disk.replace("b.json", &doc("p", "r0", "v2"));
    world.disk.create("c.json", "no handoff");
    world.reads = 0;
    let listing = world.begin_scan();
    world.core.handle_listing(world.now, world.now, &listing);
    world.run(ms(0));
    assert_eq!((world.heard(), world.reads), (vec!["updated r0 v2".to_owned()], 2));
    // Unless it changed meanwhile.
    world.disk.replace("d.json", &doc("p", "r0", "v3"));
    let listing = world.begin_scan();
    world.disk.replace("d.json", &doc("p", "r0", "v4"));
    world.core.handle_listing(world.now, world.now, &world.disk.look_again(&listing));
    world.run(ms(0));
    assert_eq!(world.heard(), ["conflict d.json b.json", "updated r0 v4"]);
}
