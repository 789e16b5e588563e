//! The whole node, as processes on loopback: an orchestrator, pool managers with a directory each, engines that answer
//! `/health`, and a producer that writes a handoff when its engine does.
//!
//! What runs is what users copy: the two examples are compiled into this test, which starts itself again in their roles.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::print_stdout)]
#![allow(clippy::duplicate_mod)] // Each example has its own copy of what both share.

#[path = "../../examples/common/http.rs"]
#[allow(dead_code)] // The engines serve, too.
mod http;
#[path = "../../examples/common/logging.rs"]
mod logging;
#[path = "../../examples/orchestrator.rs"]
#[allow(dead_code)] // Its `main`.
mod orchestrator;
#[path = "../../examples/pool_manager.rs"]
#[allow(dead_code)]
mod pool_manager;

mod cast;
mod deploy;
mod plane;
mod proxy;
#[path = "../support/mod.rs"]
mod support;
mod wire;

use std::fs;
use std::path::Path;
use std::time::Instant;

use handoff_watcher::{HandoffPayload, LATENCY_OBJECTIVE, publish, withdraw};
use rustix::process::Signal;
use serde_json::json;

use cast::{DOOMED, Engine, Orchestrator, PoolManager, Role, TOKEN, ask, handoff, until};
use proxy::Proxy;

/// The role that this process was started for; none when it runs the tests.
#[test]
#[ignore = "the other tests start it, as a process"]
fn role() {
    cast::play();
}

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// What a producer does: it waits until the engine answers, then writes the handoff. Says when it did.
#[track_caller]
fn produce(dir: &Path, pool: &str, replica: &str, engine: &Engine) -> Instant {
    until("the engine is healthy", || {
        ask("GET", &engine.url("/health"), None, None).is_ok_and(|(status, _)| status == 200)
    });
    let handoff = handoff(pool, replica, engine);
    let written = Instant::now();
    publish(dir, &handoff).unwrap();
    written
}

#[test]
fn a_handoff_is_ready_at_the_orchestrator_within_two_seconds() {
    let (dirs, orchestrator) = ([dir(), dir()], Orchestrator::start(&[]));
    // The heartbeats of every 10 s cannot be what tells it in time.
    let nodes = [0, 1].map(|it| {
        let args = ["--node-id", &format!("node/{it}"), "--check-processes"];
        PoolManager::start(dirs[it].path(), &orchestrator.url(""), &args, &["--instant"][..it])
    });
    until("both are registered", || orchestrator.nodes().len() == 2);
    assert_eq!(orchestrator.routes(), Vec::<String>::new());

    let mut engines = [Engine::start(), Engine::start()];
    for (it, pool) in ["pool-a", "pool-b"].into_iter().enumerate() {
        let written = produce(dirs[it].path(), pool, "r0", &engines[it]);
        until("it is ready", || orchestrator.route(pool).is_some());
        let took = written.elapsed();
        let mode = ["polling", "instant"][it];
        eprintln!("from the handoff to ready at the orchestrator, {mode}: {took:?}");
        assert!(took < LATENCY_OBJECTIVE, "{took:?}");
        // Traffic gets where it is sent.
        until("its replica is known", || orchestrator.replicas(pool).len() == 1);
        let (_, url) = &orchestrator.replicas(pool)[0];
        assert_eq!(ask("GET", &format!("{url}/health"), None, None).unwrap().0, 200);
    }
    let route = orchestrator.route("pool-a").unwrap();
    assert_eq!((&route["node_id"], &route["slots_total"]), (&json!("node/0"), &json!(4)), "{route}");

    let (status, told) = ask("GET", &nodes[0].url("/v2/pools/pool-a/status"), Some(TOKEN), None).unwrap();
    assert_eq!(status, 200, "{told}");
    let expected = json!({
        "pool_id": "pool-a", "live": true, "ready": true, "draining": false, "slots_total": 4, "slots_free": 4,
        "engine": "test", "engine_version": "1", "device_mask": "0",
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&told[field], value, "{field} in {told}");
    }
    assert_eq!(told["replicas"][0]["url"], engines[0].url(""), "{told}");
    let (status, _) = ask("GET", &nodes[0].url("/v2/pools/pool%2Db/status"), Some(TOKEN), None).unwrap();
    assert_eq!(status, 404, "it is the other node's");
    let (_, metrics) = ask("GET", &nodes[0].url("/metrics"), None, None).unwrap();
    assert!(
        metrics.as_str().unwrap().contains("\nhandoff_watcher_replicas_ready{pool_id=\"pool-a\"} 1\n"),
        "{metrics}"
    );

    engines[0].kill();
    until("the dead engine gets no traffic", || orchestrator.route("pool-a").is_none());
    // What there is of its pool from now on: a file, which counts as none, and is what an alert is for.
    let (status, told) = ask("GET", &nodes[0].url("/v2/pools/pool-a/status"), Some(TOKEN), None).unwrap();
    let said = told["error"].as_str().unwrap_or_default();
    assert!(status == 404 && said.contains("no valid handoff here speaks of pool \"pool-a\""), "{status}: {told}");
    let (_, metrics) = ask("GET", &nodes[0].url("/metrics"), None, None).unwrap();
    let metrics = metrics.as_str().unwrap();
    assert!(!metrics.contains("pool-a") && metrics.contains("\nhandoff_watcher_invalid_files 1\n"), "{metrics}");
    assert!(orchestrator.route("pool-b").is_some());
    withdraw(dirs[1].path(), "pool-b", "r0").unwrap();
    until("the withdrawn one gets none", || orchestrator.route("pool-b").is_none());
    assert_eq!(orchestrator.online(), ["node/0", "node/1"]);
}

