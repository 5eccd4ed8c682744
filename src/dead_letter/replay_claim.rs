//! Dead letters that are set aside for a replay, and which of them it has delivered.
//!
//! A replay may run while the forwarder writes to the same directory. The replay renames the file of dead letters to
//! `dead-letters.1.jsonl` and so on. The forwarder notices this before it reports a dead letter as written, and
//! writes it to a new file. Delivered dead letters are recorded in `replayed.jsonl` before they count as delivered. They
//! are removed from the files when the replay ends, or when the next one begins.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::delivered::{DELIVERED_FILE, Delivered, DeliveredLine, Name, files, number};
use super::journal::{Journal, StoreError};
use super::reader::{FileReader, Letter, ReadError, Unreadable};
use super::{Defect, FILE, Record};
use crate::core::line_file::sync_parent;
use crate::core::named_file;

/// Locked while a replay runs. The file is not removed.
const REPLAY_LOCK: &str = "replay.lock";

/// The dead letters of one directory, claimed for a replay. Only one claim can exist at a time.
#[derive(Debug)]
pub struct ReplayClaim {
    dir: PathBuf,
    delivered: Delivered,
    /// Released when the file is closed.
    _lock: File,
}

/// Why dead letters cannot be claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// There is no such directory, or it cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Two replays would deliver the same letters.
    #[error(
        "another replay is using the dead letters in {dir} (`lsof {dir}/{REPLAY_LOCK}` shows which): wait for it, or \
         stop it",
        dir = .0.display()
    )]
    Busy(PathBuf),
    /// A disk operation failed.
    #[error(transparent)]
    StoreError(#[from] StoreError),
}

impl ReplayClaim {
    /// Claims all dead letters that are in the directory now. Completes an interrupted replay first.
    ///
    /// # Errors
    /// [`ClaimError`]; no dead letter is lost.
    pub fn take(dir: &Path) -> Result<Self, ClaimError> {
        let claim = Self::of_earlier(dir)?;
        claim.set_aside()?;
        claim.mend()?;
        Ok(claim)
    }

    /// Claims the dead letters that earlier replays have set aside. Completes an interrupted replay first.
    pub(super) fn of_earlier(dir: &Path) -> Result<Self, ClaimError> {
        fs::read_dir(dir).map_err(ReadError::of(dir))?;
        named_file::check_dir(dir).map_err(StoreError::of("work in", dir))?;
        let path = dir.join(REPLAY_LOCK);
        let lock = named_file::lock(&path).map_err(StoreError::of("lock", &path))?;
        let lock = lock.ok_or_else(|| ClaimError::Busy(dir.to_owned()))?;
        settle(dir, |_| true)?;
        Ok(Self { dir: dir.to_owned(), delivered: Delivered::default(), _lock: lock })
    }

    /// Renames the file that is being written, and so claims its dead letters too.
    pub(super) fn set_aside(&self) -> Result<(), StoreError> {
        set_aside(&self.dir)
    }

    /// Makes the names of the files durable. An incomplete last line is not a dead letter, and its writer now writes to
    /// another file.
    pub(super) fn mend(&self) -> Result<(), StoreError> {
        files(&self.dir).map_err(StoreError::of("list", &self.dir))?.iter().try_for_each(|path| {
            Journal::open(path)?;
            Ok(())
        })
    }

    /// The files of the claimed dead letters, oldest first.
    pub(super) fn files(&self) -> Result<Vec<PathBuf>, StoreError> {
        files(&self.dir).map_err(StoreError::of("list", &self.dir))
    }

