//! `watch`: each event as it comes.

use std::io::{self, IsTerminal};
use std::process;
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use handoff_watcher::{ErrorKind, HandoffEvent, HandoffWatcherConfig, WatcherHandle};

use crate::args::WatchArgs;
use crate::output::{Exit, Failure, Output, complain, when_closed};
use crate::render;
use crate::signals::Caught;

/// How long the end in order may take after a signal, of the 100 ms that are promised.
const PATIENCE: Duration = Duration::from_millis(60);

pub(crate) fn run(args: WatchArgs) -> Result<Exit, Failure> {
    // First of all: a signal during the start ends it in order, too.
    let signals = Caught::new()?;
    let json = args.json || !(args.text || Output::is_terminal());
    let config = HandoffWatcherConfig { runtime_dir: args.dir.resolve()?, poll_interval_ms: args.interval.resolve()? };
    let dir = config.runtime_dir.clone();
    let interval = config.poll_interval_ms;
    let (print, to_print) = mpsc::sync_channel(0);
    let print = Mutex::new(print);
    let builder = args.doubts.builder(config).instant(args.interval.instant).mode(args.meaning.mode());
    let watcher = builder.on_event(move |event| {
        // Taken is what was printed: with --consume, its file is deleted then.
        let (printed, wait) = mpsc::sync_channel(0);
        print.lock().map_err(|_| "the printing has ended")?.send((event, printed))?;
        Ok(wait.recv()?)
    });
    let watcher = watcher.try_spawn()?;

    let stop = watcher.stop_handle();
    signals.then(move |_| {
        stop.stop();
        // A pipe that is full and not read holds up the thread that prints.
        thread::sleep(PATIENCE);
        process::exit(0);
    })?;
    let stop = watcher.stop_handle();
    let closed = stop.clone();
    when_closed(move || closed.stop());

    if !dir.exists() {
        complain(&format!("{} does not exist yet: waiting for it", dir.display()));
    } else if !json && io::stderr().is_terminal() {
        complain(&format!("watching {} every {interval} ms; Ctrl-C ends it", dir.display()));
    }
    let mut output = Output::new();
    for (event, printed) in to_print {
        let written = if json { output.json(&event) } else { output.line(line(&event, &watcher)) };
        // Before the callback hears that nobody will print it: that is the end, and no failure to be tried again.
        written.inspect_err(|_| stop.stop())?;
        // A callback that does not wait any more was stopped.
        let _ = printed.send(());
    }
    // A watcher that ends unbidden says why.
    match watcher.health().error {
        Some(error) if error.kind() == ErrorKind::Internal => Err(error.into()),
        _ => Ok(Exit::Yes),
    }
}

fn line(event: &HandoffEvent, watcher: &WatcherHandle) -> String {
    let details = match event {
        HandoffEvent::Synced => {
            let (ready, invalid) = (watcher.registry().len(), watcher.stats().invalid_files);
            format!("all that was there at the start has been told: {ready} ready, {invalid} invalid")
        }
        _ => render::details(event),
    };
    let latency = event.latency().map(|latency| format!("  {}", render::millis(latency))).unwrap_or_default();
    format!("{}  {}  {details}{latency}", render::styled(render::QUIET, &render::clock()), render::title(event))
}
