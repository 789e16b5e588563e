//! A writer: a process that changes handoffs in every way that is known, in a sequence that its seed decides.

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use handoff_watcher::HandoffPayload;

use crate::common::witness::{fingerprint, monotonic, vouched};
use crate::random::Random;

/// The longest that a document which is overwritten without being truncated may stay half overwritten. The library promises
/// not to mix pieces that are less than 50 ms apart; more cannot be told from a writer that is done. The clock of a file
/// system, by which its stamps are compared, ticks every 4 ms.
const PROMISED: Duration = Duration::from_millis(45);
/// How long a file must be whole, and left alone, to count as there again.
const SEEN: Duration = Duration::from_millis(200);

/// Where a writer writes, and what it may do there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Arena {
    /// Files of many writers in one directory.
    Plain,
    /// The directory is a symbolic link that flips to another one.
    Flip,
    /// Names lead through `..data`, which flips, as in Kubernetes.
    Kubernetes,
    /// The directory is removed, and made again.
    Recreate,
}

impl Arena {
    pub(crate) fn name(self) -> String {
        clap::ValueEnum::to_possible_value(&self).expect("a name").get_name().to_owned()
    }
}

/// A file was not there, or not for long enough to be seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Absence {
    pub(crate) since: Duration,
    pub(crate) until: Duration,
    /// How often it was removed.
    pub(crate) times: u64,
}

/// What a writer did in one round.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) acts: u64,
    pub(crate) versions: u64,
    /// Files with the fingerprints of mixtures that lay on the disk for longer than is promised: the machine gave no time.
    pub(crate) late: Vec<(PathBuf, u64)>,
    pub(crate) absences: Vec<(PathBuf, Absence)>,
}

pub(crate) struct Writer {
    dir: PathBuf,
    /// Beside the directory, on the same file system.
    side: PathBuf,
    number: u64,
    random: Random,
    serial: u64,
    /// How often a whole directory was replaced.
    turn: u64,
    documents: Vec<Document>,
    /// The absences that are not over.
    absent: BTreeMap<PathBuf, Absence>,
    work: Work,
}

/// What a file holds at the moment; shared by none.
struct Document {
    path: PathBuf,
    replica: String,
    text: String,
    removable: bool,
    flip: bool,
}

impl Writer {
    pub(crate) fn new(dir: &Path, number: u64, seed: u64) -> Self {
        let side = dir.parent().expect("a parent").join(format!("side-{number}"));
        fs::create_dir_all(&side).unwrap_or_else(|error| panic!("{}: {error}", side.display()));
        Self {
            dir: dir.to_owned(),
            side,
            number,
            random: Random::new(seed ^ (number << 32)),
            serial: 0,
            turn: 0,
            documents: Vec::new(),
            absent: BTreeMap::new(),
            work: Work::default(),
        }
    }

    /// Writes for so long, but at least once, and goes on where the last round ended.
    pub(crate) fn round(&mut self, arena: Arena, duration: Duration) -> io::Result<Work> {
        let end = Instant::now() + duration;
        match arena {
            Arena::Plain => self.plain(end)?,
            Arena::Flip => self.flip(end)?,
            Arena::Kubernetes => self.kubernetes(end)?,
            Arena::Recreate => self.recreate(end)?,
        }
        self.work.absences.extend(std::mem::take(&mut self.absent));
        Ok(std::mem::take(&mut self.work))
    }

    /// Before a file is touched.
    fn touches(&mut self, path: &Path) {
        if self.absent.get(path).is_some_and(|absence| absence.until + SEEN <= monotonic()) {
            self.work.absences.extend(self.absent.remove_entry(path));
        }
    }

    /// After a file is removed, which it is since then at the latest.
    fn removed(&mut self, path: &Path, since: Duration) {
        let absence = Absence { since, until: Duration::MAX, times: 0 };
        self.absent.entry(path.to_owned()).or_insert(absence).times += 1;
    }

