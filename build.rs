//! What the linker is to be told of the shared library: nothing is generated, and nothing is written anywhere.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is_linux = env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux");
    if env::var_os("CARGO_FEATURE_CAPI").is_some() && is_linux {
        // The number that changes with an incompatible ABI; cargo-c says the same by `version_suffix_components`.
        let major = env::var("CARGO_PKG_VERSION_MAJOR").unwrap_or_default();
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libhandoff_watcher.so.{major}");
        // A thread that still runs must not lose its code to `dlclose`.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
