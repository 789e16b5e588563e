//! What the library is built from is what `deny.toml` allows: licences that its users can live with, crates.io alone, and no
//! async runtime, not even for its tests and examples.

use std::collections::BTreeSet;
use std::process::Command;

use toml::{Table, Value};

fn table(text: &str) -> Table {
    text.parse().expect("TOML")
}

fn policy() -> Table {
    table(include_str!("../deny.toml"))
}

/// The texts of an array.
fn texts<'v>(values: &'v Value, text: impl Fn(&'v Value) -> Option<&'v str>) -> BTreeSet<&'v str> {
    let values = values.as_array().expect("an array");
    values.iter().map(|value| text(value).expect("a text")).collect()
}

/// On any system, for anything.
#[test]
fn nothing_is_asynchronous_or_from_elsewhere() {
    let (policy, lock) = (policy(), table(include_str!("../Cargo.lock")));
    let banned = texts(&policy["bans"]["deny"], |ban| ban["crate"].as_str());
    assert!(banned.contains("tokio"), "{banned:?}");
    let packages = lock["package"].as_array().expect("packages");
    assert!(packages.len() > 50, "{}", packages.len());
    for package in packages {
        let name = package["name"].as_str().expect("a name");
        assert!(!banned.contains(name), "{name} is in Cargo.lock");
        let source = package.get("source").and_then(Value::as_str);
        let expected = (name != "handoff-watcher").then_some("registry+https://github.com/rust-lang/crates.io-index");
        assert_eq!(source, expected, "{name}");
    }
}

/// For this system: of what is for others alone, nothing need be here.
#[test]
fn what_a_host_builds_in_is_free() {
    let policy = policy();
    let allowed = texts(&policy["licenses"]["allow"], Value::as_str);
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--edges=normal",
            "--all-features",
            "--offline",
            "--locked",
            "--prefix=none",
            "--format={p}|{l}",
        ])
        .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let packages = String::from_utf8(output.stdout).expect("UTF-8");
    let packages: BTreeSet<_> = packages.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    assert!(packages.len() > 20, "{packages:?}");
    for package in packages {
        let (name, licence) = package.split_once('|').expect("a package and its licence");
        // "(A OR B) AND C" needs one of each.
        let fine = |part: &str| {
            part.split(" OR ")
                .flat_map(|part| part.split('/'))
                .any(|it| allowed.contains(it.trim_matches([' ', '(', ')'])))
        };
        assert!(licence.split(" AND ").all(fine), "{name} is licensed as {licence:?}");
    }
}
