//! Bad usage, bad paths, bad environment; help and version.

use std::fs;

use handoff_watcher::{DEFAULT_POLL_INTERVAL_MS, DEFAULT_RUNTIME_DIR, RUNTIME_DIR_VARIABLE, WATCH_INTERVAL_VARIABLE};

use crate::harness::{Place, command, finish, run};

#[test]
fn bad_usage_is_one_line_and_exit_2() {
    let cases: &[(&[&str], &str)] = &[
        (&[], "a command is missing: watch, list, wait,"),
        (&["-v"], "a command is missing"),
        (&["frobnicate"], "unrecognized subcommand 'frobnicate'; see 'handoff-watcher --help'"),
        (
            &["watch", "--jsn"],
            "--jsn' found; tip: a similar argument exists: '--json'; see 'handoff-watcher watch --help'",
        ),
        (&["watch", "a", "b"], "unexpected argument 'b'"),
        (&["watch", "--json", "--text"], "cannot be used with"),
        (&["watch", "--poll-interval-ms", "1s"], "expected whole milliseconds"),
        (&["watch", "--poll-interval-ms", "0", "."], "expected 1 to 86400000 ms, found 0"),
        (&["watch", "--poll-interval-ms", "-5"], "expected whole milliseconds"),
        (&["watch", "--trust-uid", "nobody"], "expected the number of a user"),
        (&["watch", "--trust-uid", "-1"], "expected the number of a user"),
        (&["wait", "--pool", "p", "--timeout", "-1s"], "expected a time and its unit, as in 500ms or 30s"),
        (&["publish", "--pid", "-1"], "expected a whole number from 0 to 4294967295"),
        (&["watch", ""], "a value is required for '[DIR]'"),
        (&["wait"], "--pool <POOL>; see 'handoff-watcher wait --help'"),
        (&["wait", "--pool", "p", "--timeout", "3"], "time unit needed"),
        (&["publish", "--pool", "p"], "--replica <REPLICA> --url <URL>"),
        (&["withdraw"], "--pool <POOL> --replica <REPLICA>"),
        (&["check"], "<FILE>..."),
        (&["list", "a\nb\u{1b}[31m", "c\nd"], "unexpected argument 'c d'"),
    ];
    for (args, part) in cases {
        run(*args).assert_complaint(2, part);
    }
}

#[test]
fn a_file_is_no_directory_for_any_command() {
    let place = Place::new();
    let file = place.write("file.json", "{}");
    let below = file.join("engines");
    for dir in [&file, &below] {
        let dir = dir.to_str().unwrap();
        let ids = ["--pool", "p", "--replica", "r"];
        for command in [
            vec!["watch", dir],
            vec!["list", dir],
            vec!["top", dir],
            [vec!["wait", dir, "--timeout", "20s"], ids.to_vec()].concat(),
            [vec!["publish", dir, "--url", "http://localhost:1"], ids.to_vec()].concat(),
            [vec!["withdraw", dir], ids.to_vec()].concat(),
        ] {
            run(command).assert_complaint(2, "not a directory");
        }
    }
    assert_eq!(fs::read_to_string(file).unwrap(), "{}");
}

#[test]
fn a_bad_variable_is_named() {
    let place = Place::new();
    for args in [&["watch"][..], &["top"], &["wait", "--pool", "p"]] {
        let mut command = command(args);
        command.arg(place.path()).env("POOL_MANAGERD_WATCH_INTERVAL_MS", "1s");
        finish(&mut command, b"").assert_complaint(2, "POOL_MANAGERD_WATCH_INTERVAL_MS");
    }
    // Who does not need it does not mind.
    let mut list = command(["list"]);
    list.arg(place.path()).env("POOL_MANAGERD_WATCH_INTERVAL_MS", "1s");
    assert_eq!(finish(&mut list, b"").code, Some(0));
    let mut wait = command(["wait", "--pool", "p", "--timeout", "0s", "--poll-interval-ms", "50"]);
    wait.arg(place.path()).env("POOL_MANAGERD_WATCH_INTERVAL_MS", "1s");
    finish(&mut wait, b"").assert_complaint(1, "pool p was not ready");
}

#[test]
fn the_directory_is_the_argument_else_the_variable_else_the_default() {
    let place = Place::new();
    let publish = ["publish", "--pool", "p", "--replica", "r", "--url", "http://localhost:1"];
    let said = finish(command(publish).current_dir(place.path()), b"");
    assert_eq!((said.code, said.out.as_str()), (Some(0), ".runtime/engines/p-r.json\n"), "{said:?}");

    let said = finish(command(["list"]).current_dir(place.path()), b"");
    assert!(said.out.contains("http://localhost:1"), "{said:?}");

    let list = |dir: &[&str]| {
        let mut list = command(["list"]);
        list.args(dir).current_dir(place.path()).env("POOL_MANAGERD_RUNTIME_DIR", "elsewhere");
        finish(&mut list, b"")
    };
    list(&[]).assert_complaint(2, "elsewhere: no such directory");
    assert_eq!(list(&[".runtime/engines"]).code, Some(0));
}

#[test]
fn help_tells_units_defaults_and_exit_codes() {
    for name in ["watch", "list", "wait", "top", "publish", "withdraw", "check", "demo"] {
        let said = run([name, "--help"]);
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
        assert!(said.out.contains("Exit codes: 0 "), "{}", said.out);
        // Wrapped differently, the words are the same.
        let help = said.out.split_whitespace().collect::<Vec<_>>().join(" ");
        if name != "check" && name != "demo" {
            let default = format!("[default: ${RUNTIME_DIR_VARIABLE}, else {DEFAULT_RUNTIME_DIR}]");
            assert!(help.contains(&default), "{help}");
        }
        if ["watch", "wait", "top"].contains(&name) {
            let default = format!("[default: ${WATCH_INTERVAL_VARIABLE}, else {DEFAULT_POLL_INTERVAL_MS}]");
            assert!(help.contains("Milliseconds from poll to poll") && help.contains(&default), "{help}");
        }
    }
    let wait = run(["wait", "--help"]).out;
    assert!(wait.contains("[default: 30s]"), "{wait}");
    assert_eq!(run(["--version"]).out, concat!("handoff-watcher ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn logs_only_when_asked() {
    let place = Place::new();
    place.write("bad.json", "[]");
    let list =
        |verbose: &[&str]| finish(command(["list"]).arg(place.path()).args(verbose).env("RUST_LOG", "trace"), b"");
    assert_eq!(list(&[]).err, "");
    assert_ne!(list(&["-vvv"]).err, "");
}
