//! Faults from the kernel: every system call of the scanning thread of the real binary fails, with every error that is to
//! be feared, once, three times in a row, and for seconds; in instant mode, too.
//!
//! The list of calls comes from a trace, so that a new one cannot be forgotten. Afterwards all must be told by the second
//! poll whose listing succeeds, as the first one may have been under way when the fault ended; and one interval after that
//! at the latest. Polls are counted in a trace of the whole process. A case that was late is tried again, alone, and then has
//! to be in time. `HANDOFF_FAULTS=all` injects for the full five seconds.

#![cfg(all(feature = "cli", target_os = "linux"))]
#![allow(clippy::unwrap_used)]

mod common;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use common::{DEADLINE, Place, doc, replace, until, write};

const INTERVAL: Duration = Duration::from_millis(500);
/// Listings that follow each other so soon are of one poll, which looks twice at what surprised it.
const ONE_POLL: Duration = Duration::from_millis(250);
const ERRORS: [&str; 7] = ["EIO", "EACCES", "ENOENT", "EINTR", "ENOMEM", "EMFILE", "ESTALE"];

/// Calls that ask the file system or a descriptor for something, and so can be told no.
const FAULTY: [&str; 19] = [
    "openat",
    "getdents64",
    "newfstatat",
    "fstat",
    "statx",
    "fstatfs",
    "read",
    "close",
    "sendto",
    "recvfrom",
    "write",
    "readlink",
    "lseek",
    "fcntl",
    "ppoll",
    "inotify_add_watch",
    "inotify_rm_watch",
    "epoll_wait",
    "epoll_ctl",
];
/// Calls that are made only once a directory has been left alone for more than two seconds.
const LATE: [&str; 2] = ["fstatfs", "statx"];
/// Calls of the trace that cannot be made to fail on purpose, with the reason.
const UNREACHED: [(&str, &str); 0] = [];
/// Calls of the allocator, the scheduler and the runtime. The first ends a Rust process where it fails; the others either
/// cannot fail, or are made by code that is not this library's.
const EXEMPT: [&str; 22] = [
    "brk",
    "mmap",
    "munmap",
    "mremap",
    "mprotect",
    "madvise",
    "futex",
    "sched_yield",
    "clock_gettime",
    "clock_nanosleep",
    "nanosleep",
    "getrandom",
    "gettid",
    "getpid",
    "rt_sigprocmask",
    "sigaltstack",
    "restart_syscall",
    "rseq",
    "set_robust_list",
    "prctl",
    "exit",
    "sched_getaffinity",
];

/// What is tried again when the machine had no time.
const LATE_ANSWER: &str = "all was told late";
/// What strace says of a call that it made fail.
const INJECTED: &str = "(INJECTED)";

/// How often a call fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Span {
    Once,
    Thrice,
    Lasting,
}

/// `watch --json` on a directory.
struct Watch {
    child: Child,
    lines: Receiver<String>,
    held: BTreeMap<String, String>,
    counts: BTreeMap<String, usize>,
    log: Vec<String>,
}

impl Watch {
    fn start(dir: &Path, instant: bool) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_handoff-watcher"))
            .args(["watch", "--json", "--poll-interval-ms", &INTERVAL.as_millis().to_string()])
            .args(instant.then_some("--instant"))
            .arg(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let lines = lines(child.stdout.take().expect("piped"));
        Self { child, lines, held: BTreeMap::new(), counts: BTreeMap::new(), log: Vec::new() }
    }

    /// The scanning thread, which is named like the process.
    fn thread(&self) -> u32 {
        let tasks = format!("/proc/{}/task", self.child.id());
        let tasks = fs::read_dir(tasks).expect("it runs").map(|task| task.expect("a task").path());
        let name = |task: &PathBuf| fs::read_to_string(task.join("comm")).unwrap_or_default();
        let ids = tasks.filter(|task| name(task).trim() == "handoff-watcher");
        let ids = ids.filter_map(|task| task.file_name()?.to_str()?.parse::<u32>().ok());
        ids.max().expect("the scanning thread")
    }

