//! When a directory need not be listed, and when its listing can be taken at its word: what its stamp proves.

use super::*;
use std::collections::BTreeSet;

#[test]
fn a_directory_is_listed_until_its_stamp_has_settled() {
    let mut fixture = Fixture::new();
    File::create(fixture.path("a.json")).unwrap();
    // Seen at 1 s; known to be unchanged since before 2 s; at 4 s that is not yet longer than 2 s.
    let listed: Vec<bool> = (0..7).map(|_| fixture.lists()).collect();
    assert_eq!(listed, [true, true, true, true, true, false, false]);
    fixture.change(|| drop(File::create(fixture.path("b.json")).unwrap()));
    let listed: Vec<bool> = (0..6).map(|_| fixture.lists()).collect();
    assert_eq!(listed, [true, true, true, true, true, false]);
}

/// The clock by which the file system stamps, as it ticks: that of the machine.
#[test]
#[cfg(target_os = "linux")]
fn a_stamp_has_settled_with_the_next_tick() {
    let mut fixture = Fixture::new();
    let until_settled = |fixture: &mut Fixture| {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            // Of these scans none is a microsecond later than the last one, by the clock of the tests.
            fixture.now -= Duration::from_secs(1);
            let stamp = stamp(&Directory::open(&fixture.dir).unwrap().stat().unwrap());
            let before = ticks();
            let listed = fixture.lists();
            assert!(!fixture.listing.certain, "what left a moment ago may be back");
            if !listed {
                return;
            }
            assert!(before <= stamp.ctime || fixture.relies(), "the clock has ticked, and it does not settle");
            assert!(Instant::now() < deadline, "never settled");
        }
    };
    fixture.scanner.ticks = ticks;
    until_settled(&mut fixture);
    for round in 0..20 {
        File::create(fixture.path(&format!("{round}.json"))).unwrap();
        // A stamp that has settled when it is first seen is another one than that of the listing that was relied upon.
        let changed = stamp(&Directory::open(&fixture.dir).unwrap().stat().unwrap()).ctime;
        while round % 2 == 0 && ticks() <= changed {
            std::thread::yield_now();
        }
        assert_eq!(fixture.names().len(), round + 1);
        fixture.now -= Duration::from_secs(1);
        until_settled(&mut fixture);
        assert_eq!(fixture.listing.entries.len(), round + 1);
    }
    // A clock that was set back since: only time tells.
    fixture.scanner.ticks = || Moment::FIRST;
    fixture.scanner.watched = None;
    assert!(fixture.lists() && !fixture.relies());
    fixture.settle();
    assert!(fixture.listing.certain);
}

/// A change while the names were listed may be missed, and has no later stamp to show it than the one that is seen next.
#[test]
fn what_changes_during_a_listing_has_the_directory_listed_again() {
    let mut fixture = Fixture::new();
    fixture.scanner.ticks = || Moment::LAST;
    fixture.settle();
    let directory = Directory::open(&fixture.dir).unwrap();
    assert_ne!(fixture.scanner.observe(&directory, fixture.now).unwrap(), Quiet::Unknown);
    // As if the listing that comes now had begun before this.
    fixture.change(|| drop(File::create(fixture.path("a.json")).unwrap()));
    fixture.scanner.relied_on();
    let begun = Begun { now: fixture.now, quiet: Quiet::Lasting, relied_on: None, arrivals: Vec::new() };
    fixture.scanner.list(&directory).unwrap();
    fixture.scanner.finish(&directory, &begun, &mut fixture.listing).unwrap();
    assert!(!fixture.listing.certain && !fixture.relies());
    assert!(fixture.lists());
    assert!(!fixture.lists());
}

