//! The terminal: drawn on as long as the screen is there, and afterwards as it was, whichever way it ends.

use std::fs::File;
use std::io::{self, Write};
use std::panic;
use std::sync::Arc;
use std::time::Duration;

use anstyle::Style;
use parking_lot::Mutex;
use termion::raw::{IntoRawMode, RawTerminal};
use termion::{clear, cursor, screen};

use super::view::Line;
use crate::render;

/// The alternate screen, without a cursor and, where keys are read, without the terminal's own handling of them.
pub(crate) struct Screen {
    restorer: Restorer,
}

/// How long a picture may be in the way of the end: whoever hangs in writing it, hangs.
const PATIENCE: Duration = Duration::from_millis(60);

/// Gives the terminal back: from a panic, from a signal, at the end.
#[derive(Clone)]
pub(crate) struct Restorer(Arc<Terminal>);

struct Terminal {
    /// Its modes as they were, if they were changed. Not behind the lock, which somebody may hold who hangs in writing.
    modes: Option<RawTerminal<File>>,
    /// What is drawn on, until it is given back.
    file: Mutex<Option<File>>,
}

impl Screen {
    pub(crate) fn enter(terminal: File, raw: bool) -> io::Result<Self> {
        let modes = raw.then(|| terminal.try_clone()?.into_raw_mode()).transpose()?;
        let restorer = Restorer(Arc::new(Terminal { modes, file: Mutex::new(Some(terminal)) }));
        let screen = Self { restorer: restorer.clone() };
        // Before the message of the panic, which would be lost with the alternate screen.
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            restorer.restore();
            before(panic);
        }));
        screen.write(format_args!("{}{}{}", screen::ToAlternateScreen, cursor::Hide, clear::All))?;
        Ok(screen)
    }

    pub(crate) fn restorer(&self) -> Restorer {
        self.restorer.clone()
    }

    /// Puts these lines in the place of those before, in one piece.
    pub(crate) fn draw(&self, lines: Vec<Line>, is_coloured: bool) -> io::Result<()> {
        // What was there goes before each line comes: behind one as wide as the terminal, the cursor stands on its last column.
        let last = lines.len().saturating_sub(1);
        let lines = lines.iter().enumerate().map(|(index, line)| match index == last {
            true => format!("{}{}", clear::AfterCursor, text(line, is_coloured)),
            false => format!("{}{}\r\n", clear::UntilNewline, text(line, is_coloured)),
        });
        self.write(format_args!("{}{}", cursor::Goto(1, 1), lines.collect::<String>()))
    }

    fn write(&self, text: std::fmt::Arguments<'_>) -> io::Result<()> {
        let text = text.to_string();
        match &mut *self.restorer.0.file.lock() {
            Some(file) => file.write_all(text.as_bytes()),
            None => Ok(()),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.restorer.restore();
    }
}

impl Restorer {
    /// All of it; where somebody hangs in writing, its modes alone.
    pub(crate) fn restore(&self) {
        self.modes();
        let Some(mut file) = self.0.file.try_lock_for(PATIENCE).and_then(|mut file| file.take()) else { return };
        // What can be done where this fails?
        let _ = file.write_all(format!("{}{}", screen::ToMainScreen, cursor::Show).as_bytes());
    }

    /// What never waits, also on a terminal that is halted.
    pub(crate) fn modes(&self) {
        if let Some(modes) = &self.0.modes {
            let _ = modes.suspend_raw_mode();
        }
    }
}