/// Quick enough for a test: a heartbeat every 200 ms, offline after 3 s without.
const QUICK: [&str; 4] = ["--heartbeat-ms", "200", "--timeout-ms", "500"];
/// One that nothing is wrong with: it beats as often, and a machine that stands still for seconds is no failure of its own.
const STEADY: [&str; 4] = ["--heartbeat-ms", "200", "--timeout-ms", "20000"];
const OFFLINE: [&str; 4] = ["--offline-after-ms", "6000", "--poll-ms", "200"];

/// A node beside the one that a test is hard on: nothing of that may reach it.
struct Other {
    _dir: tempfile::TempDir,
    node: PoolManager,
}

impl Other {
    const NAME: &str = "other";

    #[track_caller]
    fn start(orchestrator: &Orchestrator, engine: &Engine) -> Self {
        let dir = dir();
        let node = PoolManager::start(dir.path(), &orchestrator.url(""), &["--node-id", Self::NAME], &STEADY);
        produce(dir.path(), Self::NAME, "r0", engine);
        until("the other node's replica is known", || orchestrator.replicas(Self::NAME).len() == 1);
        Self { _dir: dir, node }
    }

    #[track_caller]
    fn is_well(&self, orchestrator: &Orchestrator) {
        until("the other one is well", || orchestrator.replicas(Self::NAME).len() == 1);
        for unwanted in ["trying again", "registering anew"] {
            assert!(!self.node.log().contains(unwanted), "{}", self.node.log());
        }
    }
}

