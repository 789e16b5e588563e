//! `check`.

use std::process::Command;

use serde_json::Value;

use crate::harness::{Place, assert_harmless, command, finish, fixtures, run};

#[test]
fn each_handoff_of_the_field_gets_its_verdict() {
    for file in fixtures("accept") {
        let said = run([&"check".into(), &file]);
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
        assert!(said.out.starts_with(&format!("{}: ok  ", file.display())), "{said:?}");
    }
    let said = run([&"check".into(), &fixtures("withdraw")[0]]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("(says that it is not ready)"), "{said:?}");
    for file in fixtures("reject") {
        let said = run([&"check".into(), &file]);
        assert_eq!((said.code, said.err.as_str()), (Some(1), ""), "{said:?}");
        assert!(said.out.starts_with(&format!("{}:", file.display())) && said.out.lines().count() == 1, "{said:?}");
        assert_harmless(&said.out);
    }
}

#[test]
fn one_bad_file_among_good_ones_is_exit_1_with_its_place() {
    let place = Place::new();
    let good = place.handoff("a.json", "p", "r", 1);
    let bad = place.write("b.json", "{\n  \"pool_id\": 7,\n  \"replica_id\": \"r\", \"url\": \"http://h\"\n}");
    let files = [good.clone(), bad.clone(), good.clone()];
    let said = finish(command(["check"]).args(&files), b"");
    assert_eq!(said.code, Some(1), "{said:?}");
    let lines: Vec<_> = said.out.lines().collect();
    assert_eq!(lines.len(), 3, "{said:?}");
    assert!(lines[1].starts_with(&format!("{}:2:", bad.display())) && lines[1].contains("pool_id"), "{said:?}");

    let said = finish(command(["check", "--json"]).args(&files), b"");
    let lines: Vec<Value> = said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(said.code, Some(1), "{said:?}");
    assert_eq!((&lines[0]["ok"], &lines[0]["payload"]["pool_id"]), (&true.into(), &"p".into()));
    let refused = &lines[1];
    assert_eq!(
        (&refused["ok"], &refused["error_kind"], &refused["line"]),
        (&false.into(), &"schema".into(), &2.into())
    );
    assert_eq!((&refused["file"], &refused["field"]), (&bad.to_str().unwrap().into(), &"pool_id".into()));
}

#[test]
fn standard_input_is_a_file_too() {
    let good = std::fs::read(&fixtures("accept")[0]).unwrap();
    assert_eq!(finish(&mut command(["check", "-"]), &good).code, Some(0));
    let said = finish(&mut command(["check", "-"]), b"{");
    assert_eq!(said.code, Some(1));
    assert!(said.out.starts_with("-:1:"), "{said:?}");
}

#[test]
fn what_a_watcher_would_never_open_is_refused_and_what_is_not_there_is_exit_2() {
    let place = Place::new();
    let dangling = place.join("dangling.json");
    std::os::unix::fs::symlink("nowhere", &dangling).unwrap();
    let fifo = place.join("fifo.json");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
    for (file, reason) in [
        (dangling, "found a symbolic link that leads to nothing"),
        (fifo, "expected a regular file, found a FIFO"),
        (place.path().to_owned(), "found a directory"),
        ("/dev/zero".into(), "found a device"),
        (place.write("large.json", vec![b' '; (1 << 20) + 1]), "expected at most 1048576 bytes"),
    ] {
        let said = run([&"check".into(), &file]);
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.out.contains(reason), "{said:?}");
    }
    // One byte less is not too large: padding is only space.
    let mut edge = crate::harness::handoff("p", "r", 1).into_bytes();
    edge.resize(1 << 20, b' ');
    assert_eq!(run([&"check".into(), &place.write("edge.json", edge)]).code, Some(0));

    run([&"check".into(), &place.join("missing.json")]).assert_complaint(2, "missing.json: cannot read: No such file");
    let said = run([&"check".into(), &place.handoff("a.json.bak", "p", "r", 1)]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("watchers take only *.json"), "{said:?}");

    // The others are still told of.
    let good = place.handoff("a.json", "p", "r", 1);
    let said = finish(command(["check"]).arg(place.join("missing.json")).arg(good), b"");
    assert_eq!((said.code, said.out.lines().count(), said.err.lines().count()), (Some(2), 1, 1), "{said:?}");
}
