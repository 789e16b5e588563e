//! The configuration: what can be set, its defaults, and the checks that refuse impossible values.
//!
//! [`HandoffWatcherConfig`] holds the two settings that every host has (CLOUD-3010 and the environment of the pool
//! manager); [`Settings`] holds all of them after they were checked, and is what the stages are given.

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, ErrorKind, excerpt};
use crate::log::Log;
use crate::trust::TrustPolicy;

/// The environment variable that [`HandoffWatcherConfig::from_env`] reads the directory from.
pub const RUNTIME_DIR_VARIABLE: &str = "POOL_MANAGERD_RUNTIME_DIR";
/// The environment variable that [`HandoffWatcherConfig::from_env`] reads the interval from, in milliseconds.
pub const WATCH_INTERVAL_VARIABLE: &str = "POOL_MANAGERD_WATCH_INTERVAL_MS";

/// The directory that is watched when none is named (CLOUD-3010).
pub const DEFAULT_RUNTIME_DIR: &str = ".runtime/engines";
/// The time between two polls when none is named, in milliseconds.
pub const DEFAULT_POLL_INTERVAL_MS: u64 = 1000;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
const POLL_INTERVAL_MS: RangeInclusive<u64> = 1..=DAY_MS;
const CHANNEL_CAPACITY: RangeInclusive<u64> = 1..=65_536;
const MAX_FILE_SIZE: RangeInclusive<u64> = 1..=1 << 30;
pub(crate) const SETTLE_TIME_MS: RangeInclusive<u64> = 0..=60 * 60 * 1000;
pub(crate) const RETRY_BACKOFF_MS: RangeInclusive<u64> = 1..=DAY_MS;

/// Where to look, and how often.
///
/// ```
/// use handoff_watcher::HandoffWatcherConfig;
/// let config = HandoffWatcherConfig::default();
/// assert_eq!(config.runtime_dir.to_str(), Some(".runtime/engines"));
/// assert_eq!(config.poll_interval_ms, 1000);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandoffWatcherConfig {
    /// The directory whose `*.json` files are watched. Default: `.runtime/engines`. A relative path is taken relative
    /// to the working directory at each poll. The directory need not exist: it is waited for.
    pub runtime_dir: PathBuf,
    /// The time from the start of one poll to the start of the next, in milliseconds. Default: 1000. Range: 1 to
    /// 86,400,000 (one day). Above roughly 1,800 the 2 s objective of CLOUD-3013 can no longer be kept.
    pub poll_interval_ms: u64,
}

impl Default for HandoffWatcherConfig {
    fn default() -> Self {
        Self { runtime_dir: PathBuf::from(DEFAULT_RUNTIME_DIR), poll_interval_ms: DEFAULT_POLL_INTERVAL_MS }
    }
}

impl HandoffWatcherConfig {
    /// The configuration that the environment names: `POOL_MANAGERD_RUNTIME_DIR` and `POOL_MANAGERD_WATCH_INTERVAL_MS`,
    /// each with its default where the variable is unset or empty.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the variable, when the interval is no whole number or out of its range.
    pub fn from_env() -> Result<Self, Error> {
        Self::from_variables(|name| std::env::var_os(name))
    }

    /// `get` gives the value of an environment variable, where it is to count.
    pub(crate) fn from_variables(get: impl Fn(&str) -> Option<OsString>) -> Result<Self, Error> {
        let set = |name| get(name).filter(|value| !value.is_empty());
        let mut config = Self::default();
        if let Some(dir) = set(RUNTIME_DIR_VARIABLE) {
            config.runtime_dir = PathBuf::from(dir);
        }
        if let Some(interval) = set(WATCH_INTERVAL_VARIABLE) {
            let text = interval.to_string_lossy();
            config.poll_interval_ms =
                text.trim().parse().ok().filter(|ms| POLL_INTERVAL_MS.contains(ms)).ok_or_else(|| {
                    let message = format!(
                        "environment variable {WATCH_INTERVAL_VARIABLE}: expected whole milliseconds from {} to {}, \
                         found {}",
                        POLL_INTERVAL_MS.start(),
                        POLL_INTERVAL_MS.end(),
                        excerpt(&text)
                    );
                    Error::new(ErrorKind::Config, message).with_field(WATCH_INTERVAL_VARIABLE)
                })?;
        }
        Ok(config)
    }
}

