//! Peers that speak by hand: as the examples' own clients never would, or not at that moment.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use serde_json::{Value, json};

use crate::cast::{Orchestrator, PoolManager, TOKEN, ask, until};

/// A node of the orchestrator's that says what a test wants it to.
struct Node<'a> {
    orchestrator: &'a Orchestrator,
    listener: TcpListener,
}

impl<'a> Node<'a> {
    /// Registered as `n`.
    #[track_caller]
    fn register(orchestrator: &'a Orchestrator) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let node = Self { orchestrator, listener };
        assert_eq!(node.registers("first"), 200);
        node
    }

    #[track_caller]
    fn registers(&self, instance: &str) -> u16 {
        let address = format!("http://{}", self.listener.local_addr().unwrap());
        self.says(
            "/v2/nodes/register",
            json!({ "node_id": "n", "machine_id": "m", "address": address, "pools": ["p"], "instance_id": instance }),
        )
    }

    /// Always the same of its only pool, but for this.
    #[track_caller]
    fn beats(&self, ready: bool) {
        let pool = json!({ "pool_id": "p", "ready": ready, "draining": false, "slots_free": 0, "slots_total": 0 });
        assert_eq!(self.says("/v2/nodes/n/heartbeat", json!({ "timestamp": "", "pools": [pool] })), 200);
    }

    #[track_caller]
    fn says(&self, path: &str, body: Value) -> u16 {
        ask("POST", &self.orchestrator.url(path), Some(TOKEN), Some(&body.to_string())).unwrap().0
    }

    /// The next question for its pools, which waits for an answer.
    #[track_caller]
    fn asked(&self) -> TcpStream {
        let mut question = None;
        until("it is asked", || {
            question = self.listener.accept().ok();
            question.is_some()
        });
        let (stream, _) = question.unwrap();
        stream.set_nonblocking(false).unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "GET /v2/pools HTTP/1.1");
        assert!(lines.any(|line| line.unwrap().is_empty()));
        stream
    }
}

/// That its pool is ready, with one replica at this URL.
#[track_caller]
fn answer(question: TcpStream, url: &str) {
    tell(question, json!([{ "replica_id": "r0", "url": url }]));
}

