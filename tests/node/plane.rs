//! A control plane that says what a test wants it to: what the pool manager makes of that, and all that it was told.

use std::fs;
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use handoff_watcher::{HandoffPayload, publish};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::cast::{PoolManager, Role, TOKEN, until};
use crate::dir;

/// A request, at the moment when its last byte was there: before it is answered.
#[derive(Clone, Debug)]
struct Heard {
    at: Instant,
    line: String,
    query: Option<String>,
    authorization: String,
    body: Value,
}

struct Plane {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Plane {
    /// It answers the last of all that it has heard with a status, and what headers come with it.
    fn start(answer: impl Fn(&[Heard]) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let plane = Self { address: listener.local_addr().unwrap(), heard: Arc::default() };
        let hears = plane.heard.clone();
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                // A process that is killed leaves half of one.
                let Ok(heard) = hear(&stream) else { continue };
                let mut all = hears.lock().unwrap();
                all.push(heard);
                let status = answer(&all);
                drop(all);
                let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}");
            }
        });
        plane
    }

    /// A pool manager of this plane's, `n` of the machine `m`.
    #[track_caller]
    fn node(&self, dir: &Path) -> PoolManager {
        let args = ["--node-id", "n", "--machine-id", "m"];
        PoolManager::start(dir, &format!("http://{}", self.address), &args, &BEATS)
    }

    fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    fn last(&self, line: &str) -> Option<Heard> {
        last(&self.heard(), line)
    }
}

fn last(heard: &[Heard], line: &str) -> Option<Heard> {
    heard.iter().rfind(|heard| heard.line == line).cloned()
}

