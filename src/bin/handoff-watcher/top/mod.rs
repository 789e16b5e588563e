//! `top`: a live view of replicas, ages, errors and latencies.
//!
//! `view` is what is known and what it looks like, without a terminal, and `wrong` the part of it that is wrong; `screen` is
//! the terminal, and leaves it as it was.

mod screen;
mod view;
mod wrong;

use std::fs::{self, File};
use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use handoff_watcher::{ErrorKind, HandoffEvent, HandoffIter, HandoffPayload, HandoffWatcherConfig, NextError};
use rustix::fs::OFlags;
use termion::event::Key;
use termion::input::TermRead;

use crate::args::TopArgs;
use crate::output::{Exit, Failure, Output, when_closed};
use crate::signals::Caught;
use screen::Screen;
use view::View;
use wrong::Says;

/// From picture to picture.
const REFRESH: Duration = Duration::from_millis(200);
/// How long the end in order may take after a signal: a terminal that is halted holds up whoever writes to it.
const PATIENCE: Duration = Duration::from_millis(60);
/// The largest file that a watcher accepts by default.
const MOST_BYTES: u64 = 1 << 20;
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
    view.has_keys(has_keys);
    let screen = Screen::enter(terminal, has_keys).map_err(drawn_on)?;
    let (stop, restore) = (events.stop_handle(), screen.restorer());
    signals.then(move |_| {
        stop.stop();
        thread::sleep(PATIENCE);
        restore.modes();
        // The rest is written, which may hang.
        let (done, is_done) = channel();
        let _ = thread::Builder::new().name("restore".into()).spawn(move || {
            restore.restore();
            done.send(())
        });
        let _ = is_done.recv_timeout(2 * PATIENCE);
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
            view.forget(says);
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

/// What a file says by itself.
fn says(file: &Path) -> Says {
    if fs::symlink_metadata(file).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Says::Gone;
    }
    let read = || -> io::Result<Vec<u8>> {
        // Opening one of these may wait, or have effects of its own. Should it be one by now, it does not wait.
        if !fs::metadata(file)?.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let opened = File::options().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(file)?;
        let mut bytes = Vec::new();
        opened.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let read = read().ok().filter(|bytes| bytes.len() as u64 <= MOST_BYTES);
    match read.and_then(|bytes| HandoffPayload::parse(&bytes).ok()) {
        Some(payload) => Says::Of(payload.pool_id, payload.replica_id),
        None => Says::Nothing,
    }
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
