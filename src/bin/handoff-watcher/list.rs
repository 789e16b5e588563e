//! `list`: what is ready now.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use handoff_watcher::{HandoffEvent, HandoffPayload, HandoffWatcherConfig, NextError};
use serde::Serialize;

use crate::args::ListArgs;
use crate::output::{Exit, Failure, Output, complain};
use crate::render;

/// How long a file may go on being written, so that it cannot be told what it says.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often to ask whether it has come to rest.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

pub(crate) fn run(args: ListArgs) -> Result<Exit, Failure> {
    let dir = args.dir.resolve()?;
    if !dir.exists() {
        return Err(Failure::new(format_args!("{}: no such directory", dir.display())));
    }
    let config = HandoffWatcherConfig { runtime_dir: dir.clone(), ..HandoffWatcherConfig::default() };
    let events = args.doubts.builder(config).iter()?;
    let mut found = Found::default();
    let deadline = Instant::now() + PATIENCE;
    let mut synced = false;
    let complete = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match events.next_timeout(if synced { left.min(LOOK_AGAIN) } else { left }) {
            // Nearly always; but it does not wait for a file that never comes to rest.
            Ok(HandoffEvent::Synced) if events.stats().pending_files == 0 => break true,
            Ok(HandoffEvent::Synced) => synced = true,
            Ok(HandoffEvent::Unavailable { error, .. }) => return Err(error.into()),
            Ok(event) => found.take(event),
            Err(NextError::Timeout) if left.is_zero() => break false,
            Err(NextError::Timeout) => {
                let stats = events.stats();
                if stats.pending_files == 0 && stats.backlog == 0 {
                    break true;
                }
            }
            Err(_) => return Err(Failure::new("the watcher ended by itself")),
        }
    };
    drop(events);

    let mut output = Output::new();
    if args.json {
        output.json(&found.document(&dir))?;
    } else {
        found.print(&dir, &mut output)?;
    }
    if !complete {
        complain(&format!("incomplete: {} is still being written after {} s", dir.display(), PATIENCE.as_secs()));
        return Ok(Exit::Cannot);
    }
    Ok(if found.invalid.is_empty() { Exit::Yes } else { Exit::No })
}

/// The last event of each replica, bad file and conflict, sorted.
#[derive(Debug, Default)]
struct Found {
    ready: BTreeMap<(String, String), HandoffEvent>,
    invalid: BTreeMap<PathBuf, HandoffEvent>,
    conflicts: BTreeMap<(String, String), HandoffEvent>,
}

#[derive(Debug, Serialize)]
struct Document<'a> {
    dir: Cow<'a, str>,
    ready: Vec<&'a HandoffEvent>,
    invalid: Vec<&'a HandoffEvent>,
    conflicts: Vec<&'a HandoffEvent>,
}

impl Found {
    fn take(&mut self, event: HandoffEvent) {
        let replica = event.pool_id().zip(event.replica_id()).map(|(pool, replica)| (pool.into(), replica.into()));
        match (&event, replica) {
            (HandoffEvent::Ready { file, .. } | HandoffEvent::Updated { file, .. }, Some(replica)) => {
                self.invalid.remove(file);
                self.ready.insert(replica, event);
            }
            (HandoffEvent::Removed { file, .. }, Some(replica)) => {
                self.invalid.remove(file);
                self.ready.remove(&replica);
            }
            (HandoffEvent::Conflict { .. }, Some(replica)) => drop(self.conflicts.insert(replica, event)),
            (HandoffEvent::Invalid { file, .. }, _) => drop(self.invalid.insert(file.clone(), event)),
            _ => {}
        }
    }

    fn document<'a>(&'a self, dir: &'a Path) -> Document<'a> {
        Document {
            dir: dir.to_string_lossy(),
            ready: self.ready.values().collect(),
            invalid: self.invalid.values().collect(),
            conflicts: self.conflicts.values().collect(),
        }
    }

    fn print(&self, dir: &Path, output: &mut Output) -> Result<(), Failure> {
        if self.ready.is_empty() {
            output.line(format_args!("nothing is ready in {}", render::clean(&dir.to_string_lossy(), usize::MAX)))?;
        } else {
            let heading = ["POOL", "REPLICA", "URL", "ENGINE", "SLOTS", "FILE"].map(String::from).to_vec();
            let rows = self.ready.values().filter_map(|event| Some(row(event.file()?, event.payload()?)));
            for line in render::table(&std::iter::once(heading).chain(rows).collect::<Vec<_>>()) {
                output.line(line)?;
            }
        }
        for event in self.conflicts.values().chain(self.invalid.values()) {
            output.line(format_args!("{}  {}", render::title(event), render::details(event)))?;
        }
        Ok(())
    }
}

fn row(file: &Path, payload: &HandoffPayload) -> Vec<String> {
    let engine = [&payload.engine, &payload.engine_version].map(|text| text.as_deref().unwrap_or_default()).join(" ");
    let slots = match (payload.slots_free, payload.slots) {
        (Some(free), Some(all)) => format!("{free} of {all} free"),
        (None, Some(all)) => all.to_string(),
        (Some(free), None) => format!("{free} free"),
        (None, None) => String::new(),
    };
    let or_dash = |text: &str| if text.is_empty() { String::from("-") } else { text.to_owned() };
    vec![
        render::id(&payload.pool_id),
        render::id(&payload.replica_id),
        render::url(&payload.url),
        or_dash(&render::id(engine.trim())),
        or_dash(&slots),
        render::name(file),
    ]
}
