//! What a host sets.

use std::ffi::{OsString, c_char, c_void};
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStringExt as _;
use std::time::Duration;

use super::argument::{self, Versioned};
use super::event::Event;
use super::guard;
use super::status::HANDOFF_OK;
use crate::config::{
    HandoffWatcherConfig, Mode, RETRY_BACKOFF_MS, RUNTIME_DIR_VARIABLE, SETTLE_TIME_MS, Settings,
    WATCH_INTERVAL_VARIABLE, millis, within,
};
use crate::error::{Error, ErrorKind};
use crate::log::LevelFilter;
use crate::trust::TrustPolicy;

/// More is a number that nobody meant.
const MOST_UIDS: usize = 65_536;

/// What handoff_on_event returns when the event has been taken.
pub const HANDOFF_ACCEPT: i32 = 0;
/// What handoff_on_event returns when the event is to come again: after 100 ms, 200 ms, ... up to 30 s, with what is true
/// then. Any other number means the same.
pub const HANDOFF_RETRY: i32 = 1;

/// A log line about something that does not work.
pub const HANDOFF_LOG_ERROR: i32 = 1;
/// A log line about something that the people who run this should know.
pub const HANDOFF_LOG_WARN: i32 = 2;
/// A log line about something that happens seldom. The default of log_level.
pub const HANDOFF_LOG_INFO: i32 = 3;
/// A log line for each event.
pub const HANDOFF_LOG_DEBUG: i32 = 4;

/// What mode can be: the directory is the state, and what no file says is not so. The default.
pub const HANDOFF_MODE_STATE: i32 = 0;
/// What mode can be: each version of a file is a message, which stands until another one of the same replica takes its
/// place, whatever becomes of the file. One with "ready": false ends it, and so does the end of its process where
/// check_processes is set. For producers that overwrite one fixed file for every engine, or that expect the consumer to
/// delete what it took; anywhere else only HANDOFF_MODE_STATE lets a host that was restarted know what runs.
pub const HANDOFF_MODE_ANNOUNCEMENTS: i32 = 1;

/// Takes an event, and returns HANDOFF_ACCEPT or HANDOFF_RETRY.
///
/// event: never NULL, borrowed for the call; to keep it, see handoff_event_clone().
/// user_data: that of the configuration.
/// Called on a thread of the library, which blocks all signals, with no lock held and never two at once. It may take as
/// long as it likes: changes that come meanwhile collapse into one event per replica. No C++ exception and no longjmp may
/// leave it. handoff_watcher_free() and _join() of this very watcher are refused in it, with HANDOFF_ERROR_BUSY; everything
/// else may be called.
pub type OnEvent = Option<unsafe extern "C" fn(event: *const Event, user_data: *mut c_void) -> i32>;

/// Takes a log line of this watcher.
///
/// level: HANDOFF_LOG_ERROR to HANDOFF_LOG_DEBUG.
/// text: one line in UTF-8 without a line feed, never NULL, borrowed for the call.
/// user_data: that of the configuration.
/// Called on a thread of the library or on one that is in handoff_watcher_next(), possibly on two at once, with no lock
/// held. It should be quick. No C++ exception and no longjmp may leave it. In it, whatever waits for this very watcher is
/// refused with HANDOFF_ERROR_BUSY: free, join, next, rescan, wait_ready, wait_replica_ready.
pub type OnLog = Option<unsafe extern "C" fn(level: i32, text: *const c_char, user_data: *mut c_void)>;

/// Is called once for each watcher that was made, from inside handoff_watcher_free() and on its thread, when no other
/// callback is under way or will ever come: the time to free user_data. It must not use the watcher any more. No C++
/// exception and no longjmp may leave it. Where handoff_watcher_new() fails it is not called: user_data then never left
/// the host's hands. Nor is it called in a forked process.
pub type OnDestroy = Option<unsafe extern "C" fn(user_data: *mut c_void)>;

