//! Any sequence of acts of writers, hosts, disks and clocks: the core keeps its promises, and ends in agreement.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| handoff_watcher::fuzz_core(&bytes[..bytes.len().min(400)]));
