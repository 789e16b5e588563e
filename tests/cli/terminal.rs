//! On a terminal: readable lines, colours unless unwanted, and nothing that the terminal would obey.

use std::fs::{File, OpenOptions};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::harness::{DEADLINE, Place, assert_harmless, command, lines};

/// A process whose standard output is a pseudo terminal.
pub(crate) struct OnTerminal {
    pub(crate) child: Child,
    lines: Receiver<String>,
    /// Both sides, to type on ours and to look at theirs.
    pub(crate) ours: File,
    pub(crate) theirs: File,
}

impl OnTerminal {
    pub(crate) fn start(command: &mut Command) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo terminal");
        grantpt(&ours).and_then(|()| unlockpt(&ours)).expect("a pseudo terminal");
        let name = ptsname(&ours, Vec::new()).expect("its name").into_string().expect("UTF-8");
        let theirs = OpenOptions::new().read(true).write(true).open(name).expect("its other side");
        let copy = || theirs.try_clone().expect("a copy");
        // Where this is set, the log of a build is taken for a terminal with colours.
        command.env_remove("CI");
        command.env("TERM", "xterm-256color").stdin(copy()).stdout(copy()).stderr(copy());
        let child = command.spawn().expect("the command starts");
        // It would hold on to its copies.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let ours = File::from(ours);
        Self { child, lines: lines(ours.try_clone().expect("a copy")), ours, theirs }
    }

    /// The first line that has this in it.
    #[track_caller]
    pub(crate) fn line(&self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(DEADLINE).unwrap_or_else(|error| panic!("no {part:?}: {error}"));
            if line.contains(part) {
                return line.trim_end_matches('\r').to_owned();
            }
        }
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn watch_prints_readable_coloured_lines() {
    let place = Place::new();
    let watch = OnTerminal::start(command(["watch", "--poll-interval-ms", "50"]).arg(place.path()));
    watch.line("every 50 ms; Ctrl-C ends it");
    watch.line("0 ready, 0 invalid");
    place.handoff("a.json", "p", "r", 8080);
    let line = watch.line("p/r");
    assert!(line.contains("\u{1b}[32mready"), "{line:?}");
    assert!(line.contains("http://127.0.0.1:8080") && line.contains("a.json") && line.ends_with(" ms"), "{line:?}");
    place.handoff("a.json", "p", "r", 9080);
    assert!(watch.line("updated").contains("(was http://127.0.0.1:8080)"));
}

#[test]
fn colours_are_left_out_where_they_are_not_wanted() {
    let place = Place::new();
    place.handoff("a.json", "p", "r", 8080);
    for (variable, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let mut watch = command(["watch"]);
        watch.arg(place.path());
        let watch = match variable {
            // What `start` sets would win.
            "TERM" => OnTerminal::start(
                Command::new("env").args(["TERM=dumb".as_ref(), watch.get_program()]).args(watch.get_args()),
            ),
            _ => OnTerminal::start(watch.env(variable, value)),
        };
        assert_harmless(&watch.line("p/r"));
    }
}

#[test]
fn json_is_json_on_a_terminal_too() {
    let place = Place::new();
    place
        .write("a.json", "{\"pool_id\":\"p\",\"replica_id\":\"r\",\"url\":\"http://h\",\"note\":\"\u{9b}2J\u{202e}\"}");
    let watch = OnTerminal::start(command(["watch", "--json"]).arg(place.path()));
    let line = watch.line("\"ready\"");
    assert_harmless(&line);
    let event: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(event["payload"]["note"], "\u{9b}2J\u{202e}");
}

#[test]
fn hostile_names_and_contents_are_escaped() {
    let place = Place::new();
    place.write("\u{1b}]0;owned\u{7}.json", "{\"pool_id\":\"\\u001b[31m\"}");
    let watch = OnTerminal::start(command(["watch"]).arg(place.path()).env("NO_COLOR", "1"));
    let line = watch.line("invalid");
    assert_harmless(&line);
    assert!(line.contains("\\u{1b}]0;owned"), "{line:?}");
}
