//! The real binary, watching a directory in one of its modes, and what it printed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{DEADLINE, Place, doc, replace, write};
use crate::strace::lines;

pub(crate) const INTERVAL: Duration = Duration::from_millis(500);

/// How it is run, and what the handoffs are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Setup {
    State,
    Instant,
    /// Each handoff names the process of this test, but for `dead`, whose process is ended.
    Processes,
    /// Messages, deleted when they are taken.
    Messages,
    /// Of this user, behind symbolic links.
    Trusted,
}

pub(crate) const SETUPS: [Setup; 5] = [Setup::State, Setup::Instant, Setup::Processes, Setup::Messages, Setup::Trusted];

impl Setup {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::State => &[],
            Self::Instant => &["--instant"],
            Self::Processes => &["--check-processes"],
            Self::Messages => &["--announcements", "--consume"],
            Self::Trusted => &["--trust"],
        }
    }
}

/// A process that names itself to nobody.
struct Engine(Child);

impl Engine {
    fn start() -> Self {
        Self(Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().expect("sleep"))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `watch --json` on a directory.
pub(crate) struct Watch {
    pub(crate) place: Place,
    pub(crate) dir: PathBuf,
    pub(crate) setup: Setup,
    /// What `dead` names; `None` when it has ended.
    engine: Option<Engine>,
    child: Child,
    lines: Receiver<(Instant, String)>,
    /// The last URL of each replica.
    held: BTreeMap<String, String>,
    counts: BTreeMap<String, usize>,
    pub(crate) log: Vec<String>,
    /// When the last event was printed.
    pub(crate) last: Instant,
}

impl Watch {
    /// On a directory with three files that it knows.
    pub(crate) fn start(setup: Setup) -> Result<Self, String> {
        Self::start_polling(setup, INTERVAL)
    }

    pub(crate) fn start_polling(setup: Setup, interval: Duration) -> Result<Self, String> {
        let place = Place::new();
        let dir = place.dir("engines");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).map_err(|error| error.to_string())?;
        let engine = (setup == Setup::Processes).then(Engine::start);
        for replica in ["a", "b", "c"] {
            put(setup, &dir, replica, "v1");
        }
        if let Some(Engine(engine)) = &engine {
            replace(dir.join("dead.json"), with_pid(&doc("dead", "v1"), engine.id()));
        }
        let mut child = Command::new(env!("CARGO_BIN_EXE_handoff-watcher"))
            .args(["watch", "--json", "--poll-interval-ms", &interval.as_millis().to_string()])
            .args(setup.arguments())
            .arg(&dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let lines = lines(child.stdout.take().expect("piped"));
        let (held, counts) = (BTreeMap::new(), BTreeMap::new());
        let last = Instant::now();
        let mut watch = Self { place, dir, setup, engine, child, lines, held, counts, log: Vec::new(), last };
        watch.until("synced", |watch| watch.count("synced") == 1)?;
        Ok(watch)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The scanning thread. The names of threads end after 15 bytes, so three have that of the process: its first one, the
    /// one that delivers, and then, in the order in which the kernel lists what it started, the scanning one.
    pub(crate) fn thread(&self) -> u32 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.id())).expect("it runs");
        let tasks = tasks.map(|task| task.expect("a task").path());
        let name = |task: &PathBuf| fs::read_to_string(task.join("comm")).unwrap_or_default();
        let named: Vec<_> = tasks.filter(|task| name(task).trim() == "handoff-watcher").collect();
        assert_eq!(named.len(), 3, "{named:?}");
        named[2].file_name().and_then(|id| id.to_str()?.parse().ok()).expect("a number")
    }

    /// What the scanning thread looks at of the process that the handoffs name.
    pub(crate) fn proc() -> PathBuf {
        PathBuf::from(format!("/proc/{}/stat", std::process::id()))
    }

    /// Beside the directory, then moved to its name.
    pub(crate) fn put(&self, replica: &str, text: &str) {
        put(self.setup, &self.dir, replica, text);
    }

