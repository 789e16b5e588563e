//! The commands, their options and their help texts; bad usage becomes one line and exit code 2.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand};
use handoff_watcher::{
    DEFAULT_RUNTIME_DIR, HandoffWatcher, HandoffWatcherBuilder, HandoffWatcherConfig, Mode, RUNTIME_DIR_VARIABLE,
    TrustPolicy,
};
use serde_json::Value;

use crate::output::{self, Exit, Failure};

/// Watches a directory of engine handoff files (*.json) and tells what is ready.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 yes, done; 1 no (something invalid, a timeout, nothing there); 2 it could not be done \
                  (bad usage, a bad path, a bad environment variable).\n\
                  Environment: POOL_MANAGERD_RUNTIME_DIR is the directory where none is given, \
                  POOL_MANAGERD_WATCH_INTERVAL_MS the interval of `watch`, `wait` and `top`; NO_COLOR turns colours off."
)]
pub(crate) struct Cli {
    /// Log to standard error: -v informs, -vv debugs, -vvv tells all [default: warnings that are no events]
    #[arg(short, long, global = true, action = ArgAction::Count, display_order = 900)]
    pub(crate) verbose: u8,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Watch(WatchArgs),
    List(ListArgs),
    Wait(WaitArgs),
    Top(TopArgs),
    Publish(PublishArgs),
    Withdraw(WithdrawArgs),
    Check(CheckArgs),
    Demo(DemoArgs),
}

/// Print each event as it comes, until SIGINT or SIGTERM
///
/// On a terminal: readable lines, times in UTC. Else, or with --json: one JSON object a line, each flushed at once, with
/// the fields that apply of `event`, `file`, `pool_id`, `replica_id`, `payload`, `previous`, `reason`, `error`,
/// `error_kind`, `field`, `line`, `column`, `winner`, `losers`, `latency_ms`. Events: ready, updated, removed, invalid,
/// conflict, synced, unavailable, available.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 ended by SIGINT, SIGTERM or a closed standard output; 2 it could not be done.")]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    pub(crate) dir: Dir,
    #[command(flatten)]
    pub(crate) interval: Interval,
    #[command(flatten)]
    pub(crate) meaning: Meaning,
    #[command(flatten)]
    pub(crate) doubts: Doubts,
    /// One JSON object a line, also on a terminal
    #[arg(long)]
    pub(crate) json: bool,
    /// Readable lines, also when piped
    #[arg(long, conflicts_with = "json")]
    pub(crate) text: bool,
}

/// Print what is ready now, and every invalid file with its reason
///
/// With --json: one document, `{"dir": …, "ready": […], "invalid": […], "conflicts": […]}`, whose entries have the form of
/// the events of `watch`. Files that are being written are given a second to be complete.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 no file is invalid; 1 a file is invalid; 2 it could not be done: the directory is \
                        missing, cannot be listed, or has a file that was still being written after 30 s."
)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) dir: Dir,
    #[command(flatten)]
    pub(crate) doubts: Doubts,
    /// One JSON document in the place of the table
    #[arg(long)]
    pub(crate) json: bool,
}

/// Wait until a pool, or one replica of it, is ready, and print its URL
///
/// A missing directory is waited for.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 ready; 1 not ready at the timeout; 2 it could not be done.")]
pub(crate) struct WaitArgs {
    #[command(flatten)]
    pub(crate) dir: Dir,
    /// The pool to wait for
    #[arg(long, value_name = "POOL")]
    pub(crate) pool: String,
    /// The replica of the pool to wait for [default: whichever is ready first]
    #[arg(long, value_name = "REPLICA")]
    pub(crate) replica: Option<String>,
    /// How long to wait, with its unit, as in 500ms, 30s, 2m; 0s looks once
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time, allow_hyphen_values = true)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) interval: Interval,
    #[command(flatten)]
    pub(crate) doubts: Doubts,
    /// Print the whole handoff as one line of JSON in the place of its URL
    #[arg(long)]
    pub(crate) json: bool,
}

/// Look on: replicas, ages, errors and latencies as they are now, until q or Ctrl-C
///
/// AGE is since the file was last written; LATENCY is from then to when it was seen here, for what came after the start.
/// Where standard output is no terminal, one picture of everything is printed as plain text.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 ended by q, SIGINT, SIGTERM or a closed standard output, or the picture is printed; 1 it \
                  is printed, and the directory cannot be watched; 2 it could not be done."
)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    pub(crate) dir: Dir,
    #[command(flatten)]
    pub(crate) interval: Interval,
    #[command(flatten)]
    pub(crate) doubts: Doubts,
}