    /// When a file is whole.
    fn left_alone(&mut self, path: &Path) {
        if let Some(absence) = self.absent.get_mut(path) {
            absence.until = monotonic();
        }
    }

    fn text(&mut self, replica: &str, pad: usize) -> String {
        self.serial += 1;
        self.work.versions += 1;
        vouched(replica, self.number * 1_000_000_000 + self.serial, pad)
    }

    fn pad(&mut self) -> usize {
        if self.random.one_in(50) { 60_000 } else { self.random.below(2000) }
    }

    fn pause(&mut self, most_ms: u64) -> Duration {
        Duration::from_micros(self.random.below(most_ms as usize * 1000) as u64)
    }

    // ---- many files in one directory ----

    fn documents(&self) -> Vec<Document> {
        let n = self.number;
        let mut files = Vec::new();
        for k in 0..4 {
            files.push((format!("w{n}-keep{k}.json"), format!("w{n}-k{k}"), false, false));
        }
        for k in 0..3 {
            files.push((format!("w{n}-gone{k}.json"), format!("w{n}-g{k}"), true, false));
        }
        files.push((format!("w{n}-link.json"), format!("w{n}-l"), false, true));
        // Two claims of one replica.
        for k in 0..2 {
            files.push((format!("w{n}-both{k}.json"), format!("w{n}-b"), false, false));
        }
        files
            .into_iter()
            .map(|(name, replica, removable, flip)| Document {
                path: self.dir.join(name),
                replica,
                text: String::new(),
                removable,
                flip,
            })
            .collect()
    }

    fn plain(&mut self, end: Instant) -> io::Result<()> {
        let mut files = std::mem::take(&mut self.documents);
        if files.is_empty() {
            files = self.documents();
            for file in &mut files {
                self.rename(file)?;
            }
        }
        loop {
            let place = self.random.below(files.len());
            let file = &mut files[place];
            self.touches(&file.path);
            self.act(file)?;
            self.left_alone(&file.path);
            self.work.acts += 1;
            if Instant::now() >= end {
                break;
            }
            let pause = self.pause(8);
            sleep(pause);
        }
        self.documents = files;
        Ok(())
    }