fn hear(stream: &TcpStream) -> io::Result<Heard> {
    let mut reader = BufReader::new(stream);
    let mut next = || {
        let mut line = String::new();
        reader.read_line(&mut line).map(|_| line.trim_end().to_owned())
    };
    let line = next()?;
    // Who it is from says each request but the registration.
    let query = line.split_once('?').and_then(|(_, rest)| rest.split_once(' ')).map(|(query, _)| query.to_owned());
    let line = query.as_ref().map_or(line.clone(), |query| line.replace(&format!("?{query}"), ""));
    let (mut authorization, mut length) = (String::new(), 0);
    loop {
        let header = next()?;
        let Some((name, value)) = header.split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => authorization = value.to_owned(),
            "content-length" => length = value.parse().unwrap(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Heard {
        at: Instant::now(),
        line,
        query,
        authorization,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    })
}

/// A heartbeat every 200 ms; requests may take as long as they do.
const BEATS: [&str; 2] = ["--heartbeat-ms", "200"];
const REGISTER: &str = "POST /v2/nodes/register HTTP/1.1";
const HEARTBEAT: &str = "POST /v2/nodes/n/heartbeat HTTP/1.1";

/// How long it said each time that it would wait, in milliseconds.
fn pauses(node: &Role) -> Vec<u64> {
    let log = node.log();
    let said = log.split("trying again in ").skip(1);
    said.map(|rest| rest.split_once(" ms").unwrap().0.parse().unwrap()).collect()
}

#[test]
fn an_orchestrator_that_fails_is_asked_ever_more_rarely() {
    const FAILURES: usize = 5;
    // The registration, at first; much later, when all was well, a heartbeat.
    let plane = Plane::start(|all| match all.len() {
        0..=FAILURES => "500 Internal Server Error".into(),
        8 => "503 Service Unavailable".into(),
        _ => "200 OK".into(),
    });
    let dir = dir();
    let node = plane.node(dir.path());
    until("it goes on after a heartbeat that failed", || plane.heard().len() > 8 && pauses(&node).len() > FAILURES);
    let (heard, pauses) = (plane.heard(), pauses(&node));
    let lines: Vec<_> = heard.iter().map(|heard| heard.line.as_str()).collect();
    assert_eq!(lines[..=FAILURES], [REGISTER; FAILURES + 1]);
    assert_eq!(lines[FAILURES + 1..9], [HEARTBEAT; 3]);
    assert_eq!(pauses.len(), FAILURES + 1, "{pauses:?}");
    for (number, pause) in pauses.iter().enumerate() {
        // Twice as long each time, less the half that chance may take off; as at first when it had succeeded meanwhile.
        let (longest, failed) = if number < FAILURES { (100 << number, number) } else { (100, 7) };
        assert!((longest / 2..=longest).contains(pause), "{pauses:?}");
        // What it says it does: its pause begins after this was heard.
        let waited = heard[failed + 1].at - heard[failed].at;
        assert!(waited >= Duration::from_millis(*pause), "{waited:?} instead of {pause} ms");
    }
    // Without chance in it, each would be the longest, and nodes that lost the same orchestrator would come back as one.
    let longest = |(number, pause): (usize, &u64)| *pause == if number < FAILURES { 100 << number } else { 100 };
    assert!(!pauses.iter().enumerate().all(longest), "{pauses:?}");
}

#[test]
fn a_node_tells_all_that_the_control_plane_asks_for() {
    // However long it takes to find the handoff: a node that has not registered with it is not known.
    let plane = Plane::start(|all| {
        let is_known = last(all, REGISTER).is_some_and(|told| told.body["pools"] == json!(["p"]));
        if is_known || all.last().unwrap().line == REGISTER { "200 OK".into() } else { "404 Not Found".into() }
    });
    let dir = dir();
    let handoff = br#"{"pool_id":"p","replica_id":"r0","url":"http://h","slots":4,"slots_free":1,"vram_free_bytes":7,"engine":"vllm"}"#;
    publish(dir.path(), &HandoffPayload::parse(handoff).unwrap()).unwrap();
    let mut node = plane.node(dir.path());
    until("it beats", || plane.last(HEARTBEAT).is_some_and(|told| told.body["pools"] != json!([])));

    let mut told = plane.last(REGISTER).unwrap().body;
    let capabilities = told["capabilities"].take();
    assert!(capabilities["cpu_cores"].as_u64().is_some_and(|cores| cores > 0), "{capabilities}");
    assert_eq!(capabilities["version"], env!("CARGO_PKG_VERSION"));
    let instance = told["instance_id"].take();
    assert!(instance.as_str().is_some_and(|instance| !instance.is_empty()), "{instance}");
    assert_eq!(
        told,
        json!({
            "node_id": "n", "machine_id": "m", "address": node.url(""), "pools": ["p"], "capabilities": null,
            "instance_id": null,
        })
    );

    let mut told = plane.last(HEARTBEAT).unwrap().body;
    let timestamp = told["timestamp"].take();
    let timestamp = humantime::parse_rfc3339(timestamp.as_str().unwrap()).unwrap();
    let now = SystemTime::now();
    let off = now.duration_since(timestamp).unwrap_or_else(|later| later.duration());
    assert!(off < Duration::from_secs(3600), "{timestamp:?} at {now:?}");
    let pool = json!({
        "pool_id": "p", "ready": true, "draining": false, "slots_free": 1, "slots_total": 4, "vram_free_bytes": 7,
        "engine": "vllm",
    });
    assert_eq!(told, json!({ "timestamp": null, "pools": [pool] }));

    node.signal(Signal::TERM);
    assert_eq!(node.end().code(), Some(0), "{}", node.log());
    assert_eq!(plane.heard().last().unwrap().line, "DELETE /v2/nodes/n HTTP/1.1");
    let instance = format!("instance_id={}", instance.as_str().unwrap());
    for heard in plane.heard() {
        assert_eq!(heard.query.as_deref(), (heard.line != REGISTER).then_some(&*instance), "{}", heard.line);
        assert_eq!(heard.authorization, format!("Bearer {TOKEN}"), "{}", heard.line);
    }
}

#[test]
fn a_machine_has_the_id_that_it_has() {
    let (plane, dir) = (Plane::start(|_| "200 OK".into()), dir());
    let _node = PoolManager::start(dir.path(), &format!("http://{}", plane.address), &BEATS, &[]);
    until("it registers", || plane.last(REGISTER).is_some());
    let told = plane.last(REGISTER).unwrap().body;
    let id = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let id = if id.trim().is_empty() { "unknown" } else { id.trim() };
    assert_eq!(told["machine_id"], id);
    assert_eq!(told["node_id"], rustix::system::uname().nodename().to_str().unwrap());
}

#[test]
fn the_token_goes_nowhere_else() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let url = format!("http://{}", elsewhere.local_addr().unwrap());
    let (location, dir) = (url.clone(), dir());
    let plane = Plane::start(move |all| {
        let status = ["302 Found", "307 Temporary Redirect", "308 Permanent Redirect"][all.len() % 3];
        format!("{status}\r\nLocation: {location}{}", all.last().unwrap().line.split(' ').nth(1).unwrap())
    });
    // A role is told of proxies in its environment, too.
    let node = plane.node(dir.path());
    until("it was sent away more than once", || pauses(&node).len() > 3);
    assert!(plane.heard().len() > 3, "it did not come here");
    let visit = elsewhere.accept().map(|(_, from)| from);
    assert_eq!(visit.unwrap_err().kind(), ErrorKind::WouldBlock, "somebody was led there");
    assert!(node.log().contains("status 302"), "{}", node.log());
}

#[test]
fn a_farewell_says_what_became_of_it() {
    for (status, said) in [
        ("200 OK", "] deregistered\n"),
        ("404 Not Found", "nothing to deregister: the orchestrator does not know this node"),
        ("409 Conflict", "not deregistered: another process has registered this node since"),
        ("500 Internal Server Error", "not deregistered: status 500"),
    ] {
        let plane = Plane::start(move |all| {
            let leaves = all.last().unwrap().line.starts_with("DELETE");
            if leaves { status } else { "200 OK" }.into()
        });
        let dir = dir();
        let mut node = plane.node(dir.path());
        until("it registered", || node.log().contains("registered as"));
        node.signal(Signal::TERM);
        assert_eq!(node.end().code(), Some(0), "{}", node.log());
        let log = node.log();
        assert!(log.contains(said), "{status}: {log}");
        assert_eq!(log.contains("] deregistered\n"), status == "200 OK", "{status}: {log}");
    }
}
