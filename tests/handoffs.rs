//! Every handoff as producers write it, by what a watcher must make of it.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use handoff_watcher::{ErrorKind, HandoffPayload};

const FOLDERS: [&str; 3] = ["accept", "reject", "withdraw"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/handoffs")
}

/// `folder/name` to content, of every file.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for folder in FOLDERS {
        let dir = root.join(folder);
        for entry in fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
            let path = entry.unwrap().path();
            let name = format!("{folder}/{}", path.file_name().unwrap().to_str().unwrap());
            files.insert(name, fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())));
        }
    }
    files
}

#[test]
fn every_file_is_taken_as_its_folder_says() {
    for (name, bytes) in files(&root()) {
        let parsed = HandoffPayload::parse(&bytes);
        match name.split_once('/').unwrap().0 {
            "accept" => {
                let payload = parsed.unwrap_or_else(|error| panic!("{name}: {error}"));
                assert!(payload.is_ready(), "{name}");
                payload.validate().unwrap();
                let printed = serde_json::to_vec(&payload).unwrap();
                assert_eq!(HandoffPayload::parse(&printed).unwrap(), payload, "{name}");
            }
            "withdraw" => assert!(!parsed.unwrap_or_else(|error| panic!("{name}: {error}")).is_ready(), "{name}"),
            _ => assert!(parsed.is_err(), "{name}: {parsed:?}"),
        }
    }
}

#[test]
fn every_refusal_says_what_and_where() {
    let files = files(&root());
    for (name, kind, text) in [
        ("array", ErrorKind::Schema, "line 1, column 1: expected one JSON object, found an array"),
        ("empty", ErrorKind::Syntax, "the file is empty: expected one JSON object"),
        ("empty-pool", ErrorKind::Schema, "line 1, column 12: field `pool_id`: expected a name, found \"\""),
        (
            "model-only",
            ErrorKind::Schema,
            "line 10, column 1: field `pool_id`: required, but missing; so is `replica_id`, and so is `url`",
        ),
        (
            "negative-slots",
            ErrorKind::Schema,
            "line 1, column 77: field `slots`: expected a whole number from 0 to 4294967295, found -1",
        ),
        ("nested-300-deep", ErrorKind::Syntax, "line 1, column 199: nested too deep: expected at most 127 levels"),
        ("no-url", ErrorKind::Schema, "line 1, column 80: field `url`: required, but missing"),
        ("not-utf8", ErrorKind::Syntax, "line 1, column 18: not UTF-8: byte 0xFF at byte offset 17"),
        (
            "nul-in-pool",
            ErrorKind::Schema,
            "line 1, column 12: field `pool_id`: expected a name without control characters, found \"pool\\0-0\"",
        ),
        ("pool-is-a-number", ErrorKind::Schema, "line 1, column 12: field `pool_id`: expected a string, found 7"),
        ("pool-twice", ErrorKind::Schema, "line 1, column 21: field `pool_id`: expected once, found twice"),
        ("trailing", ErrorKind::Syntax, "line 1, column 69: expected nothing after the JSON document, found \"}\""),
        ("truncated", ErrorKind::Syntax, "line 1, column 55: the file ends too early, within a string"),
        (
            "url-without-scheme",
            ErrorKind::Schema,
            "line 1, column 45: field `url`: expected an absolute http or https URL, found \"localhost:8080\"",
        ),
    ] {
        let error = HandoffPayload::parse(&files[&format!("reject/{name}.json")]).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (kind, text), "{name}");
    }
}

/// The set is kept outside the repository too; the copy here must not fall behind it.
#[test]
fn the_copy_is_the_whole_set() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/handoffs");
    if shared.is_dir() {
        assert!(files(&shared) == files(&root()), "{} and {} differ", shared.display(), root().display());
    }
}
