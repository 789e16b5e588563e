//! Who plays along: this test's own binary, started again in a role, and what is asked of it.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser as _;
use handoff_watcher::HandoffPayload;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::http::{self, Reply, Token};
use crate::logging::Discreet;
use crate::{orchestrator, pool_manager};

/// For what must come. Far longer than it takes, for a machine that is busy.
const DEADLINE: Duration = Duration::from_secs(30);
pub(crate) const TOKEN: &str = "the-secret-of-this-test";
const LISTENING: &str = "listening on http://";

#[track_caller]
pub(crate) fn until(what: &str, mut is: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is() {
        assert!(started.elapsed() < DEADLINE, "not in {DEADLINE:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Status and body: JSON, or the text as it is.
pub(crate) fn ask(method: &str, url: &str, token: Option<&str>, body: Option<&str>) -> Result<(u16, Value), String> {
    let agent = ureq::Agent::config_builder()
        .timeout_global(Some(DEADLINE))
        .proxy(None)
        .http_status_as_error(false)
        .max_idle_connections(0);
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    if let Some(token) = token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    let answer = agent.build().new_agent().run(request.body(body.unwrap_or_default().to_owned()).unwrap());
    let mut answer = answer.map_err(|error| error.to_string())?;
    let text = answer.body_mut().read_to_string().map_err(|error| error.to_string())?;
    Ok((answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text))))
}

/// What a producer writes of an engine.
pub(crate) fn handoff(pool: &str, replica: &str, engine: &Engine) -> HandoffPayload {
    let mut handoff = HandoffPayload::new(pool, replica, engine.url("")).unwrap();
    handoff.pid = Some(engine.0.child.id());
    handoff.slots = Some(4);
    handoff.engine = Some("test".into());
    handoff.engine_version = Some("1".into());
    handoff.device_mask = Some("0".into());
    handoff
}

/// As the examples', but that it takes the library's thread with it when it hears of a pool of this name.
struct Logger(Discreet);

pub(crate) const DOOMED: &str = "doomed";

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.target().starts_with("handoff_watcher") && record.args().to_string().contains(DOOMED) {
            assert!(record.level() <= log::Level::Warn, "provoked");
        }
        self.0.log(record);
    }

    fn flush(&self) {}
}

/// What the process does that was started for a role; it does not return.
pub(crate) fn play() {
    let args = std::env::var("NODE_ARGS").unwrap_or_default();
    let args = || std::iter::once("role").chain(args.split('\n').filter(|arg| !arg.is_empty()));
    log::set_boxed_logger(Box::new(Logger(Discreet::new()))).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let result = match std::env::var("NODE_ROLE").as_deref() {
        Ok("orchestrator") => orchestrator::run(orchestrator::Args::parse_from(args())),
        Ok("pool_manager") => pool_manager::run(pool_manager::Args::parse_from(args())),
        Ok("engine") => engine(),
        // `cargo test -- --ignored`, by a person.
        _ => return,
    };
    if let Err(error) = &result {
        log::error!("{error}");
    }
    std::process::exit(i32::from(result.is_err()));
}

/// It takes a moment to load its model, and says so.
fn engine() -> Result<(), String> {
    let (listener, started) = (http::listen("127.0.0.1:0")?, Instant::now());
    let local = listener.local;
    http::serve(listener, Token::from_env()?, move |_| {
        let is_ready = started.elapsed() > Duration::from_millis(100);
        Reply::json(if is_ready { 200 } else { 503 }, &is_ready)
    })?;
    println!("{LISTENING}{local}");
    loop {
        thread::park();
    }
}

/// A process in a role. Killed when dropped; no log of it may have the token in it.
pub(crate) struct Role {
    child: Child,
    out: Option<BufReader<std::process::ChildStdout>>,
    log: Arc<Mutex<String>>,
    reader: Option<thread::JoinHandle<()>>,
    /// Where nobody reads its log.
    unread: Option<ChildStderr>,
    address: Option<SocketAddr>,
}

impl Role {
    pub(crate) fn spawn(role: &str, args: &str, token: &str) -> Self {
        let mut it = Self::unread(role, args, token);
        let (mut err, written) = (BufReader::new(it.unread.take().unwrap()), it.log.clone());
        it.reader = Some(thread::spawn(move || {
            let mut line = Vec::new();
            while err.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                written.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        }));
        it
    }

