//! Whatever a file holds: no error text and no log line is long, or has anything in it that a terminal would obey.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use handoff_watcher::{HandoffPayload, HandoffWatcher, HandoffWatcherConfig};

use common::lines;

/// The longest line, beyond the path in it.
const MOST_BYTES: usize = 300;

/// Texts that somebody would be glad to see in a log.
fn texts() -> Vec<String> {
    let mut texts = Vec::new();
    for piece in [
        "x",
        "\u{1b}[31m\u{1b}]0;owned\u{7}",
        "\r\nfake: 12:00 engine ready",
        "\u{9b}2J\u{90}",
        "\u{202e}\u{2066}",
        "\u{e0041}",
        "\u{200b}\u{feff}",
        "\0",
        "\"\\",
        "\u{301}",
        "größe-模型",
    ] {
        texts.extend([1, 7, 30, 100, 20_000].map(|times| piece.repeat(times)));
    }
    texts
}

/// Documents with that text wherever an error might quote it.
fn documents(text: &str) -> Vec<Vec<u8>> {
    let json = serde_json::to_string(text).unwrap();
    let ids = r#""pool_id":"p","replica_id":"r","url":"http://h""#;
    let mut documents: Vec<Vec<u8>> = [
        text.to_owned(),
        json.clone(),
        format!("[{json}]"),
        format!("{{{json}:1}}"),
        format!("{{{ids},{json}:1,{json}:2}}"),
        format!("{{{ids},{json}:1e999}}"),
        format!("{{{ids},\"slots\":{json}}}"),
        format!("{{{ids},\"pid\":{json}}}"),
        format!("{{{ids},\"ready\":{json}}}"),
        format!("{{{ids},\"flags\":[{json},1]}}"),
        format!("{{{ids},\"flags\":{json}}}"),
        format!("{{{ids},\"model\":{json}}}"),
        format!("{{{ids},\"model\":{{{json}:1,{json}:2}}}}"),
        format!("{{{ids},\"model\":{{\"id\":{json},\"path\":7}}}}"),
        format!("{{{ids}}}{text}"),
        format!("{{{ids}}}{json}"),
        format!("{{{ids}{text}}}"),
        format!("{{\"pool_id\":{json},\"replica_id\":{json},\"url\":{json}}}"),
        format!("{{\"pool_id\":\"p\",\"replica_id\":{json},\"url\":\"http://h\"}}"),
        format!("{{\"pool_id\":\"p\",\"replica_id\":\"r\",\"url\":{json}}}"),
        format!("{{\"pool_id\":\"p\",\"replica_id\":\"r\",\"url\":[{json}]}}"),
        format!("{{\"pool_id\":{},\"replica_id\":\"r\",\"url\":\"http://h\"}}", "1".repeat(text.len())),
    ]
    .into_iter()
    .map(String::into_bytes)
    .collect();
    let cut: Vec<_> = documents.iter().map(|document| document[..document.len() * 2 / 3].to_vec()).collect();
    documents.extend(cut);
    documents
}

#[track_caller]
fn assert_short_and_harmless(line: &str, from: &[u8]) {
    let from = || String::from_utf8_lossy(&from[..from.len().min(200)]).into_owned();
    let obeyed =
        line.chars().find(|c| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'));
    assert_eq!(obeyed, None, "{line:?} of {:?}", from());
    assert!(line.len() <= MOST_BYTES, "{} bytes: {line} of {:?}", line.len(), from());
}

#[test]
fn error_texts_are_short_and_harmless() {
    for text in texts() {
        for document in documents(&text) {
            if let Err(error) = HandoffPayload::parse(&document) {
                assert_short_and_harmless(&error.to_string(), &document);
                assert_short_and_harmless(error.message(), &document);
                let field = error.field().unwrap_or_default();
                assert_short_and_harmless(field, &document);
                assert!(field.len() < 60, "{field:?}");
            }
        }
    }
}

#[test]
fn log_lines_are_short_and_harmless() {
    lines::keep();
    let dir = tempfile::tempdir().unwrap();
    let mut bad = 0;
    let mut put = |document: &[u8]| {
        bad += 1;
        fs::write(dir.path().join(format!("{bad}.json")), document).unwrap();
    };
    // Good ones with the worst ids that are taken, each claimed twice: conflicts and refusals name them.
    for text in texts() {
        let id: String = text.chars().filter(|c| !c.is_control()).take(80).collect();
        let id = if id.is_empty() { String::from("x") } else { id };
        let id = serde_json::to_string(&id).unwrap();
        let echoed = serde_json::to_string(&text).unwrap();
        let good = format!("{{\"pool_id\":{id},\"replica_id\":{id},\"url\":\"http://h\",\"text\":{echoed}}}");
        put(good.as_bytes());
        put(good.as_bytes());
        put(&documents(&text)[text.len() % 20]);
    }
    let config = HandoffWatcherConfig { runtime_dir: dir.path().into(), poll_interval_ms: 20 };
    let refused = AtomicUsize::new(0);
    let handle = HandoffWatcher::builder(config)
        .settle_time(Duration::ZERO)
        .retry_backoff(Duration::from_millis(1), Duration::from_millis(5))
        .on_event(move |event| {
            // A host that says what it could not take says the whole file.
            match event.payload().map(|payload| (payload, refused.fetch_add(1, Ordering::Relaxed))) {
                Some((payload, count)) if count < 30 => Err(payload.extra["text"].as_str().unwrap().into()),
                Some((payload, count)) if count < 60 => {
                    std::panic::resume_unwind(Box::new(payload.extra["text"].as_str().unwrap().to_owned()))
                }
                _ => Ok(()),
            }
        })
        .try_spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while handle.stats().events.synced == 0 {
        assert!(Instant::now() < deadline, "{:?}", handle.stats());
        std::thread::sleep(Duration::from_millis(10));
    }
    handle.stop();
    let lines = lines::all();
    for kind in [
        "invalid handoff: ",
        "conflict over replica ",
        "ready: replica ",
        "it is tried again",
        "the callback failed: \"",
        "the callback panicked: \"",
    ] {
        assert!(lines.iter().any(|line| line.contains(kind)), "no {kind:?} in {lines:?}");
    }
    // What has no replica does not have one without a name.
    let synced: Vec<_> = lines.iter().filter(|line| line.starts_with("synced")).collect();
    assert_eq!(synced, ["synced"]);
    let path = dir.path().to_str().unwrap();
    for line in lines {
        assert_short_and_harmless(&line.replace(path, ""), line.as_bytes());
    }
}
