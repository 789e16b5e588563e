//! The pool manager's side that speaks to the orchestrator: registration, heartbeats, deregistration.
//!
//! In: what the node knows, and that it changed. Out: requests, one at a time, each with a timeout, tried again with
//! backoff. Nobody else waits for any of it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use super::Node;
use super::http::{Client, segment};

/// How long the first registration waits for the directory to be read.
const FIRST_LOOK: Duration = Duration::from_secs(2);
/// Between two tries to reach the orchestrator: the first, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The side that speaks to the orchestrator, on a thread of its own: it may hang for as long as a request may.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) client: Client,
    pub(super) orchestrator: String,
    pub(super) node_id: String,
    pub(super) machine_id: String,
    /// So that neither the farewell of this process can remove the next one, nor two of one name go unnoticed.
    pub(super) instance_id: String,
    /// Where the orchestrator reaches this node.
    pub(super) address: String,
    /// Between heartbeats when nothing changes.
    pub(super) interval: Duration,
    pub(super) node: Arc<Node>,
}

impl Control {
    /// Until the node stops; an error where it watches no longer.
    pub(super) fn run(&self, changes: &Receiver<()>) -> Result<(), String> {
        let started = Instant::now();
        while !self.node.is_synced() && !self.node.is_stopping() {
            let Some(left) = FIRST_LOOK.checked_sub(started.elapsed()) else { break };
            let _ = changes.recv_timeout(left);
        }
        let mut registered = false;
        let mut pause = BACKOFF.0;
        while !self.node.is_stopping() {
            let health = self.node.watcher.health();
            if !health.running {
                // What it knows grows old, and nothing but a new start changes that.
                return Err(health.error.map_or(String::from("the watcher ended"), |error| error.to_string()));
            }
            let asked = Instant::now();
            let result = if registered { self.heartbeat() } else { self.register() };
            match result {
                // At once: the registration says which pools there are, the heartbeat which are ready.
                Ok(true) if !registered => {
                    log::info!("registered as {:?} with {}", self.node_id, self.orchestrator);
                    registered = true;
                }
                Ok(true) => {
                    pause = BACKOFF.0;
                    self.wait(changes, asked + self.interval, true);
                }
                // It restarted, or has forgotten a node that was silent for long.
                Ok(false) => {
                    log::warn!("{} does not know this node: registering anew", self.orchestrator);
                    registered = false;
                    self.wait(changes, Instant::now() + jittered(&mut pause), false);
                }
                Err(error) => {
                    let pause = jittered(&mut pause);
                    log::warn!("{error}; trying again in {} ms", pause.as_millis());
                    self.wait(changes, Instant::now() + pause, false);
                }
            }
        }
        self.deregister();
        Ok(())
    }

    /// Also where no registration was confirmed: one whose answer was lost counts.
    fn deregister(&self) {
        match self.client.ask("DELETE", &self.url(""), None) {
            Ok((200..=299, _)) => log::info!("deregistered"),
            Ok((404, _)) => log::info!("nothing to deregister: the orchestrator does not know this node"),
            Ok((409, _)) => log::info!("not deregistered: another process has registered this node since"),
            Ok((status, _)) => log::warn!("not deregistered: status {status}; the orchestrator will see the silence"),
            Err(error) => log::warn!("not deregistered: {error}; the orchestrator will see the silence"),
        }
    }

    fn register(&self) -> Result<bool, String> {
        let pools: Vec<_> = self.node.watcher.registry().pools().into_iter().map(|pool| pool.pool_id).collect();
        let cores = thread::available_parallelism().map_or(0, usize::from);
        let body = json!({
            "node_id": self.node_id,
            "machine_id": self.machine_id,
            "instance_id": self.instance_id,
            "address": self.address,
            "pools": pools,
            "capabilities": { "cpu_cores": cores, "version": env!("CARGO_PKG_VERSION") },
        });
        let url = format!("{}/v2/nodes/register", self.orchestrator);
        // There is nothing here that could be unknown: this is not the server, or not the path to it.
        self.said(&url, self.client.ask("POST", &url, Some(&body))?)?
            .then_some(true)
            .ok_or_else(|| format!("POST {url}: status 404; --orchestrator has to be the address without a path"))
    }

    /// False if the orchestrator does not know this node.
    fn heartbeat(&self) -> Result<bool, String> {
        let timestamp = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let body = json!({ "timestamp": timestamp, "pools": self.node.heartbeat() });
        let url = self.url("/heartbeat");
        self.said(&url, self.client.ask("POST", &url, Some(&body))?)
    }

    fn said(&self, url: &str, (status, body): (u16, Value)) -> Result<bool, String> {
        match status {
            200..=299 => Ok(true),
            404 => Ok(false),
            401 => Err(format!("POST {url}: refused; LLORCH_API_TOKEN has to be the same on both sides")),
            _ => Err(format!("POST {url}: status {status}: {:?}", body["error"].as_str().unwrap_or("no reason given"))),
        }
    }

    /// Of this node, as this process knows it.
    fn url(&self, rest: &str) -> String {
        let (node_id, instance_id) = (segment(&self.node_id), &self.instance_id);
        format!("{}/v2/nodes/{node_id}{rest}?instance_id={instance_id}", self.orchestrator)
    }

    /// Until the time is over, the end, or, where the orchestrator listens, a change.
    fn wait(&self, changes: &Receiver<()>, until: Instant, for_changes: bool) {
        while !self.node.is_stopping() {
            match changes.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(()) if !for_changes => {}
                Ok(()) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

/// The pause, between half of it and all of it, so that nodes that lost the same orchestrator do not come back as one;
/// and the next one is longer.
fn jittered(pause: &mut Duration) -> Duration {
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.subsec_nanos());
    let this = pause.mul_f64(0.5 + 0.5 * f64::from(nanos % 1000) / 1000.0);
    *pause = (*pause * 2).min(BACKOFF.1);
    this
}
