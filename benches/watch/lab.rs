//! What everybody who is measured shares: documents, directories, clocks. Also part of the peers' crate.
#![allow(dead_code)] // Each takes what it needs.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use rustix::time::{ClockId, clock_gettime};

/// The processor time of this process, all threads, in microseconds.
pub(crate) fn cpu_us() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

/// A typical handoff: some 150 bytes.
pub(crate) fn document(pool: &str, replica: &str, port: usize) -> String {
    format!(
        r#"{{"pool_id":"{pool}","replica_id":"{replica}","url":"http://127.0.0.1:{port}","engine":"llamacpp","engine_version":"b4567","device_mask":"0","slots":4,"pid":{}}}"#,
        1000 + port
    )
}

/// So many handoffs of pools of eight.
pub(crate) fn fill(dir: &Path, count: usize) {
    for number in 0..count {
        let (pool, replica) = (format!("pool-{}", number / 8), format!("r{}", number % 8));
        let text = document(&pool, &replica, 8000 + number % 50_000);
        fs::write(dir.join(format!("{pool}-{replica}.json")), text).expect("it can be written");
    }
}

/// Writes beside and renames; gives the time at which the rename returned. With `mtime` set to the exact time, as
/// `publish` does, or not, as most other producers.
pub(crate) fn rename(dir: &Path, replica: &str, port: usize, mtime: bool) -> Instant {
    let temporary = dir.join(format!(".{replica}.tmp"));
    fs::write(&temporary, document("measured", replica, port)).expect("it can be written");
    if mtime {
        let file = fs::File::options().write(true).open(&temporary).expect("it can be opened");
        file.set_modified(SystemTime::now()).expect("its time can be set");
    }
    fs::rename(&temporary, dir.join(format!("measured-{replica}.json"))).expect("it can be renamed");
    Instant::now()
}

/// A pause that is another one each time, so that the samples fall into all phases of an interval.
pub(crate) fn pause(number: usize, interval: Duration) -> Duration {
    interval.mul_f64((number as f64 * 0.618_034).fract()) + Duration::from_millis(2)
}

/// As long as it takes for a notification to be a lone one.
pub(crate) fn lone(number: usize) -> Duration {
    pause(number, Duration::from_millis(20)) + Duration::from_millis(8)
}

/// The latencies in microseconds, as one line of JSON.
pub(crate) fn print_latencies(latencies: &[Duration]) {
    let us: Vec<_> = latencies.iter().map(|latency| latency.as_secs_f64() * 1e6).collect();
    println!("{}", serde_json::json!({ "latencies_us": us }));
}
