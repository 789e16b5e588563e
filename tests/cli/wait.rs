//! `wait`.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Place, Running, command, finish, interruptible, run};

const INTERVAL: [&str; 2] = ["--poll-interval-ms", "50"];

#[test]
fn ends_with_the_url_when_another_process_publishes() {
    let place = Place::new();
    // The directory is not there at the start.
    let dir = place.join("engines");
    let mut pool = Running::start(command(["wait", "--pool", "p"]).args(INTERVAL).arg(&dir));
    let mut replica = Running::start(command(["wait", "--pool", "p", "--replica", "r1"]).args(INTERVAL).arg(&dir));
    let publish = |replica: &str, port: u16| {
        let url = format!("http://127.0.0.1:{port}/v1");
        let publish = finish(command(["publish", "--pool", "p", "--replica", replica, "--url", &url]).arg(&dir), b"");
        assert_eq!(publish.code, Some(0), "{publish:?}");
    };
    publish("r0", 8080);
    assert_eq!(pool.line(), "http://127.0.0.1:8080/v1");
    assert_eq!(pool.end().0.code(), Some(0));
    publish("r1", 8081);
    assert_eq!(replica.line(), "http://127.0.0.1:8081/v1", "the pool's other replica is not enough");
    assert_eq!(replica.end().0.code(), Some(0));
    assert!(pool.complaints().is_empty() && replica.complaints().is_empty());
}

#[test]
fn what_is_ready_already_is_found_whatever_the_timeout() {
    let place = Place::new();
    place.handoff("a.json", "p", "r", 8080);
    for timeout in ["0s", "30s"] {
        let said = finish(command(["wait", "--pool", "p", "--timeout", timeout]).arg(place.path()), b"");
        assert_eq!((said.code, said.out.as_str()), (Some(0), "http://127.0.0.1:8080\n"), "{said:?}");
    }
    let said = finish(command(["wait", "--pool", "p", "--json"]).arg(place.path()), b"");
    let payload: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(payload["replica_id"], "r");
}

#[test]
fn the_timeout_is_exit_1_and_one_line() {
    let place = Place::new();
    place.handoff("a.json", "p", "r0", 8080);
    let started = Instant::now();
    let wait = ["wait", "--pool", "p", "--replica", "r1", "--timeout", "300ms"];
    finish(command(wait).arg(place.path()), b"").assert_complaint(1, "replica p/r1 was not ready within 300ms in ");
    assert!(started.elapsed() >= Duration::from_millis(300));
    let wait = ["wait", "--pool", "q", "--timeout", "0s"];
    finish(command(wait).arg(place.path()), b"").assert_complaint(1, "pool q was not ready within 0s");

    // The reason is a help: a directory that is not there, a file that was refused.
    finish(command(wait).arg(place.join("missing")), b"").assert_complaint(1, "No such file or directory");
    place.write("q.json", "{\"pool_id\":\"q\"}");
    finish(command(wait).arg(place.path()), b"").assert_complaint(1, "q.json:1:");
    // Which of two it is about nobody knows.
    place.write("r.json", "{\"pool_id\":\"r\"}");
    finish(command(wait).arg(place.path()), b"")
        .assert_complaint(1, "(2 files there are invalid: 'handoff-watcher list'");
}

#[test]
fn one_that_says_it_is_not_ready_is_not_ready() {
    let place = Place::new();
    let mut publish = vec!["publish", "--pool", "p", "--replica", "r", "--url", "http://h", "--set", "ready=false"];
    let dir = place.path().to_str().unwrap();
    publish.push(dir);
    assert_eq!(run(publish).code, Some(0));
    run(["wait", "--pool", "p", "--timeout", "0s", dir]).assert_complaint(1, "pool p was not ready");
}

#[test]
fn an_interrupt_ends_it_as_it_ends_any_command() {
    use std::os::unix::process::ExitStatusExt;
    let place = Place::new();
    let mut wait = Running::start(interruptible(command(["wait", "--pool", "p"])).arg(place.path()));
    wait.is_started();
    wait.signal(Signal::INT);
    assert_eq!(wait.end().0.signal(), Some(Signal::INT.as_raw()));
}
