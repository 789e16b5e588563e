//! SIGINT and SIGTERM end a command in order.

use crate::output::Failure;

/// Signals that are caught from now on, and kept until someone says what they are to do.
#[derive(Debug)]
pub(crate) struct Caught {
    #[cfg(unix)]
    signals: signal_hook::iterator::Signals,
}

#[cfg(unix)]
impl Caught {
    pub(crate) fn new() -> Result<Self, Failure> {
        use signal_hook::consts::{SIGINT, SIGTERM};
        let signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])
            .map_err(|error| Failure::new(format_args!("cannot catch signals: {error}")))?;
        Ok(Self { signals })
    }

    /// Calls `first` with the first signal, on a thread of its own. When that has returned, the next signal kills: what it
    /// asked for may hang. So `first` itself must not.
    pub(crate) fn then(mut self, first: impl FnOnce(i32) + Send + 'static) -> Result<(), Failure> {
        let wait = move || {
            let mut first = Some(first);
            for signal in self.signals.forever() {
                match first.take() {
                    Some(first) => first(signal),
                    None => drop(signal_hook::low_level::emulate_default_handler(signal)),
                }
            }
        };
        match std::thread::Builder::new().name("signals".into()).spawn(wait) {
            Ok(_) => Ok(()),
            Err(error) => Err(Failure::new(format_args!("cannot start the thread for signals: {error}"))),
        }
    }
}

/// Elsewhere Ctrl-C ends the process, as by default.
#[cfg(not(unix))]
impl Caught {
    pub(crate) fn new() -> Result<Self, Failure> {
        Ok(Self {})
    }

    pub(crate) fn then(self, first: impl FnOnce(i32) + Send + 'static) -> Result<(), Failure> {
        drop(first);
        Ok(())
    }
}
