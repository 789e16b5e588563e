//! [fs] From a pid to what is known of its process: whether it runs, and since when.
//!
//! In: a pid. Out: a [`Process`]. Nobody is declared dead for want of sight: a process that `/proc` does not show, as
//! under `hidepid`, or without a `/proc`, is asked for with the empty signal, which every process may send to ask
//! whether there is somebody; and only if that knows of nobody either is it gone.

use std::io;
use std::path::{Path, PathBuf};

use crate::listing::{Life, Process};

/// Asks for processes, one by one.
#[derive(Debug)]
pub(crate) struct Processes {
    /// `/proc`; tests have their own.
    proc: PathBuf,
    /// A process was there, but not to be seen.
    hidden: Option<u32>,
    told: bool,
}

impl Processes {
    pub(crate) fn new() -> Self {
        Self { proc: PathBuf::from("/proc"), hidden: None, told: false }
    }

    /// What is known of a process now. Three system calls and two clocks for one that runs and can be seen.
    pub(crate) fn look(&mut self, pid: u32) -> Process {
        Process { life: self.life(pid), boot: system::boot() }
    }

    /// The first process that was there, but could not be looked at; once.
    pub(crate) fn take_hidden(&mut self) -> Option<u32> {
        let pid = self.hidden.filter(|_| !self.told)?;
        self.told = true;
        Some(pid)
    }

    fn life(&mut self, pid: u32) -> Life {
        let error = match system::read_stat(&self.proc, pid) {
            Ok(stat) => match Stat::parse(&stat) {
                Some(stat) if stat.is_dead() => return Life::Gone,
                Some(stat) => return Life::Runs { since_boot: system::duration(stat.started) },
                None => return Life::Unknown,
            },
            Err(error) => error,
        };
        let absent = system::is_absent(&error);
        if absent && !system::exists(pid) {
            return Life::Gone;
        }
        // Else it is a lack of descriptors or of memory, which will pass.
        if absent || error.kind() == io::ErrorKind::PermissionDenied {
            self.hidden = self.hidden.or(Some(pid));
        }
        Life::Unknown
    }
}

/// What is used of `/proc/<pid>/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    state: char,
    threads: i64,
    /// Since the machine started, in clock ticks.
    started: u64,
}

impl Stat {
    /// The name of the process, in parentheses, may have parentheses, spaces and line feeds of its own: what counts is
    /// behind the last one. That is field 3, the state; 20 is the number of threads, and 22 the start.
    fn parse(text: &[u8]) -> Option<Self> {
        let end = text.iter().rposition(|byte| *byte == b')')?;
        let fields = std::str::from_utf8(&text[end + 1..]).ok()?;
        let field = |number: usize| fields.split_ascii_whitespace().nth(number - 3);
        Some(Self {
            state: field(3)?.chars().next()?,
            threads: field(20)?.parse().ok()?,
            started: field(22)?.parse().ok()?,
        })
    }

    /// A zombie is dead: it waits for its parent to take notice. But not while it has other threads: of a process whose
    /// first thread ended by itself, that thread looks like a zombie, and the others go on.
    fn is_dead(self) -> bool {
        matches!(self.state, 'X' | 'x') || self.state == 'Z' && self.threads <= 1
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use super::*;
    use std::io::Read as _;
    use std::time::Duration;

    use rustix::io::Errno;
    use rustix::process::{Pid, test_kill_process};
    use rustix::time::{ClockId, clock_gettime};

    pub(super) fn read_stat(proc: &Path, pid: u32) -> io::Result<Vec<u8>> {
        // Some 300 bytes, which come whole with the first read that has room for them.
        let mut text = vec![0; 1024];
        let length = std::fs::File::open(proc.join(format!("{pid}/stat")))?.read(&mut text)?;
        text.truncate(length);
        Ok(text)
    }

    /// ESRCH: it ended between opening and reading.
    pub(super) fn is_absent(error: &io::Error) -> bool {
        [Errno::NOENT, Errno::SRCH].into_iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
    }

    /// Whether there is a process of that number, whoever's it is. A number beyond those of the system is nobody's.
    pub(super) fn exists(pid: u32) -> bool {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        pid.is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
    }

    pub(super) fn duration(ticks: u64) -> Duration {
        let hertz = rustix::param::clock_ticks_per_second().max(1);
        Duration::from_secs(ticks / hertz) + Duration::from_millis(ticks % hertz * 1000 / hertz)
    }

    /// By the clocks, which know it better than `btime`, which is in whole seconds.
    pub(super) fn boot() -> Option<i64> {
        let millis = |clock| {
            let time = clock_gettime(clock);
            time.tv_sec.saturating_mul(1000).saturating_add(time.tv_nsec / 1_000_000)
        };
        Some(millis(ClockId::Realtime).saturating_sub(millis(ClockId::Boottime)))
    }
}

/// Elsewhere nothing is known; the option is refused there.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    use super::*;
    use std::time::Duration;

