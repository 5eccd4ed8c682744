//! The missed events of each isolated destination in one directory. All destinations of the process share one claim, so
//! that none of them waits for another.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::reader::FileReader;
use super::replay_claim::{ClaimError, ReplayClaim};
use super::{Letter, Reason, Record, StoreError};
use crate::core::destination_name::DestinationName;

/// Maximum number of bytes of the logs and events that [`MissedInDirectory::next`] returns, except for the last one.
const MAX_BYTES: usize = 8 << 20;

/// The claim, as long as a destination uses it.
#[derive(Debug, Default)]
pub(super) struct SharedClaim {
    claim: Option<ReplayClaim>,
    users: usize,
    /// Files with dead letters that were delivered and are still in them.
    changed: BTreeSet<PathBuf>,
    /// Files without missed events of a destination: they are not read for it again.
    without: BTreeSet<(FileVersion, DestinationName)>,
}

/// A file that was set aside, as long as nobody rewrites it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct FileVersion {
    path: PathBuf,
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

/// The missed events of one destination. Blocks for the disk.
#[derive(Debug)]
pub struct MissedInDirectory {
    shared: Arc<Mutex<SharedClaim>>,
    destination: DestinationName,
    /// Files that are not read yet.
    rest: VecDeque<PathBuf>,
    reading: Option<Reading>,
    /// Files with events that were returned.
    given_from: BTreeSet<PathBuf>,
}

#[derive(Debug)]
struct Reading {
    version: FileVersion,
    file: FileReader,
    /// Whether nothing in it is for the destination, as far as it was read.
    is_without: bool,
}

impl MissedInDirectory {
    /// Claims what the directory has now. `set_aside` claims the dead letters in the file that is being written, while
    /// nobody writes.
    pub(super) fn take(
        shared: &Arc<Mutex<SharedClaim>>,
        dir: &Path,
        destination: DestinationName,
        set_aside: impl FnOnce(&ReplayClaim) -> Result<(), StoreError>,
    ) -> Result<Self, ClaimError> {
        let mut this = lock(shared);
        if this.claim.is_none() {
            this.claim = Some(ReplayClaim::of_earlier(dir)?);
            this.changed.clear();
        }
        this.users += 1;
        // From here on, dropping it releases the claim.
        let mut missed = Self {
            shared: Arc::clone(shared),
            destination,
            rest: VecDeque::new(),
            reading: None,
            given_from: BTreeSet::new(),
        };
        let claim = this.claim.as_ref().expect("it was just taken");
        let listed = set_aside(claim).and_then(|()| claim.mend()).and_then(|()| claim.files());
        let paths = match listed {
            Ok(paths) => paths,
            Err(error) => {
                drop(this);
                return Err(error.into());
            }
        };
        let versions: BTreeSet<FileVersion> = paths.iter().filter_map(|path| FileVersion::of(path)).collect();
        this.without.retain(|(version, _)| versions.contains(version));
        let has_none = |version: FileVersion| this.without.contains(&(version, missed.destination.clone()));
        missed.rest = paths.into_iter().filter(|path| !FileVersion::of(path).is_some_and(has_none)).collect();
        drop(this);
        Ok(missed)
    }

    /// The next missed events in the order in which they were written: at most `most`, and about 8 MiB. Empty when
    /// there are no more. Unreadable lines stay in the file.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn next(&mut self, most: usize) -> Result<Vec<Record>, ClaimError> {
        let (mut next, mut bytes) = (Vec::new(), 0);
        while next.len() < most && bytes < MAX_BYTES {
            let Some(reading) = &mut self.reading else {
                let Some(path) = self.rest.pop_front() else { break };
                // Another destination may have been the last one that a file had something for.
                let Some(version) = FileVersion::of(&path) else { continue };
                self.reading = Some(Reading { version, file: FileReader::open(&path)?, is_without: true });
                continue;
            };
            let record = match reading.file.next() {
                Some(Ok(Letter { record, .. })) => record,
                Some(Err(_)) => {
                    reading.is_without = false;
                    continue;
                }
                None => {
                    if reading.is_without {
                        lock(&self.shared).without.insert((reading.version.clone(), self.destination.clone()));
                    }
                    self.reading = None;
                    continue;
                }
            };
            if record.reason != Reason::DestinationDown || record.destination.as_ref() != Some(&self.destination) {
                continue;
            }
            reading.is_without = false;
            self.given_from.insert(reading.version.path.clone());
            let mut shared = lock(&self.shared);
            if shared.claim().is_delivered(&record) {
                shared.changed.insert(reading.version.path.clone());
            } else {
                bytes += record.event.as_ref().map_or(0, Vec::len);
                bytes += record.log.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
                next.push(record);
            }
        }
        Ok(next)
    }

    /// Records that these events are completed.
    ///
    /// # Errors
    /// [`ClaimError`]: they will be returned again.
    pub fn settle(&mut self, letters: &[Record]) -> Result<(), ClaimError> {
        let mut shared = lock(&self.shared);
        shared.changed.extend(self.given_from.iter().cloned());
        Ok(shared.claim().note_delivered(letters.iter())?)
    }

    /// Removes the completed events from the directory, and releases the others.
    ///
    /// # Errors
    /// [`ClaimError`]: the next claim does it.
    pub fn close(self) -> Result<(), ClaimError> {
        let mut shared = lock(&self.shared);
        let changed = shared.changed.clone();
        shared.claim().settle(&changed)?;
        shared.changed.clear();
        Ok(())
    }
}

impl Drop for MissedInDirectory {
    fn drop(&mut self) {
        let mut shared = lock(&self.shared);
        shared.users -= 1;
        if shared.users == 0 {
            shared.claim = None;
        }
    }
}

impl SharedClaim {
    fn claim(&mut self) -> &mut ReplayClaim {
        self.claim.as_mut().expect("a destination uses it")
    }
}

impl FileVersion {
    /// `None` if there is no such file.
    fn of(path: &Path) -> Option<Self> {
        let found = fs::symlink_metadata(path).ok()?;
        let changed = (found.ctime(), found.ctime_nsec());
        Some(Self { path: path.to_owned(), inode: found.ino(), bytes: found.len(), changed })
    }
}

/// A poisoned lock is usable: what was not completed is done again.
fn lock(shared: &Mutex<SharedClaim>) -> MutexGuard<'_, SharedClaim> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