#[test]
fn a_pool_manager_that_was_killed_is_told_everything_by_the_directory() {
    let (dir, orchestrator, engine) = (dir(), Orchestrator::start(&OFFLINE), Engine::start());
    let start = || PoolManager::start(dir.path(), &orchestrator.url(""), &["--node-id", "n"], &QUICK);
    let (mut node, other) = (start(), Other::start(&orchestrator, &engine));
    produce(dir.path(), "p", "r0", &engine);
    until("it is ready", || orchestrator.route("p").is_some());

    node.signal(Signal::KILL);
    node.end();
    until("it is offline", || orchestrator.online() == [Other::NAME]);
    assert_eq!((orchestrator.nodes().len(), orchestrator.route("p")), (2, None), "known, and no traffic");
    other.is_well(&orchestrator);
    // What happens meanwhile is on disk, too.
    produce(dir.path(), "p", "r1", &engine);
    withdraw(dir.path(), "p", "r0").unwrap();

    let _again = start();
    until("it knows everything again", || orchestrator.replicas("p").iter().map(|(id, _)| id.as_str()).eq(["r1"]));
    assert_eq!(orchestrator.online(), ["n", Other::NAME]);
    other.is_well(&orchestrator);
}

#[test]
fn a_node_that_is_cut_off_goes_on_and_comes_back() {
    let (dir, orchestrator, engine) = (dir(), Orchestrator::start(&OFFLINE), Engine::start());
    let (there, back) = (Proxy::start(), Proxy::start());
    there.leads_to(Some(orchestrator.address()));
    let address = ["--node-id", "n", "--address", &back.url()];
    let node = PoolManager::start(dir.path(), &there.url(), &address, &QUICK);
    back.leads_to(Some(node.address()));
    produce(dir.path(), "p", "r0", &engine);
    let other = Other::start(&orchestrator, &engine);
    until("its replica is known", || orchestrator.replicas("p").len() == 1);

    // Connections hang: nothing is refused, nothing is closed.
    there.hang(true);
    back.hang(true);
    until("it is offline", || orchestrator.online() == [Other::NAME]);
    assert_eq!(orchestrator.route("p"), None);
    other.is_well(&orchestrator);
    // The node itself is well: the watcher sees a second replica, and everybody who can reach it is answered.
    produce(dir.path(), "p", "r1", &engine);
    until("the node knows", || {
        let (_, told) = ask("GET", &node.url("/v2/pools/p/status"), Some(TOKEN), None).unwrap();
        told["replicas"].as_array().is_some_and(|replicas| replicas.len() == 2)
    });
    assert_eq!(ask("GET", &node.url("/health"), None, None).unwrap().0, 200);

    there.hang(false);
    back.hang(false);
    until("all of it is known", || orchestrator.replicas("p").len() == 2);
    assert_eq!(orchestrator.online(), ["n", Other::NAME]);
    other.is_well(&orchestrator);
}

#[test]
fn an_orchestrator_may_come_late_and_forget() {
    let (dir, engine, proxy) = (dir(), Engine::start(), Proxy::start());
    let node = PoolManager::start(dir.path(), &proxy.url(), &["--node-id", "n"], &QUICK);
    produce(dir.path(), "p", "r0", &engine);
    until("it was tried", || node.log().contains("trying again in"));
    assert_eq!(ask("GET", &node.url("/health"), None, None).unwrap().0, 200);

    let mut first = Orchestrator::start(&OFFLINE);
    proxy.leads_to(Some(first.address()));
    until("it is ready at the late one", || first.replicas("p").len() == 1);
    first.signal(Signal::KILL);
    first.end();

    let second = Orchestrator::start(&OFFLINE);
    proxy.leads_to(Some(second.address()));
    until("it is ready at one that knows nothing", || second.replicas("p").len() == 1);
    assert!(node.log().contains("registering anew"), "{}", node.log());
}

