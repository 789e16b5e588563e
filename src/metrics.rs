//! [pure] The figures as text for Prometheus.
//!
//! In: figures, health, and the pools of the registry. Out: the text exposition format, version 0.0.4. `metrics.md` is the
//! table of what there is, for people; a test holds it against the text.

use prometheus::TextEncoder;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use crate::registry::PoolStatus;
use crate::stats::{Health, LATENCY_BUCKETS_MS, Latency, ScanMode, Stats};

/// Everything that can be told of one watcher.
pub(crate) fn text(stats: &Stats, health: &Health, pools: &[PoolStatus]) -> String {
    let pool = |value: fn(&PoolStatus) -> u64| -> Vec<Metric> {
        pools.iter().map(|pool| gauge(&[("pool_id", &pool.pool_id)], value(pool) as f64)).collect()
    };
    let events = &stats.events;
    let events = [
        ("ready", events.ready),
        ("updated", events.updated),
        ("removed", events.removed),
        ("invalid", events.invalid),
        ("conflict", events.conflict),
        ("synced", events.synced),
        ("unavailable", events.unavailable),
        ("available", events.available),
    ];
    let seconds = |time: Option<std::time::Duration>| time.map(|time| gauge(&[], time.as_secs_f64())).into_iter();
    let families = [
        family(
            "build_info",
            "Always 1; its label is the version of the library.",
            vec![gauge(&[("version", env!("CARGO_PKG_VERSION"))], 1.0)],
        ),
        family("up", "Whether the scanning thread is alive.", vec![flag(health.running)]),
        family("available", "Whether the directory could be listed the last time.", vec![flag(health.available)]),
        family(
            "stalled",
            "Whether the last try to list the directory ended more than three intervals and two seconds ago.",
            vec![flag(health.stalled)],
        ),
        family(
            "instant",
            "Whether notifications of the kernel let the next scan begin; 0 is polling alone.",
            vec![flag(health.mode == ScanMode::Instant)],
        ),
        family(
            "scan_age_seconds",
            "Since the last try to list the directory ended; absent before the first.",
            seconds(stats.scan_age).collect(),
        ),
        family(
            "scan_duration_seconds",
            "How long the last complete listing took, its reads included; absent before the first.",
            seconds(stats.scan_duration).collect(),
        ),
        family("scans_total", "Complete listings.", vec![counter(&[], stats.scans)]),
        family("scan_errors_total", "Listings that failed or broke off.", vec![counter(&[], stats.scan_errors)]),
        family("reads_total", "Files read.", vec![counter(&[], stats.reads)]),
        family("files", "Handoff files known.", vec![gauge(&[], stats.files as f64)]),
        family(
            "invalid_files",
            "Files that are reported, or about to be reported, as invalid.",
            vec![gauge(&[], stats.invalid_files as f64)],
        ),
        family(
            "pending_files",
            "Files that are not decided yet: half-written, gone missing, to be read.",
            vec![gauge(&[], stats.pending_files as f64)],
        ),
        family(
            "replicas_ready",
            "Ready replicas of each pool of which there is a handoff; 0 where none is ready.",
            pool(|pool| pool.replicas_ready),
        ),
        family("slots", "Slots of the ready replicas of each pool.", pool(|pool| pool.slots_total)),
        family(
            "backlog_events",
            "Events that the host has not taken yet, retries included.",
            vec![gauge(&[], stats.backlog as f64)],
        ),
        family("retries_total", "Deliveries that the host refused.", vec![counter(&[], stats.retries)]),
        family(
            "events_total",
            "Events that the host took, by kind.",
            events.map(|(event, count)| counter(&[("event", event)], count)).to_vec(),
        ),
        family(
            "delivery_latency_seconds",
            "From the last change of a file to the delivery of its event; 2 seconds is the objective.",
            vec![histogram(&stats.latency)],
        ),
    ];
    // A family without a sample is no part of the format.
    let families: Vec<_> = families.into_iter().filter(|family| !family.get_metric().is_empty()).collect();
    TextEncoder::new().encode_to_string(&families).expect("BUG: every family has a name and a sample")
}

/// A counter is called `…_total`, and nothing else is; what has buckets is a histogram.
fn family(name: &str, help: &str, metrics: Vec<Metric>) -> MetricFamily {
    let kind = match name {
        "delivery_latency_seconds" => MetricType::HISTOGRAM,
        _ if name.ends_with("_total") => MetricType::COUNTER,
        _ => MetricType::GAUGE,
    };
    let mut family = MetricFamily::default();
    family.set_name(format!("handoff_watcher_{name}"));
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

fn metric(labels: &[(&str, &str)]) -> Metric {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    Metric::from_label(labels.iter().map(pair).collect())
}

fn gauge(labels: &[(&str, &str)], value: f64) -> Metric {
    let (mut metric, mut gauge) = (metric(labels), Gauge::default());
    gauge.set_value(value);
    metric.set_gauge(gauge);
    metric
}

fn flag(is: bool) -> Metric {
    gauge(&[], f64::from(u8::from(is)))
}

fn counter(labels: &[(&str, &str)], count: u64) -> Metric {
    let (mut metric, mut counter) = (metric(labels), Counter::default());
    counter.set_value(count as f64);
    metric.set_counter(counter);
    metric
}

/// The format counts what is at most as long as a bound; [`Latency`] counts what is between two of them.
fn histogram(latency: &Latency) -> Metric {
    let mut sum = 0;
    let buckets = LATENCY_BUCKETS_MS.iter().zip(latency.buckets).map(|(bound, count)| {
        sum += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound as f64 / 1000.0);
        bucket.set_cumulative_count(sum);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(latency.count);
    histogram.set_sample_sum(latency.sum.as_secs_f64());
    let mut metric = metric(&[]);
    metric.set_histogram(histogram);
    metric
}
