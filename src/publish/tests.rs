use std::collections::HashSet;
use std::sync::Barrier;
use std::sync::atomic::AtomicBool;

use proptest::prelude::*;
use tempfile::TempDir;

use super::names::{distinct_file_name, handoff_file_name};
use super::*;
use crate::listing::is_handoff_name;

fn temporary_dir() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn payload(pool_id: &str, replica_id: &str) -> HandoffPayload {
    HandoffPayload::new(pool_id, replica_id, "http://localhost:8080").expect("valid ids")
}

fn read_back(path: &Path) -> HandoffPayload {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    HandoffPayload::parse(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Behind the path-based interface of libfuse, a file whose name is being replaced cannot be opened for a moment.
fn loses_names(dir: &Path) -> bool {
    const FUSE: u32 = 0x6573_5546;
    rustix::fs::statfs(dir).is_ok_and(|stat| stat.f_type as u32 == FUSE)
}

fn listing(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    names
}

#[test]
fn publishes_replaces_and_withdraws() {
    let dir = temporary_dir();
    let dir = dir.path().join("run/engines");
    let mut handoff = payload("pool-0", "r0");
    let path = publish(&dir, &handoff).unwrap();
    assert_eq!(path, dir.join("pool-0-r0.json"));
    assert_eq!(read_back(&path), handoff);
    handoff.slots = Some(4);
    assert_eq!(publish(&dir, &handoff).unwrap(), path);
    assert_eq!(read_back(&path), handoff);
    assert_eq!(listing(&dir), ["pool-0-r0.json"]);
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777 & !0o044, 0o600);
    }
    assert!(!withdraw(&dir, "pool-0", "r1").unwrap());
    assert!(withdraw(&dir, "pool-0", "r0").unwrap());
    assert!(!withdraw(&dir, "pool-0", "r0").unwrap());
    assert!(listing(&dir).is_empty());
    assert!(!withdraw(dir.join("absent"), "pool-0", "r0").unwrap());
}

#[test]
fn regression_no_directory_is_not_the_working_directory() {
    // Names that no other test has: without the refusal this would be a file beside the sources.
    let handoff = payload("regression-no-directory", "r0");
    let name = handoff_file_name(&handoff.pool_id, &handoff.replica_id);
    for error in [
        publish("", &handoff).expect_err("an empty path is no directory"),
        withdraw("", &handoff.pool_id, &handoff.replica_id).expect_err("an empty path is no directory"),
        publish("a\0b", &handoff).expect_err("a NUL is in no path"),
    ] {
        assert_eq!((error.kind(), error.field()), (ErrorKind::Config, Some("runtime_dir")), "{error}");
        assert!(
            error.message().starts_with("setting `runtime_dir`: expected the path of a directory, found"),
            "{error}"
        );
    }
    assert!(!Path::new(&name).exists());
    assert!(!withdraw(".", &handoff.pool_id, &handoff.replica_id).expect("the working directory, by its name"));
}

#[test]
fn a_reader_never_sees_a_part() {
    let dir = temporary_dir();
    let mut handoff = payload("pool-0", "r0");
    let path = publish(dir.path(), &handoff).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let loses_names = loses_names(dir.path());
            while !done.load(Ordering::Relaxed) {
                let seen = match fs::read(&path) {
                    Err(error) if loses_names && error.kind() == io::ErrorKind::NotFound => continue,
                    read => HandoffPayload::parse(&read.unwrap()).unwrap(),
                };
                assert_eq!(seen.flags.map_or(0, |flags| flags.len()), seen.slots.unwrap_or(0) as usize);
            }
        });
        for slots in 1..=50 {
            handoff.slots = Some(slots);
            handoff.flags = Some(vec!["-x".repeat(200); slots as usize]);
            publish(dir.path(), &handoff).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
    assert_eq!(listing(dir.path()), ["pool-0-r0.json"]);
}

#[test]
fn a_payload_that_no_watcher_takes_is_not_written() {
    let dir = temporary_dir();
    let mut handoff = payload("pool-0", "r0");
    handoff.pid = Some(0);
    let absent = dir.path().join("engines");
    assert_eq!(publish(&absent, &handoff).unwrap_err().field(), Some("pid"));
    assert!(!absent.exists());
    assert_eq!(withdraw(&absent, "", "r0").unwrap_err().field(), Some("pool_id"));
}

