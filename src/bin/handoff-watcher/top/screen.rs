//! The terminal: drawn on as long as the screen is there, and afterwards as it was, whichever way it ends.

use std::fs::File;
use std::io::{self, Write};
use std::panic;
use std::sync::Arc;

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

/// Gives the terminal back: from a panic, from a signal, at the end.
#[derive(Clone)]
pub(crate) struct Restorer(Arc<Mutex<Option<Terminal>>>);

struct Terminal {
    file: File,
    /// Its modes as they were, if they were changed.
    raw: Option<RawTerminal<File>>,
}

impl Screen {
    pub(crate) fn enter(terminal: File, raw: bool) -> io::Result<Self> {
        let raw = raw.then(|| terminal.try_clone()?.into_raw_mode()).transpose()?;
        let restorer = Restorer(Arc::new(Mutex::new(Some(Terminal { file: terminal, raw }))));
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
        let lines: Vec<_> =
            lines.iter().map(|line| format!("{}{}", text(line, is_coloured), clear::UntilNewline)).collect();
        self.write(format_args!("{}{}{}", cursor::Goto(1, 1), lines.join("\r\n"), clear::AfterCursor))
    }

    fn write(&self, text: std::fmt::Arguments<'_>) -> io::Result<()> {
        let text = text.to_string();
        match &mut *self.restorer.0.lock() {
            Some(terminal) => terminal.file.write_all(text.as_bytes()),
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
    fn restore(&self) {
        // Whoever holds it is on its way to the end, too.
        let Some(terminal) = self.0.try_lock().and_then(|mut terminal| terminal.take()) else { return };
        let Terminal { mut file, raw } = terminal;
        // As dropping it does; what can be done where this fails?
        drop(raw);
        let _ = file.write_all(format!("{}{}", screen::ToMainScreen, cursor::Show).as_bytes());
    }

    /// What can be done while someone hangs in writing.
    pub(crate) fn modes(&self) {
        let Some(terminal) = self.0.try_lock() else { return };
        if let Some(raw) = terminal.as_ref().and_then(|terminal| terminal.raw.as_ref()) {
            let _ = raw.suspend_raw_mode();
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

    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{Termios, tcgetattr};

    use super::*;

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

    /// All of it, once their side is closed: it comes in pieces.
    fn said(ours: &mut File) -> String {
        let (mut said, mut text) = (Vec::new(), [0; 4096]);
        while let Ok(read @ 1..) = ours.read(&mut text) {
            said.extend_from_slice(&text[..read]);
        }
        String::from_utf8_lossy(&said).into_owned()
    }

    #[test]
    fn a_panic_leaves_the_terminal_as_it_was() {
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
        drop(theirs);
        let said = said(&mut ours);
        let drawn = said.find("drawn").unwrap();
        let ends =
            ["\u{1b}[?1049l", "\u{1b}[?25h"].map(|end| said.find(end).unwrap_or_else(|| panic!("{end:?} {said:?}")));
        assert!(ends.iter().all(|end| *end > drawn), "{said:?}");
    }
}