/// Write a handoff, atomically, and print its path
///
/// A reader sees the old content or the new, never a part. The file is {pool}-{replica}.json; if that name is taken by another replica, it gets a hash.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 written; 2 it could not be done.")]
pub(crate) struct PublishArgs {
    #[command(flatten)]
    pub(crate) dir: Dir,
    /// The pool that the replica belongs to
    #[arg(long, value_name = "POOL")]
    pub(crate) pool: String,
    /// The replica, unique within its pool
    #[arg(long, value_name = "REPLICA")]
    pub(crate) replica: String,
    /// Where the engine answers: absolute, http or https
    #[arg(long, value_name = "URL")]
    pub(crate) url: String,
    /// The engine, as in llamacpp, vllm, tgi
    #[arg(long, value_name = "NAME")]
    pub(crate) engine: Option<String>,
    /// The engine's version
    #[arg(long, value_name = "VERSION")]
    pub(crate) engine_version: Option<String>,
    /// How the engine was provisioned
    #[arg(long, value_name = "MODE")]
    pub(crate) provisioning_mode: Option<String>,
    /// The devices it runs on, as in 0,1
    #[arg(long, value_name = "MASK")]
    pub(crate) device_mask: Option<String>,
    /// How many requests it serves at once
    #[arg(long, value_name = "COUNT", value_parser = count, allow_negative_numbers = true)]
    pub(crate) slots: Option<u32>,
    /// How many of these are free
    #[arg(long, value_name = "COUNT", value_parser = count, allow_negative_numbers = true)]
    pub(crate) slots_free: Option<u32>,
    /// The engine's process id
    #[arg(long, value_name = "PID", value_parser = count, allow_negative_numbers = true)]
    pub(crate) pid: Option<u32>,
    /// The model's id
    #[arg(long, value_name = "ID")]
    pub(crate) model_id: Option<String>,
    /// The model's path
    #[arg(long, value_name = "PATH")]
    pub(crate) model_path: Option<String>,
    /// A flag that the engine was started with, as in --flag=--parallel --flag=4; may be repeated
    #[arg(long = "flag", value_name = "FLAG", allow_hyphen_values = true)]
    pub(crate) flags: Vec<String>,
    /// Any other field, its value as JSON, as in --set gpu=0 --set 'zone="b"'; may be repeated
    #[arg(long = "set", value_name = "FIELD=JSON", value_parser = field)]
    pub(crate) set: Vec<(String, Value)>,
}

/// Remove the handoff of a replica that `publish` wrote
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 removed; 1 there was none; 2 it could not be done.")]
pub(crate) struct WithdrawArgs {
    #[command(flatten)]
    pub(crate) dir: Dir,
    /// The pool that the replica belongs to
    #[arg(long, value_name = "POOL")]
    pub(crate) pool: String,
    /// The replica
    #[arg(long, value_name = "REPLICA")]
    pub(crate) replica: String,
}