    /// Takes the events that are there.
    fn hear(&mut self) -> Result<(), String> {
        loop {
            match self.lines.recv_timeout(Duration::from_millis(1)) {
                Ok(line) => {
                    let event: Value = serde_json::from_str(&line).map_err(|error| format!("{line}: {error}"))?;
                    let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
                    let name = text("event");
                    if matches!(&*name, "ready" | "updated") {
                        let url = event["payload"]["url"].as_str().unwrap_or_default().to_owned();
                        self.held.insert(text("replica_id"), url);
                    }
                    if name == "removed" {
                        return Err(format!("a removal: {line}"));
                    }
                    *self.counts.entry(name).or_default() += 1;
                    self.log.push(line);
                }
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(format!("ended: {:?}", self.child.try_wait()));
                }
            }
        }
    }

    fn until(&mut self, what: &str, limit: Duration, is: impl Fn(&Self) -> bool) -> Result<(), String> {
        let since = Instant::now();
        while !is(self) {
            self.hear()?;
            if since.elapsed() > limit {
                return Err(format!("not in {limit:?}: {what}; heard {:#?}", self.log));
            }
        }
        Ok(())
    }

    fn holds(&self, replica: &str, text: &str) -> bool {
        self.held.get(replica).is_some_and(|url| url.ends_with(&format!("/{text}")))
    }

    fn count(&self, name: &str) -> usize {
        self.counts.get(name).copied().unwrap_or(0)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (send, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

/// strace on one thread, from `attach` to `detach`.
struct Strace {
    child: Child,
    output: PathBuf,
}

impl Strace {
    fn attach(place: &Path, thread: u32, expression: &str) -> Result<Self, String> {
        Self::run(place.join("strace"), &["-p", &thread.to_string(), "-e", expression])
    }

    /// On all threads, and with the time of each call.
    fn attach_to_all(place: &Path, process: u32, expression: &str) -> Result<Self, String> {
        Self::run(place.join("polls"), &["-f", "-ttt", "-p", &process.to_string(), "-e", expression])
    }

    fn run(output: PathBuf, arguments: &[&str]) -> Result<Self, String> {
        let mut child = Command::new("strace")
            .args(arguments)
            .arg("-o")
            .arg(&output)
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let said = lines(child.stderr.take().expect("piped"));
        match said.recv_timeout(DEADLINE) {
            Ok(line) if line.contains("attached") => Ok(Self { child, output }),
            other => {
                let _ = child.kill();
                let _ = child.wait();
                Err(format!("{other:?}"))
            }
        }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    fn detach(mut self) -> String {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("it is there");
        self.child.wait().expect("it ends");
        fs::read_to_string(&self.output).unwrap_or_default()
    }
}

/// A directory with three files, and a watch that knows them.
fn begin(instant: bool) -> Result<(Place, PathBuf, Watch), String> {
    let place = Place::new();
    let dir = place.dir("engines");
    for replica in ["a", "b", "c"] {
        replace(dir.join(format!("{replica}.json")), doc(replica, "v1"));
    }
    let mut watch = Watch::start(&dir, instant);
    watch.until("synced", DEADLINE, |watch| watch.count("synced") == 1)?;
    Ok((place, dir, watch))
}

/// Everything that a directory can do to the thread.
fn calls_in_a_trace(instant: bool) -> BTreeSet<String> {
    let (place, dir, mut watch) = begin(instant).unwrap();
    let strace = Strace::attach(place.path(), watch.thread(), "trace=all").unwrap();
    let mut expect = |what: &str, is: &dyn Fn(&Watch) -> bool| watch.until(what, DEADLINE, is).unwrap();
    replace(dir.join("a.json"), doc("a", "v2"));
    write(dir.join("b.json"), doc("b", "v2"));
    write(dir.join("large.json"), vec![b' '; 2 << 20]);
    write(dir.join("bad.json"), "[]");
    fs::create_dir(dir.join("directory.json")).unwrap();
    std::os::unix::fs::symlink("nowhere", dir.join("dangling.json")).unwrap();
    expect("four verdicts", &|watch| watch.count("invalid") == 4 && watch.holds("a", "v2") && watch.holds("b", "v2"));
    // Long enough for the directory to settle, after which it is not listed again.
    let settled = Instant::now();
    until("settled", || settled.elapsed() > Duration::from_secs(3));
    fs::rename(&dir, place.join("away")).unwrap();
    expect("unavailable", &|watch| watch.count("unavailable") == 1);
    fs::rename(place.join("away"), &dir).unwrap();
    expect("available", &|watch| watch.count("available") == 1);
    let trace = strace.detach();
    let call = |line: &str| {
        let name = line.split_once('(')?.0;
        name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_').then(|| name.to_owned())
    };
    trace.lines().filter_map(call).collect()
}

/// One kind of fault.
#[derive(Clone, Debug)]
struct Case {
    call: String,
    error: &'static str,
    span: Span,
    instant: bool,
}

/// Gives how often it was injected.
fn inject(case: &Case, lasting: Duration) -> Result<usize, String> {
    let Case { call, error, span, instant } = case;
    let (place, dir, mut watch) = begin(*instant)?;
    let when = match span {
        Span::Once => ":when=1",
        Span::Thrice => ":when=1..3",
        Span::Lasting => "",
    };
    let strace = Strace::attach(place.path(), watch.thread(), &format!("inject={call}:error={error}{when}"))?;
    let since = Instant::now();
    replace(dir.join("a.json"), doc("a", "v2"));
    write(dir.join("b.json"), doc("b", "v2"));
    replace(dir.join("new.json"), doc("new", "v1"));
    let time = match span {
        Span::Lasting => lasting,
        Span::Once | Span::Thrice => 3 * INTERVAL,
    };
    // What comes late comes whenever the directory has been quiet: wait for it.
    let is_late = LATE.contains(&call.as_str());
    while since.elapsed() < time || is_late && !strace.said().contains(INJECTED) && since.elapsed() < DEADLINE {
        watch.hear()?;
    }
    let injected = strace.detach().matches(INJECTED).count();

    let polls = Strace::attach_to_all(place.path(), watch.child.id(), "trace=getdents64,write")?;
    let (mark, ended) = (polls.said().len(), Instant::now());
    replace(dir.join("after.json"), doc("after", "v1"));
    watch.until("all is seen", DEADLINE, |watch| {
        ["a", "b"].iter().all(|replica| watch.holds(replica, "v2"))
            && ["new", "after"].iter().all(|replica| watch.holds(replica, "v1"))
            && watch.count("available") == watch.count("unavailable")
    })?;
    let time = ended.elapsed();
    let trace = polls.detach();
    let needed = polls_until_all_was_told(trace.get(mark..).unwrap_or_default());
    if needed > 2 {
        return Err(format!("all was told only by poll {needed} after the fault: {trace}"));
    }
    if time > 2 * INTERVAL {
        return Err(format!("{LATE_ANSWER}, after {time:?}: {trace}"));
    }
    if watch.count("unavailable") > 1 || watch.count("invalid") > 4 {
        return Err(format!("told too often: {:#?}", watch.log));
    }
    // A further change, in case that something was only stuck.
    write(dir.join("c.json"), doc("c", "v2"));
    watch.until("the last change", DEADLINE, |watch| watch.holds("c", "v2"))?;
    if injected == 0 && !UNREACHED.iter().any(|(name, _)| name == call) {
        return Err("nothing was injected".into());
    }
    Ok(injected)
}

/// How many polls listed the directory to its end before the last event was printed.
fn polls_until_all_was_told(trace: &str) -> usize {
    let (mut polls, mut until_told, mut last) = (0, 0, None);
    for line in trace.lines() {
        let time = line.split_whitespace().find_map(|word| word.contains('.').then(|| word.parse::<f64>().ok())?);
        if line.contains("getdents64") && line.ends_with("= 0") {
            let again = time.zip(last).is_some_and(|(now, last)| now - last < ONE_POLL.as_secs_f64());
            polls += usize::from(!again);
            last = time;
        }
        if line.contains("write(1, ") {
            until_told = polls;
        }
    }
    until_told
}

#[test]
fn every_call_of_the_scanning_thread_may_fail() {
    let works = Command::new("strace").args(["-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    if !works.is_ok_and(|status| status.success()) {
        support::skip("no faults were injected; to have them: apt-get install strace");
        return;
    }
    match begin(false).and_then(|(place, _, watch)| Strace::attach(place.path(), watch.thread(), "trace=none")) {
        Ok(strace) => drop(strace.detach()),
        Err(error) => {
            support::skip_even_in_ci(&format!(
                "strace may not attach: run as root, or sysctl kernel.yama.ptrace_scope=0 ({error})"
            ));
            return;
        }
    }
    let all = std::env::var_os("HANDOFF_FAULTS").is_some_and(|value| value == "all");
    let lasting = Duration::from_millis(if all { 5000 } else { 1500 });
    let mut cases = Vec::new();
    let calls = [false, true].map(|instant| (instant, calls_in_a_trace(instant)));
    for (instant, calls) in &calls {
        let known = |call: &&String| FAULTY.contains(&call.as_str()) || EXEMPT.contains(&call.as_str());
        let unknown: Vec<_> = calls.iter().filter(|call| !known(call)).collect();
        assert!(unknown.is_empty(), "the scanning thread makes calls that nobody thought of: {unknown:?}");
        // In instant mode only what the other mode does not do, unless there is time.
        let new = |call: &&String| !instant || all || !calls_of(&cases, false).contains(*call);
        let chosen: Vec<_> = calls.iter().filter(|call| FAULTY.contains(&call.as_str())).filter(new).cloned().collect();
        for call in chosen {
            for error in ERRORS {
                for span in [Span::Lasting, Span::Thrice, Span::Once] {
                    cases.push(Case { call: call.clone(), error, span, instant: *instant });
                }
            }
        }
    }
    let (count, next) = (cases.len(), AtomicUsize::new(0));
    let (injected, failures) = (Mutex::new(BTreeMap::<String, usize>::new()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match inject(case, lasting) {
                        Ok(times) => *injected.lock().unwrap().entry(case.call.clone()).or_default() += times,
                        Err(wrong) => failures.lock().unwrap().push((case, wrong)),
                    }
                }
            });
        }
    });
    let (injected, failures) = (injected.into_inner().unwrap(), failures.into_inner().unwrap());
    let (late, mut failures): (Vec<_>, Vec<_>) =
        failures.into_iter().partition(|(_, wrong): &(&Case, String)| wrong.starts_with(LATE_ANSWER));
    for (case, _) in &late {
        // Whatever is wrong with all of them shows in a few.
        if failures.len() >= 5 {
            break;
        }
        failures.extend(inject(case, lasting).err().map(|wrong| (*case, wrong)));
    }
    let failures: Vec<_> = failures.iter().map(|(case, wrong)| format!("{case:?}: {wrong}")).collect();
    println!(
        "faults: {count} kinds of fault, {} injected ({injected:?}), {} tried again alone, {} wrong",
        injected.values().sum::<usize>(),
        late.len(),
        failures.len()
    );
    assert!(failures.is_empty(), "{} of {count}:\n{}", failures.len(), failures.join("\n"));
}

fn calls_of(cases: &[Case], instant: bool) -> BTreeSet<String> {
    cases.iter().filter(|case| case.instant == instant).map(|case| case.call.clone()).collect()
}