/// How a watcher is to be. Begin with HANDOFF_CONFIG_INIT, or handoff_config_init(), and set what is to differ: 0 and NULL
/// mean the default. Nothing is clamped: a setting that cannot be is refused with HANDOFF_ERROR_CONFIG, and
/// handoff_last_error_field() has the name of its field here, or that of the environment variable.
///
/// A later version only appends fields. A host that was compiled with an older header gets their defaults; one that was
/// compiled with a newer header is refused, with HANDOFF_ERROR_INVALID_ARGUMENT, if it sets what this library lacks.
///
/// Strings are copied: they may go when handoff_watcher_new() has returned.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// sizeof(handoff_config), as the host was compiled.
    pub struct_size: usize,
    /// The directory whose *.json files are watched: a path as the system has it, not necessarily UTF-8. It need not
    /// exist: it is waited for. Default: ".runtime/engines", relative to the working directory at each poll.
    pub runtime_dir: *const c_char,
    /// From the start of one poll to that of the next. Default: 1000. Range: 1 to 86400000.
    pub poll_interval_ms: u64,
    /// How many events are prepared ahead of the host; what does not fit loses nothing. Default: 1024. Range: 1 to 65536.
    pub channel_capacity: u64,
    /// The largest accepted file, in bytes; a larger one is "invalid". Default: 1048576. Range: 1 to 1073741824.
    pub max_file_size: u64,
    /// How long unusable content must have stayed the same before it is called "invalid": until then it may be
    /// half-written. Default: 1000. Range: 1 to 3600000; 1 means practically at once.
    pub settle_time_ms: u64,
    /// How long to wait before the first retry of an event; it doubles with each. Default: 100. Range: 1 to 86400000.
    pub retry_first_ms: u64,
    /// The longest time between two retries. Default: 30000. Range: retry_first_ms to 86400000.
    pub retry_most_ms: u64,
    /// The name of the scanning thread, in UTF-8; that of the callback thread has "-cb" behind it. Default:
    /// "handoff-watcher". Linux shows the first 15 bytes.
    pub thread_name: *const c_char,
    /// 1: a handoff that is a symbolic link is "invalid". 0: links are followed. The directory may always be one.
    pub no_follow_symlinks: i32,
    /// 1: where runtime_dir is NULL, the environment variable POOL_MANAGERD_RUNTIME_DIR says what it is, and where
    /// poll_interval_ms is 0, POOL_MANAGERD_WATCH_INTERVAL_MS does. Each is read only then; the default applies where it is
    /// unset or empty.
    pub read_environment: i32,
    /// The least important level that on_log is called for, HANDOFF_LOG_ERROR to HANDOFF_LOG_DEBUG. Default:
    /// HANDOFF_LOG_INFO.
    pub log_level: i32,
    /// 1: a notification of the kernel (inotify, Linux) lets the next scan begin at once, and a handoff is told within a
    /// fraction of a millisecond. Polling stays the truth: what notifications miss comes with the next poll.
    /// handoff_watcher_health() says whether it is in force.
    pub instant: i32,
    /// Is called with each event. NULL: the host asks, by handoff_watcher_next().
    pub on_event: OnEvent,
    /// Is called with each log line of this watcher. NULL: there are none.
    pub on_log: OnLog,
    /// Is called once, after the last callback. NULL: nothing is.
    pub on_destroy: OnDestroy,
    /// What the callbacks are given. It must be fit for use on other threads.
    pub user_data: *mut c_void,
    /// 1: only handoffs are believed that belong to root, to the effective user of this process, or to one of
    /// trusted_uids, that nobody else may write (mode & 022 == 0), in a directory for which the same holds. The opened file
    /// and the opened directory are checked. A file that breaks a rule is "invalid", a directory "unavailable".
    pub trust: i32,
    /// 1: a handoff with a "pid" is "invalid" if that process does not run, started after the handoff was written, or ran
    /// before this machine started; a replica whose process ends is "removed". Linux only, and only where the watcher
    /// shares the pid namespace of the engines.
    pub check_processes: i32,
    /// More users that may own handoffs, with trust. NULL: none. Copied.
    pub trusted_uids: *const u32,
    /// How many trusted_uids there are.
    pub trusted_uid_count: u64,
    /// What a handoff file stands for: HANDOFF_MODE_STATE or HANDOFF_MODE_ANNOUNCEMENTS.
    pub mode: i32,
    /// 1, only with HANDOFF_MODE_ANNOUNCEMENTS: a file is deleted when the host has taken what it says (on_event returned
    /// HANDOFF_ACCEPT, or handoff_watcher_next() handed it over), if it is still the version that was taken; a newer one
    /// survives, and is told. After a crash of the host a message may come again. Symbolic links stay. Needs the right to
    /// write to the directory; only one host may consume it.
    pub consume: i32,
}

