//! What single steps cost, by criterion: an event by the iterator and through the C ABI (the objective: less than 2 µs
//! more), parsing, and asking the registry. `cargo bench --features capi --bench micro`

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

#[path = "watch/c_host.rs"]
mod c_host;
#[path = "watch/lab.rs"]
mod lab;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use handoff_watcher::{HandoffEvent, HandoffIter, HandoffPayload, HandoffWatcher, HandoffWatcherConfig};

const REPLICAS: usize = 10_000;
/// All events wait already: what is measured is the taking, nothing else.
const CAPACITY: usize = 65_536;

fn events(criterion: &mut Criterion) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    lab::fill(dir.path(), REPLICAS);
    std::thread::sleep(Duration::from_millis(3500));
    let config = HandoffWatcherConfig { runtime_dir: dir.path().to_owned(), poll_interval_ms: 60_000 };
    let mut group = criterion.benchmark_group("event");
    group.sample_size(10).measurement_time(Duration::from_secs(3)).throughput(Throughput::Elements(REPLICAS as u64));
    group.bench_function("iterator", |bencher| {
        let start = || {
            let events = HandoffWatcher::builder(config.clone()).channel_capacity(CAPACITY).iter().unwrap();
            events.rescan().unwrap();
            events
        };
        let take = |events: HandoffIter| {
            for _ in 0..REPLICAS {
                assert!(matches!(events.try_next().unwrap(), HandoffEvent::Ready { .. }));
            }
            events
        };
        bencher.iter_batched(start, take, BatchSize::PerIteration);
    });
    group.bench_function("C", |bencher| {
        let start = || {
            let host = c_host::Host::new(dir.path(), 60_000, CAPACITY as u64);
            host.rescan();
            host
        };
        let take = |host: c_host::Host| {
            for _ in 0..REPLICAS {
                host.take_ready();
            }
            host
        };
        bencher.iter_batched(start, take, BatchSize::PerIteration);
    });
    // A callback takes them on a thread of its own: from the first event to the last.
    group.bench_function("callback", |bencher| {
        bencher.iter_custom(|rounds| (0..rounds).map(|_| callback(&config)).sum());
    });
    group.finish();
}

fn callback(config: &HandoffWatcherConfig) -> Duration {
    let (first, last) = (std::sync::OnceLock::new(), std::sync::mpsc::channel());
    let sender = std::sync::Mutex::new(last.0);
    let watcher = HandoffWatcher::builder(config.clone()).channel_capacity(CAPACITY).on_event(move |event| {
        let first = first.get_or_init(Instant::now);
        if event == HandoffEvent::Synced {
            let _ = sender.lock().unwrap().send(first.elapsed());
        }
        Ok(())
    });
    let handle = watcher.try_spawn().unwrap();
    let took = last.1.recv().unwrap();
    handle.stop();
    took
}

fn parse(criterion: &mut Criterion) {
    let text = lab::document("pool-0", "r0", 8080);
    let mut group = criterion.benchmark_group("payload");
    group.measurement_time(Duration::from_secs(2)).throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("parse", |bencher| {
        bencher.iter(|| serde_json::from_str::<HandoffPayload>(black_box(&text)).unwrap());
    });
    let payload: HandoffPayload = serde_json::from_str(&text).unwrap();
    group.bench_function("print", |bencher| bencher.iter(|| serde_json::to_string(black_box(&payload)).unwrap()));
    group.finish();
}

fn registry(criterion: &mut Criterion) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    lab::fill(dir.path(), 1000);
    std::thread::sleep(Duration::from_millis(3500));
    let config = HandoffWatcherConfig { runtime_dir: dir.path().to_owned(), poll_interval_ms: 60_000 };
    let events = HandoffWatcher::iter(config).unwrap();
    events.rescan().unwrap();
    let registry = events.registry();
    assert_eq!(registry.len(), 1000);
    let mut group = criterion.benchmark_group("registry");
    group.measurement_time(Duration::from_secs(2));
    group.bench_function("get", |bencher| bencher.iter(|| registry.get(black_box("pool-7"), black_box("r3")).unwrap()));
    group.bench_function("is_ready", |bencher| bencher.iter(|| registry.is_ready(black_box("pool-7"))));
    group.bench_function("pools of 1000 replicas", |bencher| bencher.iter(|| registry.pools()));
    group.finish();
}

criterion_group!(benches, events, parse, registry);
criterion_main!(benches);
