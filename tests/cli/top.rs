//! `top`: live on a terminal, which it leaves as it was; one plain picture elsewhere.

use std::fs;
use std::io::Write as _;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{Action, Winsize, tcflow, tcgetattr, tcsetwinsize};

use crate::harness::{DEADLINE, Place, assert_harmless, command, end, finish, handoff, run, unwatchable};
use crate::terminal::OnTerminal;

const ENTERED: &str = "\u{1b}[?1049h";
const LEFT: &str = "\u{1b}[?1049l";
const CURSOR: &str = "\u{1b}[?25h";

fn modes(top: &OnTerminal) -> String {
    let now = tcgetattr(&top.theirs).expect("its modes");
    format!("{:?} {:?} {:?} {:?}", now.input_modes, now.output_modes, now.control_modes, now.local_modes)
}

fn start(place: &Place) -> OnTerminal {
    let top = OnTerminal::start(command(["top", "--poll-interval-ms", "50"]).arg(place.path()));
    // Of no size at first, as a terminal can be.
    top.line(ENTERED);
    tcsetwinsize(&top.theirs, Winsize { ws_row: 30, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 }).expect("its size");
    top
}

#[test]
fn it_shows_what_comes_and_goes() {
    let place = Place::new();
    let top = start(&place);
    top.line("nothing is ready");
    let file = place.handoff("a.json", "pool-0", "r0", 8080);
    let line = top.line("pool-0  r0 ");
    assert!(line.contains("http://127.0.0.1:8080") && line.contains(" ms") && line.contains("a.json"), "{line:?}");
    let bad = place.write("bad.json", "[]");
    top.line("bad.json:1:1: expected one JSON object");
    place.write("b.json", handoff("pool-0", "r0", 9080));
    let line = top.line("b.json wins over a.json");
    assert!(line.contains("conflict") && line.contains("pool-0/r0"), "{line:?}");
    top.line("http://127.0.0.1:9080");
    for file in [&file, &bad, &place.join("b.json")] {
        fs::remove_file(file).unwrap();
    }
    top.line("nothing is ready");
    // Whatever was wrong went with its files.
    top.line("files 0   ready 0   invalid 0");
    picture(&top, &["nothing is ready"], &["bad.json"]);
    fs::remove_dir(place.path()).unwrap();
    top.line("cannot");
    fs::create_dir(place.path()).unwrap();
    top.line("ok, polling");
}

#[test]
#[cfg(target_os = "linux")]
fn regression_top_says_why_it_is_not_instant() {
    let place = Place::new();
    let Some(mut top) = unwatchable(["top", "--instant"]) else { return };
    let said = finish(top.arg(place.path()), b"");
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(said.err, "", "it stands in the picture");
    let lines: Vec<_> = said.out.lines().take(2).collect();
    assert!(lines[0].ends_with("  ok, polling"), "{said:?}");
    let why = "not instant: cannot be notified of changes (fs.inotify.max_user_watches): ";
    assert!(lines[1].starts_with(why), "{said:?}");
}

/// Waits for a whole picture that has all of these, and none of those.
#[track_caller]
fn picture(top: &OnTerminal, has: &[&str], has_not: &[&str]) {
    let started = Instant::now();
    // What is left of the one that is being drawn.
    top.line("q quits");
    loop {
        let mut picture = String::new();
        while !picture.contains("q quits") {
            picture.push_str(&top.line(""));
            picture.push('\n');
        }
        if has.iter().all(|part| picture.contains(part)) && !has_not.iter().any(|part| picture.contains(part)) {
            return;
        }
        assert!(started.elapsed() < DEADLINE, "no picture with {has:?} and without {has_not:?}: {picture}");
    }
}

#[test]
fn regression_what_is_wrong_goes_when_it_is_over_and_stays_while_it_is_not() {
    let place = Place::new();
    let top = start(&place);
    let good = handoff("p", "r1", 8081);
    for (name, content) in [("c.json", &good), ("a.json", &handoff("p", "r0", 1)), ("b.json", &handoff("p", "r0", 2))] {
        place.write(name, content);
    }
    picture(&top, &["b.json wins over a.json", "p     r1"], &[]);
    place.write("c.json", "[]");
    place.write("d.json", "[]");
    picture(&top, &["c.json:1:1", "d.json:1:1"], &[]);
    // A file of the conflict speaks of something else.
    place.write("b.json", handoff("p", "r2", 8082));
    picture(&top, &["p     r2"], &["wins over"]);
    // Away, and back again: nothing has changed.
    let away = place.path().with_extension("away");
    fs::rename(place.path(), &away).unwrap();
    picture(&top, &["cannot"], &[]);
    fs::rename(&away, place.path()).unwrap();
    picture(&top, &["ok, polling", "c.json:1:1", "d.json:1:1"], &[]);
    // What c.json said before is still in force, so that it comes back makes no event.
    place.write("c.json", &good);
    picture(&top, &["p     r1", "d.json:1:1"], &["c.json:1:1"]);
}

