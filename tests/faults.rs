//! Faults from the kernel: every system call of the scanning thread of the real binary fails, with every error that is to
//! be feared, once, three times in a row, and for seconds; in instant mode, with processes that are checked, with messages
//! that are consumed, and with files that must be trusted, too.
//!
//! The list of calls comes from a trace, so that a new one cannot be forgotten. Afterwards all must be told by the second
//! poll whose listing succeeds, as the first one may have been under way when the fault ended; and one interval after that
//! at the latest. Polls are counted in a trace of the whole process. A case that was late is tried again, alone, and then has
//! to be in time. `HANDOFF_FAULTS=all` injects for the full five seconds, and everything in every mode.

#![cfg(all(feature = "cli", target_os = "linux"))]
#![allow(clippy::unwrap_used)]

mod common;
#[path = "faults/left.rs"]
mod left;
#[path = "faults/strace.rs"]
mod strace;
mod support;
#[path = "faults/watch.rs"]
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::RangeInclusive;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{DEADLINE, until, write};
use strace::Strace;
use support::{is_missing, skip_even_in_ci};
use watch::{INTERVAL, SETUPS, Setup, Watch};

/// Listings that follow each other so soon are of one poll, which looks twice at what surprised it.
const ONE_POLL: Duration = Duration::from_millis(250);
/// For so long a message stays hidden at least.
const HIDDEN_FOR: Duration = Duration::from_millis(50);
const ERRORS: [&str; 7] = ["EIO", "EACCES", "ENOENT", "EINTR", "ENOMEM", "EMFILE", "ESTALE"];

/// Calls that ask the file system or a descriptor for something, and so can be told no.
const FAULTY: [&str; 24] = [
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
    "kill",
    "renameat",
    "renameat2",
    "linkat",
    "unlinkat",
];
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
/// How often a call fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Span {
    /// The call of that number.
    Once(usize),
    Thrice,
    Lasting,
}

/// Everything that a directory can do to the thread.
fn calls_in_a_trace(setup: Setup) -> BTreeSet<String> {
    let mut watch = Watch::start(setup).unwrap();
    let strace = Strace::attach(watch.place.path(), watch.thread(), None, &["trace=all"]).unwrap();
    let dir = watch.dir.clone();
    let mut expect = |what: &str, is: &dyn Fn(&Watch) -> bool| watch.until(what, is).unwrap();
    common::replace(dir.join("a.json"), common::doc("a", "v2"));
    write(dir.join("b.json"), common::doc("b", "v2"));
    write(dir.join("large.json"), vec![b' '; 2 << 20]);
    write(dir.join("bad.json"), "[]");
    fs::create_dir(dir.join("directory.json")).unwrap();
    symlink("nowhere", dir.join("dangling.json")).unwrap();
    expect("four verdicts", &|watch| watch.count("invalid") == 4 && watch.holds("a", "v2") && watch.holds("b", "v2"));
    if setup == Setup::Trusted {
        fs::set_permissions(dir.join("b.json"), fs::Permissions::from_mode(0o666)).unwrap();
        expect("a fifth one", &|watch| watch.count("invalid") == 5);
    }
    watch.end_engine();
    if setup == Setup::Processes {
        watch.until("the end of the process", |watch| watch.count("removed") == 1).unwrap();
    }
    // Long enough for the directory to settle, after which it is not listed again.
    let settled = Instant::now();
    until("settled", || settled.elapsed() > Duration::from_secs(3));
    let away = watch.place.join("away");
    fs::rename(&dir, &away).unwrap();
    watch.until("unavailable", |watch| watch.count("unavailable") == 1).unwrap();
    fs::rename(&away, &dir).unwrap();
    watch.until("available", |watch| watch.count("available") == 1).unwrap();
    let calls = calls(&strace.detach());
    let one_of = |names: &[&str]| {
        assert!(names.iter().any(|name| calls.contains(*name)), "the trace is none of the scanning thread: {calls:?}");
    };
    [&["openat"][..], &["getdents64"], &["newfstatat", "statx"], &["fstat"], &["read"]].into_iter().for_each(one_of);
    match setup {
        Setup::Processes => one_of(&["kill"]),
        Setup::Messages => [&["unlinkat"][..], &["renameat", "renameat2"]].into_iter().for_each(one_of),
        Setup::State | Setup::Instant | Setup::Trusted => {}
    }
    calls
}

