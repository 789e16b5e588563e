//! The deployment files say what systemd understands, and what the example takes.

use std::fs;
use std::process::Command;

use clap::CommandFactory as _;

use crate::{orchestrator, pool_manager, support};

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
    let timeout = default(&command, "timeout-ms");
    for granted in [("TimeoutStopSec=", UNIT), ("terminationGracePeriodSeconds: ", DAEMON_SET)] {
        let line = granted.1.lines().find_map(|line| line.trim().strip_prefix(granted.0)).unwrap();
        assert!(line.parse::<u64>().unwrap() * 1000 > 2 * timeout, "{line}");
    }
}

/// Of an option that takes a number.
fn default(command: &clap::Command, option: &str) -> u64 {
    let option = command.get_arguments().find(|arg| arg.get_long() == Some(option)).unwrap();
    option.get_default_values()[0].to_str().unwrap().parse().unwrap()
}

#[test]
fn the_control_plane_is_told_as_often_as_it_counts_on() {
    assert_eq!(default(&pool_manager::Args::command(), "heartbeat-ms"), 10_000);
    assert_eq!(default(&orchestrator::Args::command(), "offline-after-ms"), 30_000);
}

#[test]
fn regression_the_help_shows_no_secret_and_names_what_the_environment_sets() {
    for command in [pool_manager::Args::command(), orchestrator::Args::command()] {
        for arg in command.get_arguments().filter(|arg| arg.get_env().is_some()) {
            assert!(arg.is_hide_env_values_set(), "a URL may have a password in it: {arg:?}");
        }
    }
    let help = pool_manager::Args::command().render_help().to_string();
    for variable in
        ["POOL_MANAGERD_RUNTIME_DIR", "POOL_MANAGERD_WATCH_INTERVAL_MS", "LLORCH_API_TOKEN", "ORCHESTRATORD_URL"]
    {
        assert!(help.contains(variable), "{variable} is not in {help}");
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
