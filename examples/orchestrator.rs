//! The control plane's side of a node, as small as it can honestly be: who is there, what is ready, where traffic may go.
//!
//! ```sh
//! export LLORCH_API_TOKEN=secret          # the same on both sides; never logged
//! cargo run --example orchestrator -- --listen 127.0.0.1:8500
//! curl -H "Authorization: Bearer $LLORCH_API_TOKEN" http://127.0.0.1:8500/v2/routes
//! ```
//!
//! Pool managers register (`POST /v2/nodes/register`), send heartbeats (`POST /v2/nodes/{id}/heartbeat`; 404 tells a node
//! that it is not known and has to register anew) and deregister (`DELETE /v2/nodes/{id}`). With `?instance_id=` the last two
//! are refused with 409 when another process has registered as that node since. People and routers ask `GET /v2/nodes` and
//! `GET /v2/routes`; `GET /health` needs no token.
//!
//! A node is offline after 30 s without a heartbeat, by this machine's monotonic clock: what the heartbeat's timestamp
//! says is shown, and decides nothing. Heartbeats say which pools are ready; the replicas of each are asked of the node, at
//! once after each heartbeat, which may have been sent because a replica moved, and every `--poll-ms` besides. It asks
//! `GET /v2/pools`, all statuses in one answer, rather than the `/v2/pools/{id}/status` of each. Everything is in memory:
//! after a restart the nodes register anew with their next heartbeat.

#[path = "common/http.rs"]
mod http;
#[path = "common/logging.rs"]
mod logging;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use http::{Call, Client, Reply, Token, check_url};

/// More nodes than this are refused, so that memory has a bound.
const MOST_NODES: usize = 1000;
/// An offline node is forgotten after so many times what it takes to be offline.
const FORGET_AFTER: u32 = 20;

/// An orchestrator that lists where traffic may go.
#[derive(Clone, Debug, Parser)]
pub(crate) struct Args {
    /// Where to serve HTTP; port 0 takes a free one, which is printed
    #[arg(long, default_value = "127.0.0.1:8500")]
    listen: String,
    /// Milliseconds without a heartbeat after which a node is offline
    #[arg(long, value_name = "MS", default_value_t = 30_000, value_parser = clap::value_parser!(u64).range(1..))]
    offline_after_ms: u64,
    /// Milliseconds between two looks at the pools of a node that says nothing meanwhile
    #[arg(long, value_name = "MS", default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1..))]
    poll_ms: u64,
    /// Milliseconds that a node may take to answer
    #[arg(long, value_name = "MS", default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1..))]
    timeout_ms: u64,
}

