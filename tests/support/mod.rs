//! Running other programs from tests, against a deadline; doing without them; and doing without root's privileges.
#![allow(dead_code)] // Not every test needs all of it.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// For one program; the release build of the library, from nothing, is the slowest.
const DEADLINE: Duration = Duration::from_secs(900);

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a test cannot do here, and how it could. Where `CI` is set, nothing may be left out: it fails.
#[track_caller]
pub(crate) fn skip(text: &str) {
    assert!(std::env::var_os("CI").is_none(), "{text}");
    skip_even_in_ci(text);
}

/// For what a container can forbid whoever runs in it, and for tools that take longer to get than the tests to run.
pub(crate) fn skip_even_in_ci(text: &str) {
    // Not by `eprintln`: of a test that passes, the harness keeps to itself what that says.
    let _ = writeln!(std::io::stderr(), "skipped: {text}");
}

/// Whether a test has to do without a tool.
#[track_caller]
pub(crate) fn is_missing(tool: &str, package: &str) -> bool {
    let is_missing = Command::new(tool).arg("--version").output().is_err();
    if is_missing {
        skip(&format!("{tool} is missing; to have it: apt-get install {package}"));
    }
    is_missing
}

/// Runs what is about permissions, and the threads that it starts, as somebody who is bound by them: root is not.
#[track_caller]
pub(crate) fn bound_by_permissions(test: impl FnOnce() + Send) {
    if !cfg!(target_os = "linux") && rustix::process::geteuid().is_root() {
        skip("nothing was forbidden: to root nothing is; to have it, run as another user");
        return;
    }
    let bound = || {
        #[cfg(target_os = "linux")]
        {
            use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
            // Linux keeps them for each thread; its children inherit them, and the others of this process keep theirs.
            let mut own = capabilities(None).unwrap();
            own.effective.remove(CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH);
            set_capabilities(None, own).unwrap();
        }
        test();
    };
    let ended = std::thread::scope(|scope| scope.spawn(bound).join());
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
}

/// The words of an environment variable.
pub(crate) fn words(variable: &str) -> Vec<String> {
    std::env::var(variable).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

/// Cargo, for this package, with a target directory of its own: the one that the tests were built in is in use.
pub(crate) fn cargo(target: &Path) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root()).env("CARGO_TARGET_DIR", target);
    cargo
}

/// Runs it; it has to succeed.
pub(crate) fn run(command: &mut Command) {
    output(command);
}

/// Runs it, and returns what it wrote; it has to succeed.
pub(crate) fn output(command: &mut Command) -> String {
    // A file never fills up, as a pipe does that nobody reads.
    let mut written = tempfile::tempfile().unwrap();
    let handle = |file: &File| Stdio::from(file.try_clone().unwrap());
    let spawned = command.stdin(Stdio::null()).stdout(handle(&written)).stderr(handle(&written)).spawn();
    let mut child = spawned.unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let end = Instant::now() + DEADLINE;
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if Instant::now() > end => {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let mut text = String::new();
    written.rewind().unwrap();
    written.read_to_string(&mut text).unwrap();
    match status {
        Some(status) if status.success() => text,
        Some(status) => panic!("{command:?}: {status}\n{text}"),
        None => panic!("{command:?}: not done within {DEADLINE:?}\n{text}"),
    }
}