    /// In place, which makes it where it is not.
    pub(crate) fn overwrite(&self, replica: &str, text: &str) {
        write(self.dir.join(format!("{replica}.json")), document(self.setup, replica, text));
    }

    /// Changes the directory, but none of its handoffs.
    pub(crate) fn stir(&self) {
        let beside = self.dir.join("stir");
        write(&beside, "");
        fs::remove_file(&beside).unwrap_or_else(|error| panic!("{}: {error}", beside.display()));
    }

    /// Ends the process of `dead`, if there is one.
    pub(crate) fn end_engine(&mut self) {
        self.engine = None;
    }

    /// Takes the next event, if there is one.
    pub(crate) fn hear(&mut self) -> Result<(), String> {
        match self.lines.recv_timeout(Duration::from_millis(1)) {
            Ok((at, line)) => {
                self.take(&line)?;
                self.last = at;
                self.log.push(line);
                Ok(())
            }
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => Err(format!("ended: {:?}", self.child.try_wait())),
        }
    }

    fn take(&mut self, line: &str) -> Result<(), String> {
        let event: Value = serde_json::from_str(line).map_err(|error| format!("{line}: {error}"))?;
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let (name, replica) = (text("event"), text("replica_id"));
        if matches!(&*name, "ready" | "updated") {
            let url = event["payload"]["url"].as_str().unwrap_or_default().to_owned();
            let before = self.held.insert(replica.clone(), url.clone());
            if before.is_some_and(|before| before >= url) {
                return Err(format!("told twice, or an older one: {line}; after {:#?}", self.log));
            }
        }
        if name == "invalid" && self.log.iter().any(|before| before == line) {
            return Err(format!("told twice: {line}; after {:#?}", self.log));
        }
        let may_go = replica == "dead" && self.engine.is_none() && text("reason") == "process_exited";
        if name == "removed" && !(may_go && self.count("removed") == 0) {
            return Err(format!("a removal: {line}"));
        }
        *self.counts.entry(name).or_default() += 1;
        Ok(())
    }

    pub(crate) fn until(&mut self, what: &str, is: impl Fn(&Self) -> bool) -> Result<(), String> {
        let since = Instant::now();
        while !is(self) {
            self.hear()?;
            if since.elapsed() > DEADLINE {
                return Err(format!("not in {DEADLINE:?}: {what}; heard {:#?}; there is {:?}", self.log, self.files()));
            }
        }
        Ok(())
    }

    pub(crate) fn holds(&self, replica: &str, text: &str) -> bool {
        self.held.get(replica).is_some_and(|url| url.ends_with(&format!("/{text}")))
    }

    pub(crate) fn count(&self, name: &str) -> usize {
        self.counts.get(name).copied().unwrap_or(0)
    }

    /// A message is hidden, to be deleted.
    pub(crate) fn hides(&self) -> bool {
        self.files().iter().any(|name| name.starts_with(".handoff-") && name.ends_with(".taken"))
    }

    /// What is in the directory, hidden or not.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn with_pid(document: &str, pid: u32) -> String {
    document.replacen('{', &format!(r#"{{"pid":{pid},"#), 1)
}

fn document(setup: Setup, replica: &str, text: &str) -> String {
    match setup {
        Setup::Processes => with_pid(&doc(replica, text), std::process::id()),
        _ => doc(replica, text),
    }
}

fn put(setup: Setup, dir: &Path, replica: &str, text: &str) {
    let (path, document) = (dir.join(format!("{replica}.json")), document(setup, replica, text));
    if setup != Setup::Trusted {
        return replace(path, document);
    }
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let beside = dir.with_file_name(format!("{replica}-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
    write(&beside, document);
    let mode = fs::Permissions::from_mode(0o644);
    let link = beside.with_extension("link");
    let linked = fs::set_permissions(&beside, mode).and_then(|()| symlink(&beside, &link));
    linked.and_then(|()| fs::rename(&link, &path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
