//! Finds out whether a directory outlives the container or a restart of the machine.

use std::path::{Path, PathBuf};

use super::named_file;

/// Maximum size of the list of mounts.
const MAX_BYTES: u64 = 4 << 20;

/// A directory on a file system that does not last, and for how long it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ephemeral {
    /// In memory.
    Memory,
    /// In the layer that a container adds to its image.
    Container,
}

impl Ephemeral {
    /// What its file system is, and when its content is lost.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Memory => "is in memory (tmpfs), whose content is lost with the container or the machine",
            Self::Container => "is in the container (overlay), whose content is lost with it",
        }
    }
}

/// Whether a directory, or the place at which it will be created, does not last. `None` if it does, or if the system
/// does not say.
#[must_use]
pub fn ephemeral(dir: &Path) -> Option<Ephemeral> {
    let dir = std::path::absolute(dir).ok()?;
    let existing = dir.ancestors().find_map(|dir| dir.canonicalize().ok())?;
    let mounts = named_file::read(Path::new("/proc/self/mountinfo"), MAX_BYTES).ok()?;
    look_up(&String::from_utf8_lossy(&mounts), &existing)
}

/// Pure: `mounts` is the content of `/proc/self/mountinfo`.
fn look_up(mounts: &str, dir: &Path) -> Option<Ephemeral> {
    let mounted = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let at = unescaped(before.split(' ').nth(4)?);
        dir.starts_with(&at).then(|| (at.components().count(), after.split(' ').next().unwrap_or_default().to_owned()))
    };
    // Of two mounts at one place, the later one hides the other.
    let (_, kind) = mounts.lines().filter_map(mounted).max_by_key(|(depth, _)| *depth)?;
    match kind.as_str() {
        "tmpfs" | "ramfs" => Some(Ephemeral::Memory),
        "overlay" | "aufs" => Some(Ephemeral::Container),
        _ => None,
    }
}

/// The kernel writes spaces, tabs, line ends and backslashes of a path as three octal digits: `\040`.
fn unescaped(text: &str) -> PathBuf {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    PathBuf::from(escapes.iter().fold(text.to_owned(), |text, (escape, plain)| text.replace(escape, plain)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTAINER: &str = "\
21 20 0:39 / / rw,relatime master:1 - overlay overlay rw,lowerdir=/a - b
22 21 0:40 / /dev/shm rw - tmpfs shm rw
23 21 254:1 /volumes/a /data rw,relatime - ext4 /dev/vda1 rw
24 23 0:41 / /data/in\\040memory rw - tmpfs tmpfs rw
25 21 0:42 / /run rw - tmpfs tmpfs rw
26 25 254:1 /run /run rw - xfs /dev/vdb rw
";

    #[test]
    fn the_file_system_of_the_innermost_and_latest_mount_counts() {
        let look = |dir: &str| look_up(CONTAINER, Path::new(dir));
        assert_eq!(look("/app/state"), Some(Ephemeral::Container));
        assert_eq!(look("/data"), None);
        assert_eq!(look("/data/dead-letters"), None);
        assert_eq!(look("/database"), Some(Ephemeral::Container), "a name that begins alike is another directory");
        assert_eq!(look("/data/in memory/state"), Some(Ephemeral::Memory));
        assert_eq!(look("/run/forwarder"), None, "the later mount hides the earlier one");
        assert_eq!(look_up("", Path::new("/data")), None);
        assert_eq!(look_up("nonsense\n1 2 - tmpfs", Path::new("/data")), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_directory_that_does_not_exist_yet_is_where_it_will_be_created() {
        let Some(found) = ephemeral(Path::new("/dev/shm")) else { return };
        assert_eq!(ephemeral(Path::new("/dev/shm/not/yet")), Some(found));
    }
}
