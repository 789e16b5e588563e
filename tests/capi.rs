//! The C ABI as C and C++ see it: each of `tests/c` is a program of its own, compiled, linked with the shared library, and
//! run against a deadline.
//!
//! `HANDOFF_CFLAGS` is added to the compiler's flags, and `HANDOFF_RUNNER` put before each program: with these
//! `.ci/capi-checks` runs the same tests under sanitizers and valgrind.
#![allow(clippy::unwrap_used)]
#![cfg(all(feature = "capi", unix))]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{is_missing, output, root, run, words};

const WARNINGS: [&str; 4] = ["-Wall", "-Wextra", "-pedantic", "-Werror"];
const C: [&str; 2] = ["cc", "-std=c99"];
const CPP: [&str; 2] = ["c++", "-std=c++17"];

macro_rules! programs {
    ($($name:ident)*) => {
        $(#[test] fn $name() { run_program(concat!(stringify!($name), ".c"), &shared_library()); })*
    };
}

programs!(null stop_in_callback free_while_waiting two_waiters forked signals config_size bytes thousand slow_callback);
programs!(story settings refused readable log_and_destroy);

#[test]
fn raii() {
    if is_missing("c++", "g++") {
        return;
    }
    run_program("raii.cpp", &shared_library());
}

#[test]
fn load_again() {
    let library = shared_library();
    let program = compile("load_again.c", &["-ldl"]);
    run(program_command(&program).arg(library));
}

/// With a library of its own that panics on demand; what is delivered has no such hook.
#[test]
fn panic() {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("capi-panic");
    let mut cargo = support::cargo(&target);
    run(cargo.args(["rustc", "--lib", "--features", "capi", "--crate-type", "cdylib", "--", "--cfg", "handoff_panic"]));
    run_program("panic.c", &with_soname(&target.join("debug/libhandoff_watcher.so")));
}

#[test]
fn the_header_compiles_alone_in_every_dialect() {
    for ([compiler, standard], language) in [(C, "c"), (["cc", "-std=c11"], "c"), (CPP, "c++")] {
        if is_missing(compiler, "g++") {
            continue;
        }
        let header = root().join("include/handoff_watcher.h");
        run(Command::new(compiler).args(WARNINGS).args(["-fsyntax-only", "-x", language, standard]).arg(header));
    }
}

#[test]
fn the_library_exports_what_the_header_declares() {
    let header = fs::read_to_string(root().join("include/handoff_watcher.h")).unwrap();
    // A declaration begins in the first column, and has the name before its parenthesis.
    let declared: BTreeSet<_> = header
        .lines()
        .filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()) && !line.starts_with("typedef"))
        .filter_map(|line| line.split('(').next()?.rsplit([' ', '*']).next())
        .filter(|name| name.starts_with("handoff_"))
        .map(str::to_owned)
        .collect();
    let symbols = output(Command::new("nm").args(["-D", "--defined-only"]).arg(shared_library()));
    let exported: BTreeSet<_> = symbols.lines().filter_map(|line| line.split(' ').nth(2)).map(str::to_owned).collect();
    assert!(declared.len() > 40, "{declared:?}");
    assert_eq!(exported, declared);
}

#[test]
fn the_library_says_its_soname_and_stays_loaded() {
    let dynamic = output(Command::new("readelf").arg("-d").arg(shared_library()));
    assert!(dynamic.contains("[libhandoff_watcher.so.0]"), "{dynamic}");
    assert!(dynamic.contains("NODELETE"), "{dynamic}");
}

/// That which cargo has built for this very test, under the name by which programs ask for it.
fn shared_library() -> PathBuf {
    with_soname(&std::env::current_exe().unwrap().with_file_name("libhandoff_watcher.so"))
}

fn with_soname(library: &Path) -> PathBuf {
    let link = library.with_extension("so.0");
    // Other tests may be at it; a rename is one step.
    let temporary = library.with_extension(format!("{}-{:?}", std::process::id(), std::thread::current().id()));
    std::os::unix::fs::symlink(library.file_name().unwrap(), &temporary).unwrap();
    fs::rename(&temporary, &link).unwrap();
    link
}

fn run_program(source: &str, library: &Path) {
    let rpath = format!("-Wl,-rpath,{}", library.parent().unwrap().display());
    let program = compile(source, &[library.to_str().unwrap(), &rpath]);
    run(&mut program_command(&program));
}

fn compile(source: &str, link: &[&str]) -> PathBuf {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("capi-{source}.out"));
    let [compiler, standard] = if source.ends_with(".cpp") { CPP } else { C };
    let mut command = Command::new(compiler);
    command.args([standard, "-D_GNU_SOURCE", "-g", "-O1", "-pthread", "-I"]).arg(root().join("include")).args(WARNINGS);
    command.args(words("HANDOFF_CFLAGS")).arg(root().join("tests/c").join(source)).args(link);
    run(command.arg("-o").arg(&program));
    program
}

fn program_command(program: &Path) -> Command {
    let mut words = words("HANDOFF_RUNNER").into_iter().map(Into::into).chain([program.as_os_str().to_owned()]);
    let mut command = Command::new(words.next().unwrap());
    // Cargo's leads to its own libraries, and goes before what a program says itself.
    command.args(words).env_remove("LD_LIBRARY_PATH");
    command
}
