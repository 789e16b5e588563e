//! A host that refuses: what it refused is tried again, and keeps nothing else from it.

use super::*;

/// The next event, refused; the replica that it was about.
fn refuse(world: &mut World, idle: bool) -> Option<String> {
    let parcel = world.core.poll_event(idle)?;
    let replica = parcel.event().replica_id()?.to_owned();
    world.acknowledge(parcel.ticket, false);
    Some(replica)
}

/// Files that came, and were listed and read.
fn come(world: &mut World, names: impl Iterator<Item = String>) {
    for name in names {
        world.disk.replace(&format!("{name}.json"), &doc("p", &name, "x"));
    }
    let listing = world.disk.list().unwrap();
    world.core.handle_listing(world.now, world.now, &listing);
    world.read();
}

/// A host that takes 20 ms to refuse each of 500 was told of a new replica when it had refused them all once more: 10 s.
#[test]
fn regression_what_was_refused_comes_after_what_is_new() {
    let mut world = World::new().settled();
    come(&mut world, (0..500).map(|n| format!("r{n:03}")));
    for _ in 0..500 {
        assert!(refuse(&mut world, false).is_some(), "none was refused before");
    }
    world.pass(world.now + ms(150));
    world.core.handle_timeout(world.now);
    assert_eq!(refuse(&mut world, false), None, "others wait already");
    assert_eq!(refuse(&mut world, true).as_deref(), Some("r000"), "one at a time");
    come(&mut world, std::iter::once(String::from("new")));
    assert_eq!(refuse(&mut world, true).as_deref(), Some("new"));
    assert_eq!(refuse(&mut world, true).as_deref(), Some("r001"));
    assert_eq!(world.core.figures().backlog, 501);
}

#[test]
fn what_was_refused_is_tried_again_also_where_there_is_always_something_new() {
    let mut world = World::new().settled();
    come(&mut world, ["a", "b"].map(String::from).into_iter());
    assert!(refuse(&mut world, false).is_some() && refuse(&mut world, false).is_some());
    world.pass(world.now + ms(150));
    world.core.handle_timeout(world.now);
    // New content is no second try, and deserves one at once.
    world.disk.replace("b.json", &doc("p", "b", "y"));
    come(&mut world, (0..30).map(|n| format!("r{n:02}")));
    let heard: Vec<_> = std::iter::from_fn(|| {
        let parcel = world.core.poll_event(false)?;
        world.acknowledge(parcel.ticket, true);
        parcel.event().replica_id().map(str::to_owned)
    })
    .collect();
    assert_eq!(heard.iter().position(|replica| replica == "a"), Some(6), "two were refused, six came: {heard:?}");
    assert_eq!((heard.len(), heard.iter().filter(|replica| *replica == "b").count()), (32, 1), "{heard:?}");
    assert_eq!(world.core.figures().backlog, 0);
}