#[test]
fn sigterm_deregisters_and_does_not_wait_for_what_hangs() {
    let (dir, orchestrator) = (dir(), Orchestrator::start(&OFFLINE));
    let proxy = Proxy::start();
    proxy.leads_to(Some(orchestrator.address()));
    let mut nodes = ["a", "b"].map(|id| PoolManager::start(dir.path(), &proxy.url(), &["--node-id", id], &QUICK));
    until("both are there", || orchestrator.online().len() == 2);
    nodes[0].signal(Signal::TERM);
    assert_eq!(nodes[0].end().code(), Some(0), "{}", nodes[0].log());
    // Not offline in a while: gone now.
    assert_eq!(orchestrator.nodes(), ["b"]);

    proxy.hang(true);
    until("a heartbeat hung", || nodes[1].log().contains("timeout"));
    nodes[1].signal(Signal::TERM);
    assert_eq!(nodes[1].end().code(), Some(0), "{}", nodes[1].log());
    assert!(nodes[1].log().contains("not deregistered"), "{}", nodes[1].log());
    until("the silence is seen", || orchestrator.online().is_empty());
}

/// Whoever supervises it may be what reads no more.
#[test]
fn regression_a_second_sigterm_ends_it_also_when_nobody_reads_its_log() {
    let dir = dir();
    let args = [dir.path().to_str().unwrap(), "--orchestrator", "http://127.0.0.1:1", "--listen", "127.0.0.1:0"];
    let mut node = Role::unread("pool_manager", &[&args[..], &["--instant"]].concat().join("\n"), TOKEN);
    let (mut written, mut since, mut number) = (0, Instant::now(), 0);
    until("its log is full", || {
        // Each is logged.
        number += 1;
        let handoff = HandoffPayload::new("p", "r0", format!("http://h/{number}")).unwrap();
        publish(dir.path(), &handoff).unwrap();
        if node.unread_bytes() != written {
            (written, since) = (node.unread_bytes(), Instant::now());
        }
        written > 4096 && since.elapsed().as_secs() > 2
    });
    node.signal(Signal::TERM);
    until("the second one ends it", || {
        node.signal(Signal::TERM);
        node.has_ended()
    });
}

#[test]
fn a_pool_manager_whose_watcher_died_does_not_look_alive() {
    let (dir, orchestrator, engine) = (dir(), Orchestrator::start(&OFFLINE), Engine::start());
    let mut node = PoolManager::start(dir.path(), &orchestrator.url(""), &["--node-id", "n"], &QUICK);
    until("it is there", || orchestrator.online() == ["n"]);
    produce(dir.path(), DOOMED, "r0", &engine);
    assert_eq!(node.end().code(), Some(1), "{}", node.log());
    assert!(node.log().contains("ended by a defect"), "{}", node.log());
    until("it is offline", || orchestrator.online().is_empty());
}

#[test]
fn who_has_not_the_token_is_told_nothing() {
    let (dir, orchestrator) = (dir(), Orchestrator::start(&[]));
    let node = PoolManager::start(dir.path(), &orchestrator.url(""), &["--node-id", "n"], &[]);
    until("it is there", || orchestrator.nodes() == ["n"]);
    let longer = format!("{TOKEN}x");
    for token in [None, Some(""), Some("wrong"), Some(&TOKEN[1..]), Some(&TOKEN[..9]), Some(longer.as_str())] {
        for (method, url) in [
            ("GET", orchestrator.url("/v2/nodes")),
            ("GET", orchestrator.url("/v2/routes?x=1")),
            ("POST", orchestrator.url("/v2/nodes/register")),
            ("POST", orchestrator.url("/v2/nodes/n/heartbeat")),
            ("DELETE", orchestrator.url("/v2/nodes/n")),
            ("GET", orchestrator.url("/%762/nodes")),
            ("GET", node.url("/v2/pools")),
            ("GET", node.url("/v2/pools/p/status")),
        ] {
            let (status, said) = ask(method, &url, token, None).unwrap();
            assert_eq!(status, 401, "{method} {url}: {said}");
        }
    }
    assert_eq!(orchestrator.nodes(), ["n"]);
    for url in [orchestrator.url("/health"), node.url("/health"), node.url("/metrics")] {
        assert_eq!(ask("GET", &url, None, None).unwrap().0, 200, "{url}");
    }
}