fn main() -> ExitCode {
    logging::Discreet::start();
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// There is nothing to put in order at the end: a signal just ends it.
pub(crate) fn run(args: Args) -> Result<(), String> {
    let token = Token::from_env()?;
    let listener = http::listen(&args.listen)?;
    let local = listener.local;
    let (news, wake) = sync_channel(1);
    let plane = Arc::new(Plane {
        client: Client::new(token.clone(), Duration::from_millis(args.timeout_ms)),
        offline_after: Duration::from_millis(args.offline_after_ms),
        poll: Duration::from_millis(args.poll_ms),
        news,
        nodes: Mutex::default(),
    });
    let answers = plane.clone();
    http::serve(listener, token, move |call| answers.answer(call))?;
    let _ = writeln!(std::io::stdout(), "listening on http://{local}");
    plane.look_after(&wake)
}

#[derive(Debug, Deserialize)]
struct Registration {
    node_id: String,
    machine_id: String,
    address: String,
    #[serde(default)]
    pools: Vec<String>,
    #[serde(default)]
    capabilities: Value,
    /// Another one for each process, from those that tell.
    instance_id: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Heartbeat {
    timestamp: String,
    pools: Vec<Beat>,
}

/// What a heartbeat says of a pool.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Beat {
    pool_id: String,
    ready: bool,
    draining: bool,
    slots_free: u64,
    slots_total: u64,
    #[serde(default)]
    vram_free_bytes: u64,
    engine: Option<String>,
}

/// What a node says of a pool when it is asked.
#[derive(Debug, Deserialize)]
struct Status {
    pool_id: String,
    ready: bool,
    draining: bool,
    slots_free: u64,
    slots_total: u64,
    replicas: Vec<Replica>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Replica {
    replica_id: String,
    url: String,
    #[serde(default, skip_serializing)]
    draining: bool,
}

#[derive(Debug)]
struct Node {
    machine_id: String,
    address: String,
    capabilities: Value,
    instance_id: Option<String>,
    registered: Instant,
    timestamp: Option<String>,
    heard: Instant,
    /// As the log last said it.
    online: bool,
    pools: BTreeMap<String, (Beat, Vec<Replica>)>,
    /// When it was last asked; `None` when it has said something since.
    asked: Option<Instant>,
    asking: bool,
}

impl Node {
    /// Than the process that says this of itself, as far as both tell.
    fn is_another(&self, instance_id: Option<&str>) -> bool {
        instance_id.zip(self.instance_id.as_deref()).is_some_and(|(says, is)| says != is)
    }
}

#[derive(Debug)]
struct Plane {
    client: Client,
    offline_after: Duration,
    poll: Duration,
    /// Some node has some: room for one.
    news: SyncSender<()>,
    nodes: Mutex<BTreeMap<String, Node>>,
}

impl Plane {
    fn nodes(&self) -> MutexGuard<'_, BTreeMap<String, Node>> {
        // Nothing that can panic holds it.
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_online(&self, node: &Node) -> bool {
        node.heard.elapsed() < self.offline_after
    }

    fn answer(&self, call: &Call) -> Reply {
        let (method, path) = call.route();
        match (method, &path[..]) {
            ("GET", ["health"]) => Reply::json(200, &json!({ "ok": true })),
            ("POST", ["v2", "nodes", "register"]) => parsed(call, |body| self.register(body)),
            ("POST", ["v2", "nodes", id, "heartbeat"]) => {
                parsed(call, |body| self.heartbeat(id, call.parameter("instance_id"), body))
            }
            ("DELETE", ["v2", "nodes", id]) => self.deregister(id, call.parameter("instance_id")),
            ("GET", ["v2", "nodes"]) => Reply::json(200, &self.list()),
            ("GET", ["v2", "routes"]) => Reply::json(200, &self.routes()),
            (_, ["health"] | ["v2", "nodes" | "routes"]) => Reply::not_allowed("GET"),
            (_, ["v2", "nodes", "register"]) => Reply::not_allowed("DELETE, POST"),
            (_, ["v2", "nodes", _]) => Reply::not_allowed("DELETE"),
            (_, ["v2", "nodes", _, "heartbeat"]) => Reply::not_allowed("POST"),
            _ => Reply::not_found(),
        }
    }

    fn register(&self, said: Registration) -> Reply {
        if said.node_id.is_empty() || said.node_id.len() > 256 || said.node_id.chars().any(char::is_control) {
            return Reply::error(400, "field `node_id`: expected 1 to 256 bytes without control characters");
        }
        if let Err(error) = check_url("field `address`", &said.address) {
            return Reply::error(400, error);
        }
        let mut nodes = self.nodes();
        if nodes.len() >= MOST_NODES && !nodes.contains_key(&said.node_id) {
            return Reply::error(503, format!("there are {MOST_NODES} nodes already"));
        }
        if let Some(other) = nodes.get(&said.node_id)
            && other.machine_id != said.machine_id
            && self.is_online(other)
        {
            return Reply::error(409, format!("node {:?} is online on another machine: name them apart", said.node_id));
        }
        // Whoever starts anew after a crash is let in at once; the other one, if it is alive, hears of it with its heartbeat.
        if let Some(other) = nodes.get(&said.node_id)
            && other.instance_id != said.instance_id
            && self.is_online(other)
        {
            log::warn!("node {:?} registers anew, while it was online as another process", said.node_id);
        }
        log::info!("node {:?} registered at {}", said.node_id, said.address);
        let not_ready = |pool_id: String| (pool_id.clone(), (Beat { pool_id, ..Beat::default() }, Vec::new()));
        let node = Node {
            machine_id: said.machine_id,
            address: said.address,
            capabilities: said.capabilities,
            instance_id: said.instance_id,
            registered: Instant::now(),
            timestamp: None,
            heard: Instant::now(),
            online: true,
            // Not ready before it says so.
            pools: said.pools.into_iter().map(not_ready).collect(),
            asked: None,
            asking: false,
        };
        nodes.insert(said.node_id, node);
        Reply::json(200, &json!({}))
    }

    fn deregister(&self, id: &str, instance_id: Option<&str>) -> Reply {
        let mut nodes = self.nodes();
        let Some(node) = nodes.get(id) else { return unknown(id) };
        // The farewell of a process may come after its successor's registration.
        if node.is_another(instance_id) {
            return Reply::error(409, format!("node {id:?} has registered as another instance since"));
        }
        nodes.remove(id);
        log::info!("node {id:?} deregistered");
        Reply::json(200, &json!({}))
    }

    fn heartbeat(&self, id: &str, instance_id: Option<&str>, said: Heartbeat) -> Reply {
        let mut nodes = self.nodes();
        let Some(node) = nodes.get_mut(id) else { return unknown(id) };
        if node.is_another(instance_id) {
            // As long as the other one is there they would take turns.
            if !self.is_online(node) {
                return unknown(id);
            }
            let message = format!("another process has registered as node {id:?}: name them apart with --node-id");
            return Reply::error(409, message);
        }
        if !std::mem::replace(&mut node.online, true) {
            log::info!("node {id:?} is online again");
        }
        node.heard = Instant::now();
        node.timestamp = Some(said.timestamp);
        let mut before = std::mem::take(&mut node.pools);
        for beat in said.pools {
            let (old, replicas) = before.remove(&beat.pool_id).unwrap_or_default();
            if (old.ready, old.draining) != (beat.ready, beat.draining) {
                log::info!("node {id:?}, pool {:?}: ready {}, draining {}", beat.pool_id, beat.ready, beat.draining);
            }
            let replicas = if beat.ready { replicas } else { Vec::new() };
            node.pools.insert(beat.pool_id.clone(), (beat, replicas));
        }
        // Also if it said the same: a heartbeat does not tell where the replicas are.
        node.asked = None;
        let _ = self.news.try_send(());
        Reply::json(200, &json!({}))
    }

    fn list(&self) -> Value {
        let nodes = self.nodes();
        let list = nodes.iter().map(|(id, node)| {
            json!({
                "node_id": id,
                "machine_id": node.machine_id,
                "address": node.address,
                "online": self.is_online(node),
                "heard_ms_ago": node.heard.elapsed().as_millis() as u64,
                "timestamp": node.timestamp,
                "capabilities": node.capabilities,
                "pools": node.pools.values().map(|(beat, _)| beat).collect::<Vec<_>>(),
            })
        });
        json!({ "nodes": list.collect::<Vec<_>>() })
    }

    /// Pools that are ready and not draining, of nodes that are online, and those of their replicas that do not drain either.
    /// `replicas` is empty for the moment that it takes to
    /// ask the node for them. A pool without free slots is listed too: how busy is too busy is the router's affair, and 0 of
    /// 0 means that no handoff tells.
    fn routes(&self) -> Value {
        let nodes = self.nodes();
        let online = nodes.iter().filter(|(_, node)| self.is_online(node));
        let routes = online.flat_map(|(id, node)| {
            let open = node.pools.values().filter(|(beat, _)| beat.ready && !beat.draining);
            open.map(move |(beat, replicas)| {
                let replicas: Vec<_> = replicas.iter().filter(|replica| !replica.draining).collect();
                json!({
                    "pool_id": beat.pool_id,
                    "node_id": id,
                    "slots_free": beat.slots_free,
                    "slots_total": beat.slots_total,
                    "engine": beat.engine,
                    "replicas": replicas,
                })
            })
        });
        json!({ "routes": routes.collect::<Vec<_>>() })
    }

    /// Asks the nodes for their pools, and notes who is silent; forever.
    fn look_after(self: &Arc<Self>, wake: &Receiver<()>) -> Result<(), String> {
        let tick = self.poll.min(self.offline_after / 2);
        loop {
            // Whichever comes first: news, or the time.
            let _ = wake.recv_timeout(tick);
            let mut nodes = self.nodes();
            nodes.retain(|id, node| {
                if !self.is_online(node) && std::mem::replace(&mut node.online, false) {
                    log::warn!("node {id:?} is offline: no heartbeat for {} ms", self.offline_after.as_millis());
                }
                node.heard.elapsed() < self.offline_after * FORGET_AFTER
            });
            for (id, node) in nodes.iter_mut() {
                let due = node.asked.is_none_or(|asked| asked.elapsed() >= self.poll);
                // One question at a time, each on a thread of its own: a node that hangs delays no other.
                if due && !node.asking && self.is_online(node) {
                    (node.asking, node.asked) = (true, Some(Instant::now()));
                    let (plane, id, address, registered) =
                        (self.clone(), id.clone(), node.address.clone(), node.registered);
                    let ask = move || plane.ask(&id, &address, registered);
                    if let Err(error) = thread::Builder::new().name("ask".into()).spawn(ask) {
                        log::warn!("no thread to ask a node: {error}");
                        node.asking = false;
                    }
                }
            }
        }
    }

    fn ask(&self, id: &str, address: &str, registered: Instant) {
        #[derive(Deserialize)]
        struct Pools {
            pools: Vec<Status>,
        }
        let url = format!("{}/v2/pools", address.trim_end_matches('/'));
        let answer = self.client.ask("GET", &url, None).and_then(|(status, body)| match status {
            200 => serde_json::from_value::<Pools>(body).map_err(|error| format!("GET {url}: {error}")),
            _ => Err(format!("GET {url}: status {status}: {:?}", body["error"].as_str().unwrap_or("no reason given"))),
        });
        let mut nodes = self.nodes();
        let Some(node) = nodes.get_mut(id).filter(|node| node.registered == registered) else {
            return log::debug!("node {id:?}: what it told before it registered anew counts no more");
        };
        node.asking = false;
        let overtaken = node.asked.is_none();
        if overtaken {
            let _ = self.news.try_send(());
        }
        let pools = match answer {
            Ok(answer) => answer.pools,
            // Its heartbeats decide what it is; they come, or they do not.
            Err(error) => return log::warn!("node {id:?} did not tell its pools: {error}"),
        };
        if overtaken {
            // Whether a pool is ready, the heartbeat knows better. Where its replicas are is news all the same: who waited for
            // an answer that no heartbeat overtakes would wait forever for a node that is slow.
            for status in pools {
                if let Some((beat, replicas)) = node.pools.get_mut(&status.pool_id)
                    && beat.ready
                {
                    *replicas = status.replicas;
                }
            }
            return;
        }
        let mut before = std::mem::take(&mut node.pools);
        for status in pools {
            let (mut beat, _) = before.remove(&status.pool_id).unwrap_or_default();
            (beat.ready, beat.draining) = (status.ready, status.draining);
            (beat.slots_free, beat.slots_total) = (status.slots_free, status.slots_total);
            beat.pool_id.clone_from(&status.pool_id);
            node.pools.insert(status.pool_id, (beat, status.replicas));
        }
    }
}

fn parsed<T: DeserializeOwned>(call: &Call, take: impl FnOnce(T) -> Reply) -> Reply {
    match serde_json::from_slice(&call.body) {
        Ok(body) => take(body),
        Err(error) => Reply::error(400, format!("the body: {error}")),
    }
}

fn unknown(id: &str) -> Reply {
    Reply::error(404, format!("there is no node {id:?}: register"))
}