#[test]
fn a_directory_that_is_none_is_named() {
    let dir = temporary_dir();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = publish(&file, &payload("p", "r")).unwrap_err();
    assert_eq!(error.to_string(), format!("{}: cannot create the directory: a file is in its place", file.display()));
    assert_eq!((error.kind(), error.path()), (ErrorKind::Io, Some(&*file)));
    let error = publish(file.join("below"), &payload("p", "r")).unwrap_err();
    assert!(error.message().starts_with("cannot create the directory: "), "{error}");
    let error = withdraw(&file, "p", "r").unwrap_err();
    assert!(error.message().starts_with("cannot read the handoff that is there: "), "{error}");
}

#[test]
fn a_failure_leaves_nothing_behind() {
    let dir = temporary_dir();
    let in_the_way = dir.path().join("pool-0-r0.json");
    fs::create_dir(&in_the_way).unwrap();
    let error = publish(dir.path(), &payload("pool-0", "r0")).unwrap_err();
    assert!(error.message().starts_with("cannot put the handoff into its place: "), "{error}");
    assert_eq!(error.path(), Some(&*in_the_way));
    assert_eq!(listing(dir.path()), ["pool-0-r0.json"]);
    assert!(!withdraw(dir.path(), "pool-0", "r0").unwrap());
}

#[test]
fn what_is_no_handoff_is_replaced_but_not_withdrawn() {
    let dir = temporary_dir();
    let path = dir.path().join("pool-0-r0.json");
    fs::write(&path, "{\"pool_id\":\"pool-0\",\"repl").unwrap();
    assert!(!withdraw(dir.path(), "pool-0", "r0").unwrap());
    assert_eq!(publish(dir.path(), &payload("pool-0", "r0")).unwrap(), path);
    assert_eq!(listing(dir.path()), ["pool-0-r0.json"]);
}

#[test]
fn links_to_nothing_and_fifos_are_replaced_without_waiting() {
    let dir = temporary_dir();
    let path = dir.path().join("pool-0-r0.json");
    std::os::unix::fs::symlink("nowhere", &path).unwrap();
    assert_eq!(publish(dir.path(), &payload("pool-0", "r0")).unwrap(), path);
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        fs::remove_file(&path).unwrap();
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        assert!(!withdraw(dir.path(), "pool-0", "r0").unwrap());
        assert_eq!(publish(dir.path(), &payload("pool-0", "r0")).unwrap(), path);
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
    }
}

#[test]
fn two_replicas_of_one_name_get_two_files() {
    let dir = temporary_dir();
    let (mut first, second) = (payload("a-b", "c"), payload("a", "b-c"));
    let plain = publish(dir.path(), &first).unwrap();
    assert_eq!(plain, dir.path().join("a-b-c.json"));
    let other = publish(dir.path(), &second).unwrap();
    assert_eq!(other, dir.path().join("a-b-c%~9fece02c191ee435.json"));
    assert_eq!((read_back(&plain), read_back(&other)), (first.clone(), second.clone()));
    first.slots = Some(1);
    assert_eq!(publish(dir.path(), &first).unwrap(), plain);
    assert!(withdraw(dir.path(), "a-b", "c").unwrap());
    assert!(!plain.exists());
    // It stays where it is: under two names it would be in conflict with itself.
    assert_eq!(publish(dir.path(), &second).unwrap(), other);
    assert_eq!(listing(dir.path()).len(), 1);
    assert_eq!(publish(dir.path(), &first).unwrap(), plain);
    assert!(withdraw(dir.path(), "a", "b-c").unwrap());
    assert_eq!(listing(dir.path()), ["a-b-c.json"]);
    // A copy under the demanded name is taken over, and the other one removed.
    fs::copy(publish(dir.path(), &second).unwrap(), &plain).unwrap();
    assert_eq!(publish(dir.path(), &second).unwrap(), plain);
    assert_eq!(listing(dir.path()), ["a-b-c.json"]);
}