// SAFETY: `repr(C)`; integers, pointers and optional functions, all of which may be zero; the numbers of 32 bits come in
// pairs, so that there is no padding.
unsafe impl Versioned for Config {
    const NAME: &'static str = "config";
}

impl Config {
    pub(super) const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        runtime_dir: std::ptr::null(),
        poll_interval_ms: 0,
        channel_capacity: 0,
        max_file_size: 0,
        settle_time_ms: 0,
        retry_first_ms: 0,
        retry_most_ms: 0,
        thread_name: std::ptr::null(),
        no_follow_symlinks: 0,
        read_environment: 0,
        log_level: 0,
        instant: 0,
        on_event: None,
        on_log: None,
        on_destroy: None,
        user_data: std::ptr::null_mut(),
        trust: 0,
        check_processes: 0,
        trusted_uids: std::ptr::null(),
        trusted_uid_count: 0,
        mode: HANDOFF_MODE_STATE,
        consume: 0,
    };

    /// What it says, with the defaults where it says nothing; the ranges are checked when the watcher is started.
    ///
    /// # Safety
    /// Its strings are NULL, or end with a NUL; its uids are NULL, or as many as it says.
    pub(super) unsafe fn settings(&self) -> Result<Settings, Error> {
        let read_environment = flag("read_environment", self.read_environment)?;
        // A variable that is not needed may say whatever it likes.
        let mut config = HandoffWatcherConfig::from_variables(|name| {
            let is_asked = match name {
                RUNTIME_DIR_VARIABLE => self.runtime_dir.is_null(),
                WATCH_INTERVAL_VARIABLE => self.poll_interval_ms == 0,
                _ => false,
            };
            (read_environment && is_asked).then(|| std::env::var_os(name)).flatten()
        })?;
        // SAFETY: the caller's word.
        if let Some(dir) = unsafe { argument::optional_bytes(self.runtime_dir) } {
            config.runtime_dir = OsString::from_vec(dir.to_vec()).into();
        }
        set(&mut config.poll_interval_ms, self.poll_interval_ms, |ms| ms);
        let mut settings = Settings::from(config);
        set(&mut settings.channel_capacity, self.channel_capacity, |it| usize::try_from(it).unwrap_or(usize::MAX));
        set(&mut settings.max_file_size, self.max_file_size, |bytes| bytes);
        in_range("settle_time_ms", self.settle_time_ms, &SETTLE_TIME_MS)?;
        set(&mut settings.settle_time, self.settle_time_ms, Duration::from_millis);
        self.set_retry_backoff(&mut settings.retry_backoff)?;
        settings.follow_symlinks = !flag("no_follow_symlinks", self.no_follow_symlinks)?;
        // SAFETY: the caller's word.
        if let Some(name) = unsafe { argument::optional_bytes(self.thread_name) } {
            let name = std::str::from_utf8(name).map_err(|_| refused("thread_name", "expected UTF-8"))?;
            name.clone_into(&mut settings.thread_name);
        }
        settings.mode = self.mode()?;
        settings.instant = flag("instant", self.instant)?;
        settings.check_processes = flag("check_processes", self.check_processes)?;
        // SAFETY: the caller's word.
        let uids = unsafe { self.uids() }?;
        settings.trust = match flag("trust", self.trust)? {
            true => Some(uids.iter().fold(TrustPolicy::this_user(), |policy, uid| policy.and_uid(*uid))),
            false if uids.is_empty() => None,
            false => return Err(refused("trusted_uids", "expected none, as `trust` is 0")),
        };
        Ok(settings)
    }

    /// Two fields here, one setting elsewhere: each is named for what is wrong with it.
    fn set_retry_backoff(&self, backoff: &mut (Duration, Duration)) -> Result<(), Error> {
        in_range("retry_first_ms", self.retry_first_ms, &RETRY_BACKOFF_MS)?;
        in_range("retry_most_ms", self.retry_most_ms, &RETRY_BACKOFF_MS)?;
        set(&mut backoff.0, self.retry_first_ms, Duration::from_millis);
        set(&mut backoff.1, self.retry_most_ms, Duration::from_millis);
        let (first, most) = (millis(backoff.0), millis(backoff.1));
        let (field, expected, found) = match (self.retry_first_ms, self.retry_most_ms) {
            _ if first <= most => return Ok(()),
            (_, 0) => ("retry_first_ms", format!("at most the default of `retry_most_ms`, {most} ms"), first),
            (0, _) => ("retry_most_ms", format!("at least the default of `retry_first_ms`, {first} ms"), most),
            _ => ("retry_most_ms", format!("at least `retry_first_ms`, {first} ms"), most),
        };
        Err(refused(field, &format!("expected {expected}, found {found}")))
    }

    /// # Safety
    /// They are NULL, or as many as it says.
    unsafe fn uids(&self) -> Result<&[u32], Error> {
        let count = usize::try_from(self.trusted_uid_count).ok().filter(|count| *count <= MOST_UIDS);
        let found = self.trusted_uid_count;
        let count =
            count.ok_or_else(|| refused("trusted_uid_count", &format!("expected 0 to {MOST_UIDS}, found {found}")))?;
        match (self.trusted_uids.is_null(), count) {
            (_, 0) => Ok(&[]),
            (true, _) => Err(refused("trusted_uids", "expected as many as trusted_uid_count says, found NULL")),
            // SAFETY: the caller's word; the number is far from what a slice could not hold.
            (false, count) => Ok(unsafe { std::slice::from_raw_parts(self.trusted_uids, count) }),
        }
    }

    fn mode(&self) -> Result<Mode, Error> {
        let consume = flag("consume", self.consume)?;
        match self.mode {
            HANDOFF_MODE_STATE if consume => {
                Err(refused("consume", "expected 0, as `mode` is HANDOFF_MODE_STATE: handoffs that are the state stay"))
            }
            HANDOFF_MODE_STATE => Ok(Mode::State),
            HANDOFF_MODE_ANNOUNCEMENTS => Ok(Mode::Announcements { consume }),
            other => Err(refused("mode", &format!("expected 0 or 1, found {other}"))),
        }
    }

    pub(super) fn log_level(&self) -> Result<LevelFilter, Error> {
        match self.log_level {
            HANDOFF_LOG_ERROR => Ok(LevelFilter::Error),
            HANDOFF_LOG_WARN => Ok(LevelFilter::Warn),
            0 | HANDOFF_LOG_INFO => Ok(LevelFilter::Info),
            HANDOFF_LOG_DEBUG => Ok(LevelFilter::Debug),
            other => Err(refused("log_level", &format!("expected 0 to 4, found {other}"))),
        }
    }
}