/// That its pool has these replicas, and is ready if there are any.
#[track_caller]
fn tell(mut question: TcpStream, replicas: Value) {
    let ready = replicas != json!([]);
    let pool = json!({
        "pool_id": "p", "ready": ready, "draining": false, "slots_free": 0, "slots_total": 0, "replicas": replicas,
    });
    let body = json!({ "pools": [pool] }).to_string();
    write!(question, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
}

fn is_routed(orchestrator: &Orchestrator, url: &str) -> bool {
    orchestrator.replicas("p").iter().map(|(_, url)| url.as_str()).eq([url])
}

/// Nothing but a heartbeat can be why a node is asked.
const NO_POLLS: [&str; 4] = ["--poll-ms", "3600000", "--timeout-ms", "60000"];

#[test]
fn what_a_node_does_not_say_by_itself_it_is_asked() {
    let orchestrator =
        Orchestrator::start(&["--poll-ms", "50", "--timeout-ms", "60000", "--offline-after-ms", "3600000"]);
    let node = Node::register(&orchestrator);
    // Its only heartbeat.
    node.beats(true);
    for port in 1..4 {
        answer(node.asked(), &format!("http://127.0.0.1:{port}"));
        until("what it answered is known", || is_routed(&orchestrator, &format!("http://127.0.0.1:{port}")));
    }
    tell(node.asked(), json!([]));
    until("that it is not ready any more is known", || orchestrator.route("p").is_none());
    assert_eq!(orchestrator.online(), ["n"]);
}

#[test]
fn regression_an_engine_that_moved_is_routed_to_at_once() {
    let orchestrator = Orchestrator::start(&NO_POLLS);
    let node = Node::register(&orchestrator);
    node.beats(true);
    answer(node.asked(), "http://127.0.0.1:1");
    until("its replica is known", || is_routed(&orchestrator, "http://127.0.0.1:1"));
    // Another port, as many slots: a heartbeat at once, which says the same.
    node.beats(true);
    answer(node.asked(), "http://127.0.0.1:2");
    until("the new URL is known", || is_routed(&orchestrator, "http://127.0.0.1:2"));
}

#[test]
fn regression_a_node_that_beats_faster_than_it_answers_is_routed_to() {
    let orchestrator = Orchestrator::start(&NO_POLLS);
    let node = Node::register(&orchestrator);
    node.beats(true);
    let mut question = node.asked();
    for port in 1..4 {
        node.beats(true);
        answer(question, &format!("http://127.0.0.1:{port}"));
        until("what it answered is known", || is_routed(&orchestrator, &format!("http://127.0.0.1:{port}")));
        // And as it said something meanwhile, it is asked anew.
        question = node.asked();
    }
}

#[test]
fn an_answer_that_a_heartbeat_overtook_says_nothing_of_readiness() {
    let orchestrator = Orchestrator::start(&NO_POLLS);
    let node = Node::register(&orchestrator);
    node.beats(true);
    let question = node.asked();
    node.beats(false);
    answer(question, "http://127.0.0.1:1");
    // It has read that, and asks again.
    let _again = node.asked();
    assert_eq!(orchestrator.pools()[0]["ready"], false);
    assert_eq!(orchestrator.route("p"), None);
}

#[test]
fn the_answer_of_a_process_that_started_again_is_not_that_of_the_new_one() {
    let orchestrator = Orchestrator::start(&NO_POLLS);
    let node = Node::register(&orchestrator);
    node.beats(true);
    let of_the_old = node.asked();
    assert_eq!(node.registers("second"), 200);
    node.beats(true);
    let _of_the_new = node.asked();
    answer(of_the_old, "http://127.0.0.1:1");
    until("it was read", || orchestrator.log().contains("before it registered anew"));
    assert_eq!(orchestrator.replicas("p"), []);
}

#[test]
fn regression_a_late_farewell_does_not_remove_the_node_that_started_again() {
    let orchestrator = Orchestrator::start(&NO_POLLS);
    let node = Node::register(&orchestrator);
    assert_eq!(node.registers("second"), 200);
    let leaves =
        |query: &str| ask("DELETE", &orchestrator.url(&format!("/v2/nodes/n{query}")), Some(TOKEN), None).unwrap().0;
    assert_eq!(leaves("?instance_id=first"), 409);
    assert_eq!(orchestrator.nodes(), ["n"]);
    assert_eq!(leaves("?instance_id=second"), 200);
    assert_eq!(orchestrator.nodes(), Vec::<String>::new());
    // Who says nothing of instances is believed.
    assert_eq!((node.registers("third"), leaves("")), (200, 200));
    assert_eq!(orchestrator.nodes(), Vec::<String>::new());
}

#[test]
fn regression_a_connection_ends_with_its_answer() {
    let orchestrator = Orchestrator::start(&[]);
    let mut peer = TcpStream::connect(orchestrator.address()).unwrap();
    peer.write_all(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut said = String::new();
    peer.read_to_string(&mut said).unwrap();
    // By the version alone a client knows that it must not reuse the connection.
    assert!(said.starts_with("HTTP/1.0 200 OK\r\n"), "{said}");
    assert_eq!(said.matches("HTTP/1.").count(), 1, "{said}");
}

/// What a peer hears until the connection ends: the status line, the headers, in lower case, and the body.
#[track_caller]
fn hears(orchestrator: &Orchestrator, request: &str) -> (String, String, String) {
    let mut peer = TcpStream::connect(orchestrator.address()).unwrap();
    peer.write_all(request.as_bytes()).unwrap();
    let mut said = Vec::new();
    let _ = peer.read_to_end(&mut said);
    let said = String::from_utf8(said).unwrap();
    let (head, body) = said.split_once("\r\n\r\n").unwrap_or_default();
    let (status, headers) = head.split_once("\r\n").unwrap_or_default();
    (status.into(), headers.to_ascii_lowercase(), body.into())
}

#[test]
fn regression_a_target_that_is_no_path_ends_only_its_connection() {
    let orchestrator = Orchestrator::start(&[]);
    // More often than there may be connections: it holds no place either.
    for number in 0..70 {
        let method = ["CONNECT", "GET", "POST"][number % 3];
        let (status, ..) = hears(&orchestrator, &format!("{method} a:1 HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert!(!status.contains("200"), "{status}");
    }
    assert_eq!(ask("GET", &orchestrator.url("/health"), None, None).unwrap().0, 200);
    assert_eq!(orchestrator.nodes(), Vec::<String>::new());
}

#[test]
fn a_method_that_a_path_has_not_is_told_those_that_it_has() {
    let orchestrator = Orchestrator::start(&[]);
    for (method, path, allow) in [
        ("POST", "/health", "get"),
        ("HEAD", "/health", "get"),
        ("PUT", "/v2/nodes", "get"),
        ("DELETE", "/v2/routes", "get"),
        ("GET", "/v2/nodes/register", "delete, post"),
        ("GET", "/v2/nodes/n", "delete"),
        ("HEAD", "/v2/nodes/n/heartbeat", "post"),
    ] {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
        let (status, headers, body) = hears(&orchestrator, &request);
        assert_eq!(status, "HTTP/1.0 405 Method Not Allowed", "{method} {path}");
        assert!(headers.lines().any(|header| header == format!("allow: {allow}")), "{method} {path}: {headers}");
        // A client that asked for the head alone takes what follows for another answer.
        assert_eq!(body.is_empty(), method == "HEAD", "{method} {path}: {body}");
    }
    let dir = crate::dir();
    let node = PoolManager::start(dir.path(), &orchestrator.url(""), &[], &[]);
    for path in ["/health", "/metrics", "/v2/pools", "/v2/pools/p/status"] {
        assert_eq!(ask("DELETE", &node.url(path), Some(TOKEN), None).unwrap().0, 405, "{path}");
    }
    assert_eq!(ask("DELETE", &node.url("/v2"), Some(TOKEN), None).unwrap().0, 404);
}

#[test]
fn regression_the_scheme_of_the_token_has_no_case() {
    let orchestrator = Orchestrator::start(&[]);
    for (scheme, expected) in
        [("Bearer ", "200 OK"), ("bearer ", "200 OK"), ("BEARER  ", "200 OK"), ("Bearer", "401"), ("Basic  ", "401")]
    {
        let request = format!("GET /v2/nodes HTTP/1.1\r\nHost: h\r\nAuthorization: {scheme}{TOKEN}\r\n\r\n");
        let (status, ..) = hears(&orchestrator, &request);
        assert!(status.starts_with(&format!("HTTP/1.0 {expected}")), "{scheme:?}: {status}");
    }
}

#[test]
fn regression_nothing_is_waited_for_after_what_is_no_body() {
    let orchestrator = Orchestrator::start(&[]);
    let started = std::time::Instant::now();
    for header in ["", &format!("Authorization: Bearer {TOKEN}\r\n")] {
        let (status, ..) = hears(
            &orchestrator,
            &format!(
                "POST /v2/nodes/register HTTP/1.1\r\nHost: h\r\n{header}Transfer-Encoding: chunked\r\n\r\nno size\r\n"
            ),
        );
        assert_eq!(status.split(' ').nth(1), Some(if header.is_empty() { "401" } else { "400" }), "{status}");
    }
    // Not as long as a body may take.
    assert!(started.elapsed() < std::time::Duration::from_secs(8), "{:?}", started.elapsed());
}

#[test]
fn regression_a_body_without_an_end_holds_no_place() {
    let orchestrator = Orchestrator::start(&[]);
    let (let_in, fast, slow) = (format!("Authorization: Bearer {TOKEN}\r\n"), [b'x'; 4096], [b'x'; 1]);
    let bodies = [("", &fast[..], 401), ("", &slow[..], 401), (&let_in, &fast[..], 413), (&let_in, &slow[..], 408)];
    thread::scope(|scope| {
        for (header, chunk, status) in bodies {
            let mut peer = TcpStream::connect(orchestrator.address()).unwrap();
            write!(peer, "POST /v2/nodes/register HTTP/1.1\r\nHost: h\r\n{header}Transfer-Encoding: chunked\r\n\r\n")
                .unwrap();
            let mut sends = peer.try_clone().unwrap();
            scope.spawn(move || {
                let chunk = [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
                // Until nobody takes it any more.
                while sends.write_all(&chunk).is_ok() {
                    if chunk.len() < 100 {
                        thread::sleep(std::time::Duration::from_millis(20));
                    }
                }
            });
            scope.spawn(move || {
                let mut said = String::new();
                let _ = BufReader::new(peer).read_line(&mut said);
                assert!(said.starts_with(&format!("HTTP/1.0 {status} ")), "{chunk:?}, {status}: {said:?}");
            });
        }
    });
}

#[test]
fn peers_that_say_nothing_are_let_go() {
    let orchestrator = Orchestrator::start(&[]);
    let silent: Vec<_> = (0..80)
        .map(|it| {
            let mut peer = TcpStream::connect(orchestrator.address()).unwrap();
            // Some of them begin, and never end.
            if it % 2 == 0 {
                peer.write_all(b"GET /health HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n").unwrap();
            }
            peer
        })
        .collect();
    assert_eq!(ask("GET", &orchestrator.url("/health"), None, None).unwrap().0, 200);
    drop(silent);
}
