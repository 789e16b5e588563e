//! What the library is built from: licences that its users can live with, and no async runtime, not even for its tests and
//! examples.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

/// Each licence expression must offer one of these.
const LICENCES: [&str; 8] =
    ["MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Unicode-3.0", "Zlib", "Unlicense"];
const BANNED: [&str; 9] =
    ["tokio", "async-std", "smol", "async-executor", "futures-executor", "mio", "glommio", "openssl-sys", "notify"];

#[test]
fn what_a_host_builds_in_is_free_and_synchronous() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--all-features", "--offline", "--locked"])
        .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
        .output()
        .expect("cargo runs");
    if !output.status.success() {
        eprintln!("skipped: no policy was checked: {}", String::from_utf8_lossy(&output.stderr).trim());
        return;
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let (nodes, packages) = (list(&metadata["resolve"]["nodes"]), list(&metadata["packages"]));
    let mut normal = BTreeSet::new();
    let mut next = vec![metadata["resolve"]["root"].clone()];
    while let Some(id) = next.pop() {
        if !normal.insert(id.to_string()) {
            continue;
        }
        let node = nodes.iter().find(|node| node["id"] == id).expect("a node");
        for dependency in list(&node["deps"]) {
            if list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null()) {
                next.push(dependency["pkg"].clone());
            }
        }
    }
    assert!(normal.len() > 10, "{normal:?}");
    for package in &packages {
        let name = package["name"].as_str().expect("a name");
        assert!(!BANNED.contains(&name), "{name} is in Cargo.lock");
    }
    for package in packages.iter().filter(|package| normal.contains(&package["id"].to_string())) {
        let name = package["name"].as_str().expect("a name");
        let licence = package["license"].as_str().unwrap_or_default();
        // "(A OR B) AND C" needs one of each.
        let fine = |part: &str| {
            part.split(" OR ")
                .flat_map(|part| part.split('/'))
                .any(|it| LICENCES.contains(&it.trim_matches([' ', '(', ')'])))
        };
        assert!(licence.split(" AND ").all(fine), "{name} is licensed as {licence:?}");
    }
}
