//! `list`.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Place, assert_harmless, command, finish, fixtures, handoff};

fn document(place: &Place) -> (Option<i32>, Value) {
    let said = finish(command(["list", "--json"]).arg(place.path()), b"");
    assert_eq!(said.err, "", "{said:?}");
    (said.code, serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{}: {error}", said.out)))
}

#[test]
fn an_empty_directory_is_an_answer_and_a_missing_one_is_not() {
    let place = Place::new();
    let said = finish(command(["list"]).arg(place.path()), b"");
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    assert_eq!(said.out, format!("nothing is ready in {}\n", place.path().display()));
    let (code, document) = document(&place);
    assert_eq!(code, Some(0));
    assert_eq!(document["dir"], place.path().to_str().unwrap());
    for list in ["ready", "invalid", "conflicts"] {
        assert_eq!(document[list], Value::Array(Vec::new()), "{list}");
    }
    finish(command(["list"]).arg(place.join("missing")), b"").assert_complaint(2, "missing: no such directory");
}

#[test]
fn shows_what_is_ready_sorted_and_what_is_invalid_with_its_reason() {
    let place = Place::new();
    for file in fixtures("accept").into_iter().chain(fixtures("withdraw")) {
        fs::copy(&file, place.join(file.file_name().unwrap())).unwrap();
    }
    // It would speak of the replica that `ready-false.json` withdraws.
    fs::remove_file(place.join("gpu-device.json")).unwrap();
    let said = finish(command(["list"]).arg(place.path()), b"");
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    let lines: Vec<_> = said.out.lines().collect();
    assert_eq!(lines.len(), fixtures("accept").len(), "a heading, and all but one: {said:?}");
    assert!(lines[0].starts_with("POOL") && lines[0].ends_with("FILE"), "{said:?}");
    let pool1 = lines.iter().find(|line| line.starts_with("pool1 ")).expect("pool1");
    for part in ["r1", "http://10.0.3.7:9000", "llamacpp-v1.2.3", "6 of 8 free", "registry-slots.json"] {
        assert!(pool1.contains(part), "{part}: {pool1}");
    }
    assert!(!said.out.contains("pool-gpu"), "{said:?}");

    place.write("bad.json", "{\"pool_id\":\"p\",\"replica_id\":\"r\",\"url\":\"nowhere\"}");
    let said = finish(command(["list"]).arg(place.path()), b"");
    assert_eq!(said.code, Some(1), "{said:?}");
    let invalid: Vec<_> = said.out.lines().filter(|line| line.starts_with("invalid")).collect();
    assert_eq!(invalid.len(), 1, "{said:?}");
    assert!(invalid[0].contains("bad.json:1:") && invalid[0].contains("url"), "{said:?}");

    let (code, document) = document(&place);
    assert_eq!(code, Some(1));
    let pools: Vec<_> =
        document["ready"].as_array().unwrap().iter().map(|event| event["pool_id"].as_str().unwrap()).collect();
    assert!(pools.is_sorted() && pools.len() == 6, "{pools:?}");
    assert_eq!(document["ready"][0]["event"], "ready");
    assert_eq!(document["invalid"][0]["field"], "url");
    assert_eq!(document["invalid"].as_array().unwrap().len(), 1);
}

/// It waited 30 s for it, and said that it was still being written.
#[test]
fn regression_a_link_to_nothing_is_invalid_and_waited_for_no_longer_than_others() {
    let place = Place::new();
    place.handoff("a.json", "p", "r", 1);
    std::os::unix::fs::symlink("nowhere", place.join("b.json")).unwrap();
    let said = finish(command(["list"]).arg(place.path()), b"");
    assert_eq!((said.code, said.err.as_str()), (Some(1), ""), "{said:?}");
    assert!(said.out.contains("a symbolic link that leads to nothing"), "{said:?}");
}

#[test]
fn a_conflict_is_shown_and_is_not_invalid() {
    let place = Place::new();
    place.handoff("a.json", "p", "r", 1);
    place.handoff("b.json", "p", "r", 2);
    let said = finish(command(["list"]).arg(place.path()), b"");
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("conflict") && said.out.contains(" wins over "), "{said:?}");
    let (_, document) = document(&place);
    assert_eq!(document["ready"].as_array().unwrap().len(), 1);
    assert_eq!(document["conflicts"][0]["losers"].as_array().unwrap().len(), 1, "{document}");
}

#[test]
fn nothing_that_a_file_says_reaches_the_terminal_raw() {
    let place = Place::new();
    place.write("a\u{1b}[2J\u{202e}\nb.json", "{\"pool_id\":\"\u{9b}31m\"}");
    let long = "x".repeat(200);
    let hostile = format!(
        "{{\"pool_id\":\"p\u{202e}q\",\"replica_id\":\"{long}\",\"url\":\"http://h/{long}\",\"engine\":\"\\u001b[31m\\n{long}\"}}"
    );
    place.write("hostile.json", hostile);
    let said = finish(command(["list"]).arg(place.path()), b"");
    assert_eq!(said.code, Some(1), "{said:?}");
    assert_harmless(&said.out);
    assert!(said.out.lines().all(|line| line.chars().count() < 500), "{said:?}");
    let said = finish(command(["list", "--json"]).arg(place.path()), b"");
    assert_harmless(&said.out);
    assert!(said.out.contains("\\u202e") && said.out.contains(&long), "whole, and escaped: {said:?}");
}

/// `synced` does not wait for ever for such a file, and what `list` says is not to depend on it.
#[test]
fn regression_a_file_that_comes_to_rest_only_after_seconds_is_in_the_list() {
    let place = Place::new();
    place.handoff("a.json", "p", "r0", 1);
    let (path, began) = (place.join("a.json"), Instant::now());
    let writer = thread::spawn(move || {
        for port in 2.. {
            fs::write(&path, handoff("p", "r0", port)).unwrap();
            if began.elapsed() > Duration::from_secs(4) {
                return port;
            }
            thread::sleep(Duration::from_millis(20));
        }
        unreachable!("there are ports enough")
    });
    let said = finish(command(["list"]).arg(place.path()), b"");
    let port = writer.join().unwrap();
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains(&format!(":{port} ")), "{port}: {said:?}");
}
