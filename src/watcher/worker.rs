//! [thread] The scanning thread: the one place that joins scan, reconcile, read and deliver.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use crate::bell::{Bell, Ear};
use crate::config::{Mode, Settings};
use crate::deliver::{Channel, NextError, Room};
use crate::directory::Directory;
use crate::error::{Error, ErrorKind};
use crate::event::HandoffEvent;
use crate::listing::{FileName, Listing, Stamp};
use crate::log::Log;
use crate::payload::{ContentHash, Handoff};
use crate::process::Processes;
use crate::read::{ReadOutcome, Reader};
use crate::reconcile::{Document, Fault, FileId, Reconciler, process_of};
use crate::registry::Registry;
use crate::scan::Scanner;
use crate::stats::Meter;
use crate::sync::{AtomicBool, Mutex, Ordering, Sender, bounded};

use super::taking::Taking;

#[cfg(all(test, loom))]
mod loom_tests;

/// A file that has not changed for so long is not being written. Far longer than a writer's pauses that are promised to do
/// no harm; and than the clock of a file system stands still.
const RECENT: Duration = Duration::from_secs(3);

/// A listing longer than this is not kept for the next one.
const KEPT_ENTRIES: usize = 1000;

/// Where the result of a rescan goes.
type Asked = Sender<Result<(), Error>>;

/// What the threads and the handles of one watcher share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) channel: Channel,
    pub(crate) registry: Registry,
    pub(crate) meter: Meter,
    stop: Arc<AtomicBool>,
    bell: Bell,
    /// The process whose threads they are.
    pub(crate) process: u32,
    /// Who waits for a rescan; `None` once there will be none any more.
    rescans: Mutex<Option<Vec<Asked>>>,
}

impl Shared {
    pub(crate) fn new(settings: &Settings) -> (Arc<Self>, Ear) {
        let instant = if settings.instant { Bell::instant().map_err(Some) } else { Err(None) };
        let refusal = instant.as_ref().err().copied().flatten();
        let (bell, ear) = instant.unwrap_or_else(|_| Bell::new());
        let shared = Self {
            channel: Channel::new(settings.channel_capacity, bell.clone()),
            registry: Registry::default(),
            meter: Meter::new(settings.poll_interval, settings.log.clone()),
            stop: Arc::default(),
            bell,
            process: std::process::id(),
            rescans: Mutex::new(Some(Vec::new())),
        };
        if let Some(errno) = refusal {
            shared.meter.instant(Some(&not_instant(settings, errno)), false);
        }
        (Arc::new(shared), ear)
    }

    /// Asks everything to end, and returns at once: from here on nothing is handed out. In a fork it does nothing: the
    /// threads are not there, and what wakes the host is shared with the parent, which goes on.
    pub(crate) fn stop(&self) {
        if self.is_fork() {
            return;
        }
        self.stop.store(true, Ordering::Release);
        self.channel.close();
        self.bell.ring();
    }

