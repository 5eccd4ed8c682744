//! Letters set aside for a replay, and which of them it has delivered.
//!
//! A replay may run beside the forwarder whose letters it takes. It renames the letters' file, to `dead-letters.1.jsonl`
//! and so on; the forwarder notices before it counts a letter as written, and begins a new file. What was delivered is named in
//! `replayed.jsonl` before it counts as such. When the replay ends, or the next one begins, those letters leave the files.

use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::delivered::{DELIVERED_FILE, Delivered, Name, files, number};
use super::journal::{Journal, StoreError};
use super::reader::{FileReader, Letter, ReadError, Unreadable};
use super::{Defect, FILE, Record};
use crate::core::line_file::sync_parent;
use crate::core::named_file;

/// The letters of one directory, taken for a replay. Nobody else can take them meanwhile.
#[derive(Debug)]
pub struct ReplayClaim {
    dir: PathBuf,
    delivered: Delivered,
    /// Its lock goes when it is closed.
    _lock: File,
}

/// Why letters cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// There are none, or they cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Two replays would deliver the same letters.
    #[error("another replay is using the dead letters in {}: wait for it, or stop it", .0.display())]
    Busy(PathBuf),
    /// The disk refuses.
    #[error(transparent)]
    StoreError(#[from] StoreError),
}

impl ReplayClaim {
    /// Takes all letters that are in the directory now. Finishes what an interrupted replay has left to do.
    ///
    /// # Errors
    /// [`ClaimError`]; the letters are where they were.
    pub fn take(dir: &Path) -> Result<Self, ClaimError> {
        fs::read_dir(dir).map_err(ReadError::of(dir))?;
        named_file::check_dir(dir).map_err(StoreError::of("work in", dir))?;
        let path = dir.join("replay.lock");
        let lock = named_file::lock(&path).map_err(StoreError::of("lock", &path))?;
        let lock = lock.ok_or_else(|| ClaimError::Busy(dir.to_owned()))?;
        settle(dir)?;
        set_aside(dir)?;
        for path in files(dir).map_err(StoreError::of("list", dir))? {
            // This makes its name last. A torn end is nobody's letter, and who would have mended it writes elsewhere now.
            Journal::open(&path)?;
        }
        Ok(Self { dir: dir.to_owned(), delivered: Delivered::default(), _lock: lock })
    }

    /// The letters, in the order in which they were written.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn letters(&self) -> Result<impl Iterator<Item = Result<Letter, Unreadable>> + use<>, ReadError> {
        let files = files(&self.dir).map_err(|cause| ReadError::Io { path: self.dir.clone(), cause })?;
        let readers = files.iter().map(|path| FileReader::open(path)).collect::<Result<Vec<_>, _>>()?;
        Ok(readers.into_iter().flatten())
    }

    /// Whether a letter of the same id was delivered: a crash can have left it twice.
    #[must_use]
    pub fn is_delivered(&self, record: &Record) -> bool {
        self.delivered.has(record)
    }

    /// Notes letters as delivered. When it returns `Ok` that is on the disk.
    ///
    /// # Errors
    /// [`StoreError`]: they may be delivered again by the next replay.
    pub fn note_delivered<'a>(&mut self, records: impl Iterator<Item = &'a Record>) -> Result<(), StoreError> {
        let mut lines = Vec::new();
        for record in records {
            let name = Name::of(record);
            serde_json::to_writer(&mut lines, &name).expect("a Vec takes every byte");
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

    /// Takes the delivered letters out of the files, and gives the rest free.
    ///
    /// # Errors
    /// [`StoreError`]: the next replay does it.
    pub fn close(self) -> Result<(), StoreError> {
        settle(&self.dir)
    }
}

/// Moves the file that is written to aside.
fn set_aside(dir: &Path) -> Result<(), StoreError> {
    let last = files(dir).map_err(StoreError::of("list", dir))?.last().and_then(|path| number(path)).unwrap_or(0);
    let (from, to) = (dir.join(FILE), dir.join(format!("dead-letters.{}.jsonl", last + 1)));
    match fs::symlink_metadata(&from) {
        Ok(found) if found.len() == 0 => return Ok(()),
        // What will not do for a letters' file is found out before it has another name.
        Ok(_) => drop(named_file::append(&from).map_err(StoreError::of("set aside", &from))?),
        Err(_) => {}
    }
    match fs::rename(&from, to) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done.map_err(StoreError::of("set aside", &from)),
    }
}

/// Takes the letters that were delivered out of the files that were set aside, and then their names too.
fn settle(dir: &Path) -> Result<(), StoreError> {
    let names = dir.join(DELIVERED_FILE);
    let delivered = Delivered::read(dir).map_err(StoreError::of("read", &names))?;
    for path in files(dir).map_err(StoreError::of("list", dir))? {
        rewrite(&path, &delivered).map_err(StoreError::of("rewrite", &path))?;
    }
    match fs::remove_file(&names) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done.and_then(|()| sync_parent(&names)).map_err(StoreError::of("remove", &names)),
    }
}

/// Writes the file anew without the delivered letters, or removes it when nothing is left. What cannot be read stays as
/// it is. Nobody else writes to it: a forwarder that still had it open has noticed that it was moved.
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