fn refused(setting: &str, reason: &str) -> Error {
    Error::new(ErrorKind::Config, format!("setting `{setting}`: {reason}")).with_field(setting)
}

/// 0 means the default, also where it is in the range.
fn in_range(name: &str, ms: u64, range: &RangeInclusive<u64>) -> Result<(), Error> {
    if ms == 0 { Ok(()) } else { within(name, "ms", ms, *range.start().max(&1)..=*range.end()) }
}

/// 0 leaves the default.
fn set<T>(setting: &mut T, value: u64, convert: impl FnOnce(u64) -> T) {
    if value != 0 {
        *setting = convert(value);
    }
}

fn flag(name: &str, value: i32) -> Result<bool, Error> {
    argument::flag(value).map_err(|reason| refused(name, &reason))
}

/// Sets a configuration to the defaults, for hosts that cannot use HANDOFF_CONFIG_INIT.
///
/// config: not NULL; what it holds is overwritten.
/// struct_size: sizeof(handoff_config), as the host was compiled. Where that is larger than the library's, the rest
/// becomes 0.
/// Returns HANDOFF_OK, or HANDOFF_ERROR_INVALID_ARGUMENT.
/// Thread: any. In callbacks: yes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn handoff_config_init(config: *mut Config, struct_size: usize) -> i32 {
    guard::status(|| {
        argument::out("config", config)?;
        argument::check_size::<Config>(config, struct_size)?;
        // SAFETY: the host's word that there are that many bytes; the size is the first field.
        unsafe { config.cast::<usize>().write(struct_size) };
        // SAFETY: as above, and the size is there now.
        unsafe { argument::write(config, &Config::DEFAULT) }?;
        Ok(HANDOFF_OK)
    })
}