    /// One whose log nobody reads: the pipe becomes full, and whoever logs then waits.
    pub(crate) fn unread(role: &str, args: &str, token: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["role", "--exact", "--ignored", "--nocapture", "--test-threads", "1"])
            .envs([("NODE_ROLE", role), ("NODE_ARGS", args), ("LLORCH_API_TOKEN", token)])
            // As talkative as they can be.
            .env("RUST_LOG", "trace")
            .env_remove("POOL_MANAGERD_WATCH_INTERVAL_MS")
            // Where nobody listens. What is asked for with a token is asked for nowhere but where it is.
            .envs(["ALL_PROXY", "HTTP_PROXY"].map(|proxy| (proxy, "http://127.0.0.1:1")))
            .envs(["NO_PROXY", "no_proxy"].map(|all| (all, "")))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (out, unread) = (child.stdout.take().map(BufReader::new), child.stderr.take());
        Self { child, out, log: Arc::default(), reader: None, unread, address: None }
    }

    #[track_caller]
    fn start(role: &str, args: &str) -> Self {
        let mut it = Self::spawn(role, args, TOKEN);
        let mut out = it.out.take().unwrap();
        let mut line = String::new();
        while !line.contains(LISTENING) {
            line.clear();
            assert_ne!(out.read_line(&mut line).unwrap(), 0, "{role} does not start: {}", it.log());
        }
        it.address = line.trim_end().split(LISTENING).nth(1).map(|address| address.parse().unwrap());
        // Nobody may find the pipe full, or closed.
        thread::spawn(move || out.read_to_end(&mut Vec::new()));
        it
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address.unwrap()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// How much of a log that nobody reads has been written.
    pub(crate) fn unread_bytes(&self) -> u64 {
        rustix::io::ioctl_fionread(self.unread.as_ref().unwrap()).unwrap()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end, by itself or by a signal, and for its last word.
    #[track_caller]
    pub(crate) fn end(&mut self) -> ExitStatus {
        let mut status = None;
        until("it ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        status.unwrap()
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!(
                "---- the log of a process:\n{}",
                self.log().lines().filter(|it| !it.contains(" TRACE ")).collect::<Vec<_>>().join("\n")
            );
        } else {
            let log = self.log();
            assert!(!log.contains(TOKEN), "{log}");
            // What is sent, as it is sent: a few bytes a line, where nothing of it would be found.
            assert!(!log.lines().any(|line| line.contains(" ureq")), "{log}");
        }
    }
}

macro_rules! is_role {
    ($type:ty) => {
        impl std::ops::Deref for $type {
            type Target = Role;

            fn deref(&self) -> &Role {
                &self.0
            }
        }

        impl std::ops::DerefMut for $type {
            fn deref_mut(&mut self) -> &mut Role {
                &mut self.0
            }
        }
    };
}

is_role!(Engine);
is_role!(PoolManager);
is_role!(Orchestrator);

pub(crate) struct Engine(Role);

impl Engine {
    #[track_caller]
    pub(crate) fn start() -> Self {
        Self(Role::start("engine", ""))
    }

    /// Its parent does not ask how it ended: it stays a zombie, as engines do.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
    }
}

pub(crate) struct PoolManager(Role);

impl PoolManager {
    #[track_caller]
    pub(crate) fn start(dir: &Path, orchestrator: &str, args: &[&str], more: &[&str]) -> Self {
        let first = [dir.to_str().unwrap(), "--orchestrator", orchestrator, "--listen", "127.0.0.1:0"];
        Self(Role::start("pool_manager", &[&first, args, more].concat().join("\n")))
    }
}

pub(crate) struct Orchestrator(Role);

impl Orchestrator {
    #[track_caller]
    pub(crate) fn start(args: &[&str]) -> Self {
        Self(Role::start("orchestrator", &[&["--listen", "127.0.0.1:0"], args].concat().join("\n")))
    }

    fn list(&self, what: &str) -> Vec<Value> {
        let (status, told) = ask("GET", &self.url(&format!("/v2/{what}")), Some(TOKEN), None).unwrap();
        assert_eq!(status, 200, "{told}");
        told[what].as_array().unwrap().clone()
    }

    pub(crate) fn nodes(&self) -> Vec<String> {
        self.list("nodes").iter().map(|node| text(&node["node_id"])).collect()
    }

    pub(crate) fn online(&self) -> Vec<String> {
        let nodes = self.list("nodes");
        nodes.iter().filter(|node| node["online"] == true).map(|node| text(&node["node_id"])).collect()
    }

    /// The pools of its nodes, as the last heartbeats told them.
    pub(crate) fn pools(&self) -> Vec<Value> {
        self.list("nodes").iter().flat_map(|node| node["pools"].as_array().unwrap().clone()).collect()
    }

    pub(crate) fn routes(&self) -> Vec<String> {
        self.list("routes").iter().map(|route| text(&route["pool_id"])).collect()
    }

    /// Where traffic for a pool may go.
    pub(crate) fn route(&self, pool: &str) -> Option<Value> {
        self.list("routes").into_iter().find(|route| route["pool_id"] == pool)
    }

    /// Ids and URLs of what a pool's traffic is sent to.
    pub(crate) fn replicas(&self, pool: &str) -> Vec<(String, String)> {
        let route = self.route(pool).unwrap_or_default();
        let replicas = route["replicas"].as_array().cloned().unwrap_or_default();
        replicas.iter().map(|it| (text(&it["replica_id"]), text(&it["url"]))).collect()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
