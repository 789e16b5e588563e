//! `demo`: a producer and a watcher side by side, in a temporary directory.
//!
//! The producer's thread plays [`SCRIPT`] and waits after each step until the watcher has told of it; the watcher is the
//! one that a host would embed. Both report to the [`Stage`], which prints, compares and keeps the score.

use std::error::Error;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use handoff_watcher::{HandoffEvent, HandoffPayload, HandoffWatcher, HandoffWatcherConfig, LATENCY_OBJECTIVE};
use parking_lot::{Condvar, Mutex};

use crate::args::DemoArgs;
use crate::output::{Exit, Failure, Output};
use crate::render;
use crate::signals::Caught;

/// What looks half-written is given this long to be completed before it is called invalid, beside the objective.
const BENEFIT_OF_DOUBT: Duration = Duration::from_secs(1);
/// After this long a sighting is not late but missing.
const GIVEN_UP: Duration = Duration::from_secs(6);

type Done = Result<(), Box<dyn Error>>;

/// After the last sighting.
const EPILOGUE: Duration = Duration::from_millis(300);

/// One act of the producer.
struct Step {
    /// Milliseconds after the sighting before it.
    pause: u64,
    says: &'static str,
    does: fn(&Path) -> Done,
    /// The event that it must bring about, and the file that the event names; `None`: it must not bring about any.
    brings: Option<(&'static str, &'static str)>,
}

/// Three engines, each with the habits of another producer.
const SCRIPT: [Step; 11] = [
    Step {
        pause: 300,
        says: "llama.cpp answers: its handoff is published (temporary file, renamed)",
        does: |dir| published(dir, "chat", "r0", "http://127.0.0.1:8081", "llamacpp"),
        brings: Some(("ready", "chat-r0.json")),
    },
    Step {
        pause: 450,
        says: "vLLM answers: half of its handoff is written. Half a file is no news",
        does: |dir| Ok(fs::write(dir.join("chat-r1.json"), &VLLM.as_bytes()[..VLLM.len() / 2])?),
        brings: None,
    },
    Step {
        pause: 400,
        says: "the other half of vLLM's handoff is written",
        does: |dir| append(&dir.join("chat-r1.json"), &VLLM.as_bytes()[VLLM.len() / 2..]),
        brings: Some(("ready", "chat-r1.json")),
    },
    Step {
        pause: 250,
        says: "TGI answers: its handoff is written in one go, under its final name",
        does: |dir| Ok(fs::write(dir.join("embed-r0.json"), TGI)?),
        brings: Some(("ready", "embed-r0.json")),
    },
    Step {
        pause: 700,
        says: "llama.cpp is replaced on another port: a new file is renamed over the old one",
        does: |dir| published(dir, "chat", "r0", "http://127.0.0.1:9081", "llamacpp"),
        brings: Some(("updated", "chat-r0.json")),
    },
    Step {
        pause: 350,
        says: "vLLM moves: overwritten in place, same size, and its old time put back",
        does: overwritten_unnoticeably,
        brings: Some(("updated", "chat-r1.json")),
    },
    Step {
        pause: 500,
        says: "TGI's handoff is broken: cut off in the middle. The last good one stays in force",
        does: |dir| Ok(fs::write(dir.join("embed-r0.json"), &TGI.as_bytes()[..TGI.len() / 2])?),
        brings: Some(("invalid", "embed-r0.json")),
    },
    Step {
        pause: 300,
        says: "TGI's handoff is repaired, with another port",
        does: |dir| Ok(fs::write(dir.join("embed-r0.json"), TGI.replace("8083", "9083"))?),
        brings: Some(("updated", "embed-r0.json")),
    },
    Step {
        pause: 650,
        says: "llama.cpp drains: its handoff now says \"ready\": false",
        does: |dir| {
            let mut payload = payload("chat", "r0", "http://127.0.0.1:9081", "llamacpp")?;
            payload.ready = Some(false);
            handoff_watcher::publish(dir, &payload)?;
            Ok(())
        },
        brings: Some(("removed", "chat-r0.json")),
    },
    Step {
        pause: 400,
        says: "vLLM stops: its handoff is withdrawn",
        does: |dir| {
            handoff_watcher::withdraw(dir, "chat", "r1")?;
            Ok(())
        },
        brings: Some(("removed", "chat-r1.json")),
    },
    Step {
        pause: 200,
        says: "TGI is gone: its handoff is moved out of the directory",
        does: |dir| Ok(fs::rename(dir.join("embed-r0.json"), dir.join("..").join("embed-r0.json"))?),
        brings: Some(("removed", "embed-r0.json")),
    },
];