#[test]
fn names_that_are_both_taken_are_an_error() {
    let dir = temporary_dir();
    for name in names("a-b", "c") {
        fs::write(dir.path().join(name), serde_json::to_vec(&payload("x", "y")).unwrap()).unwrap();
    }
    let error = publish(dir.path(), &payload("a-b", "c")).unwrap_err();
    assert_eq!(error.message(), "cannot publish the handoff: its names hold the handoffs of other replicas");
    assert_eq!(listing(dir.path()).len(), 2);
}

#[test]
fn producers_that_race_for_a_name_both_get_one() {
    let (first, second) = (payload("a-b", "c"), payload("a", "b-c"));
    for _ in 0..20 {
        let dir = temporary_dir();
        let start = Barrier::new(2);
        let race = |handoff: &HandoffPayload| {
            start.wait();
            publish(dir.path(), handoff).unwrap()
        };
        let (one, two) = std::thread::scope(|scope| {
            let one = scope.spawn(|| race(&first));
            (race(&second), one.join().unwrap())
        });
        assert_eq!((read_back(&two), read_back(&one)), (first.clone(), second.clone()));
        assert_eq!(listing(dir.path()).len(), 2);
    }
}

/// Where the system cannot rename without replacing.
#[test]
fn regression_a_link_takes_no_name_that_is_taken() {
    let dir = temporary_dir();
    let [first, second, name] = ["first", "second", "name"].map(|name| dir.path().join(name));
    fs::write(&first, "1").unwrap();
    fs::write(&second, "2").unwrap();
    assert!(link_new(&first, &name).unwrap());
    assert!(!link_new(&second, &name).unwrap());
    assert_eq!(fs::read(&name).unwrap(), b"1");
}

#[test]
fn hostile_ids_stay_in_the_directory() {
    let long = "ä".repeat(128);
    let dir = temporary_dir();
    let inner = dir.path().join("inner");
    let ids = ["../x", "a/b", ".hidden", ".", "..", "/etc/passwd", "a\\b", "100%", "%2F", "-rf", " ", &long];
    let mut paths = HashSet::new();
    for pool_id in ids {
        for replica_id in ids {
            let handoff = payload(pool_id, replica_id);
            let path = publish(&inner, &handoff).unwrap();
            assert_eq!(path.parent(), Some(&*inner));
            assert!(is_handoff_name(path.file_name().unwrap()), "{}", path.display());
            assert_eq!(read_back(&path), handoff);
            paths.insert(path);
        }
    }
    assert_eq!(paths.len(), ids.len() * ids.len());
    assert_eq!(listing(&inner).len(), paths.len());
    assert_eq!(listing(dir.path()), ["inner"]);
    for pool_id in ids {
        for replica_id in ids {
            assert!(withdraw(&inner, pool_id, replica_id).unwrap());
        }
    }
    assert!(listing(&inner).is_empty());
}

#[test]
fn names_are_as_demanded_where_they_can_be() {
    for (pool_id, replica_id, name) in [
        ("pool-0", "r0", "pool-0-r0.json"),
        ("pool-größe-模型", "r 0", "pool-größe-模型-r 0.json"),
        ("p:1", ".r.", "p:1-.r..json"),
        ("../x", "a/b\\c", "%2E.%2Fx-a%2Fb%5Cc.json"),
        ("50%", "\u{85}", "50%25-%C2%85.json"),
    ] {
        assert_eq!(handoff_file_name(pool_id, replica_id), name);
    }
    // Names are found again by later releases.
    let cut = handoff_file_name(&"a".repeat(256), "r");
    assert_eq!((cut.len(), &cut[230..]), (255, "aa%~b9678fe056da7d94.json"));
}

proptest! {
    #[test]
    fn names_fit_and_differ(a in ".{1,80}", b in ".{1,80}", c in "[-./%~a]{1,3}", d in "[-./%~a]{1,3}") {
        for name in names(&a, &b) {
            let is_plain = !name.contains(['/', '\0']);
            prop_assert!(name.len() <= 255 && is_plain && is_handoff_name(name.as_ref()), "{}", name);
        }
        if (&a, &b) != (&c, &d) {
            prop_assert_ne!(distinct_file_name(&a, &b), distinct_file_name(&c, &d));
            prop_assert_ne!(distinct_file_name(&a, &b), handoff_file_name(&c, &d));
        }
    }
}