    fn act(&mut self, file: &mut Document) -> io::Result<()> {
        if file.flip {
            return self.relink(file);
        }
        match self.random.below(14) {
            0 | 1 => self.rename(file),
            2 => self.overwrite(file),
            3 | 4 => self.same_size_and_mtime(file),
            5 => self.slowly(file),
            6 | 7 => self.pieces(file),
            8 => self.older(file),
            9 => {
                if let Ok(opened) = OpenOptions::new().write(true).open(&file.path) {
                    opened.set_times(times(SystemTime::now()))?;
                }
                Ok(())
            }
            10 if !file.text.is_empty() => fs::write(&file.path, &file.text),
            11 => {
                self.serial += 1;
                // Two of them are named by what is said of them.
                let serial = self.number * 1_000_000_000 + self.serial;
                let named = [format!("{serial}"), format!(r#"{{"pool_id":{serial}}}"#)];
                fs::write(&file.path, ["", "{", &named[0], &named[1]][self.random.below(4)])?;
                let pause = self.pause(400);
                sleep(pause);
                self.overwrite(file)
            }
            12 | 13 if file.removable => {
                let since = monotonic();
                fs::remove_file(&file.path)?;
                self.removed(&file.path, since);
                let most = [1, 60, 300][self.random.below(3)];
                let pause = self.pause(most);
                sleep(pause);
                if self.random.one_in(2) { self.rename(file) } else { self.overwrite(file) }
            }
            _ => self.rename(file),
        }
    }

    fn rename(&mut self, file: &mut Document) -> io::Result<()> {
        let pad = self.pad();
        file.text = self.text(&file.replica, pad);
        let beside = self.side.join("new");
        fs::write(&beside, &file.text)?;
        fs::rename(beside, &file.path)
    }

    fn overwrite(&mut self, file: &mut Document) -> io::Result<()> {
        let pad = self.pad();
        file.text = self.text(&file.replica, pad);
        fs::write(&file.path, &file.text)
    }

    /// Other bytes, as many, in the same inode, under the same mtime.
    fn same_size_and_mtime(&mut self, file: &mut Document) -> io::Result<()> {
        let Ok(before) = fs::metadata(&file.path) else { return self.rename(file) };
        let old = std::mem::take(&mut file.text);
        file.text = self.sibling(file, old.len());
        let mut opened = OpenOptions::new().write(true).open(&file.path)?;
        let began = Instant::now();
        opened.write_all(file.text.as_bytes())?;
        if began.elapsed() > PROMISED {
            self.late(file, &old, 0..file.text.len());
        }
        opened.set_len(file.text.len() as u64)?;
        opened.set_times(times(before.modified()?))
    }

    /// Writing a piece took so long that whatever lay on the disk meanwhile may have been taken for the whole: the old
    /// document up to the start of the piece, and what a write that is not done yet leaves, page by page.
    fn late(&mut self, file: &Document, old: &str, piece: std::ops::Range<usize>) {
        let pages = (piece.start..piece.end).filter(|place| place % 4096 == 0);
        for place in pages.chain([piece.start]).filter(|place| *place > 0) {
            let mixture = [&file.text.as_bytes()[..place], &old.as_bytes()[place..]].concat();
            // What is no handoff is told as `invalid`, and needs no excuse.
            if let Ok(payload) = HandoffPayload::parse(&mixture) {
                self.work.late.push((file.path.clone(), fingerprint(&payload)));
            }
        }
    }

    /// Another document of the same length.
    fn sibling(&mut self, file: &Document, length: usize) -> String {
        let empty = vouched(&file.replica, 0, 0).len();
        self.text(&file.replica, length - empty)
    }

    /// Truncated, then in pieces, however long it takes.
    fn slowly(&mut self, file: &mut Document) -> io::Result<()> {
        let pad = self.pad();
        file.text = self.text(&file.replica, pad);
        let mut opened = File::create(&file.path)?;
        for piece in file.text.as_bytes().chunks(1 + file.text.len() / 4) {
            opened.write_all(piece)?;
            let most = if self.random.one_in(8) { 300 } else { 30 };
            let pause = self.pause(most);
            sleep(pause);
        }
        Ok(())
    }

    /// Over the old bytes, in pieces: for a moment the file is neither the one nor the other, and yet is JSON.
    fn pieces(&mut self, file: &mut Document) -> io::Result<()> {
        if self.random.one_in(2) {
            self.rename(file)?;
        }
        if fs::metadata(&file.path).is_err() {
            return self.rename(file);
        }
        let old = std::mem::take(&mut file.text);
        file.text = self.sibling(file, old.len());
        let mut opened = OpenOptions::new().write(true).open(&file.path)?;
        opened.seek(SeekFrom::Start(0))?;
        let (mut last, mut start) = (Instant::now(), 0);
        let text = file.text.clone();
        for piece in text.as_bytes().chunks(1 + text.len() / 3) {
            let before = Instant::now();
            opened.write_all(piece)?;
            if last.elapsed() > PROMISED {
                self.late(file, &old, start..start + piece.len());
            }
            (last, start) = (before, start + piece.len());
            let pause = self.pause(20);
            sleep(pause);
        }
        opened.set_len(file.text.len() as u64)
    }

    /// An older file takes its place.
    fn older(&mut self, file: &mut Document) -> io::Result<()> {
        let pad = self.pad();
        file.text = self.text(&file.replica, pad);
        let beside = self.side.join("old");
        fs::write(&beside, &file.text)?;
        let age = Duration::from_secs(self.random.below(100_000) as u64);
        OpenOptions::new().write(true).open(&beside)?.set_times(times(SystemTime::now() - age))?;
        fs::rename(beside, &file.path)
    }

    /// A link that leads elsewhere.
    fn relink(&mut self, file: &mut Document) -> io::Result<()> {
        let pad = self.pad();
        file.text = self.text(&file.replica, pad);
        let target = self.side.join(format!("target-{}", self.random.below(3)));
        let beside = self.side.join("link");
        // The one that it leads to now may be among them: it is replaced, too.
        fs::write(self.side.join("content"), &file.text)?;
        fs::rename(self.side.join("content"), &target)?;
        symlink(&target, &beside)?;
        fs::rename(beside, &file.path)
    }

    // ---- whole directories ----

    /// A directory with one document for each of five replicas.
    fn fill(&mut self, dir: &Path) -> io::Result<()> {
        for k in 0..5 {
            let replica = format!("w{}-{k}", self.number);
            let text = self.text(&replica, 300);
            fs::write(dir.join(format!("{k}.json")), text)?;
        }
        Ok(())
    }

    fn flip(&mut self, end: Instant) -> io::Result<()> {
        let beside = self.side.join("link");
        loop {
            let target = self.side.join(format!("v{}", self.turn));
            fs::create_dir(&target)?;
            self.fill(&target)?;
            symlink(&target, &beside)?;
            fs::rename(&beside, &self.dir)?;
            let side = self.side.clone();
            if self.turned(|before| side.join(format!("v{before}")), end)? {
                return Ok(());
            }
        }
    }

    fn kubernetes(&mut self, end: Instant) -> io::Result<()> {
        if self.turn == 0 {
            for k in 0..5 {
                symlink(format!("..data/{k}.json"), self.dir.join(format!("{k}.json")))?;
            }
        }
        loop {
            let turn = self.turn;
            let target = self.dir.join(format!("..v{turn}"));
            fs::create_dir(&target)?;
            self.fill(&target)?;
            symlink(format!("..v{turn}"), self.dir.join("..data_tmp"))?;
            fs::rename(self.dir.join("..data_tmp"), self.dir.join("..data"))?;
            let dir = self.dir.clone();
            if self.turned(|before| dir.join(format!("..v{before}")), end)? {
                return Ok(());
            }
        }
    }

    /// Removes the directory of the turn before; true when the time is over.
    fn turned(&mut self, dir: impl FnOnce(u64) -> PathBuf, end: Instant) -> io::Result<bool> {
        if let Some(before) = self.turn.checked_sub(1) {
            remove_all(&dir(before))?;
        }
        self.turn += 1;
        self.work.acts += 1;
        if Instant::now() >= end {
            return Ok(true);
        }
        let pause = self.pause(60);
        sleep(pause);
        Ok(false)
    }

    fn recreate(&mut self, end: Instant) -> io::Result<()> {
        let files: Vec<_> = (0..5).map(|k| self.dir.join(format!("{k}.json"))).collect();
        loop {
            match fs::create_dir(&self.dir) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => self.fill(&self.dir.clone())?,
            }
            files.iter().for_each(|file| self.left_alone(file));
            self.work.acts += 1;
            let pause = self.pause(300);
            sleep(pause);
            if Instant::now() >= end {
                return Ok(());
            }
            files.iter().for_each(|file| self.touches(file));
            let since = monotonic();
            remove_all(&self.dir)?;
            files.iter().for_each(|file| self.removed(file, since));
            let most = [1, 40, 200][self.random.below(3)];
            let pause = self.pause(most);
            sleep(pause);
        }
    }
}

/// Both times: to set one alone has no effect on some FUSE file systems.
fn times(time: SystemTime) -> FileTimes {
    FileTimes::new().set_accessed(time).set_modified(time)
}

/// On FUSE a file that somebody has open stays in its directory, under a hidden name, until it is closed.
fn remove_all(dir: &Path) -> io::Result<()> {
    for _ in 0..100 {
        match fs::remove_dir_all(dir) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => sleep(Duration::from_millis(1)),
            done => return done,
        }
    }
    fs::remove_dir_all(dir)
}
