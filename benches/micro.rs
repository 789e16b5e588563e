//! What single steps cost, by criterion: parsing, printing, and asking the registry: `cargo bench --bench micro`

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

#[path = "watch/lab.rs"]
mod lab;

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use handoff_watcher::{HandoffPayload, HandoffWatcher, HandoffWatcherConfig};

fn parse(criterion: &mut Criterion) {
    let text = lab::document("pool-0", "r0", 8080);
    let mut group = criterion.benchmark_group("payload");
    group
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(1))
        .throughput(Throughput::Bytes(text.len() as u64));
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
    group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(1));
    group.bench_function("get", |bencher| bencher.iter(|| registry.get(black_box("pool-7"), black_box("r3")).unwrap()));
    group.bench_function("is_ready", |bencher| bencher.iter(|| registry.is_ready(black_box("pool-7"))));
    group.bench_function("pools of 1000 replicas", |bencher| bencher.iter(|| registry.pools()));
    group.finish();
}

criterion_group!(benches, parse, registry);
criterion_main!(benches);