    pub(crate) fn is_fork(&self) -> bool {
        self.process != std::process::id()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// The next event for a host that asks for them; `None` waits forever.
    pub(crate) fn next(&self, timeout: Option<Duration>) -> Result<HandoffEvent, NextError> {
        let event = self.channel.next(timeout)?.event;
        self.meter.delivered(&event);
        Ok(event)
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn metrics(&self) -> String {
        crate::metrics::text(&self.meter.stats(), &self.meter.health(), &self.registry.pools())
    }

    pub(crate) fn rescan(&self) -> Result<(), Error> {
        let (done, wait) = bounded(1);
        match self.rescans.lock().as_mut() {
            Some(rescans) => rescans.push(done),
            None => return Err(Error::stopped()),
        }
        self.bell.ring();
        wait.recv().unwrap_or_else(|_| Err(Error::stopped()))
    }

    /// Runs what a thread does. A defect of this library must not take the host with it, nor leave it with a watcher that
    /// looks alive: the handles then say that it is not running, and why.
    pub(super) fn guard(&self, thread: &str, log: &Log, work: impl FnOnce()) {
        let Err(panic) = catch_unwind(AssertUnwindSafe(work)) else { return };
        let text = super::panic_text(panic);
        self.end(Some(Error::new(
            ErrorKind::Internal,
            format!("the {thread} ended by a defect, please report it: {text}"),
        )));
        // Last: the host's logger can be what panicked.
        log.error(format_args!("the {thread} ended by a defect of handoff-watcher: {text}"));
    }

    /// The end of the watching, however it came: nobody may go on waiting for it.
    fn end(&self, error: Option<Error>) {
        self.meter.ended(error);
        self.stop();
        self.rescans.lock().take();
        self.registry.close();
    }
}

/// Whether the file changed just now by the wall clock, the only one that its stamp can be compared with. A clock that was
/// set back makes it recent, which costs a moment; one that was set forward while it is being written goes unnoticed.
fn is_recent(stamp: Stamp) -> bool {
    let changed = UNIX_EPOCH.checked_add(stamp.ctime.since_1970().unwrap_or_default());
    !changed.is_some_and(|changed| SystemTime::now().duration_since(changed).is_ok_and(|age| age > RECENT))
}

/// That of this thread.
fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// Why there is no instant mode.
fn not_instant(settings: &Settings, errno: Errno) -> Error {
    let action = match errno {
        Errno::NOSYS => "be notified of changes (this build, or this system, has no inotify)",
        Errno::MFILE => "be notified of changes (fs.inotify.max_user_instances, or the limit of open files)",
        Errno::NOSPC => "be notified of changes (fs.inotify.max_user_watches)",
        _ => "be notified of changes",
    };
    Error::io(action, &settings.runtime_dir, errno.into())
}

/// What the scanning thread has for itself.
pub(crate) struct Worker {
    pub(super) settings: Settings,
    pub(super) shared: Arc<Shared>,
    ear: Ear,
    pub(super) core: Reconciler,
    scanner: Scanner,
    pub(super) reader: Reader,
    /// Where processes are checked.
    processes: Option<Processes>,
    listing: Listing,
    reads: u64,
    /// A notification asked for the next scan.
    noticed: bool,
    /// Where files that the host has taken are deleted.
    pub(super) taking: Option<Taking>,
}

impl Worker {
    pub(crate) fn new(settings: Settings, shared: Arc<Shared>, ear: Ear) -> Self {
        let taking = matches!(settings.mode, Mode::Announcements { consume: true }).then(|| Taking::new(&settings));
        Self {
            core: Reconciler::new(Instant::now(), &settings),
            scanner: Scanner::new(settings.runtime_dir.clone(), settings.follow_symlinks)
                .trusting(settings.trust.clone())
                .until(shared.stop.clone()),
            reader: Reader::new(settings.max_file_size, settings.follow_symlinks).trusting(settings.trust.clone()),
            processes: settings.check_processes.then(Processes::new),
            listing: Listing::default(),
            reads: 0,
            settings,
            shared,
            ear,
            noticed: false,
            taking,
        }
    }

    /// Runs until the stop. Gives itself back if it is still to [take away](Self::take_the_last_away) what the host takes.
    pub(crate) fn run(mut self) -> Option<Self> {
        let (shared, log) = (self.shared.clone(), self.settings.log.clone());
        let mut left = None;
        shared.guard("scanning thread", &log, || {
            self.work();
            left = self.taking.is_some().then_some(self);
        });
        shared.end(None);
        left
    }

    fn work(&mut self) {
        while !self.shared.is_stopped() {
            self.hear_acks();
            let rescans = self.shared.rescans.lock().as_mut().map(std::mem::take).unwrap_or_default();
            let began = Instant::now();
            self.core.handle_timeout(began);
            if !rescans.is_empty() {
                self.core.handle_rescan();
            }
            let scans = self.core.is_scan_due(began) || !rescans.is_empty();
            // Polls need not ask for it, nor turns without a scan: it is two more system calls.
            let before = (scans && self.core.is_between_polls(began)).then(processor_time);
            let scan = scans.then(|| self.scan(began));
            let error = match &scan {
                Some(Err(error)) => Some(error.clone()),
                _ => None,
            };
            let complete = matches!(scan, Some(Ok(_)));
            let directory = scan.and_then(Result::ok);
            self.read(directory.as_ref());
            drop(directory);
            self.check_processes();
            if self.shared.is_stopped() {
                return;
            }
            self.tell();
            while self.take_away() {
                self.tell();
            }
            self.shared.meter.round(
                complete.then(|| began.elapsed()),
                std::mem::take(&mut self.reads),
                self.shared.registry.len(),
                self.core.figures(),
                self.core.unavailable_error(),
            );
            if scans {
                self.noticed = false;
                let processor = before.map(|before| processor_time().saturating_sub(before)).unwrap_or_default();
                self.core.handle_round_end(began, Instant::now(), processor);
            }
            // What was listed could perhaps not be read.
            let error = error.or_else(|| self.core.unavailable_error().cloned());
            for done in rescans {
                let result = error.clone().map_or(Ok(()), Err);
                // Who asked may have gone.
                let _ = done.send(result);
            }
            self.reader.trim();
            // What is notified before the next scan will be seen by it.
            if self.ear.wait(self.core.poll_timeout(), !self.noticed) {
                self.noticed = true;
                self.core.handle_notice(Instant::now() + self.ear.patience());
            }
        }
    }

    fn scan(&mut self, began: Instant) -> Result<Directory, Error> {
        let mut opened = self.scanner.open();
        if opened.as_ref().is_ok_and(|directory| self.settle_hidden(directory)) {
            opened = self.scanner.open();
        }
        self.listen_to(opened.as_ref());
        let scan = opened.and_then(|directory| {
            let begun = self.scanner.begin(&directory, began)?;
            // What is new is told before all that is known is looked at again.
            if self.core.handle_arrivals(Instant::now(), &begun.arrivals) {
                self.read(Some(&directory));
                self.tell();
            }
            self.scanner.finish(&directory, &begun, &mut self.listing)?;
            Ok(directory)
        });
        if self.shared.is_stopped() {
            return Err(Error::stopped());
        }
        let now = Instant::now();
        self.shared.meter.scanned(now, scan.as_ref().err());
        match &scan {
            Ok(_) => self.core.handle_listing(began, now, &self.listing),
            Err(error) => self.core.handle_scan_error(began, error.clone()),
        }
        // Of a large directory it is worth more than the time that it takes to make it again.
        if self.listing.entries.len() > KEPT_ENTRIES {
            self.listing = Listing::default();
        }
        scan
    }

    /// Before the names are listed: what changes after that is notified.
    fn listen_to(&mut self, directory: Result<&Directory, &Error>) {
        if !self.ear.can_listen() {
            return;
        }
        let listens = directory
            .map_err(Error::clone)
            .and_then(|directory| self.ear.listen_to(directory).map_err(|errno| not_instant(&self.settings, errno)));
        self.shared.meter.instant(listens.err().as_ref(), directory.is_err());
    }

    /// Reads all that is due, out of the directory that was just listed if there is one.
    fn read(&mut self, directory: Option<&Directory>) {
        // What comes due meanwhile is for the next round: whoever cannot be read at once must not keep the others waiting.
        let now = Instant::now();
        let mut own = None;
        while let Some((id, name)) = self.core.poll_read(now) {
            if self.shared.is_stopped() {
                return;
            }
            if directory.is_none() && own.is_none() {
                match Directory::open_trusted(&self.settings.runtime_dir, self.settings.trust.as_ref()) {
                    Ok(opened) => own = Some(opened),
                    Err(error) => {
                        self.core.handle_exhausted(id, error);
                        continue;
                    }
                }
            }
            if let Some(opened) = directory.or(own.as_ref()) {
                self.read_file(opened, id, &name);
            }
        }
    }

    /// Looks at the processes of what is in force, when all that was listed is read.
    fn check_processes(&mut self) {
        let Some(processes) = &mut self.processes else { return };
        while let Some((followed, pid)) = self.core.poll_process() {
            if self.shared.is_stopped() {
                return;
            }
            self.core.handle_process(followed, processes.look(pid));
        }
        if let Some(pid) = processes.take_hidden() {
            self.settings.log.warn(format_args!(
                "process {pid} is there, but /proc does not show it to this user (hidepid?): such processes count as \
                 running until they are gone altogether"
            ));
        }
    }

    fn read_file(&mut self, directory: &Directory, id: FileId, name: &FileName) {
        self.reads += 1;
        let began = Instant::now();
        let path = || self.settings.runtime_dir.join(&**name);
        let moved = self.ear.moved(name);
        let document = match self.reader.read(directory, name) {
            ReadOutcome::Bytes { stamp, bytes } => {
                let hash = ContentHash::of(bytes);
                // What is in force need not be parsed again, nor what is looked at again because it is none.
                let handoff = self.core.parsed(id, hash).unwrap_or_else(|| Handoff::parse(bytes, hash));
                let pid = handoff.as_ref().ok().and_then(process_of);
                let process = self.processes.as_mut().zip(pid).map(|(processes, pid)| processes.look(pid));
                Document::Content {
                    stamp,
                    recent: is_recent(stamp),
                    moved: moved.is_some_and(|before| {
                        stamp.ctime.is_fine() && stamp.ctime < before && directory.has_alone(name, stamp)
                    }),
                    hash,
                    handoff,
                    process,
                }
            }
            ReadOutcome::Changing => Document::Changing,
            ReadOutcome::Contradictory { stamp, length } => {
                let message = format!("expected {} bytes, as its size says, found {length}", stamp.size);
                let error = Error::new(ErrorKind::Io, message);
                Document::Faulty { stamp: Some(stamp), fault: Fault::Contradictory, error }
            }
            ReadOutcome::Absent => Document::Absent,
            ReadOutcome::Other(kind) => {
                let fault = Fault::Other(kind);
                Document::Faulty { stamp: None, fault, error: fault.file_type_error() }
            }
            ReadOutcome::TooLarge { stamp, size } => {
                let message = format!("expected at most {} bytes, found {size}", self.settings.max_file_size);
                let error = Error::new(ErrorKind::TooLarge, message);
                Document::Faulty { stamp: Some(stamp), fault: Fault::TooLarge, error }
            }
            ReadOutcome::Untrusted { stamp, breach, error } => {
                Document::Faulty { stamp: Some(stamp), fault: Fault::Untrusted(breach), error }
            }
            ReadOutcome::Failed(error) => {
                let fault = Fault::Unreadable(error.raw_os_error().unwrap_or(0));
                Document::Faulty { stamp: None, fault, error: Error::io("read the file", &path(), error) }
            }
            ReadOutcome::Exhausted(error) => {
                let error = Error::io("read the file", &path(), error);
                return self.core.handle_exhausted(id, error);
            }
        };
        self.core.handle_document(began, Instant::now(), id, document);
    }

    /// Brings the registry up to date, then the host: who hears an event finds the registry as the event says.
    fn tell(&mut self) {
        while let Some(change) = self.core.poll_registry() {
            self.shared.registry.set(change.replica, change.handoff);
        }
        while let Some(ticket) = self.core.poll_revoke() {
            if self.shared.channel.revoke(ticket) {
                self.core.handle_revoked(ticket);
            }
        }
        while let Some(room) = self.shared.channel.room() {
            match self.core.poll_event(room == Room::Idle) {
                Some(parcel) => self.shared.channel.offer(parcel),
                None => break,
            }
        }
    }

    pub(super) fn hear_acks(&mut self) {
        let now = Instant::now();
        for ack in self.shared.channel.take_acks() {
            self.core.handle_ack(now, ack.ticket, ack.taken);
        }
    }
}
