//! The command line `handoff-watcher`: the library for people and for shell scripts.
//!
//! `args` has the commands and their help, each command has a file, and everything that is printed goes through `render`
//! (what it looks like) and `output` (where it goes, and what happens when nobody reads it).

mod args;
mod check;
mod demo;
mod list;
mod output;
mod produce;
mod render;
mod signals;
mod top;
mod wait;
mod watch;

use std::process::ExitCode;

use args::{Cli, Command};
use log::LevelFilter;
use output::{Exit, Failure};

fn main() -> ExitCode {
    let cli = match args::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    // A line would go right across the picture, which has it as well.
    if cli.verbose > 0 || !matches!(cli.command, Command::Top(_)) {
        log_to_stderr(cli.verbose);
    }
    match run(cli) {
        Ok(exit) => exit.into(),
        // Whoever read the output has read enough, as in `| head -1`: that is no failure.
        Err(Failure::Closed) => Exit::Yes.into(),
        Err(Failure::Cannot(message)) => {
            output::complain(&message);
            Exit::Cannot.into()
        }
    }
}

fn run(cli: Cli) -> Result<Exit, Failure> {
    match cli.command {
        Command::Watch(args) => watch::run(args),
        Command::List(args) => list::run(args),
        Command::Top(args) => top::run(args),
        Command::Wait(args) => wait::run(args),
        Command::Publish(args) => produce::publish(args),
        Command::Withdraw(args) => produce::withdraw(args),
        Command::Check(args) => check::run(args),
        Command::Demo(args) => demo::run(args),
    }
}

/// Unless asked for more, only what the commands do not tell as events: that something is not as it was asked for.
fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => {
            let mut logger = env_logger::Builder::new();
            logger.filter_module("handoff_watcher", LevelFilter::Warn);
            logger.filter_module("handoff_watcher::event", LevelFilter::Off);
            logger.format(|_, record| {
                output::complain(&format!("warning: {}", record.args()));
                Ok(())
            });
            return logger.init();
        }
        1 => LevelFilter::Info,
        2 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    env_logger::Builder::new().filter_level(level).init();
}
