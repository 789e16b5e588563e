//! `--trust` and `--check-processes`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{Place, Running, command, finish, handoff, run};

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its mode is set");
}

/// Two handoffs; others may write the second one.
fn place() -> Place {
    let place = Place::new();
    chmod(place.path(), 0o755);
    chmod(&place.handoff("a.json", "p", "r0", 1), 0o644);
    chmod(&place.handoff("b.json", "p", "r1", 1), 0o666);
    place
}

#[test]
fn list_believes_only_what_it_may_trust() {
    let place = place();
    assert_eq!(finish(command(["list"]).arg(place.path()), b"").code, Some(0));
    let own = rustix::process::geteuid().as_raw().to_string();
    for trust in [&["--trust"][..], &["--trust-uid", &own]] {
        let said = finish(command(["list", "--json"]).args(trust).arg(place.path()), b"");
        let document: Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!((said.code, document["ready"].as_array().unwrap().len()), (Some(1), 1), "{said:?}");
        let invalid = &document["invalid"][0];
        assert_eq!(invalid["error_kind"], "untrusted");
        assert!(invalid["error"].as_str().unwrap().starts_with("writable by others (mode 0666): "), "{invalid}");
    }
    chmod(place.path(), 0o777);
    finish(command(["list", "--trust"]).arg(place.path()), b"")
        .assert_complaint(2, "the directory is writable by others (mode 0777): expected at most 0755");
}

#[test]
fn check_and_wait_believe_the_same() {
    let place = place();
    let [good, bad] = ["a.json", "b.json"].map(|name| place.join(name).into_os_string());
    assert_eq!(run(["check".into(), "--trust".into(), good.clone()]).code, Some(0));
    let said = run(["check".into(), "--trust".into(), bad.clone()]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.out.ends_with("b.json: writable by others (mode 0666): expected at most 0644; chmod go-w\n"),
        "{said:?}"
    );
    assert_eq!(run(["check".into(), bad]).code, Some(0));
    run(["check", "--trust", "-"]).assert_complaint(2, "standard input has no owner to trust");

    let wait = |replica| {
        let args = ["wait", "--trust", "--timeout", "0s", "--pool", "p", "--replica", replica];
        finish(command(args).arg(place.path()), b"")
    };
    assert_eq!(wait("r0").code, Some(0));
    wait("r1").assert_complaint(1, "b.json: writable by others");
    chmod(place.path(), 0o770);
    let said = run(["check".into(), "--trust".into(), good]);
    assert!(said.code == Some(1) && said.out.contains(": its directory is writable by others (mode 0770)"), "{said:?}");
}

#[test]
fn watch_tells_of_an_engine_that_dies() {
    let place = Place::new();
    let mut engine = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
    let text = handoff("p", "r0", 1);
    place.write("a.json", format!("{},\"pid\":{}}}", &text[..text.len() - 1], engine.id()));
    let watch = Running::start(command(["watch", "--poll-interval-ms", "50", "--check-processes"]).arg(place.path()));
    watch.event("ready");
    watch.event("synced");
    engine.kill().unwrap();
    assert_eq!(watch.event("removed")["reason"], "process_exited");
    let invalid = watch.event("invalid");
    assert_eq!((&invalid["error_kind"], &invalid["field"]), (&"stale".into(), &"pid".into()), "{invalid}");
    engine.wait().unwrap();
    let said = finish(command(["list", "--check-processes"]).arg(place.path()), b"");
    assert!(said.code == Some(1) && said.out.contains("does not run: expected a running engine"), "{said:?}");
}
