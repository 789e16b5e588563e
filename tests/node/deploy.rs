//! The deployment files say what systemd understands, and what the example takes.

use std::fs;
use std::process::Command;

use clap::CommandFactory as _;

use crate::{pool_manager, support};

const UNIT: &str = include_str!("../../examples/deploy/systemd/pool-manager.service");
const DROP_IN: &str = include_str!("../../examples/deploy/systemd/engine-provisioner-runtime.conf");
const DAEMON_SET: &str = include_str!("../../examples/deploy/daemonset.yaml");

#[test]
fn they_use_options_that_there_are() {
    let command = pool_manager::Args::command();
    let options: Vec<_> = command.get_arguments().filter_map(|arg| arg.get_long()).collect();
    let start = UNIT.lines().find(|line| line.starts_with("ExecStart=")).unwrap();
    let in_unit = start.split_whitespace().filter_map(|word| word.strip_prefix("--"));
    let in_daemon_set = DAEMON_SET.lines().filter_map(|line| line.trim().strip_prefix("- --"));
    let used: Vec<_> = in_unit.chain(in_daemon_set).filter_map(|option| option.split('=').next()).collect();
    assert!(used.len() > 8, "{used:?}");
    for option in used {
        assert!(options.contains(&option), "--{option} is not one of {options:?}");
    }
    // How long the end takes at most, twice the timeout, is granted.
    let timeout = command.get_arguments().find(|arg| arg.get_long() == Some("timeout-ms")).unwrap();
    let timeout: u64 = timeout.get_default_values()[0].to_str().unwrap().parse().unwrap();
    for granted in [("TimeoutStopSec=", UNIT), ("terminationGracePeriodSeconds: ", DAEMON_SET)] {
        let line = granted.1.lines().find_map(|line| line.trim().strip_prefix(granted.0)).unwrap();
        assert!(line.parse::<u64>().unwrap() * 1000 > 2 * timeout, "{line}");
    }
}

#[test]
fn systemd_has_nothing_to_say() {
    if support::is_missing("systemd-analyze", "systemd") {
        return;
    }
    let dir = crate::dir();
    // What they start is not there.
    let with = |unit: &str| unit.replace("/usr/local/bin/pool_manager", "/bin/true");
    let producer = format!("{DROP_IN}Type=exec\nExecStart=/bin/true\n");
    for (name, unit) in [("pool-manager.service", with(UNIT)), ("engine-provisioner.service", producer)] {
        let path = dir.path().join(name);
        fs::write(&path, unit).unwrap();
        // Without its manual pages and whatever else is wrong on this machine.
        let mut verify = Command::new("systemd-analyze");
        let output = verify.args(["verify", "--man=no", "--recursive-errors=no"]).arg(path).output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success() && !said.contains(name), "{said}");
    }
}
