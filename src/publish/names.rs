//! [pure] The name of a replica's handoff file.
//!
//! The name is `{pool_id}-{replica_id}.json`. Ids may hold what a name may not, so three rules, in this order:
//!
//! - `/`, `\`, `%`, control characters and a leading `.` are written as `%2F` and the like. Ids without them are not
//!   changed, and nothing leads out of the directory or makes a hidden file.
//! - A name beyond 255 bytes is cut, and ends in `%~` and a hash of both ids. No escaped id holds `%~`.
//! - `a-b` of pool `c` and so on: two replicas can still have one name, as (`a-b`, `c`) and (`a`, `b-c`). The name that
//!   is demanded leaves no way around that, so the file decides. While it is another replica's handoff, the name with
//!   the hash is taken instead; a watcher goes by what a file says, not by its name.

use std::fmt::Write as _;

const SUFFIX: &str = ".json";
/// What the usual file systems allow.
const MAX_NAME_BYTES: usize = 255;

/// The names under which a replica's handoff may be found, the preferred one first. They can be the same.
pub(super) fn names(pool_id: &str, replica_id: &str) -> [String; 2] {
    [handoff_file_name(pool_id, replica_id), distinct_file_name(pool_id, replica_id)]
}

/// The name that a replica's handoff has, unless another replica's has it already.
pub(super) fn handoff_file_name(pool_id: &str, replica_id: &str) -> String {
    let mut name = stem(pool_id, replica_id);
    if name.len() + SUFFIX.len() > MAX_NAME_BYTES {
        return distinct_file_name(pool_id, replica_id);
    }
    name.push_str(SUFFIX);
    name
}

/// The name that no other replica's handoff has.
pub(super) fn distinct_file_name(pool_id: &str, replica_id: &str) -> String {
    let tail = format!("%~{:016x}{SUFFIX}", hash(pool_id, replica_id));
    let mut name = stem(pool_id, replica_id);
    let mut end = name.len().min(MAX_NAME_BYTES - tail.len());
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.truncate(end);
    name + &tail
}

fn stem(pool_id: &str, replica_id: &str) -> String {
    let mut stem = String::with_capacity(pool_id.len() + replica_id.len() + 1 + SUFFIX.len());
    push_escaped(&mut stem, pool_id);
    stem.push('-');
    push_escaped(&mut stem, replica_id);
    stem
}

fn push_escaped(name: &mut String, id: &str) {
    for c in id.chars() {
        if matches!(c, '/' | '\\' | '%') || c.is_control() || (c == '.' && name.is_empty()) {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                let _ = write!(name, "%{byte:02X}");
            }
        } else {
            name.push(c);
        }
    }
}

/// FNV-1a: the same in every release, as it is part of file names. Should two replicas share one, the file decides here
/// too, and the second one is refused.
fn hash(pool_id: &str, replica_id: &str) -> u64 {
    // 0xFF is in no UTF-8, so it keeps the ids apart.
    let bytes = pool_id.bytes().chain([0xFF]).chain(replica_id.bytes());
    bytes.fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3))
}