/// Those that look at a process.
fn calls_for_a_process() -> BTreeSet<String> {
    let mut watch = Watch::start(Setup::Processes).unwrap();
    let path = Watch::proc();
    let strace = Strace::attach(watch.place.path(), watch.thread(), Some(&path), &["trace=all"]).unwrap();
    until("two polls", || {
        watch.hear().unwrap();
        strace.said().matches("close(").count() > 6
    });
    let calls = calls(&strace.detach());
    assert!(calls.contains("openat") && calls.contains("read"), "{calls:?}");
    calls
}

fn calls(trace: &str) -> BTreeSet<String> {
    let call = |line: &str| {
        let name = line.split_once('(')?.0;
        name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_').then(|| name.to_owned())
    };
    trace.lines().filter_map(call).collect()
}

/// One kind of fault.
#[derive(Clone, Debug)]
struct Case {
    setup: Setup,
    call: String,
    /// Only where a process is looked at.
    of_process: bool,
    error: &'static str,
    span: Span,
}

impl Case {
    /// How often the call must fail.
    fn times(&self) -> RangeInclusive<usize> {
        match self.span {
            Span::Once(_) => 1..=1,
            Span::Lasting => 1..=usize::MAX,
            // If the very first one fails, rustix asks whether there is such a call at all, and if not, never again.
            Span::Thrice if self.call == "statx" => 2..=3,
            Span::Thrice => 3..=3,
        }
    }

    /// Nothing can be listed while it lasts.
    fn is_unavailable(&self) -> bool {
        let lists = matches!(&*self.call, "openat" | "getdents64") && !self.of_process;
        // A call that a signal interrupted is made again, until it is not.
        lists && self.span == Span::Lasting && self.error != "EINTR"
    }

    /// Something else fails while a message is hidden, which takes long enough for a newer one to come.
    fn hides(&self) -> bool {
        self.setup == Setup::Messages && self.call != "renameat"
    }

    fn strace(&self, watch: &Watch) -> Result<Strace, String> {
        let Self { call, error, .. } = self;
        let when = match self.span {
            Span::Once(number) => format!(":when={number}"),
            Span::Thrice => String::from(":when=1..3"),
            Span::Lasting => String::new(),
        };
        let path = self.of_process.then(Watch::proc);
        let hide = if self.hides() { ",renameat" } else { "" };
        let mut expressions = vec![format!("trace={call}{hide}"), format!("inject={call}:error={error}{when}")];
        if self.hides() {
            expressions.push(format!("inject=renameat:delay_exit={}", HIDDEN_FOR.as_micros()));
        }
        let expressions: Vec<_> = expressions.iter().map(String::as_str).collect();
        Strace::attach(watch.place.path(), watch.thread(), path.as_deref(), &expressions)
    }

    fn check(&self, watch: &Watch) -> Result<(), String> {
        let (gone, back) = (watch.count("unavailable"), watch.count("available"));
        let expected = if self.is_unavailable() { 1..=1 } else { 0..=1 };
        if gone != back || !expected.contains(&gone) {
            return Err(format!("told too often, or not at all: {:#?}", watch.log));
        }
        Ok(())
    }
}

