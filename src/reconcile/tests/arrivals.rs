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
fn a_scan_that_breaks_off_holds_nothing_back() {
    let mut world = world();
    world.disk.replace("b.json", &doc("p", "r1", "v1"));
    world.disk.replace("c.json", &doc("p", "r0", "v2"));
    world.begin_scan();
    assert_eq!(world.heard(), Vec::<String>::new(), "one of them waits, and the others with it");
    world.core.handle_scan_error(world.now, world.now, Error::new(ErrorKind::Io, "simulated"));
    world.tell();
    // As far as it is known; and it is so.
    assert_eq!(world.heard(), ["ready r1 v1", "conflict c.json a.json", "updated r0 v2", "unavailable"]);
    world.run(ms(5000));
    assert_eq!(world.heard(), ["available"]);
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