/// What a handoff file stands for.
///
/// | | [`State`](Self::State) (the default) | [`Announcements`](Self::Announcements) |
/// | --- | --- | --- |
/// | a replica is ready | for as long as a file says so | from the file that said so on |
/// | its file is removed | `removed` | nothing |
/// | its file moves on to another replica | `removed` (`moved`), and `ready` of the other | `ready` of the other |
/// | two files speak of one replica | `conflict`; the newest mtime wins | the last one to come counts |
/// | the host starts anew | it is told everything again | it is told what is still there |
///
/// Choose state wherever each engine has a file of its own that goes when it goes: only then does a host that was
/// restarted know what runs. Announcements are for producers that overwrite one fixed file for every engine, or that
/// expect the consumer to delete what it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// The directory is the state: what no file says is not so.
    #[default]
    State,
    /// Each version of a file is a message, which stands until another one of the same replica takes its place. One with
    /// `"ready": false` ends it (`removed`, `not_ready`), and so does the end of its process where
    /// [`check_processes`](crate::HandoffWatcherBuilder::check_processes) is set; nothing else does, so memory grows with
    /// the number of replicas that were ever announced and not ended.
    ///
    /// A message that is overwritten before the next poll saw it is lost, as with every file that is used so. Of messages
    /// about one replica, in several files, the one that was found last counts; of those found by the same poll, the newest
    /// mtime, then the greater name.
    Announcements {
        /// Whether a file is deleted when the host has taken what it says: the callback returned success, or the iterator
        /// handed it over. Also one that was overtaken by a newer message about the same replica, or by the end of its
        /// process, before the host could take it.
        ///
        /// The file is renamed to a hidden name first and read once more: a version that was written meanwhile comes back
        /// under its name or, if there is yet another one by then, as `handoff-….json`, and is delivered. So does what a host
        /// that crashed was about to delete, when the next one with this mode starts: it may be told again, but never after a
        /// newer message, by mtime, that the next host found. What is `invalid` stays where it is, and so does a symbolic
        /// link, as what it leads to may be replaced at any time.
        ///
        /// It needs the right to write to the directory; where that is missing the file stays, the log says so once, and
        /// each poll tries again. One host at a time may consume a directory: a second one brings back what the first is
        /// about to delete. *Not promised:* what a producer writes in place through a descriptor that it opened before the
        /// file was deleted; write to another file, and rename it.
        consume: bool,
    },
}

/// Every setting, checked. The builder's documentation has the meaning of each.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) runtime_dir: PathBuf,
    pub(crate) poll_interval: Duration,
    pub(crate) mode: Mode,
    pub(crate) channel_capacity: usize,
    pub(crate) max_file_size: u64,
    pub(crate) settle_time: Duration,
    pub(crate) retry_backoff: (Duration, Duration),
    pub(crate) follow_symlinks: bool,
    pub(crate) trust: Option<TrustPolicy>,
    pub(crate) check_processes: bool,
    pub(crate) instant: bool,
    pub(crate) thread_name: String,
    pub(crate) log: Log,
}

impl Default for Settings {
    fn default() -> Self {
        HandoffWatcherConfig::default().into()
    }
}

impl From<HandoffWatcherConfig> for Settings {
    fn from(config: HandoffWatcherConfig) -> Self {
        Self {
            runtime_dir: config.runtime_dir,
            poll_interval: Duration::from_millis(config.poll_interval_ms),
            mode: Mode::State,
            channel_capacity: 1024,
            max_file_size: 1 << 20,
            settle_time: Duration::from_millis(1000),
            retry_backoff: (Duration::from_millis(100), Duration::from_secs(30)),
            follow_symlinks: true,
            trust: None,
            check_processes: false,
            instant: false,
            thread_name: String::from("handoff-watcher"),
            log: Log::default(),
        }
    }
}