    pub(super) fn read_stat(_: &Path, _: u32) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn is_absent(_: &io::Error) -> bool {
        false
    }

    pub(super) fn exists(_: u32) -> bool {
        true
    }

    pub(super) fn duration(_: u64) -> Duration {
        Duration::ZERO
    }

    pub(super) fn boot() -> Option<i64> {
        None
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant, SystemTime};

    struct Sleeper(Child);

    impl Sleeper {
        fn start() -> Self {
            Self(Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap())
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn life(pid: u32) -> Life {
        Processes::new().look(pid).life
    }

    #[test]
    fn a_process_runs_until_it_is_a_zombie() {
        let mut sleeper = Sleeper::start();
        let pid = sleeper.0.id();
        let process = Processes::new().look(pid);
        let Life::Runs { since_boot } = process.life else { panic!("{process:?}") };
        let started = process.boot.unwrap() + i64::try_from(since_boot.as_millis()).unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
        let age = i64::try_from(now).unwrap() - started;
        assert!((-50..20_000).contains(&age), "started {age} ms ago");
        assert_eq!(life(pid), process.life, "the start is always the same");

        sleeper.0.kill().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while life(pid) != Life::Gone {
            assert!(Instant::now() < deadline, "the zombie counts as running");
            std::thread::yield_now();
        }
        sleeper.0.wait().unwrap();
        assert_eq!(life(pid), Life::Gone, "reaped");
    }

    #[test]
    fn a_number_beyond_those_of_the_system_is_nobodys() {
        for pid in [1 << 30, 1 << 31, u32::MAX] {
            assert_eq!(life(pid), Life::Gone, "{pid}");
        }
    }

    /// As `hidepid=2` does, and a system without `/proc`.
    #[test]
    fn a_process_that_proc_does_not_show_is_not_dead() {
        let mut sleeper = Sleeper::start();
        let pid = sleeper.0.id();
        let empty = tempfile::tempdir().unwrap();
        let mut processes = Processes { proc: empty.path().to_owned(), ..Processes::new() };
        assert_eq!((processes.look(pid).life, processes.take_hidden()), (Life::Unknown, Some(pid)));
        assert_eq!((processes.look(pid).life, processes.take_hidden()), (Life::Unknown, None), "told once");
        sleeper.0.kill().unwrap();
        sleeper.0.wait().unwrap();
        assert_eq!(processes.look(pid).life, Life::Gone);
    }

    #[test]
    fn what_proc_says_is_not_understood_or_not_readable_is_unknown() {
        let dir = tempfile::tempdir().unwrap();
        let mut processes = Processes { proc: dir.path().to_owned(), ..Processes::new() };
        let pid = std::process::id();
        std::fs::create_dir(dir.path().join(pid.to_string())).unwrap();
        std::fs::write(dir.path().join(format!("{pid}/stat")), "gibberish").unwrap();
        assert_eq!(processes.look(pid).life, Life::Unknown);
        std::fs::remove_file(dir.path().join(format!("{pid}/stat"))).unwrap();
        std::fs::create_dir(dir.path().join(format!("{pid}/stat"))).unwrap();
        assert_eq!(processes.look(pid).life, Life::Unknown);
    }

    #[test]
    fn reads_the_stat_of_processes_with_any_name() {
        let rest = |state: char, threads: u32| {
            format!("{state} 1 2 3 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 {threads} 0 98765 8192000 210 1844674407 1 1 0 0")
        };
        for name in ["sleep", "a b", "a) Z 1 (b", ")", "(", "", "x)\n", "\u{fc})"] {
            let text = format!("4711 ({name}) {}\n", rest('S', 3));
            let stat = Stat::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(stat, Stat { state: 'S', threads: 3, started: 98765 }, "{text}");
        }
        let mut text = b"1 (\xff\xfe) ".to_vec();
        text.extend(rest('R', 1).bytes());
        assert!(Stat::parse(&text).is_some(), "a name that is not UTF-8");
        for bad in ["", "1", "1 (a", "1 (a)", "1 (a) S 1 2 3", "1 (a) S 1 2 3 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 x 0 y"]
        {
            assert_eq!(Stat::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_zombie_is_dead_unless_other_threads_go_on() {
        for (state, threads, dead) in [('S', 1, false), ('Z', 1, true), ('Z', 0, true), ('Z', 5, false), ('X', 1, true)]
        {
            assert_eq!(Stat { state, threads, started: 1 }.is_dead(), dead, "{state} {threads}");
        }
    }
}
