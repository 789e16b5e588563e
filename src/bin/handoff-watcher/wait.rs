//! `wait`: until a pool or a replica is ready.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::time::{Duration, Instant};

use handoff_watcher::{HandoffEvent, HandoffPayload, HandoffWatcherConfig, NextError};

use crate::args::WaitArgs;
use crate::output::{Exit, Failure, Output, complain};
use crate::render;

/// What is there at the start is looked at whatever the timeout; a half-written file may hold that up for this long.
const FIRST_LOOK: Duration = Duration::from_secs(2);

pub(crate) fn run(args: WaitArgs) -> Result<Exit, Failure> {
    let WaitArgs { dir, pool, replica, timeout, interval, doubts, json } = args;
    let config = HandoffWatcherConfig { runtime_dir: dir.resolve()?, poll_interval_ms: interval.resolve()? };
    let dir = config.runtime_dir.clone();
    let started = Instant::now();
    let events = doubts.builder(config).instant(interval.instant).iter()?;
    let mut looked = false;
    let (mut unavailable, mut invalid) = (None, BTreeMap::new());
    let payload = loop {
        let patience = if looked { timeout } else { timeout.max(FIRST_LOOK) };
        match events.next_timeout(patience.saturating_sub(started.elapsed())) {
            Ok(HandoffEvent::Ready { payload, .. } | HandoffEvent::Updated { payload, .. })
                if payload.pool_id == pool && replica.as_ref().is_none_or(|id| payload.replica_id == *id) =>
            {
                break payload;
            }
            Ok(HandoffEvent::Synced) => looked = true,
            Ok(HandoffEvent::Unavailable { error, .. }) => (looked, unavailable) = (true, Some(error.to_string())),
            Ok(HandoffEvent::Available) => unavailable = None,
            Ok(HandoffEvent::Invalid { file, error, .. }) => drop(invalid.insert(file, error)),
            Ok(event) => drop(event.file().and_then(|file| invalid.remove(file))),
            Err(NextError::Timeout) => {
                let what = match &replica {
                    Some(replica) => format!("replica {}", render::replica(&pool, replica)),
                    None => format!("pool {}", render::id(&pool)),
                };
                let timeout = humantime::format_duration(timeout);
                // Which of several it is about, if any, nobody knows.
                let hint = unavailable.or_else(|| match invalid.len() {
                    0 => None,
                    1 => invalid.first_key_value().map(|(file, error)| render::reason(file, error)),
                    count => Some(format!("{count} files there are invalid: 'handoff-watcher list' says why")),
                });
                let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
                complain(&format!("{what} was not ready within {timeout} in {}{hint}", dir.display()));
                return Ok(Exit::No);
            }
            Err(_) => return Err(Failure::new("the watcher ended by itself")),
        }
    };
    print(&payload, json)?;
    Ok(Exit::Yes)
}

fn print(payload: &HandoffPayload, json: bool) -> Result<(), Failure> {
    let mut output = Output::new();
    if json { output.json(payload) } else { output.value(OsStr::new(&payload.url)) }
}