impl Settings {
    /// Refuses what cannot work. Nothing is clamped: a host that asks for the impossible learns of it.
    pub(crate) fn check(&self) -> Result<(), Error> {
        check_dir(&self.runtime_dir)?;
        let (least, most) = self.retry_backoff;
        within("poll_interval_ms", "ms", millis(self.poll_interval), POLL_INTERVAL_MS)?;
        within("channel_capacity", "events", self.channel_capacity as u64, CHANNEL_CAPACITY)?;
        within("max_file_size", "bytes", self.max_file_size, MAX_FILE_SIZE)?;
        within("settle_time", "ms", millis(self.settle_time), SETTLE_TIME_MS)?;
        within("retry_backoff", "ms", millis(least), RETRY_BACKOFF_MS)?;
        within("retry_backoff", "ms", millis(most), millis(least)..=DAY_MS)?;
        if self.thread_name.is_empty() || self.thread_name.contains('\0') {
            return Err(refusal("thread_name", "expected a name without NUL", &self.thread_name));
        }
        if self.check_processes && !cfg!(any(target_os = "linux", target_os = "android")) {
            return Err(refusal("check_processes", "expected a Linux system", std::env::consts::OS));
        }
        Ok(())
    }
}

/// Of an empty path the system makes the working directory where something is joined to it: a variable that was forgotten
/// would go unseen.
pub(crate) fn check_dir(dir: &Path) -> Result<(), Error> {
    let dir = dir.as_os_str();
    if dir.is_empty() || dir.as_encoded_bytes().contains(&0) {
        return Err(refusal("runtime_dir", "expected the path of a directory", &dir.to_string_lossy()));
    }
    Ok(())
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn within(name: &str, unit: &str, value: u64, range: RangeInclusive<u64>) -> Result<(), Error> {
    if range.contains(&value) {
        return Ok(());
    }
    let message = format!("setting `{name}`: expected {} to {} {unit}, found {value}", range.start(), range.end());
    Err(Error::new(ErrorKind::Config, message).with_field(name))
}

fn refusal(name: &str, expected: &str, found: &str) -> Error {
    let message = format!("setting `{name}`: {expected}, found {}", excerpt(found));
    Error::new(ErrorKind::Config, message).with_field(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(pairs: &[(&str, &str)]) -> Result<HandoffWatcherConfig, Error> {
        HandoffWatcherConfig::from_variables(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn environment_overrides_the_defaults() {
        assert_eq!(from(&[]).unwrap(), HandoffWatcherConfig::default());
        assert_eq!(from(&[(RUNTIME_DIR_VARIABLE, "")]).unwrap(), HandoffWatcherConfig::default());
        let config = from(&[(RUNTIME_DIR_VARIABLE, "/run/engines"), (WATCH_INTERVAL_VARIABLE, "250")]).unwrap();
        assert_eq!((config.runtime_dir, config.poll_interval_ms), (PathBuf::from("/run/engines"), 250));
    }

    #[test]
    fn an_interval_that_is_no_number_names_the_variable() {
        for bad in ["1s", "-1", "0", "1.5", "86400001", "99999999999999999999"] {
            let error = from(&[(WATCH_INTERVAL_VARIABLE, bad)]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert_eq!(error.field(), Some(WATCH_INTERVAL_VARIABLE));
            assert!(error.to_string().contains(WATCH_INTERVAL_VARIABLE), "{error}");
            assert!(error.to_string().contains(bad), "{error}");
        }
    }

    #[test]
    fn impossible_settings_are_refused_by_name() {
        let ms = Duration::from_millis;
        type Spoil = fn(&mut Settings);
        let cases: [(&str, Spoil); 10] = [
            ("runtime_dir", |s| s.runtime_dir = PathBuf::new()),
            ("runtime_dir", |s| s.runtime_dir = PathBuf::from("a\0b")),
            ("poll_interval_ms", |s| s.poll_interval = Duration::ZERO),
            ("poll_interval_ms", |s| s.poll_interval = Duration::MAX),
            ("channel_capacity", |s| s.channel_capacity = 0),
            ("max_file_size", |s| s.max_file_size = 0),
            ("settle_time", |s| s.settle_time = Duration::MAX),
            ("retry_backoff", |s| s.retry_backoff.0 = Duration::ZERO),
            ("retry_backoff", |s| s.retry_backoff = (Duration::from_millis(200), Duration::from_millis(100))),
            ("thread_name", |s| s.thread_name = String::from("a\0")),
        ];
        for (name, spoil) in cases {
            let mut settings = Settings::default();
            settings.check().unwrap();
            spoil(&mut settings);
            let error = settings.check().unwrap_err();
            assert_eq!((error.kind(), error.field()), (ErrorKind::Config, Some(name)), "{error}");
        }
        let edge = Settings { retry_backoff: (ms(1), ms(1)), settle_time: ms(0), ..Settings::default() };
        edge.check().unwrap();
    }
}
