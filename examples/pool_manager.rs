//! A pool manager on the library: it watches the handoffs of its node, and the control plane learns of each engine at once.
//!
//! ```sh
//! export LLORCH_API_TOKEN=secret          # the same on both sides; never logged
//! cargo run --example orchestrator -- --listen 127.0.0.1:8500
//! cargo run --example pool_manager --features inotify,metrics -- .runtime/engines \
//!     --listen 127.0.0.1:9200 --orchestrator http://127.0.0.1:8500
//! ```
//!
//! It serves `GET /health`, `GET /metrics`, and, with the token, `GET /v2/pools` and `GET /v2/pools/{id}/status`. It
//! registers, sends a heartbeat every 10 s and one at once when readiness changes, and deregisters on SIGTERM, which takes
//! at most twice `--timeout-ms`; a second SIGTERM ends it on the spot.
//!
//! Four threads that do not wait for each other: the watcher's two, HTTP, and the control plane. An orchestrator that is
//! slow, gone or hung delays heartbeats, never the watcher or `/health`. If one of them ends by a defect, the process does,
//! with exit code 1, and whoever supervises it starts it anew. Nothing is kept on disk: after a restart the directory tells
//! everything again.
//!
//! What it does not do: it asks no engine. A replica is ready because its handoff says so, until the file goes or, with
//! `--check-processes`, its process does. A number that no handoff tells (`slots_*`, `vram_free_bytes`) is 0. And it passes on
//! what traffic needs, not whole handoffs, nor texts of any length: one handoff may be as large as what a node may tell of all,
//! which is 1 MiB in a heartbeat, some 8,000 pools, and 4 MiB when it is asked.

#[path = "pool_manager/control.rs"]
mod control;
#[path = "common/http.rs"]
mod http;
#[path = "common/logging.rs"]
mod logging;

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime};

use clap::Parser;
use handoff_watcher::{HandoffEvent, HandoffPayload, HandoffWatcher, HandoffWatcherConfig, TrustPolicy, WatcherHandle};
use serde_json::{Value, json};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use control::Control;
use http::{Call, Client, Reply, Token, check_url, without_secrets};

/// The longest text of a handoff that is passed on. Ids and URLs have bounds of their own.
const MOST_CHARS: usize = 200;
/// What no option sets.
const ENVIRONMENT: &str = "\
Environment:
  LLORCH_API_TOKEN                 The secret that is shared with the orchestrator; required
  POOL_MANAGERD_WATCH_INTERVAL_MS  Milliseconds between two looks at the directory [default: 1000]
  RUST_LOG                         How much to log [default: info]";

