//! Any bytes: the parser never panics, its errors are short single lines, what it accepts is the same when it is printed
//! and parsed again, and when it was kept in the compact form; and what all of that allocates is bounded by the size.

#![no_main]

use std::alloc::System;

use handoff_watcher::{Error, HandoffPayload};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The default limit of a file.
const LIMIT: usize = 1 << 20;

/// What may be allocated for each byte of a document, in all, whether or not it is freed again: an object with one entry
/// takes seven bytes in a document, and a node of a tree in memory.
const FOR_EACH_BYTE: usize = 300;
const IN_ANY_CASE: usize = 16 << 10;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    // As a part of a document of the largest size, many times; not for each input, as it takes long.
    if bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(*byte)) == 0 && !bytes.is_empty() {
        let mut large = br#"{"pool_id":"p","replica_id":"r","url":"http://h","x":["#.to_vec();
        while large.len() + bytes.len() + 3 < LIMIT {
            large.extend_from_slice(bytes);
            large.push(b',');
        }
        large.extend_from_slice(b"0]}");
        check(&large);
    }
});

fn check(bytes: &[u8]) {
    let parsed = bounded(bytes, HandoffPayload::parse);
    let kept = bounded(bytes, handoff_watcher::fuzz_handoff);
    match &parsed {
        Ok(payload) => {
            payload.validate().expect("what is parsed is valid");
            assert_eq!(kept.as_ref(), Ok(payload), "the compact form says something else");
            let printed = serde_json::to_vec(payload).expect("it can be printed");
            let again = HandoffPayload::parse(&printed).expect("what is printed can be parsed");
            assert_eq!(&again, payload);
            assert_eq!(serde_json::to_vec(&again).expect("it can be printed"), printed);
        }
        Err(error) => {
            assert_eq!(kept.as_ref(), Err(error));
            assert_harmless(&error.to_string(), 300);
            assert_harmless(error.field().unwrap_or_default(), 60);
        }
    }
}

fn bounded<T>(bytes: &[u8], parse: impl FnOnce(&[u8]) -> Result<T, Error>) -> Result<T, Error> {
    let region = Region::new(ALLOCATOR);
    let parsed = parse(bytes);
    let allocated = region.change().bytes_allocated;
    assert!(allocated <= IN_ANY_CASE + FOR_EACH_BYTE * bytes.len(), "{allocated} bytes for {}", bytes.len());
    parsed
}

/// As `tests/hostile.rs` has it.
fn assert_harmless(text: &str, most: usize) {
    let obeyed = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    assert!(text.len() <= most && !text.contains(obeyed), "{} bytes: {text:?}", text.len());
}