/// Gives how often it was injected.
fn inject(case: &Case, lasting: Duration) -> Result<usize, String> {
    let mut watch = Watch::start(case.setup)?;
    let strace = case.strace(&watch)?;
    let since = Instant::now();
    watch.put("a", "v2");
    watch.overwrite("b", "v2");
    watch.put("new", "v1");
    watch.end_engine();
    let (mut injected, mut first, mut newer, mut more) = (0, None, false, 1);
    loop {
        watch.hear()?;
        if injected < *case.times().start() {
            let before = injected;
            injected = strace.injected();
            if before < injected && injected < *case.times().start() {
                // Some calls are made once for each time that the directory has become quiet.
                watch.stir();
            }
        }
        if injected > 0 {
            first.get_or_insert_with(Instant::now);
        }
        let latest = if case.hides() { 2 * INTERVAL } else { INTERVAL };
        if !newer && (since.elapsed() > latest || case.hides() && watch.hides()) {
            watch.put("a", "v3");
            newer = true;
        }
        // Messages that are deleted are not read again: a call of a high number takes more of them.
        if case.hides() && injected == 0 && since.elapsed() > (3 + more) * INTERVAL {
            watch.put("more", &format!("v{more:02}"));
            more += 1;
        }
        let is_over = match case.span {
            Span::Lasting => first.is_some_and(|first| first.elapsed() >= lasting),
            Span::Once(_) | Span::Thrice => injected >= *case.times().start(),
        };
        if is_over && since.elapsed() > 3 * INTERVAL || since.elapsed() > DEADLINE {
            break;
        }
    }
    let injected = strace.end();
    let ended = Instant::now();

    let polls = Strace::attach_to_all(watch.place.path(), watch.id(), "trace=getdents64,write")?;
    let mark = polls.said().len();
    watch.put("after", "v1");
    let ends = usize::from(case.setup == Setup::Processes);
    watch.until("all is seen", |watch| {
        let told = [("a", "v3"), ("b", "v2"), ("new", "v1")];
        told.iter().all(|(replica, text)| watch.holds(replica, text))
            && watch.count("available") == watch.count("unavailable")
            && watch.count("removed") == ends
    })?;
    let time = watch.last.saturating_duration_since(ended);
    watch.until("what came after the fault", |watch| watch.holds("after", "v1"))?;
    let trace = polls.detach();
    let needed = polls_until_all_was_told(trace.get(mark..).unwrap_or_default());
    if !(1..=2).contains(&needed) {
        return Err(format!("all was told by poll {needed} after the fault: {trace}"));
    }
    if time > 2 * INTERVAL {
        return Err(format!("{LATE_ANSWER}, {time:?} after the fault: {trace}"));
    }
    case.check(&watch)?;
    // A further change, in case that something was only stuck.
    watch.overwrite("c", "v2");
    watch.until("the last change", |watch| watch.holds("c", "v2"))?;
    if case.setup == Setup::Messages {
        watch.until("all that was taken is deleted", |watch| watch.files().is_empty())?;
    }
    case.check(&watch)?;
    if !case.times().contains(&injected) {
        return Err(format!("{injected} were injected, and not {:?}", case.times()));
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

fn can_attach() -> bool {
    if is_missing("strace", "strace") {
        return false;
    }
    let attached = Watch::start(Setup::State)
        .and_then(|watch| Strace::attach(watch.place.path(), watch.thread(), None, &["trace=none"]));
    match attached {
        Ok(strace) => {
            drop(strace.detach());
            true
        }
        Err(error) => {
            skip_even_in_ci(&format!(
                "strace may not attach: run as root, or sysctl kernel.yama.ptrace_scope=0 ({error})"
            ));
            false
        }
    }
}

/// With polls once an hour, it is notifications that tell: the rest between two scans that they ask for must not be a
/// multiple of what a slow disk made of one.
#[test]
fn regression_a_scan_that_was_held_up_does_not_keep_notifications_waiting() {
    if !can_attach() {
        return;
    }
    let mut watch = Watch::start_polling(Setup::Instant, Duration::from_secs(3600)).unwrap();
    let held_up = Duration::from_secs(2);
    let delay = format!("inject=getdents64:delay_exit={}:when=1", held_up.as_micros());
    let strace = Strace::attach(watch.place.path(), watch.thread(), None, &["trace=getdents64", &delay]).unwrap();
    let began = Instant::now();
    watch.put("a", "v2");
    watch.until("the first change", |watch| watch.holds("a", "v2")).unwrap();
    assert!(began.elapsed() >= held_up, "nothing was held up: {}", strace.said());
    drop(strace.detach());
    let began = Instant::now();
    watch.put("b", "v2");
    watch.until("the second one", |watch| watch.holds("b", "v2")).unwrap();
    // CLOUD-3013.
    assert!(watch.last.duration_since(began) < Duration::from_secs(2), "{:#?}", watch.log);
}

#[test]
fn every_call_of_the_scanning_thread_may_fail() {
    if !can_attach() {
        return;
    }
    let all = std::env::var_os("HANDOFF_FAULTS").is_some_and(|value| value == "all");
    let lasting = Duration::from_millis(if all { 5000 } else { 1500 });
    let cases = cases(all);
    let (count, next) = (cases.len(), AtomicUsize::new(0));
    let (injected, failures) = (Mutex::new(BTreeMap::<String, usize>::new()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..24 {
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

/// In state mode each call that a trace shows, in the others only what state mode does not do, unless there is time; and
/// wherever they use a call that is not new for something else.
fn cases(all: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |setup, of_process, call: &str, errors: &[&'static str], spans: &[Span]| {
        for error in errors {
            for span in spans {
                cases.push(Case { setup, call: call.to_owned(), of_process, error, span: *span });
            }
        }
    };
    let spans = [Span::Lasting, Span::Thrice, Span::Once(1)];
    let is_faulty = |call: &&String| FAULTY.contains(&call.as_str());
    let traces = thread::scope(|scope| {
        let traces = SETUPS.map(|setup| scope.spawn(move || calls_in_a_trace(setup)));
        traces.map(|trace| trace.join().expect("a trace"))
    });
    let known: BTreeSet<_> = FAULTY.iter().chain(&EXEMPT).map(|call| (*call).to_owned()).collect();
    for (setup, calls) in SETUPS.into_iter().zip(&traces) {
        let unknown: Vec<_> = calls.difference(&known).collect();
        assert!(unknown.is_empty(), "the scanning thread makes calls that nobody thought of: {setup:?} {unknown:?}");
        let is_new = |call: &&String| all || setup == Setup::State || !traces[0].contains(*call);
        for call in calls.iter().filter(is_faulty).filter(is_new) {
            add(setup, false, call, &ERRORS, &spans);
            if call == "inotify_add_watch" {
                // `fs.inotify.max_user_watches` is reached, which is the error of this call that people meet.
                add(setup, false, call, &["ENOSPC"], &spans);
            }
        }
    }
    // ESRCH: the process ended just then.
    let (errors, few): (&[_], _) = match all {
        true => (&["EIO", "EACCES", "ENOENT", "EINTR", "ENOMEM", "EMFILE", "ESTALE", "ESRCH"], &spans[..]),
        false => (&["EACCES", "ENOENT", "EMFILE", "ESRCH"], &[Span::Lasting, Span::Once(1)][..]),
    };
    for call in calls_for_a_process().iter().filter(is_faulty) {
        add(Setup::Processes, true, call, errors, few);
    }
    // A message is looked at once more before it is hidden, and again before it is deleted.
    let numbers: Vec<_> = (2..=16).map(Span::Once).collect();
    for call in ["openat", "fstat", "read"] {
        add(Setup::Messages, false, call, &["EIO", "ENOENT"], &numbers);
    }
    if !all {
        for call in ["openat", "fstat", "newfstatat"] {
            add(Setup::Trusted, false, call, &["EACCES", "EIO"], &[Span::Lasting, Span::Once(1)]);
        }
    }
    cases
}