/// Say of each file whether a watcher would accept it
///
/// Prints `FILE: ok …` or `FILE:LINE:COLUMN: reason`. With --json: one object a line, `file` and `ok`, and
/// `payload` and `note`, or `error`, `error_kind`, `field`, `line`, `column`.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 all would be accepted; 1 some would be refused; 2 some could not be read.")]
pub(crate) struct CheckArgs {
    /// Files to check; - is standard input
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) trust: Trust,
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// Show it all in some ten seconds: three engines come and go in a temporary directory, a watcher looks on
///
/// Nothing outside of the temporary directory is touched, and it is removed at the end.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 everything was seen within 2000 ms; 1 something was not, or was late, or was made \
                        up; 2 it could not be done; 130, 143 ended by SIGINT, SIGTERM."
)]
pub(crate) struct DemoArgs {
    /// Milliseconds from poll to poll [default: 1000]
    #[arg(long, value_name = "MS", value_parser = milliseconds, allow_negative_numbers = true)]
    pub(crate) poll_interval_ms: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Dir {
    /// Directory of the handoff files [default: $POOL_MANAGERD_RUNTIME_DIR, else .runtime/engines]
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Dir {
    /// The directory that is meant: it is there, or there is nothing of that name yet.
    pub(crate) fn resolve(self) -> Result<PathBuf, Failure> {
        let variable = || std::env::var_os(RUNTIME_DIR_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
        let dir = self.dir.or_else(variable).unwrap_or_else(|| PathBuf::from(DEFAULT_RUNTIME_DIR));
        match fs::metadata(&dir) {
            Ok(found) if !found.is_dir() => Err(Failure::new(format_args!("{}: not a directory", dir.display()))),
            // Below a file there never is one; everything else may still become one.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                Err(Failure::new(format_args!("{}: not a directory", dir.display())))
            }
            _ => Ok(dir),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Interval {
    /// Milliseconds from poll to poll [default: $POOL_MANAGERD_WATCH_INTERVAL_MS, else 1000]
    #[arg(long, value_name = "MS", value_parser = milliseconds, allow_negative_numbers = true)]
    poll_interval_ms: Option<u64>,
    /// Do not wait for the next poll when the kernel notifies of a change (inotify, Linux)
    #[arg(long)]
    pub(crate) instant: bool,
}

impl Interval {
    pub(crate) fn resolve(&self) -> Result<u64, Failure> {
        match self.poll_interval_ms {
            Some(ms) => Ok(ms),
            None => Ok(HandoffWatcherConfig::from_env()?.poll_interval_ms),
        }
    }
}

/// Whom to believe.
#[derive(Debug, Args)]
pub(crate) struct Trust {
    /// Believe only files of this user and of root, writable by nobody else, in a directory for which the same holds
    #[arg(long)]
    trust: bool,
    /// Believe files of this user too; implies --trust; may be repeated
    #[arg(long, value_name = "UID", value_parser = uid, allow_negative_numbers = true)]
    trust_uid: Vec<u32>,
}

impl Trust {
    pub(crate) fn policy(&self) -> Option<TrustPolicy> {
        let asked = self.trust || !self.trust_uid.is_empty();
        asked.then(|| self.trust_uid.iter().fold(TrustPolicy::this_user(), |policy, uid| policy.and_uid(*uid)))
    }
}

/// What of a handoff is not believed unseen.
#[derive(Debug, Args)]
pub(crate) struct Doubts {
    #[command(flatten)]
    trust: Trust,
    /// Only handoffs whose process, if they name one, still runs; needs the pid namespace of the engines
    #[arg(long)]
    check_processes: bool,
}

impl Doubts {
    pub(crate) fn builder(&self, config: HandoffWatcherConfig) -> HandoffWatcherBuilder {
        let builder = HandoffWatcher::builder(config).check_processes(self.check_processes);
        match self.trust.policy() {
            Some(policy) => builder.trust(policy),
            None => builder,
        }
    }
}

/// What a handoff file stands for.
#[derive(Debug, Args)]
pub(crate) struct Meaning {
    /// Files are messages, not the state: a replica stays ready when its file is removed, or speaks of another one
    #[arg(long)]
    announcements: bool,
    /// Delete each message when it has been printed, unless it is a newer one by then; implies --announcements
    #[arg(long)]
    consume: bool,
}

impl Meaning {
    pub(crate) fn mode(&self) -> Mode {
        match self.announcements || self.consume {
            true => Mode::Announcements { consume: self.consume },
            false => Mode::State,
        }
    }
}

/// The command line of this process. What ends here, help and bad usage, has been printed.
pub(crate) fn parse() -> Result<Cli, ExitCode> {
    let args: Vec<OsString> = std::env::args_os().collect();
    Cli::try_parse_from(&args).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A reader that went away is no failure.
            let _ = error.print();
            Exit::Yes.into()
        }
        _ => {
            output::complain(&usage(&error, &args));
            Exit::Cannot.into()
        }
    })
}

/// Clap's report, which takes several lines, as one line.
fn usage(error: &clap::Error, args: &[OsString]) -> String {
    let cli = Cli::command();
    if matches!(error.kind(), ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand) {
        let names: Vec<_> = cli.get_subcommands().map(clap::Command::get_name).collect();
        return format!("a command is missing: {}; see 'handoff-watcher --help'", names.join(", "));
    }
    let report = error.render().to_string();
    let said = report.split("\nUsage:").next().unwrap_or_default().split("\nFor more information").next();
    let said: Vec<String> = said
        .unwrap_or_default()
        .trim_start_matches("error: ")
        .split("\n\n")
        .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|paragraph| !paragraph.is_empty())
        .collect();
    let command = args.iter().skip(1).find_map(|arg| cli.find_subcommand(arg)).map(|command| command.get_name());
    let command = command.map(|name| format!(" {name}")).unwrap_or_default();
    format!("{}; see 'handoff-watcher{command} --help'", said.join("; "))
}

fn milliseconds(text: &str) -> Result<u64, &'static str> {
    // The library knows the range.
    text.parse().map_err(|_| "expected whole milliseconds")
}

fn time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("expected a time and its unit, as in 500ms or 30s: {error}"))
}

fn count(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("expected a whole number from 0 to {}", u32::MAX))
}

fn uid(text: &str) -> Result<u32, &'static str> {
    text.parse().map_err(|_| "expected the number of a user, as `id -u NAME` prints it")
}

fn field(text: &str) -> Result<(String, Value), String> {
    let (name, json) = text.split_once('=').ok_or("expected FIELD=JSON")?;
    match serde_json::from_str(json) {
        Ok(value) => Ok((name.to_owned(), value)),
        Err(_) => Err(format!("the value is not JSON; a text needs its quotes, as in '{name}=\"…\"'")),
    }
}
