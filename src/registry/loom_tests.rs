//! Who waits for a replica, under every order in which it, the end and the time can come.

use loom::thread::spawn;

use super::*;
use crate::deliver::loom_tests::every_order;

const FAR: Duration = Duration::from_secs(3600);

fn ready() -> (ReplicaKey, Handoff) {
    let text = r#"{"pool_id":"p","replica_id":"r","url":"http://localhost:1"}"#;
    let handoff = Handoff::of(text.as_bytes()).unwrap();
    (ReplicaKey(handoff.clone()), handoff)
}

#[test]
fn the_end_wakes_who_waits() {
    every_order(5, || {
        let registry = Registry::default();
        let hosts = [FAR, Duration::MAX].map(|timeout| {
            let registry = registry.clone();
            spawn(move || registry.wait_ready("p", timeout))
        });
        registry.close();
        hosts.into_iter().for_each(|host| assert!(!host.join().unwrap()));
        assert!(!registry.wait_ready("p", FAR));
    });
}

#[test]
fn what_is_waited_for_wakes_who_waits() {
    every_order(5, || {
        let registry = Registry::default();
        let host = registry.clone();
        let host = spawn(move || host.wait_replica_ready("p", "r", Duration::MAX));
        let (key, handoff) = ready();
        registry.set(key, Some(handoff));
        assert!(host.join().unwrap());
    });
}

#[test]
fn what_comes_just_before_the_end_of_the_time_is_not_missed() {
    every_order(5, || {
        let registry = Registry::default();
        let hosts = ["p", "q"].map(|pool| {
            let registry = registry.clone();
            spawn(move || registry.wait_ready(pool, FAR))
        });
        let (key, handoff) = ready();
        registry.set(key, Some(handoff));
        registry.shared.changed.expire(&registry.shared.state);
        assert_eq!(hosts.map(|host| host.join().unwrap()), [true, false]);
    });
}

#[test]
fn the_time_wakes_who_waits() {
    every_order(5, || {
        let registry = Registry::default();
        let host = registry.clone();
        let host = spawn(move || host.wait_ready("p", FAR));
        let clock = registry.clone();
        let clock = spawn(move || clock.shared.changed.expire(&clock.shared.state));
        let (key, handoff) = ready();
        registry.set(key.clone(), Some(handoff));
        registry.set(key, None);
        // It saw it, or it did not: either way it is back.
        host.join().unwrap();
        clock.join().unwrap();
    });
}