#[test]
fn a_change_in_the_tick_that_has_not_ended_may_be_followed_by_others() {
    thread_local!(static NOW: std::cell::Cell<Moment> = const { std::cell::Cell::new(Moment::FIRST) });
    let mut fixture = Fixture::new();
    fixture.scanner.ticks = || NOW.get();
    let changed = stamp(&Directory::open(&fixture.dir).unwrap().stat().unwrap()).ctime;
    for (after, settles) in [(-1, false), (0, false), (1, true)] {
        NOW.set(changed.after(after));
        fixture.scanner.watched = None;
        assert!(fixture.lists());
        assert_eq!(fixture.relies(), settles, "{after} ns after the change");
    }
}

#[test]
fn the_clock_decides_and_not_the_number_of_scans() {
    let mut fixture = Fixture::new();
    for _ in 0..100 {
        fixture.now -= Duration::from_millis(980);
        assert!(fixture.lists());
    }
}

#[test]
fn a_directory_that_is_not_trusted_is_always_listed() {
    let mut fixture = Fixture::new();
    fixture.scanner.trusts = |_, _| false;
    assert!((0..100).all(|_| fixture.lists()));
    assert!(!fixture.listing.certain, "its stamp proves nothing");
    fixture.scanner.trusts = |_, _| true;
    fixture.scanner.watched = None;
    fixture.settle();
    assert!(fixture.listing.certain);
}

#[test]
fn a_listing_is_not_relied_upon_for_ever() {
    let mut fixture = Fixture::new();
    fixture.settle();
    let listed = (0..600).filter(|_| fixture.lists()).count();
    assert!((9..=10).contains(&listed), "{listed}");
}

#[test]
fn whole_seconds_and_other_file_systems_are_not_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::open(dir.path()).unwrap();
    let stamp = stamp(&directory.stat().unwrap());
    for (seconds, nanos) in [(5, 0), (0, 0), (i64::MAX, 1), (i64::MIN, 1)] {
        assert!(!keeps_its_stamp(&directory, &Stamp { ctime: Moment::new(seconds, nanos), ..stamp }));
    }
    if let Ok(proc) = Directory::open(Path::new("/proc/self")) {
        assert!(!keeps_its_stamp(&proc, &stamp));
    }
}

/// Whatever the file system and the phase of its clock: what has changed by then is in the next scan. Changes and scans in
/// turns, many within one tick.
#[test]
fn every_change_is_seen_by_the_next_scan() {
    for root in [std::env::temp_dir(), PathBuf::from("/dev/shm")] {
        let Ok(dir) = tempfile::tempdir_in(root) else { continue };
        let path = |name: &str| dir.path().join(name);
        let (mut scanner, mut listing) = (Scanner::new(dir.path().to_owned(), true), Listing::default());
        let mut names = BTreeSet::new();
        let (mut scans, mut arrived) = (0, 0);
        for round in 0..2000_u32 {
            let name = format!("{:02}.json", round.wrapping_mul(2_654_435_761) % 40);
            match round % 4 {
                _ if names.remove(&name) => fs::remove_file(path(&name)).unwrap(),
                1 => {
                    File::create(path("tmp")).unwrap();
                    fs::rename(path("tmp"), path(&name)).unwrap();
                    names.insert(name);
                }
                _ => {
                    File::create(path(&name)).unwrap();
                    names.insert(name);
                }
            }
            if round % 5 == 0 {
                // Now and then the clock ticks before the next scan, and a listing can be relied upon.
                std::thread::sleep(Duration::from_micros(u64::from(round % 83) * 60));
            }
            for _ in 0..1 + round % 3 {
                let directory = scanner.open().unwrap();
                let begun = scanner.begin(&directory, Instant::now()).unwrap();
                scanner.finish(&directory, &begun, &mut listing).unwrap();
                let shown: Vec<_> = listing.entries.iter().map(|entry| entry.name.to_str().unwrap()).collect();
                assert!(names.iter().eq(&shown), "{round}: {shown:?} instead of {names:?}");
                scans += 1;
                arrived += begun.arrivals.len();
            }
        }
        assert!(arrived > 100, "{arrived} arrived");
        let directory = scanner.open().unwrap();
        if keeps_its_stamp(&directory, &scanner.stamp(&directory).unwrap().0) {
            let listings = scanner.listings();
            assert!(listings + 20 < scans, "{listings} listings in {scans} scans");
        }
    }
}

