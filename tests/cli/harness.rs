//! Processes with deadlines: whatever is waited for is a condition, and it fails by name.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support;

/// For what must come. Far longer than it takes, for a machine that is busy.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A test's own directory, gone with it.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// A handoff that is good: `pool/replica` at this port.
    pub(crate) fn handoff(&self, name: &str, pool: &str, replica: &str, port: u16) -> PathBuf {
        self.write(name, handoff(pool, replica, port))
    }
}

pub(crate) fn handoff(pool: &str, replica: &str, port: u16) -> String {
    serde_json::json!({ "pool_id": pool, "replica_id": replica, "url": format!("http://127.0.0.1:{port}") }).to_string()
}

/// The handoffs of one folder of `tests/handoffs`, sorted.
pub(crate) fn fixtures(folder: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/handoffs").join(folder);
    let mut files: Vec<_> = fs::read_dir(&dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", dir.display());
    files
}

/// The command line, in an environment that says nothing of its own.
pub(crate) fn command<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_handoff-watcher"));
    command.args(args).stdin(Stdio::null());
    for variable in ["POOL_MANAGERD_RUNTIME_DIR", "POOL_MANAGERD_WATCH_INTERVAL_MS", "RUST_LOG", "COLUMNS"] {
        command.env_remove(variable);
    }
    for variable in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(variable);
    }
    command
}

/// The same, also where the tests were started with interrupts ignored, as by a shell in the background: that is handed on.
pub(crate) fn interruptible(command: Command) -> Command {
    let mut env = Command::new("env");
    env.arg("--default-signal=INT").stdin(Stdio::null());
    for (variable, value) in command.get_envs() {
        match value {
            Some(value) => env.env(variable, value),
            None => env.env_remove(variable),
        };
    }
    env.arg(command.get_program()).args(command.get_args());
    env
}

/// The command line in a user namespace of its own, in which no directory may be watched; `None` where that cannot be had.
#[cfg(target_os = "linux")]
pub(crate) fn unwatchable<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Option<Command> {
    if support::is_missing("unshare", "util-linux") {
        return None;
    }
    let unshare = |run: &str| {
        let mut unshare = Command::new("unshare");
        let none = format!("echo 0 > /proc/sys/user/max_inotify_watches && {run}");
        unshare.args(["--user", "--map-root-user", "sh", "-c", &none, "sh"]);
        unshare
    };
    let said = finish(&mut unshare("exit 0"), b"");
    if said.code != Some(0) {
        support::skip_even_in_ci(&format!("watches cannot be forbidden: {}", said.err.trim_end()));
        return None;
    }
    let plain = command(args);
    let mut command = unshare("exec \"$@\"");
    command.arg(plain.get_program()).args(plain.get_args()).stdin(Stdio::null());
    Some(command)
}

/// What a finished process said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// Failed as promised: this code, nothing on standard output, and one line on standard error that has this in it.
    #[track_caller]
    pub(crate) fn assert_complaint(&self, code: i32, part: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.out, "", "{self:?}");
        assert_eq!(self.err.lines().count(), 1, "{self:?}");
        assert!(self.err.starts_with("handoff-watcher: ") && self.err.ends_with('\n'), "{self:?}");
        assert!(self.err.contains(part), "{part:?} is not in {self:?}");
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// Runs it to its end.
#[track_caller]
pub(crate) fn run<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Said {
    finish(&mut command(args), b"")
}

#[track_caller]
pub(crate) fn finish(command: &mut Command, input: &[u8]) -> Said {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the command starts");
    child.stdin.take().expect("piped").write_all(input).expect("it reads its input");
    let pid = Pid::from_child(&child);
    let (send, done) = channel();
    thread::spawn(move || send.send(child.wait_with_output()));
    match done.recv_timeout(DEADLINE + DEADLINE) {
        Ok(output) => output.expect("its output").into(),
        Err(_) => {
            let _ = kill_process(pid, Signal::KILL);
            panic!("{command:?} does not end; it said {:?}", done.recv_timeout(DEADLINE));
        }
    }
}

/// A process that goes on. Killed when dropped.
pub(crate) struct Running {
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command starts");
        let out = lines(child.stdout.take().expect("piped"));
        let err = lines(child.stderr.take().expect("piped"));
        Self { child, out, err }
    }

    /// `watch`, piped, polling often.
    pub(crate) fn watch(dir: &Path) -> Self {
        Self::start(command(["watch", "--poll-interval-ms", "50"]).arg(dir))
    }

    /// The next line of standard output.
    #[track_caller]
    pub(crate) fn line(&self) -> String {
        match self.out.recv_timeout(DEADLINE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("no further line in time"),
            Err(RecvTimeoutError::Disconnected) => panic!("ended without a further line; {:?}", self.complaints()),
        }
    }

    /// The next event, which is of this kind.
    #[track_caller]
    pub(crate) fn event(&self, name: &str) -> Value {
        let line = self.line();
        let event: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(event["event"], name, "{line}");
        event
    }

    /// The next line of standard error.
    #[track_caller]
    pub(crate) fn complaint(&self) -> String {
        self.err.recv_timeout(DEADLINE).expect("a line on standard error")
    }

    /// What is left of standard error, after the end.
    pub(crate) fn complaints(&self) -> Vec<String> {
        self.err.iter().collect()
    }

    /// What is left of standard output, after the end.
    pub(crate) fn rest(&self) -> Vec<String> {
        self.out.iter().collect()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it is there");
    }

    /// It is the program itself, whatever started it.
    #[track_caller]
    pub(crate) fn is_started(&self) {
        let (started, exe) = (Instant::now(), format!("/proc/{}/exe", self.child.id()));
        while std::fs::read_link(&exe).ok().as_deref() != Some(Path::new(env!("CARGO_BIN_EXE_handoff-watcher"))) {
            assert!(started.elapsed() < DEADLINE, "it does not start");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits for the end, and says how long it took.
    #[track_caller]
    pub(crate) fn end(&mut self) -> (ExitStatus, Duration) {
        end(&mut self.child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
pub(crate) fn end(child: &mut Child) -> (ExitStatus, Duration) {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return (status, started.elapsed());
        }
        assert!(started.elapsed() < DEADLINE, "it does not end");
        thread::sleep(Duration::from_millis(1));
    }
}

/// The lines of a stream, as they come.
pub(crate) fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (send, lines) = channel();
    thread::spawn(move || {
        // A pseudo terminal whose other side went away ends with an error.
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

/// No character that a terminal would obey.
#[track_caller]
pub(crate) fn assert_harmless(text: &str) {
    let obeyed = text.chars().find(|c| c.is_control() && *c != '\n' || matches!(c, '\u{202a}'..='\u{202e}'));
    assert_eq!(obeyed, None, "{text:?}");
}
