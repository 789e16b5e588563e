//! `publish` and `withdraw`.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Place, command, finish};

#[test]
fn publish_prints_the_path_of_what_it_wrote_and_withdraw_removes_it() {
    let place = Place::new();
    let dir = place.join("not/there/yet");
    let ids = ["--pool", "pool-0", "--replica", "r0"];
    let publish = |url: &str| finish(command(["publish", "--url", url]).args(ids).arg(&dir), b"");
    let said = publish("http://localhost:8080");
    let path = dir.join("pool-0-r0.json");
    assert_eq!((said.code, said.out), (Some(0), format!("{}\n", path.display())), "{}", said.err);
    let written: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(written, json!({ "pool_id": "pool-0", "replica_id": "r0", "url": "http://localhost:8080" }));

    // Again, with something new; and nothing is left beside it.
    assert_eq!(publish("http://localhost:8081").code, Some(0));
    assert!(fs::read_to_string(&path).unwrap().contains("8081"));
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);

    let withdraw = || finish(command(["withdraw"]).args(ids).arg(&dir), b"");
    let said = withdraw();
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (Some(0), "", ""));
    assert!(!path.exists());
    withdraw().assert_complaint(1, "there is no handoff of pool-0/r0 in");
}

#[test]
fn every_field_can_be_given() {
    let place = Place::new();
    let mut publish = command(["publish", "--pool", "p", "--replica", "r", "--url", "https://host:1/v1"]);
    publish.args(["--engine", "llamacpp", "--engine-version", "b1234", "--provisioning-mode", "source"]);
    publish.args(["--device-mask", "0,1", "--slots", "8", "--slots-free", "6", "--pid", "4711"]);
    publish.args(["--model-id", "local:x", "--model-path", "/x.gguf", "--flag", "--parallel", "--flag=4"]);
    publish
        .args(["--set", "gpu_device=0", "--set", "labels={\"zone\":\"b\"}", "--set", "ready=true"])
        .arg(place.path());
    let said = finish(&mut publish, b"");
    assert_eq!(said.code, Some(0), "{said:?}");
    let written: Value = serde_json::from_slice(&fs::read(place.join("p-r.json")).unwrap()).unwrap();
    let expected = json!({
        "pool_id": "p", "replica_id": "r", "url": "https://host:1/v1", "engine": "llamacpp", "engine_version": "b1234",
        "provisioning_mode": "source", "device_mask": "0,1", "slots": 8, "slots_free": 6, "pid": 4711,
        "model": { "id": "local:x", "path": "/x.gguf" }, "flags": ["--parallel", "4"], "ready": true,
        "gpu_device": 0, "labels": { "zone": "b" },
    });
    assert_eq!(written, expected);
}

#[test]
fn what_a_watcher_would_refuse_is_not_written() {
    let place = Place::new();
    let publish = |pool: &str, url: &str, set: &[&str]| {
        let mut command = command(["publish", "--pool", pool, "--replica", "r", "--url", url]);
        finish(command.args(set).arg(place.path()), b"")
    };
    let good = "http://localhost:1";
    publish("", good, &[]).assert_complaint(2, "pool_id");
    publish("a\u{7}b", good, &[]).assert_complaint(2, "pool_id");
    publish("p", "localhost:1", &[]).assert_complaint(2, "url");
    publish("p", good, &["--set", "slots=-1"]).assert_complaint(2, "slots");
    publish("p", good, &["--slots", "1", "--set", "slots=1"]).assert_complaint(2, "field `slots` is given twice");
    publish("p", good, &["--slots", "1", "--set", "slots_total=1"]).assert_complaint(2, "slots");
    publish("p", good, &["--set", "zone=b"]).assert_complaint(2, "a text needs its quotes");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}