/// On btrfs an open directory shows only the names that it had when it was opened.
#[test]
fn regression_what_comes_between_the_opening_and_the_look_is_not_missed() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str| {
        fs::write(dir.path().join("tmp"), "").unwrap();
        fs::rename(dir.path().join("tmp"), dir.path().join(name)).unwrap();
    };
    put("a.json");
    let (mut scanner, mut listing) = (Scanner::new(dir.path().to_owned(), true), Listing::default());
    let mut scan = |meanwhile: &dyn Fn()| {
        let now = Instant::now();
        let directory = scanner.open().unwrap();
        meanwhile();
        let begun = scanner.begin(&directory, now).unwrap();
        scanner.finish(&directory, &begun, &mut listing).unwrap();
        listing.entries.iter().map(|it| it.name.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(scan(&|| ()), ["a.json"]);
    for _ in 0..3 {
        let during = scan(&|| {
            put("a.json");
            put("b.json");
            // The clock ticks.
            std::thread::sleep(Duration::from_millis(25));
        });
        assert!(during.contains(&String::from("a.json")), "{during:?}");
        assert_eq!(scan(&|| ()), ["a.json", "b.json"]);
        fs::remove_file(dir.path().join("b.json")).unwrap();
    }
}

#[test]
fn a_listing_is_not_taken_at_its_word_when_the_directory_changed_meanwhile() {
    let mut fixture = Fixture::new();
    File::create(fixture.path("a.json")).unwrap();
    fs::create_dir(fixture.path("x")).unwrap();
    fixture.settle();
    fixture.scanner.names.start();
    ["a.json", "x/../a.json"].iter().for_each(|name| fixture.scanner.names.push(name.as_bytes()));
    fixture.scanner.names.finish();
    fixture.change(|| drop(File::create(fixture.path("b.json")).unwrap()));
    let directory = Directory::open(&fixture.dir).unwrap();
    let (now, scanner) = (fixture.now, &mut fixture.scanner);
    scanner.relied_on();
    let begun = Begun { now, quiet: Quiet::Lasting, relied_on: None, arrivals: Vec::new() };
    scanner.list(&directory).unwrap();
    scanner.finish(&directory, &begun, &mut fixture.listing).unwrap();
    assert_eq!(fixture.listing.entries.len(), 3);
    assert!(fixture.lists());
}

/// As where upper and lower case are the same, and a file was given the other one.
#[test]
fn regression_a_listing_that_leaves_a_name_in_doubt_is_not_relied_upon() {
    let mut fixture = Fixture::new();
    fixture.scanner.ticks = || Moment::LAST;
    File::create(fixture.path("A.json")).unwrap();
    fs::create_dir(fixture.path("x")).unwrap();
    fixture.scanner.names.start();
    fixture.scanner.names.push(b"x/../A.json");
    fixture.scanner.names.finish();
    let seconds = (0..100).take_while(|_| fixture.names().len() > 1).count();
    assert!(seconds <= 5, "{seconds} s");
    assert!(!fixture.lists());
}

#[test]
fn regression_a_clock_that_is_set_back_meanwhile_has_not_ticked() {
    thread_local!(static SET_BACK: std::cell::Cell<bool> = const { std::cell::Cell::new(false) });
    let mut fixture = Fixture::new();
    fixture.scanner.ticks = || if SET_BACK.replace(true) { Moment::new(1, 0) } else { Moment::LAST };
    assert!(fixture.lists() && !fixture.relies());
    SET_BACK.set(false);
    fixture.scanner.ticks = || Moment::LAST;
    assert!(fixture.lists() && fixture.relies());
}
