//! The name of this process in the consumer group, the same after a restart: SLS keeps the shards of a silent consumer for
//! the group's timeout, and gives them at once to one that comes back under its old name.

use std::fs::File;
use std::io;

use crate::core::named_file;
use crate::core::state_dir::StateDir;

/// Maximum number of processes that share a state directory.
const MAX_PROCESSES: u32 = 64;

/// Maximum size of a kept id.
const MAX_BYTES: u64 = 64;

/// An id that is unique among the live processes of a state directory.
#[derive(Debug)]
pub(super) struct ConsumerId {
    pub(super) id: String,
    /// Locked as long as the process uses the id.
    _lock: File,
}

impl ConsumerId {
    /// Takes the first kept id that no live process uses, or creates one. `None` without a state directory.
    ///
    /// # Errors
    /// The directory cannot be written to or has no locks, or too many processes use it.
    pub(super) fn take(state: &StateDir) -> io::Result<Option<Self>> {
        for number in 1..=MAX_PROCESSES {
            let Some(path) = state.path(&format!("consumer-{number}.lock")) else { return Ok(None) };
            let Some(lock) = named_file::lock(&path)? else { continue };
            let name = format!("consumer-{number}");
            let kept = state.read(&name, MAX_BYTES)?.and_then(|kept| String::from_utf8(kept).ok());
            if let Some(id) = kept.filter(|id| is_id(id)) {
                return Ok(Some(Self { id, _lock: lock }));
            }
            let id = format!("{:08x}", fastrand::u32(..));
            state.write(&name, id.as_bytes())?;
            return Ok(Some(Self { id, _lock: lock }));
        }
        Err(io::Error::other(format!("{MAX_PROCESSES} processes use it already")))
    }
}

fn is_id(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(state: &StateDir) -> ConsumerId {
        ConsumerId::take(state).unwrap().unwrap()
    }

    #[test]
    fn a_restarted_process_has_its_id_again_and_a_second_one_gets_another() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(&dir.path().join("state")).unwrap();
        let first = take(&state);
        let second = take(&state);
        assert_ne!(first.id, second.id);
        let was = first.id.clone();
        drop(first);
        assert_eq!(take(&state).id, was);
        drop(second);
    }

    #[test]
    fn a_damaged_id_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(&dir.path().join("state")).unwrap();
        state.write("consumer-1", b"\xff\n../x").unwrap();
        assert!(is_id(&take(&state).id));
    }

    #[test]
    fn without_a_directory_there_is_no_id() {
        assert!(ConsumerId::take(&StateDir::none()).unwrap().is_none());
    }
}
