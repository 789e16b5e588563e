//! `top`: a live view of replicas, ages, errors and latencies.
//!
//! `view` is what is known and what it looks like, without a terminal; `screen` is the terminal, and leaves it as it was.

mod screen;
mod view;

use std::fs::{self, File};
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::process;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use handoff_watcher::{ErrorKind, HandoffEvent, HandoffIter, HandoffWatcherConfig, NextError};
use termion::event::Key;
use termion::input::TermRead;

use crate::args::TopArgs;
use crate::output::{Exit, Failure, Output, when_closed};
use crate::signals::Caught;
use screen::Screen;
use view::View;

/// From picture to picture.
const REFRESH: Duration = Duration::from_millis(200);
/// How long the end in order may take after a signal: a terminal that is halted holds up whoever writes to it.
const PATIENCE: Duration = Duration::from_millis(60);
/// How long a file may go on being written before a single picture is taken without it.
const FIRST_LOOK: Duration = Duration::from_secs(30);

pub(crate) fn run(args: TopArgs) -> Result<Exit, Failure> {
    // First of all: a signal during the start ends it in order, too.
    let signals = Caught::new()?;
    let config = HandoffWatcherConfig { runtime_dir: args.dir.resolve()?, poll_interval_ms: args.interval.resolve()? };
    let view = View::new(&config.runtime_dir, config.poll_interval_ms);
    let events = args.doubts.builder(config).instant(args.interval.instant).iter()?;
    let stop = events.stop_handle();
    when_closed(move || stop.stop());
    // A terminal that does not know where a line begins cannot be drawn on.
    if Output::is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb") {
        live(view, &events, signals)
    } else {
        let stop = events.stop_handle();
        signals.then(move |_| stop.stop())?;
        snapshot(view, &events)
    }
}

fn live(mut view: View, events: &HandoffIter, signals: Caught) -> Result<Exit, Failure> {
    let drawn_on = |error: io::Error| Failure::new(format_args!("cannot draw on the terminal: {error}"));
    let terminal = File::from(io::stdout().as_fd().try_clone_to_owned().map_err(drawn_on)?);
    let has_keys = io::stdin().is_terminal();
    let screen = Screen::enter(terminal, has_keys).map_err(drawn_on)?;
    let (stop, restore) = (events.stop_handle(), screen.restorer());
    signals.then(move |_| {
        stop.stop();
        thread::sleep(PATIENCE);
        restore.modes();
        process::exit(0);
    })?;
    if has_keys {
        let stop = events.stop_handle();
        // Without the thread, signals end it.
        let _ = thread::Builder::new().name("keys".into()).spawn(move || {
            let ends = |key: &Key| matches!(key, Key::Char('q' | 'Q') | Key::Ctrl('c' | 'd'));
            if io::stdin().keys().map_while(Result::ok).any(|key| ends(&key)) {
                stop.stop();
            }
        });
    }
    let is_coloured = anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never;
    let mut next = Instant::now();
    loop {
        match events.next_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(event) => take(&mut view, &event),
            Err(NextError::Timeout) => {}
            Err(_) => break,
        }
        // Events that come faster than anyone reads make no picture each.
        if Instant::now() >= next {
            view.figures(events.stats(), &events.health());
            view.forget(|file| fs::symlink_metadata(file).is_ok());
            let size = match termion::terminal_size().map_err(drawn_on)? {
                // It does not know: a serial line, or one that is being set up.
                (0, _) | (_, 0) => (80, 24),
                (columns, rows) => (columns.into(), rows.into()),
            };
            let lines = view.frame(SystemTime::now(), Some(size));
            screen.draw(lines, is_coloured).map_err(drawn_on)?;
            next = Instant::now() + REFRESH;
        }
    }
    drop(screen);
    // A watcher that ends unbidden says why.
    match events.health().error {
        Some(error) if error.kind() == ErrorKind::Internal => Err(error.into()),
        _ => Ok(Exit::Yes),
    }
}

fn take(view: &mut View, event: &HandoffEvent) {
    let written = event.file().and_then(|file| fs::metadata(file).ok()?.modified().ok());
    view.take(event, written);
}

/// One picture, of all that is there.
fn snapshot(mut view: View, events: &HandoffIter) -> Result<Exit, Failure> {
    let deadline = Instant::now() + FIRST_LOOK;
    loop {
        match events.next_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(event) => {
                take(&mut view, &event);
                if matches!(event, HandoffEvent::Synced | HandoffEvent::Unavailable { .. }) {
                    break;
                }
            }
            Err(NextError::Timeout) => break,
            Err(_) => return Ok(Exit::Yes),
        }
    }
    // The figures are those of whole rounds. Why it fails, where it does, is among them.
    let _ = events.rescan();
    let health = events.health();
    view.figures(events.stats(), &health);
    let mut output = Output::new();
    for line in view.frame(SystemTime::now(), None) {
        output.line(screen::text(&line, false))?;
    }
    Ok(if health.is_ok() { Exit::Yes } else { Exit::No })
}
