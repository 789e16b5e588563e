//! `include/handoff_watcher.h` is what `src/ffi` says. `UPDATE_HEADER=1 cargo test --features capi --test header` makes it
//! so.
#![allow(clippy::unwrap_used)]
#![cfg(all(feature = "capi", unix))]

use std::path::Path;

/// In the order in which they stand in the header.
const FILES: [&str; 9] =
    ["status", "config", "handle", "event", "watcher", "registry", "figures", "producer", "argument"];

#[test]
fn the_header_is_what_the_source_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap();
    let builder = FILES.iter().fold(cbindgen::Builder::new().with_config(config), |builder, file| {
        builder.with_src(root.join(format!("src/ffi/{file}.rs")))
    });
    let mut header = Vec::new();
    builder.generate().unwrap().write(&mut header);
    let header = String::from_utf8(header).unwrap();

    let path = root.join("include/handoff_watcher.h");
    if std::env::var_os("UPDATE_HEADER").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &header).unwrap();
    }
    let checked_in = std::fs::read_to_string(&path).unwrap();
    assert!(header == checked_in, "{}: out of date; UPDATE_HEADER=1 writes it anew", path.display());
}
