//! Where the log goes, and what never goes there.

use env_logger::{Builder, Env, Logger};
use log::{Log, Metadata, Record};

/// What the client writes of itself, however much is asked for: each request as it is sent, with the token, and whatever an
/// engine's URL has in it.
const WIRE: [&str; 2] = ["ureq", "ureq_proto"];
/// All that the library tells is an event here, too, and is logged as such.
const DEFAULT: &str = "info,handoff_watcher::event=off";

/// On standard error, as much as `RUST_LOG` says, and nothing of what is on the wire.
pub(crate) struct Discreet(Logger);

impl Discreet {
    pub(crate) fn new() -> Self {
        Self(Builder::from_env(Env::default().default_filter_or(DEFAULT)).build())
    }

    /// Makes it the log of this process.
    #[allow(dead_code)] // In a test there is another around it.
    pub(crate) fn start() {
        let logger = Self::new();
        log::set_max_level(logger.0.filter());
        // There is one already where somebody else has made it.
        let _ = log::set_boxed_logger(Box::new(logger));
    }
}

impl Log for Discreet {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let krate = metadata.target().split("::").next().unwrap_or_default();
        !WIRE.contains(&krate) && self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}
