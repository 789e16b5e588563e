//! strace, from `attach` to `detach`.

use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use crate::common::DEADLINE;

/// What it says of a call that it made fail.
const INJECTED: &str = "(INJECTED)";

pub(crate) struct Strace {
    child: Child,
    output: PathBuf,
}

impl Strace {
    /// To one thread, and only for calls that are about this path, if there is one.
    pub(crate) fn attach(place: &Path, thread: u32, path: Option<&Path>, expressions: &[&str]) -> Result<Self, String> {
        let mut strace = Command::new("strace");
        strace.args(["-p", &thread.to_string()]);
        if let Some(path) = path {
            strace.arg("-P").arg(path);
        }
        for expression in expressions {
            strace.args(["-e", expression]);
        }
        Self::run(strace, place.join("strace"))
    }

    /// To all threads, and with the time of each call.
    pub(crate) fn attach_to_all(place: &Path, process: u32, expression: &str) -> Result<Self, String> {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-ttt", "-p", &process.to_string(), "-e", expression]);
        Self::run(strace, place.join("polls"))
    }

    fn run(mut strace: Command, output: PathBuf) -> Result<Self, String> {
        let spawned = strace.arg("-o").arg(&output).stderr(Stdio::piped()).spawn();
        let mut child = spawned.map_err(|error| error.to_string())?;
        let said = lines(child.stderr.take().expect("piped"));
        loop {
            match said.recv_timeout(DEADLINE) {
                Ok((_, line)) if line.contains("attached") => return Ok(Self { child, output }),
                // With a path it first says what that leads to.
                Ok((_, line)) if line.contains("Requested path") => {}
                other => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(format!("{other:?}"));
                }
            }
        }
    }

    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    pub(crate) fn injected(&self) -> usize {
        self.said().matches(INJECTED).count()
    }

    /// Lets go, and gives all that it said.
    pub(crate) fn detach(mut self) -> String {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("it is there");
        self.child.wait().expect("it ends");
        self.said()
    }

    /// The same; gives how often it made a call fail.
    pub(crate) fn end(self) -> usize {
        self.detach().matches(INJECTED).count()
    }
}

/// Each line, and when it came.
pub(crate) fn lines(stream: impl Read + Send + 'static) -> Receiver<(Instant, String)> {
    let (send, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if send.send((Instant::now(), line)).is_err() {
                break;
            }
        }
    });
    lines
}