#[test]
fn regression_a_terminal_that_is_halted_gets_its_modes_back() {
    let place = Place::new();
    let fresh = OnTerminal::start(command(["list"]).arg(place.path()));
    let before = modes(&fresh);
    let mut top = start(&place);
    top.line("nothing is ready");
    tcflow(&top.theirs, Action::OOff).unwrap();
    kill_process(Pid::from_child(&top.child), Signal::TERM).unwrap();
    assert_eq!(end(&mut top.child).0.code(), Some(0));
    assert_eq!(modes(&top), before);
}

#[test]
fn regression_where_no_keys_are_read_none_is_named() {
    let place = Place::new();
    let mut top = std::process::Command::new("sh");
    top.args(["-c", "exec \"$0\" top \"$1\" < /dev/null"]).arg(command(["top"]).get_program()).arg(place.path());
    let mut top = OnTerminal::start(&mut top);
    tcsetwinsize(&top.theirs, Winsize { ws_row: 30, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    // The last line that it draws ends without a break.
    top.line("nothing is ready");
    kill_process(Pid::from_child(&top.child), Signal::INT).unwrap();
    assert_eq!(end(&mut top.child).0.code(), Some(0));
    top.theirs.write_all(b"\r\n").unwrap();
    let last = top.line("quits");
    assert!(last.contains("Ctrl-C quits") && !last.contains("q quits"), "{last:?}");
}

#[test]
fn it_leaves_the_terminal_as_it_was() {
    for way in ["q", "Q", "\u{3}", "SIGTERM", "SIGINT"] {
        let place = Place::new();
        let fresh = OnTerminal::start(command(["list"]).arg(place.path()));
        let before = modes(&fresh);
        let mut top = start(&place);
        top.line("nothing is ready");
        assert_ne!(modes(&top), before, "there is something to restore");
        let signal = |signal| kill_process(Pid::from_child(&top.child), signal).unwrap();
        match way {
            "SIGTERM" => signal(Signal::TERM),
            "SIGINT" => signal(Signal::INT),
            key => top.ours.write_all(key.as_bytes()).unwrap(),
        }
        let (status, _) = end(&mut top.child);
        assert_eq!(status.code(), Some(0), "{way:?}");
        assert_eq!(modes(&top), before, "{way:?}");
        // The last line that it draws ends without a break.
        top.theirs.write_all(b"\r\nthe shell\r\n").unwrap();
        let last = top.line("q quits");
        let rest = if last.contains(LEFT) { last } else { top.line(LEFT) };
        assert!(rest.ends_with(&format!("{LEFT}{CURSOR}")), "{way:?}: {rest:?}");
        top.line("the shell");
    }
}

#[test]
fn without_a_terminal_it_is_one_plain_picture() {
    let place = Place::new();
    place.handoff("a.json", "pool-0", "r0", 8080);
    place.write("\u{1b}[31m.json", "[]");
    let said = run(["top".as_ref(), place.path().as_os_str()]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    assert_harmless(&said.out);
    assert!(said.out.starts_with(&format!("{}  every 1000 ms  ok, polling\n", place.path().display())), "{said:?}");
    assert!(said.out.contains("files 2   ready 1   invalid 1   undecided 0   backlog 0\n"), "{said:?}");
    let row = said.out.lines().find(|line| line.starts_with("pool-0")).unwrap();
    assert!(row.contains("r0") && row.contains("http://127.0.0.1:8080") && row.ends_with("a.json"), "{row}");
    assert!(said.out.contains("\ninvalid   \\u{1b}[31m.json:1:1: expected one JSON object"), "{said:?}");
    assert!(!said.out.contains("q quits"), "{said:?}");

    let said = run(["top".as_ref(), place.join("missing").as_os_str()]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.out.contains("missing") && said.out.contains("nothing is ready"), "{said:?}");
}

#[test]
fn a_terminal_that_cannot_be_drawn_on_is_given_a_plain_picture() {
    let place = Place::new();
    place.handoff("a.json", "pool-0", "r0", 8080);
    let mut top = command(["top"]);
    top.arg(place.path());
    let mut dumb = std::process::Command::new("env");
    let mut top = OnTerminal::start(dumb.args(["TERM=dumb".as_ref(), top.get_program()]).args(top.get_args()));
    assert_harmless(&top.line("pool-0  r0"));
    assert_eq!(end(&mut top.child).0.code(), Some(0));
    // And colours are left out where they are unwanted, of the live one too.
    let top = OnTerminal::start(command(["top"]).arg(place.path()).env("NO_COLOR", "1"));
    tcsetwinsize(&top.theirs, Winsize { ws_row: 30, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let line = top.line("pool-0  r0");
    assert!(line.trim_start_matches("\u{1b}[K").chars().all(|c| !c.is_control()), "{line:?}");
}

#[test]
fn a_reader_that_went_away_ends_it() {
    let place = Place::new();
    let mut top = std::process::Command::new("sh");
    top.args(["-c", "\"$0\" top \"$1\" | true"]).arg(command(["top"]).get_program()).arg(place.path());
    assert_eq!(finish(&mut top, b"").err, "");
}