const VLLM: &str = r#"{"pool_id":"chat","replica_id":"r1","url":"http://127.0.0.1:8082","engine":"vllm","slots":256}"#;
const TGI: &str = r#"{"pool_id":"embed","replica_id":"r0","url":"http://127.0.0.1:8083","engine":"tgi","slots":8}"#;

pub(crate) fn run(args: DemoArgs) -> Result<Exit, Failure> {
    let signals = Caught::new()?;
    let cannot = |error| Failure::new(format_args!("cannot make a temporary directory: {error}"));
    let place = tempfile::Builder::new().prefix("handoff-watcher-demo-").tempdir().map_err(cannot)?;
    let dir = place.path().join("engines");
    fs::create_dir(&dir).map_err(cannot)?;
    let mut config = HandoffWatcherConfig { runtime_dir: dir.clone(), ..HandoffWatcherConfig::default() };
    config.poll_interval_ms = args.poll_interval_ms.unwrap_or(config.poll_interval_ms);
    let interval = config.poll_interval_ms;
    let mut events = HandoffWatcher::iter(config)?;

    let signal = Arc::new(AtomicI32::new(0));
    let (caught, stop) = (Arc::clone(&signal), events.stop_handle());
    signals.then(move |signal| {
        caught.store(signal, Ordering::SeqCst);
        stop.stop();
    })?;

    let stage = Arc::new(Stage::new());
    stage.opens(&dir, interval)?;
    let (on_stage, stop) = (Arc::clone(&stage), events.stop_handle());
    let producer = thread::Builder::new().name("producer".into()).spawn(move || {
        let played = on_stage.plays(&SCRIPT, &dir);
        stop.stop();
        played
    });
    let producer = producer.map_err(|error| Failure::new(format_args!("cannot start a thread: {error}")))?;
    let watched = events.try_for_each(|event| stage.sees(&event));
    stage.closes();
    let played = producer.join().unwrap_or_else(|_| Err(Failure::new("the producer's thread panicked")));
    watched.and(played)?;
    match signal.load(Ordering::SeqCst) {
        0 => stage.sums_up(),
        signal => Ok(Exit::Signal(signal)),
    }
}

/// Where both sides meet. Its lock makes an act and its line one thing: no sighting comes between the two.
struct Stage {
    opened: Instant,
    scene: Mutex<Scene>,
    turn: Condvar,
}

struct Scene {
    output: Output,
    awaited: Option<Awaited>,
    closed: bool,
    seen: usize,
    late: usize,
    made_up: usize,
    /// Of what is bound by the objective.
    slowest: Duration,
}

struct Awaited {
    event: &'static str,
    file: &'static str,
    since: Instant,
}

impl Awaited {
    fn is(&self, event: &HandoffEvent) -> bool {
        let name = event.file().and_then(Path::file_name);
        event.name() == self.event && name == Some(OsStr::new(self.file))
    }
}

impl Stage {
    fn new() -> Self {
        let scene = Scene {
            output: Output::new(),
            awaited: None,
            closed: false,
            seen: 0,
            late: 0,
            made_up: 0,
            slowest: Duration::ZERO,
        };
        Self { opened: Instant::now(), scene: Mutex::new(scene), turn: Condvar::new() }
    }

    fn opens(&self, dir: &Path, interval: u64) -> Result<(), Failure> {
        let output = &mut self.scene.lock().output;
        output.line(
            "Three engines come and go. What their producers do stands on the left; below it, what the watcher",
        )?;
        output.line("tells its host, and how long after the last byte.")?;
        let dir = render::clean(&dir.to_string_lossy(), usize::MAX);
        output.line(render::styled(render::QUIET, &format!("{dir}, polled every {interval} ms")))?;
        output.line("")
    }

    /// The producer's side: the script, step by step.
    fn plays(&self, script: &[Step], dir: &Path) -> Result<(), Failure> {
        for step in script {
            self.waits(Duration::from_millis(step.pause), |_| false);
            if self.scene.lock().closed {
                return Ok(());
            }
            self.acts(step, dir)?;
            self.waits(GIVEN_UP, |scene| scene.awaited.is_none());
            let mut scene = self.scene.lock();
            if !scene.closed
                && let Some(awaited) = scene.awaited.take()
            {
                let text = format!("{} was not seen within {} ms", awaited.event, GIVEN_UP.as_millis());
                scene.output.line(format_args!("{INDENT}{}", render::styled(render::BAD, &text)))?;
            }
        }
        // What the watcher might make up, it may make up now.
        self.waits(EPILOGUE, |_| false);
        Ok(())
    }

