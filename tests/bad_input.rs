//! Everything that can stand under a handoff's name, beside good files that must stay unharmed.

#![cfg(target_os = "linux")]

mod common;
mod support;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use common::{Place, Watched, doc, replace, until, write};
use rustix::fs::{CWD, FileType, Mode, mknodat};

#[test]
fn nothing_under_a_name_harms_its_neighbours() {
    let place = Place::new();
    let node = |name: &str, kind, device| mknodat(CWD, place.join(name), kind, Mode::RUSR | Mode::WUSR, device);
    let mut bad: Vec<OsString> = Vec::new();
    let mut add = |name: &str| bad.push(name.into());
    node("fifo.json", FileType::Fifo, 0).unwrap();
    add("fifo.json");
    let _socket = UnixListener::bind(place.join("socket.json")).unwrap();
    add("socket.json");
    // /dev/zero, which never ends. Only root may make one.
    match node("device.json", FileType::CharacterDevice, rustix::fs::makedev(1, 5)) {
        Ok(()) => add("device.json"),
        Err(error) => support::skip_even_in_ci(&format!("no device bore a handoff's name: {error}")),
    }
    fs::create_dir(place.join("directory.json")).unwrap();
    add("directory.json");
    symlink("nowhere", place.join("dangling.json")).unwrap();
    add("dangling.json");
    symlink("loop.json", place.join("loop.json")).unwrap();
    add("loop.json");
    symlink("/dev/zero", place.join("zero.json")).unwrap();
    add("zero.json");
    symlink("/proc/self/mem", place.join("memory.json")).unwrap();
    add("memory.json");
    match File::create(place.join("sparse.json")).and_then(|file| file.set_len(10 << 30)) {
        Ok(()) => add("sparse.json"),
        Err(error) => {
            support::skip(&format!("no file was of 10 GiB: this file system has no holes ({error})"));
            fs::remove_file(place.join("sparse.json")).unwrap();
        }
    }
    write(place.join("empty.json"), "");
    add("empty.json");
    write(place.join("nested.json"), "[".repeat(500_000));
    add("nested.json");
    write(place.join("nul.json"), vec![0; 4096]);
    add("nul.json");
    write(place.join("bell\u{7}\u{1b}[31m.json"), "{");
    add("bell\u{7}\u{1b}[31m.json");

    let mut good = Vec::new();
    let mut names: Vec<OsString> = vec!["a.json".into(), "z.json".into(), "line\nfeed.json".into(), " .json".into()];
    names.push(format!("{}.json", "n".repeat(250)).into());
    names.push(OsString::from_vec(b"invalid-\xff\xfe.json".to_vec()));
    names.push("größe-模型.json".into());
    for (index, name) in names.iter().enumerate() {
        let replica = format!("r{index}");
        match fs::write(place.join(name), doc(&replica, "v1")) {
            Ok(()) => good.push((name.clone(), replica)),
            Err(error) => {
                support::skip(&format!("no handoff was called {name:?}: this file system refuses it ({error})"))
            }
        }
    }
    assert!(good.len() >= 5, "{good:?}");

    let watched = Watched::start(place.path());
    let expect = |text: &str| -> Vec<String> { good.iter().map(|(_, replica)| format!("{replica}={text}")).collect() };
    let holds = |text: &str| watched.holds(&expect(text).iter().map(String::as_str).collect::<Vec<_>>());
    holds("v1");
    until("all are named", || watched.handle().stats().events.invalid == bad.len() as u64);
    watched.polls(5);
    assert_eq!(watched.handle().stats().events.invalid, bad.len() as u64, "each is named once");
    for (name, replica) in &good {
        replace(place.join(name.clone()), doc(replica, "v2"));
    }
    holds("v2");
    // Each bad one becomes a good one, and a good one a bad one.
    for name in &bad {
        let path = place.join(name);
        if path.is_dir() { fs::remove_dir(&path).unwrap() } else { fs::remove_file(&path).unwrap() }
    }
    until("all are gone", || watched.handle().stats().invalid_files == 0);
    write(place.join(&bad[0]), doc("late", "v1"));
    until("a good one in the place of a bad one", || watched.host.lock().holds().contains(&"late=v1".to_owned()));
    fs::remove_file(place.join(&good[0].0)).unwrap();
    fs::create_dir(place.join(&good[0].0)).unwrap();
    until("it is named", || watched.handle().stats().invalid_files == 1);
    assert!(!watched.host.lock().heard.iter().any(|event| event.starts_with("removed")), "what it said stays");
}

#[test]
fn names_of_any_bytes_come_back_as_they_are() {
    let place = Place::new();
    let name = OsStr::from_bytes(b"\x80\x81\n.json");
    if let Err(error) = fs::write(place.join(name), doc("r0", "v1")) {
        support::skip(&format!("no handoff was called {name:?}: this file system refuses it ({error})"));
        return;
    }
    let watched = Watched::start(place.path());
    watched.holds(&["r0=v1"]);
    let file = watched.host.lock().held.values().next().map(|(_, file)| file.clone());
    assert_eq!(file, Some(place.join(name)));
}
