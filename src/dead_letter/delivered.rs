//! The dead letters that a replay has delivered, and the files that it has set aside.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead as _, BufReader, ErrorKind};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Reason, Record};
use crate::core::named_file;

/// The file with the ids of delivered dead letters.
pub(super) const DELIVERED_FILE: &str = "replayed.jsonl";

/// The dead letters of a directory that a replay has delivered.
#[derive(Debug, Default)]
pub(super) struct Delivered(pub(super) BTreeSet<Name>);

/// A line of [`DELIVERED_FILE`].
#[derive(Serialize)]
pub(super) struct DeliveredLine<'a> {
    /// Comes first, so that lines are counted by it as in the files of dead letters.
    reason: Reason,
    #[serde(flatten)]
    name: &'a Name,
}

impl<'a> DeliveredLine<'a> {
    pub(super) fn of(record: &Record, name: &'a Name) -> Self {
        Self { reason: record.reason, name }
    }
}

/// Identifies a dead letter. Its `id` is unique within its logstore.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Name {
    project: String,
    logstore: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    destination: Option<String>,
    id: String,
}

impl Name {
    pub(super) fn of(record: &Record) -> Self {
        Self {
            project: record.origin.project.clone(),
            logstore: record.origin.logstore.clone(),
            destination: record.destination.as_ref().map(ToString::to_string),
            id: record.place(),
        }
    }
}

impl Delivered {
    /// Reads the file that a replay writes. Ignores a line that was cut off by a crash: that dead letter is delivered
    /// again.
    pub(super) fn read(dir: &Path) -> io::Result<Self> {
        let file = match named_file::open(&dir.join(DELIVERED_FILE)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let mut names = BTreeSet::new();
        for line in BufReader::new(file).split(b'\n') {
            names.extend(serde_json::from_slice::<Name>(&line?));
        }
        Ok(Self(names))
    }

    pub(super) fn has(&self, record: &Record) -> bool {
        !self.0.is_empty() && self.0.contains(&Name::of(record))
    }
}

/// The files of a directory that were set aside, oldest first.
pub(super) fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        files.extend(number(&path).map(|number| (number, path)));
    }
    files.sort();
    Ok(files.into_iter().map(|(_, path)| path).collect())
}

/// The size of these files in bytes. A file that is removed meanwhile does not count.
pub(super) fn bytes(dir: &Path) -> io::Result<u64> {
    let size = |file: PathBuf| match fs::symlink_metadata(file) {
        Ok(found) => Ok(found.len()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    };
    files(dir)?.into_iter().map(size).sum()
}

/// The number in `dead-letters.3.jsonl`.
pub(super) fn number(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.strip_prefix("dead-letters.")?.strip_suffix(".jsonl")?.parse().ok()
}
