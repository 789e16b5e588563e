//! Faults while that is found which a host that has ended was about to delete.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::can_attach;
use crate::common::{doc, replace, write};
use crate::strace::Strace;
use crate::watch::{INTERVAL, Setup, Watch};

/// What a host that has ended was about to delete is back before the first listing of a directory; or later, if something
/// fails, and then it is still the older one.
#[test]
fn regression_what_is_back_is_not_told_after_what_is_newer_whatever_fails() {
    if !can_attach() {
        return;
    }
    let mut cases = Vec::new();
    for call in ["openat", "fstat", "getdents64", "newfstatat", "renameat", "read"] {
        for error in ["EIO", "ENOENT"] {
            let spans = (1..=5).map(|number| number.to_string()).chain(["1..3".to_owned(), "1+".to_owned()]);
            cases.extend(spans.map(|when| (call, error, when)));
        }
    }
    let (next, injected) = (AtomicUsize::new(0), Mutex::new(BTreeMap::<&str, usize>::new()));
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                while let Some((call, error, when)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let times = bring_back(call, &format!("inject={call}:error={error}:when={when}"))
                        .unwrap_or_else(|wrong| panic!("{call} {error} {when}: {wrong}"));
                    *injected.lock().unwrap().entry(call).or_default() += times;
                }
            });
        }
    });
    let injected = injected.into_inner().unwrap();
    println!("faults: {} kinds at the start, {injected:?} injected", cases.len());
    assert!(injected.len() == 6 && injected.values().all(|times| *times > 10), "{injected:?}");
}

/// A directory comes with what an earlier host left in it. Gives how often it was injected.
fn bring_back(call: &str, injection: &str) -> Result<usize, String> {
    let mut watch = Watch::start(Setup::Messages)?;
    let (away, other) = (watch.place.join("away"), watch.place.dir("other"));
    let hidden = other.join(".handoff-71-18c3f2a5b6d7e8f9-3.taken");
    write(&hidden, doc("r", "v1"));
    let hidden = fs::File::options().write(true).open(hidden).map_err(|error| error.to_string())?;
    hidden.set_modified(SystemTime::now() - Duration::from_secs(3600)).map_err(|error| error.to_string())?;
    replace(other.join("a.json"), doc("r", "v2"));
    let trace = format!("trace={call}");
    let strace = Strace::attach(watch.place.path(), watch.thread(), None, &[&trace, injection])?;
    fs::rename(&watch.dir, away).and_then(|()| fs::rename(other, &watch.dir)).map_err(|error| error.to_string())?;
    let since = Instant::now();
    while since.elapsed() < 3 * INTERVAL {
        watch.hear()?;
    }
    let injected = strace.end();
    watch.until("the newer one, and all is deleted", |watch| watch.holds("r", "v2") && watch.files().is_empty())?;
    let since = Instant::now();
    while since.elapsed() < 2 * INTERVAL {
        watch.hear()?;
    }
    Ok(injected)
}