#[test]
fn what_a_handoff_leaves_out_is_told_as_such() {
    let (dir, orchestrator) = (dir(), Orchestrator::start(&[]));
    let node = PoolManager::start(dir.path(), &orchestrator.url(""), &["--node-id", "n"], &[]);
    for (name, more) in [
        ("unknown", ""),
        ("half", r#","slots":4,"slots_free":1,"vram_free_bytes":7,"engine":"vllm""#),
        ("draining", r#","slots":2,"draining":true"#),
        ("starting", r#","ready":false"#),
    ] {
        let handoff = format!(r#"{{"pool_id":"{name}","replica_id":"r0","url":"http://127.0.0.1:1"{more}}}"#);
        publish(dir.path(), &HandoffPayload::parse(handoff.as_bytes()).unwrap()).unwrap();
    }
    until("all of it is told", || orchestrator.pools().len() == 4 && orchestrator.routes().len() == 2);
    // Traffic goes to what takes it, also where nobody knows how much that is.
    assert_eq!(orchestrator.routes(), ["half", "unknown"]);
    let told = |pool: &str, ready: bool, draining: bool, slots: (u32, u32), vram: u32, engine: Option<&str>| {
        json!({
            "pool_id": pool, "ready": ready, "draining": draining, "slots_free": slots.0, "slots_total": slots.1,
            "vram_free_bytes": vram, "engine": engine,
        })
    };
    let expected = [
        told("draining", true, true, (0, 2), 0, None),
        told("half", true, false, (1, 4), 7, Some("vllm")),
        told("starting", false, false, (0, 0), 0, None),
        told("unknown", true, false, (0, 0), 0, None),
    ];
    assert_eq!(orchestrator.pools(), expected);
    let (_, told) = ask("GET", &node.url("/v2/pools/starting/status"), Some(TOKEN), None).unwrap();
    assert_eq!((&told["live"], &told["ready"], &told["replicas"]), (&json!(true), &json!(false), &json!([])), "{told}");
    let (_, told) = ask("GET", &node.url("/v2/pools"), Some(TOKEN), None).unwrap();
    assert_eq!(told["pools"].as_array().unwrap().len(), 4, "{told}");
}

#[test]
fn regression_figures_beyond_all_measure_end_nothing() {
    let (dir, orchestrator) = (dir(), Orchestrator::start(&[]));
    let _node = PoolManager::start(dir.path(), &orchestrator.url(""), &["--node-id", "n"], &[]);
    for replica in ["r0", "r1"] {
        let handoff = format!(
            r#"{{"pool_id":"p","replica_id":"{replica}","url":"http://h","slots":4294967295,"vram_free_bytes":{}}}"#,
            10_000_000_000_000_000_000_u64
        );
        publish(dir.path(), &HandoffPayload::parse(handoff.as_bytes()).unwrap()).unwrap();
    }
    until("both are told", || orchestrator.replicas("p").len() == 2);
    let pool = &orchestrator.pools()[0];
    assert_eq!((&pool["slots_total"], &pool["vram_free_bytes"]), (&json!(8_589_934_590_u64), &json!(u64::MAX)));
}

#[test]
fn regression_one_large_handoff_hides_no_other() {
    let (dir, orchestrator) = (dir(), Orchestrator::start(&[]));
    let node = PoolManager::start(dir.path(), &orchestrator.url(""), &["--node-id", "n"], &[]);
    let large = "x".repeat(340 << 10);
    let more = format!(r#","engine":"{large}","note":"{large}","flags":["{large}"]"#);
    for (pool, replica, more) in [("large", "r0", more.as_str()), ("large", "r1", more.as_str()), ("p", "r0", "")] {
        let handoff = format!(r#"{{"pool_id":"{pool}","replica_id":"{replica}","url":"http://h"{more}}}"#);
        publish(dir.path(), &HandoffPayload::parse(handoff.as_bytes()).unwrap()).unwrap();
    }
    until("all is known", || orchestrator.replicas("large").len() == 2 && orchestrator.replicas("p").len() == 1);
    assert!(!node.log().contains("trying again"), "{}", node.log());
}

#[test]
fn regression_the_password_of_an_engine_is_in_no_log() {
    let (dir, orchestrator) = (dir(), Orchestrator::start(&[]));
    let node = PoolManager::start(dir.path(), &orchestrator.url(""), &["--node-id", "n"], &[]);
    let handoff = HandoffPayload::new("p", "r0", "http://user:pass-word@127.0.0.1:1/v1?key=pass-word").unwrap();
    publish(dir.path(), &handoff).unwrap();
    // Who routes there needs it.
    until("it is told", || orchestrator.replicas("p").iter().any(|(_, url)| url.contains("pass-word@")));
    for log in [node.log(), orchestrator.log()] {
        assert!(!log.contains("pass-word"), "{log}");
    }
    assert!(node.log().contains("…@127.0.0.1:1/v1"), "{}", node.log());
}

/// As one host with two runtime directories has them, where nobody named them apart.
#[test]
fn regression_two_pool_managers_of_one_name_are_told_so() {
    let (orchestrator, engine) = (Orchestrator::start(&[]), Engine::start());
    let (first_dir, second_dir) = (dir(), dir());
    produce(first_dir.path(), "first", "r0", &engine);
    produce(second_dir.path(), "second", "r0", &engine);
    let often = ["--node-id", "n", "--heartbeat-ms", "200"];
    let first = PoolManager::start(first_dir.path(), &orchestrator.url(""), &often, &[]);
    until("the first one is there", || orchestrator.routes() == ["first"]);
    let mut second = PoolManager::start(second_dir.path(), &orchestrator.url(""), &often, &[]);
    until("the first one is told", || first.log().contains("name them apart with --node-id"));
    until("the second one is there", || orchestrator.routes() == ["second"]);
    until("it is warned of", || orchestrator.log().contains("while it was online as another process"));
    // They do not take turns.
    for node in [&first, &second] {
        assert_eq!(node.log().matches("registered as \"n\"").count(), 1, "{}", node.log());
    }
    second.signal(Signal::TERM);
    assert!(second.end().success());
    until("the first one is back", || orchestrator.routes() == ["first"]);
}

/// One of two replicas of a pool takes no more: the pool does, and not there.
#[test]
fn regression_no_traffic_goes_to_a_replica_that_drains() {
    let (dir, orchestrator) = (dir(), Orchestrator::start(&[]));
    let node = PoolManager::start(dir.path(), &orchestrator.url(""), &["--node-id", "n"], &[]);
    for (replica, more) in [("stays", r#","slots":4"#), ("leaves", r#","slots":8,"draining":true"#)] {
        let handoff = format!(r#"{{"pool_id":"p","replica_id":"{replica}","url":"http://h"{more}}}"#);
        publish(dir.path(), &HandoffPayload::parse(handoff.as_bytes()).unwrap()).unwrap();
    }
    let status = || ask("GET", &node.url("/v2/pools/p/status"), Some(TOKEN), None).unwrap().1;
    until("both are known", || status()["replicas"].as_array().is_some_and(|replicas| replicas.len() == 2));
    assert_eq!(status()["draining"], false);
    assert_eq!((&status()["slots_free"], &status()["slots_total"]), (&json!(4), &json!(12)));
    until("one is routed to", || orchestrator.replicas("p").iter().map(|(id, _)| &**id).eq(["stays"]));
    let route = orchestrator.route("p").unwrap();
    assert_eq!((&route["slots_free"], &route["slots_total"]), (&json!(4), &json!(12)));
}

#[test]
fn what_is_no_request_is_refused_in_words() {
    let orchestrator = Orchestrator::start(&[]);
    let register = r#"{"node_id":"n","machine_id":"m","address":"http://127.0.0.1:1","pools":[],"capabilities":{}}"#;
    let large = format!("\"{}\"", "x".repeat(2 << 20));
    let node = |from: &str, to: &str| register.replace(from, to);
    for (path, body, status, part) in [
        ("/v2/nodes/register", String::from("{"), 400, "EOF"),
        ("/v2/nodes/register", String::from("{}"), 400, "missing field `node_id`"),
        ("/v2/nodes/register", node("\"n\"", "\"\""), 400, "field `node_id`"),
        ("/v2/nodes/register", node("http://", "ftp://"), 400, "field `address`"),
        ("/v2/nodes/register", node("http://", "https://"), 400, "a proxy that speaks TLS"),
        ("/v2/nodes/register", node("127", "user:word@127"), 400, "field `address`"),
        ("/v2/nodes/register", node("http://127.0.0.1", "http://h\\nforged"), 400, "field `address`"),
        ("/v2/nodes/register", node(":1\"", ":99999\""), 400, "field `address`"),
        ("/v2/nodes/register", node("127.0.0.1:1", "h?a"), 400, "field `address`"),
        ("/v2/nodes/register", large, 413, "at most 1048576 bytes"),
        ("/v2/nodes/x/heartbeat", String::from(r#"{"timestamp":"","pools":[]}"#), 404, "register"),
        ("/v2/nodes/x/heartbeat", String::from(r#"{"pools":[]}"#), 400, "timestamp"),
        ("/v2/nonsense", String::new(), 404, "nothing of this path"),
    ] {
        let (found, said) = ask("POST", &orchestrator.url(path), Some(TOKEN), Some(&body)).unwrap();
        let said = said["error"].as_str().unwrap_or_default();
        assert!(found == status && said.contains(part) && !said.contains("word"), "{path}: {found} {said:?}");
    }
    let post = |body: &str| ask("POST", &orchestrator.url("/v2/nodes/register"), Some(TOKEN), Some(body)).unwrap().0;
    assert_eq!(post(register), 200);
    assert_eq!(post(&node("\"m\"", "\"another\"")), 409, "two machines of one name");
    assert_eq!(post(register), 200, "one that started again");
}

#[test]
fn what_cannot_start_says_what_to_do() {
    let orchestrator = Orchestrator::start(&[]);
    let (dir, taken) = (dir(), orchestrator.address().to_string());
    let path = dir.path().to_str().unwrap();
    let url = orchestrator.url("");
    let pool_manager = |more: &[&str]| [&[path, "--orchestrator", &url], more].concat().join("\n");
    for (role, args, token, part) in [
        ("orchestrator", format!("--listen\n{taken}"), TOKEN, "Address already in use"),
        ("orchestrator", String::from("--listen\n127.0.0.1:0"), "", "LLORCH_API_TOKEN is unset"),
        ("orchestrator", String::from("--listen\n127.0.0.1:0"), "two words", "LLORCH_API_TOKEN is unset"),
        ("pool_manager", pool_manager(&["--listen", &taken]), TOKEN, "Address already in use"),
        ("pool_manager", pool_manager(&["--listen", "0.0.0.0:0"]), TOKEN, "name one with --address"),
        ("pool_manager", pool_manager(&["--listen", "127.0.0.1:0", "--address", "here"]), TOKEN, "--address: expected"),
        ("pool_manager", pool_manager(&["--address", "https://node"]), TOKEN, "a proxy that speaks TLS"),
        ("pool_manager", pool_manager(&["--address", "http://u:two words@node"]), TOKEN, "found \"…@node\""),
    ] {
        let mut process = Role::spawn(role, &args, token);
        assert_eq!(process.end().code(), Some(1), "{}", process.log());
        assert!(process.log().contains(part), "{part:?} is not in {}", process.log());
        assert!(!process.log().contains("two words"), "{}", process.log());
    }
    assert_eq!(fs::read_dir(path).unwrap().count(), 0);
}
