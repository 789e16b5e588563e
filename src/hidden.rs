//! [pure] The names that a message has on its way out: hidden, about to be deleted, or back.
//!
//! In: names. Out: names, and what they say of the file.

use std::ffi::{OsStr, OsString};

/// What a hidden name begins and ends with. It is no handoff's, and none of `publish`.
const HIDDEN: (&str, &str) = (".handoff-", ".taken");
/// What the name ends with once it is known that this version was taken, and only the deleting is left to do.
const DONE: &str = ".done";
/// What the name of one that came back begins and ends with.
const BACK: (&str, &str) = ("handoff-", ".json");

/// A name for what a host is about to delete: nobody else's, by its process, the time in nanoseconds, and how many there were.
pub(crate) fn hidden_name(process: u32, nanos: u128, count: u64) -> OsString {
    format!("{}{process}-{nanos:x}-{count}{}", HIDDEN.0, HIDDEN.1).into()
}

/// The name from which a file that was hidden comes back no more when its host has ended; `None` if it has that already.
pub(crate) fn done_name(hidden: &OsStr) -> Option<OsString> {
    Some(format!("{}{DONE}", hidden.to_str()?.strip_suffix(HIDDEN.1)?).into())
}

pub(crate) fn is_done(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with(HIDDEN.0) && name.ends_with(DONE))
}

/// The name of a handoff for what was hidden under that name, which nobody else uses; `None` where that is no hidden name.
pub(crate) fn visible_name(hidden: &OsStr) -> Option<OsString> {
    let middle = hidden.to_str()?.strip_prefix(HIDDEN.0)?;
    let middle = [HIDDEN.1, DONE].into_iter().find_map(|end| middle.strip_suffix(end))?;
    Some(format!("{}{middle}{}", BACK.0, BACK.1).into())
}

/// Whether a file of that name is one that was hidden, and is back: then when it was found says nothing of its age.
pub(crate) fn came_back(name: &OsStr) -> bool {
    let middle = name.to_str().and_then(|name| name.strip_prefix(BACK.0)?.strip_suffix(BACK.1));
    let parts: Vec<_> = middle.map(|middle| middle.split('-').collect()).unwrap_or_default();
    // The time has as many digits for centuries to come.
    matches!(parts[..], [process, nanos, count] if process.parse::<u32>().is_ok() && nanos.len() == 16
        && u64::from_str_radix(nanos, 16).is_ok() && count.parse::<u64>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hidden_name_leads_to_one_that_is_back_and_to_no_other() {
        let hidden = hidden_name(71, 1_764_364_000_123_456_789, 3);
        assert_eq!(hidden, ".handoff-71-187c47b5c9d88d15-3.taken");
        let done = done_name(&hidden).unwrap();
        assert_eq!(done, ".handoff-71-187c47b5c9d88d15-3.done");
        assert_eq!((is_done(&done), is_done(&hidden), done_name(&done)), (true, false, None));
        for name in [hidden, done] {
            let back = visible_name(&name).unwrap();
            assert_eq!(back, "handoff-71-187c47b5c9d88d15-3.json");
            assert!(came_back(&back) && !came_back(&name) && visible_name(&back).is_none());
        }
    }

    #[test]
    fn a_producer_may_call_its_files_nearly_so() {
        for name in [
            "handoff.json",
            "handoff-.json",
            "handoff-1.json",
            "handoff-1-2.json",
            "handoff-1-2-3.json",
            "handoff-gpu0-187c47b5c9d88d15-3.json",
            "handoff-71-187c47b5c9d88d1g-3.json",
            "handoff-71-187c47b5c9d88d15-3-4.json",
            "handoff-71-187c47b5c9d88d15-x.json",
            "xhandoff-71-187c47b5c9d88d15-3.json",
        ] {
            assert!(!came_back(OsStr::new(name)), "{name}");
        }
    }
}