    fn acts(&self, step: &Step, dir: &Path) -> Result<(), Failure> {
        let mut scene = self.scene.lock();
        (step.does)(dir).map_err(|error| Failure::new(format_args!("the producer failed: {error}")))?;
        scene.awaited = step.brings.map(|(event, file)| Awaited { event, file, since: Instant::now() });
        let time = format!("{:5.1} s", self.opened.elapsed().as_secs_f64());
        scene.output.line(format_args!("{}  {}", render::styled(render::QUIET, &time), step.says))
    }

    /// Until it is so, or the time is up, or the stage is closed.
    fn waits(&self, time: Duration, so: impl Fn(&Scene) -> bool) {
        let until = Instant::now() + time;
        let mut scene = self.scene.lock();
        while !(scene.closed || so(&scene) || self.turn.wait_until(&mut scene, until).timed_out()) {}
    }

    /// The watcher's side: one event.
    fn sees(&self, event: &HandoffEvent) -> Result<(), Failure> {
        if matches!(event, HandoffEvent::Synced) {
            return Ok(());
        }
        let now = Instant::now();
        let mut scene = self.scene.lock();
        let awaited = scene.awaited.take_if(|awaited| awaited.is(event));
        let (after, objection) = match awaited {
            None => {
                scene.made_up += 1;
                (String::new(), "  not to be seen")
            }
            Some(awaited) => {
                let after = now.saturating_duration_since(awaited.since);
                let doubted = matches!(event, HandoffEvent::Invalid { .. });
                let late = after > LATENCY_OBJECTIVE + if doubted { BENEFIT_OF_DOUBT } else { Duration::ZERO };
                scene.seen += 1;
                scene.late += usize::from(late);
                if !doubted {
                    scene.slowest = scene.slowest.max(after);
                }
                (format!("+{}", render::millis(after)), if late { "  late" } else { "" })
            }
        };
        let after = render::styled(render::STRONG, &format!("{after:>8}"));
        let (title, details) = (render::title(event), render::details(event));
        let objection = if objection.is_empty() { String::new() } else { render::styled(render::BAD, objection) };
        scene.output.line(format_args!("{INDENT}{after}  {title}  {details}{objection}"))?;
        self.turn.notify_all();
        Ok(())
    }

    fn closes(&self) {
        self.scene.lock().closed = true;
        self.turn.notify_all();
    }

    fn sums_up(&self) -> Result<Exit, Failure> {
        let mut scene = self.scene.lock();
        let expected = SCRIPT.iter().filter(|step| step.brings.is_some()).count();
        let good = scene.seen == expected && scene.late + scene.made_up == 0;
        let verdict = if good {
            render::styled(render::GOOD, "All as promised.")
        } else {
            render::styled(render::BAD, "Not as promised.")
        };
        let count = |count, what| if count == 0 { format!("none {what}") } else { format!("{count} {what}") };
        let line = format!(
            "{verdict} {} of {expected} events seen, {}, {}; the slowest after {} of the {} ms that CLOUD-3013 allows.",
            scene.seen,
            count(scene.late, "late"),
            count(scene.made_up, "made up"),
            render::millis(scene.slowest),
            LATENCY_OBJECTIVE.as_millis(),
        );
        scene.output.line("")?;
        scene.output.line(line)?;
        if good {
            let text = "A broken file is given 1 s more: it might be half-written.";
            scene.output.line(render::styled(render::QUIET, text))?;
        }
        Ok(if good { Exit::Yes } else { Exit::No })
    }
}

/// Below the text of a step.
const INDENT: &str = "         ";

fn payload(pool: &str, replica: &str, url: &str, engine: &str) -> Result<HandoffPayload, handoff_watcher::Error> {
    let mut payload = HandoffPayload::new(pool, replica, url)?;
    payload.engine = Some(engine.to_owned());
    Ok(payload)
}

fn published(dir: &Path, pool: &str, replica: &str, url: &str, engine: &str) -> Done {
    handoff_watcher::publish(dir, &payload(pool, replica, url, engine)?)?;
    Ok(())
}

fn append(file: &Path, bytes: &[u8]) -> Done {
    Ok(OpenOptions::new().append(true).open(file)?.write_all(bytes)?)
}

/// What neither the size nor the time of modification shows.
fn overwritten_unnoticeably(dir: &Path) -> Done {
    let path = dir.join("chat-r1.json");
    let time = fs::metadata(&path)?.modified()?;
    let mut file = File::create(&path)?;
    file.write_all(VLLM.replace("8082", "9082").as_bytes())?;
    Ok(file.set_modified(time)?)
}