/// A line with its colours, or without.
pub(crate) fn text(line: &Line, is_coloured: bool) -> String {
    let part = |(style, text): &(Style, String)| if is_coloured { render::styled(*style, text) } else { text.clone() };
    line.iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{Termios, tcgetattr};

    use super::*;

    /// The hook for panics is everybody's.
    static HOOK: Mutex<()> = Mutex::new(());

    /// The last of what enters the alternate screen, and what leaves it.
    const START: &str = "\u{1b}[?25l\u{1b}[2J";
    const END: &str = "\u{1b}[?1049l\u{1b}[?25h";

    /// Our side of a pseudo terminal, and theirs.
    fn terminal() -> (File, File) {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).and_then(|()| unlockpt(&ours)).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
        (File::from(ours), OpenOptions::new().read(true).write(true).open(name).unwrap())
    }

    fn modes(terminal: &impl AsFd) -> String {
        let Termios { input_modes, output_modes, control_modes, local_modes, .. } = tcgetattr(terminal).unwrap();
        format!("{input_modes:?} {output_modes:?} {control_modes:?} {local_modes:?}")
    }

    /// What was drawn, up to this end: it comes in pieces, and no more may come while their side is open.
    fn said(ours: &mut File, end: &str) -> String {
        let (mut said, mut text) = (String::new(), [0; 4096]);
        while !said.ends_with(end) {
            let mut waits = [PollFd::new(ours, PollFlags::IN)];
            let ready = poll(&mut waits, Some(&Timespec { tv_sec: 10, tv_nsec: 0 })).unwrap();
            assert_eq!(ready, 1, "{said:?}, and then nothing instead of {end:?}");
            let read = ours.read(&mut text).unwrap();
            said.push_str(str::from_utf8(&text[..read]).unwrap());
        }
        said
    }

    #[test]
    fn a_panic_leaves_the_terminal_as_it_was() {
        let _alone = HOOK.lock();
        let (mut ours, theirs) = terminal();
        let before = modes(&theirs);
        let other = theirs.try_clone().unwrap();
        let message = Arc::new(Mutex::new(String::new()));
        let (seen, looks) = (message.clone(), theirs.try_clone().unwrap());
        panic::set_hook(Box::new(move |_| *seen.lock() = modes(&looks)));
        let end = catch_unwind(AssertUnwindSafe(|| {
            let screen = Screen::enter(other, true).unwrap();
            screen.draw(vec![vec![(Style::new(), String::from("drawn"))]], false).unwrap();
            assert_ne!(modes(&theirs), before, "there is something to restore");
            panic!("provoked");
        }));
        let _ = panic::take_hook();
        assert!(end.is_err());
        assert_eq!(*message.lock(), before, "when the message is printed, it can be read");
        assert_eq!(modes(&theirs), before);
        let said = said(&mut ours, END);
        assert!(said.ends_with(&format!("drawn{END}")), "{said:?}");
    }

    #[test]
    fn regression_whoever_hangs_in_writing_keeps_no_modes() {
        let _alone = HOOK.lock();
        let (mut ours, theirs) = terminal();
        let before = modes(&theirs);
        let screen = Screen::enter(theirs.try_clone().unwrap(), true).unwrap();
        said(&mut ours, START);
        let hangs = screen.restorer.0.file.lock();
        screen.restorer().restore();
        assert_eq!(modes(&theirs), before);
        drop(hangs);
        screen.restorer().restore();
        assert_eq!(said(&mut ours, END), END);
        drop(screen);
        let _ = panic::take_hook();
    }

    #[test]
    fn regression_nothing_is_erased_behind_a_line() {
        let _alone = HOOK.lock();
        let (mut ours, theirs) = terminal();
        let screen = Screen::enter(theirs, true).unwrap();
        said(&mut ours, START);
        let line = |text: &str| vec![(Style::new(), String::from(text))];
        screen.draw(vec![line("as wide"), line("as"), line("the terminal")], false).unwrap();
        let drawn = "\u{1b}[1;1H\u{1b}[Kas wide\r\n\u{1b}[Kas\r\n\u{1b}[Jthe terminal";
        assert_eq!(said(&mut ours, "the terminal"), drawn);
        drop(screen);
        assert_eq!(said(&mut ours, END), END, "nothing behind it");
        let _ = panic::take_hook();
    }
}