/// A pool manager that watches handoffs and reports to an orchestrator.
#[derive(Clone, Debug, Parser)]
#[command(after_help = ENVIRONMENT)]
pub(crate) struct Args {
    /// Directory of the handoff files [default: $POOL_MANAGERD_RUNTIME_DIR, else .runtime/engines]
    dir: Option<PathBuf>,
    /// Where to serve HTTP; port 0 takes a free one, which is printed
    #[arg(long, default_value = "127.0.0.1:9200")]
    listen: String,
    /// Where the orchestrator reaches this node [default: http:// and the address of --listen]
    #[arg(long, value_name = "URL")]
    address: Option<String>,
    /// The control plane
    #[arg(long, value_name = "URL", env = "ORCHESTRATORD_URL", hide_env_values = true)]
    orchestrator: String,
    /// This node, unique in the control plane also where a host has several [default: the host's name]
    #[arg(long)]
    node_id: Option<String>,
    /// This machine [default: /etc/machine-id]
    #[arg(long)]
    machine_id: Option<String>,
    /// Milliseconds between heartbeats when nothing changes
    #[arg(long, value_name = "MS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    heartbeat_ms: u64,
    /// Milliseconds that a request to the orchestrator may take
    #[arg(long, value_name = "MS", default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1..))]
    timeout_ms: u64,
    /// Only handoffs whose process, if they name one, still runs; needs the pid namespace of the engines
    #[arg(long)]
    check_processes: bool,
    /// Believe only handoffs of this user, of root and of the pool manager's own, writable by nobody else; may be repeated
    #[arg(long, value_name = "UID")]
    trust_uid: Vec<u32>,
    /// Do not wait for the next poll when the kernel notifies of a change
    #[arg(long)]
    instant: bool,
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

pub(crate) fn run(args: Args) -> Result<(), String> {
    let token = Token::from_env()?;
    check_url("--orchestrator", &args.orchestrator)?;
    // Caught from here on: whoever is told to end during the start ends in order.
    let ending = end_by_signal().map_err(|error| format!("cannot catch signals: {error}"))?;
    let listener = http::listen(&args.listen)?;
    let local = listener.local;
    let address = match &args.address {
        Some(address) => address.trim_end_matches('/').to_owned(),
        None if local.ip().is_unspecified() => {
            return Err(format!("{local} is no address that the orchestrator could ask: name one with --address"));
        }
        None => format!("http://{local}"),
    };
    check_url("--address", &address)?;

    let (node, changes) = Node::start(&args)?;
    let answers = node.clone();
    http::serve(listener, token.clone(), move |call| answers.answer(call))?;
    let control = Control {
        client: Client::new(token, Duration::from_millis(args.timeout_ms)),
        orchestrator: args.orchestrator.trim_end_matches('/').to_owned(),
        node_id: args.node_id.unwrap_or_else(host_name),
        machine_id: args.machine_id.unwrap_or_else(machine_id),
        instance_id: instance_id(),
        address,
        interval: Duration::from_millis(args.heartbeat_ms),
        node: node.clone(),
    };
    let ends = EndsAll(node.clone());
    let control = thread::Builder::new().name("control-plane".into()).spawn(move || {
        let _ends = ends;
        control.run(&changes)
    });
    let control = control.map_err(|error| format!("cannot start the thread for the control plane: {error}"))?;
    // That nobody reads it changes nothing.
    let _ = writeln!(io::stdout(), "listening on http://{local}");

    let _ = ending.recv();
    node.stop();
    log::info!("ending: deregistering");
    control.join().unwrap_or_else(|_| Err(String::from("the thread for the control plane ended by a defect")))
}

/// Tells of the first signal to end. The second one ends the process on the spot, whatever holds it up: a control plane that
/// hangs, or a log that nobody reads.
fn end_by_signal() -> io::Result<Receiver<()>> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let (end, ending) = sync_channel(1);
    let wait = move || {
        let mut signals = signals.forever();
        if signals.next().is_some() {
            let _ = end.send(());
        }
        for signal in signals {
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
    };
    thread::Builder::new().name("signals".into()).spawn(wait)?;
    Ok(ending)
}

/// Ends the process when its thread ends unbidden: a node that is silent, and looks alive, is of no use to anyone.
struct EndsAll(Arc<Node>);

impl Drop for EndsAll {
    fn drop(&mut self) {
        if !self.0.is_stopping() {
            let _ = signal_hook::low_level::raise(SIGTERM);
        }
    }
}

/// What this node knows, and everybody asks: the HTTP threads and the control plane.
#[derive(Debug)]
struct Node {
    watcher: WatcherHandle,
    told: Arc<Told>,
}

/// What the watcher's callback leaves for the others.
#[derive(Debug)]
struct Told {
    /// Room for one: however many changes there are, they make one heartbeat.
    changes: SyncSender<()>,
    /// All that was there at the start has been told.
    synced: AtomicBool,
    stopping: AtomicBool,
}

impl Node {
    fn start(args: &Args) -> Result<(Arc<Self>, Receiver<()>), String> {
        let mut config = HandoffWatcherConfig::from_env().map_err(|error| error.to_string())?;
        config.runtime_dir = args.dir.clone().unwrap_or(config.runtime_dir);
        log::info!("watching {} every {} ms", config.runtime_dir.display(), config.poll_interval_ms);
        let (changes, wake) = sync_channel(1);
        let told = Arc::new(Told { changes, synced: AtomicBool::new(false), stopping: AtomicBool::new(false) });
        let hears = told.clone();
        let mut builder = HandoffWatcher::builder(config).check_processes(args.check_processes).instant(args.instant);
        if !args.trust_uid.is_empty() {
            builder = builder.trust(args.trust_uid.iter().fold(TrustPolicy::this_user(), |it, uid| it.and_uid(*uid)));
        }
        let watcher = builder.on_event(move |event| {
            hears.hear(&event);
            Ok(())
        });
        let watcher = watcher.try_spawn().map_err(|error| error.to_string())?;
        Ok((Arc::new(Self { watcher, told }), wake))
    }

    fn stop(&self) {
        self.told.stopping.store(true, Ordering::Release);
        let _ = self.told.changes.try_send(());
    }

    fn is_synced(&self) -> bool {
        self.told.synced.load(Ordering::Acquire)
    }

    fn is_stopping(&self) -> bool {
        self.told.stopping.load(Ordering::Acquire)
    }

    fn answer(&self, call: &Call) -> Reply {
        let (method, path) = call.route();
        match (method, &path[..]) {
            ("GET", ["health"]) => {
                let health = self.watcher.health();
                let status = if health.is_ok() { 200 } else { 503 };
                Reply::json(status, &json!({ "ok": health.is_ok(), "draining": self.is_stopping(), "watcher": health }))
            }
            ("GET", ["metrics"]) => Reply::metrics(self.watcher.metrics()),
            ("GET", ["v2", "pools"]) => Reply::json(200, &json!({ "pools": self.statuses() })),
            ("GET", ["v2", "pools", id, "status"]) => {
                let status = self.statuses().into_iter().find(|status| status["pool_id"] == *id);
                let none = || {
                    Reply::error(
                        404,
                        format!(
                            "no valid handoff here speaks of pool {id:?}; a stale or unreadable one counts as none: the \
                             log names each, GET /metrics counts them"
                        ),
                    )
                };
                status.map_or_else(none, |status| Reply::json(200, &status))
            }
            (_, ["health" | "metrics"] | ["v2", "pools"] | ["v2", "pools", _, "status"]) => Reply::not_allowed("GET"),
            _ => Reply::not_found(),
        }
    }

