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
use output::{Exit, Failure};

fn main() -> ExitCode {
    let cli = match args::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    log_to_stderr(cli.verbose);
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

/// Silent unless asked: what the library warns of, the commands tell as events.
fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => return,
        1 => log::LevelFilter::Info,
        2 => log::LevelFilter::Debug,
        _ => log::LevelFilter::Trace,
    };
    env_logger::Builder::new().filter_level(level).init();
}
