//! [channel] A file descriptor that can be read exactly while a flag is up, for epoll, mio, tokio, libuv, glib, asyncio.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// A socket pair with one byte in it while the flag is up.
#[derive(Debug)]
pub(crate) struct Readable {
    outside: Arc<UnixStream>,
    inside: UnixStream,
    up: bool,
}

impl Readable {
    pub(crate) fn new(up: bool) -> io::Result<Self> {
        let (outside, inside) = UnixStream::pair()?;
        outside.set_nonblocking(true)?;
        inside.set_nonblocking(true)?;
        let mut readable = Self { outside: Arc::new(outside), inside, up: false };
        readable.set(up);
        Ok(readable)
    }

    /// The end that the host polls, and must never read from.
    pub(crate) fn outside(&self) -> Arc<UnixStream> {
        self.outside.clone()
    }

    /// Leaves no room for the byte: the next time that the flag goes up the system refuses.
    #[cfg(test)]
    pub(crate) fn clog(&mut self) {
        while self.inside.write(&[0; 4096]).is_ok() {}
        while self.inside.write(&[0]).is_ok() {}
    }

    pub(crate) fn set(&mut self, up: bool) {
        if self.up == up {
            return;
        }
        // There is never more than one byte on the way, so neither call can find the buffer full or, unless the host
        // read what is not its own, empty. What fails is made up for by the next call, as the flag stays what it was.
        let mut byte = [1];
        let done = if up { self.inside.write(&byte) } else { (&*self.outside).read(&mut byte) };
        let empty = matches!(&done, Err(error) if !up && error.kind() == io::ErrorKind::WouldBlock);
        if empty || matches!(done, Ok(1)) {
            self.up = up;
        }
    }
}