    /// Each pool as `GET /v2/pools/{id}/status` tells it.
    fn statuses(&self) -> Vec<Value> {
        let live = self.watcher.health().is_ok();
        self.pools(|pool_id, replicas, draining| {
            let first = |field: fn(&HandoffPayload) -> &Option<String>| replicas.iter().find_map(|it| short(field(it)));
            json!({
                "pool_id": pool_id,
                "live": live,
                "ready": !replicas.is_empty(),
                "draining": draining,
                "slots_total": slots(replicas).1,
                "slots_free": slots(replicas).0,
                "engine": first(|it| &it.engine),
                "engine_version": first(|it| &it.engine_version),
                "device_mask": first(|it| &it.device_mask),
                "replicas": replicas.iter().map(replica).collect::<Vec<_>>(),
            })
        })
    }

    /// Each pool as a heartbeat tells it.
    fn heartbeat(&self) -> Vec<Value> {
        self.pools(|pool_id, replicas, draining| {
            let vram = replicas.iter().filter_map(|it| it.extra.get("vram_free_bytes")?.as_u64());
            json!({
                "pool_id": pool_id,
                "ready": !replicas.is_empty(),
                "draining": draining,
                "slots_free": slots(replicas).0,
                "slots_total": slots(replicas).1,
                "vram_free_bytes": vram.fold(0, u64::saturating_add),
                "engine": replicas.iter().find_map(|it| short(&it.engine)),
            })
        })
    }

    /// Every pool of which there is a handoff, with the replicas that are ready, and whether new requests are unwelcome:
    /// this node is going, or each of its replicas says so.
    fn pools(&self, tell: impl Fn(&str, &[HandoffPayload], bool) -> Value) -> Vec<Value> {
        let registry = self.watcher.registry();
        let pools = registry.pools();
        // One look at what is ready, sorted by pool: what is said of a pool agrees with itself.
        let ready = registry.list();
        let ready = ready.chunk_by(|one, next| one.pool_id == next.pool_id);
        let ready: BTreeMap<_, _> = ready.map(|replicas| (replicas[0].pool_id.as_str(), replicas)).collect();
        let tell = |pool_id: &str| {
            let replicas = ready.get(pool_id).copied().unwrap_or_default();
            let draining = !replicas.is_empty() && replicas.iter().all(is_draining);
            tell(pool_id, replicas, draining || self.is_stopping())
        };
        pools.iter().map(|pool| tell(&pool.pool_id)).collect()
    }
}

impl Told {
    /// On the watcher's thread: nothing here waits, but for whoever reads the log.
    fn hear(&self, event: &HandoffEvent) {
        let name = event.name();
        match event {
            HandoffEvent::Removed { payload, reason, .. } => {
                log::info!("{name}: {:?}/{:?}: {}", payload.pool_id, payload.replica_id, reason.as_str());
            }
            HandoffEvent::Conflict { pool_id, replica_id, winner, losers, .. } => {
                log::warn!(
                    "{name}: {pool_id:?}/{replica_id:?} is claimed by {winner:?}, which is in force, and {losers:?}"
                );
            }
            _ => match (event.payload(), event.error()) {
                (Some(payload), _) => {
                    let url = without_secrets(&payload.url);
                    log::info!("{name}: {:?}/{:?} at {url}", payload.pool_id, payload.replica_id);
                }
                (None, Some(error)) => log::warn!("{name}: {error}"),
                (None, None) => log::info!("{name}"),
            },
        }
        if matches!(event, HandoffEvent::Synced) {
            self.synced.store(true, Ordering::Release);
        }
        if event.payload().is_some() || matches!(event, HandoffEvent::Synced) {
            // Full: one that is on its way says this, too.
            let _ = self.changes.try_send(());
        }
    }
}

fn is_draining(replica: &HandoffPayload) -> bool {
    replica.extra.get("draining") == Some(&Value::Bool(true))
}

/// What a router has to know of a replica.
fn replica(it: &HandoffPayload) -> Value {
    json!({
        "replica_id": it.replica_id,
        "url": it.url,
        "draining": is_draining(it),
        "slots_total": it.slots,
        "slots_free": it.slots_free,
        "model": it.model.as_ref().and_then(|model| short(&model.id)),
    })
}

/// A name, whatever was written there.
fn short(text: &Option<String>) -> Option<String> {
    text.as_ref().map(|text| text.chars().take(MOST_CHARS).collect())
}

/// Free and all; a replica that does not say how many are free has all of them free, and one that drains none.
fn slots(replicas: &[HandoffPayload]) -> (u64, u64) {
    replicas.iter().fold((0, 0), |(free, all), it| {
        let slots = it.slots.unwrap_or(0);
        let its_free = if is_draining(it) { 0 } else { it.slots_free.unwrap_or(slots) };
        (free + u64::from(its_free), all + u64::from(slots))
    })
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn machine_id() -> String {
    let id = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    if id.trim().is_empty() { String::from("unknown") } else { id.trim().to_owned() }
}

/// Of this process alone, also where each process has the same pid.
fn instance_id() -> String {
    let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{:x}-{:x}", std::process::id(), started.as_nanos())
}