    /// The dead letters in the order in which they were written.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn letters(&self) -> Result<impl Iterator<Item = Result<Letter, Unreadable>> + use<>, ReadError> {
        let files = files(&self.dir).map_err(|cause| ReadError::Io { path: self.dir.clone(), cause })?;
        let readers = files.iter().map(|path| FileReader::open(path)).collect::<Result<Vec<_>, _>>()?;
        Ok(readers.into_iter().flatten())
    }

    /// Whether a dead letter with the same id was delivered: a crash can leave duplicates.
    #[must_use]
    pub fn is_delivered(&self, record: &Record) -> bool {
        self.delivered.has(record)
    }

    /// Records dead letters as delivered. When it returns `Ok`, that is on disk.
    ///
    /// # Errors
    /// [`StoreError`]: the next replay may deliver them again.
    pub fn note_delivered<'a>(&mut self, records: impl Iterator<Item = &'a Record>) -> Result<(), StoreError> {
        let mut lines = Vec::new();
        for record in records {
            let name = Name::of(record);
            serde_json::to_writer(&mut lines, &DeliveredLine::of(record, &name)).expect("writing to a Vec cannot fail");
            lines.push(b'\n');
            self.delivered.0.insert(name);
        }
        if lines.is_empty() {
            return Ok(());
        }
        let path = self.dir.join(DELIVERED_FILE);
        let write = || -> io::Result<()> {
            let mut file = named_file::append(&path)?;
            file.write_all(&lines)?;
            file.sync_data()?;
            sync_parent(&path)
        };
        write().map_err(StoreError::of("write to", &path))
    }

    /// Removes the delivered dead letters from the files, and releases the others.
    ///
    /// # Errors
    /// [`StoreError`]: the next replay removes them.
    pub fn close(self) -> Result<(), StoreError> {
        settle(&self.dir, |_| true)
    }

    /// Removes the delivered dead letters from the files. Those that are not in `changed` have none.
    pub(super) fn settle(&mut self, changed: &BTreeSet<PathBuf>) -> Result<(), StoreError> {
        settle(&self.dir, |path| changed.contains(path))?;
        self.delivered = Delivered::default();
        Ok(())
    }
}

/// Renames the file that is being written.
fn set_aside(dir: &Path) -> Result<(), StoreError> {
    let last = files(dir).map_err(StoreError::of("list", dir))?.last().and_then(|path| number(path)).unwrap_or(0);
    let (from, to) = (dir.join(FILE), dir.join(format!("dead-letters.{}.jsonl", last + 1)));
    match fs::symlink_metadata(&from) {
        Ok(found) if found.len() == 0 => return Ok(()),
        // Checks the file before renaming it: it must be a valid file of ours.
        Ok(_) => drop(named_file::append(&from).map_err(StoreError::of("set aside", &from))?),
        Err(_) => {}
    }
    match fs::rename(&from, to) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done.map_err(StoreError::of("set aside", &from)),
    }
}

/// Removes the delivered dead letters from the files that were set aside, and then the record of their delivery. Only
/// files for which `may_have` returns true are read.
fn settle(dir: &Path, may_have: impl Fn(&Path) -> bool) -> Result<(), StoreError> {
    let names = dir.join(DELIVERED_FILE);
    let delivered = Delivered::read(dir).map_err(StoreError::of("read", &names))?;
    for path in files(dir).map_err(StoreError::of("list", dir))?.into_iter().filter(|path| may_have(path)) {
        rewrite(&path, &delivered).map_err(StoreError::of("rewrite", &path))?;
    }
    match fs::remove_file(&names) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done.and_then(|()| sync_parent(&names)).map_err(StoreError::of("remove", &names)),
    }
}

/// Rewrites a file without the delivered dead letters, or removes it if none are left. Unreadable parts are copied
/// unchanged. Nobody else writes to the file: a forwarder that has it open notices that it was renamed.
fn rewrite(path: &Path, delivered: &Delivered) -> io::Result<()> {
    if delivered.0.is_empty() {
        return Ok(());
    }
    let anew = path.with_extension("new");
    match fs::remove_file(&anew) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut kept = BufWriter::new(named_file::create(&anew)?);
    for found in FileReader::open(path).map_err(io::Error::other)? {
        match found {
            Ok(letter) if delivered.has(&letter.record) => continue,
            Ok(letter) => kept.write_all(letter.line.as_bytes())?,
            Err(Unreadable { defect: Defect::Io(error), .. }) => return Err(error),
            Err(piece) => {
                let mut bytes = vec![0; piece.bytes];
                named_file::open(path)?.read_exact_at(&mut bytes, piece.offset)?;
                kept.write_all(&bytes)?;
            }
        }
        kept.write_all(b"\n")?;
    }
    let kept = kept.into_inner().map_err(io::IntoInnerError::into_error)?;
    if kept.metadata()?.len() == 0 {
        fs::remove_file(&anew)?;
        fs::remove_file(path)?;
    } else {
        kept.sync_data()?;
        fs::rename(&anew, path)?;
    }
    sync_parent(path)
}
