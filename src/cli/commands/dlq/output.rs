//! The output of `forwarder dlq`, and its errors.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::app::replay::ReplayError;
use crate::cli::exit::{CUT_SHORT, USAGE};
use crate::dead_letter::{ClaimError, Letter, ReadError, Reader, directories};

/// The output.
pub struct Output<'a> {
    /// The answer itself.
    pub out: &'a mut dyn Write,
    /// Problems of the file, one line each.
    pub notes: &'a mut dyn Write,
    /// Columns of the terminal; `None`: lines are not cut.
    pub width: Option<usize>,
}

/// An error of `forwarder dlq`.
#[derive(Debug, thiserror::Error)]
pub enum DlqError {
    /// There is nothing to read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// No letter has this id.
    #[error("no dead letter in {} has the id {id}: `forwarder dlq list` shows the ids", dir.display())]
    Unknown {
        /// The directory.
        dir: PathBuf,
        /// The id, printable.
        id: String,
    },
    /// Several logstores have dead letters of this id, which names no logstore.
    #[error("the id {id} means dead letters of several logstores: use one of {}", ids.join(", "))]
    Ambiguous {
        /// The id, printable.
        id: String,
        /// Their whole ids, printable.
        ids: Vec<String>,
    },
    /// A replay without a selection.
    #[error(
        "say which dead letters to deliver: their ids, --reason, --shard, --destination or --since, or --all of them"
    )]
    NothingChosen,
    /// They cannot be claimed for a replay.
    #[error(transparent)]
    Take(#[from] ClaimError),
    /// A replay ended early.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The answer cannot be written.
    #[error("cannot write the output: {0}")]
    Output(io::Error),
}

impl DlqError {
    /// The exit code of the process.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Read(ReadError::Denied { .. }) => 77,
            Self::Replay(ReplayError::Stopped) => CUT_SHORT,
            Self::Read(_)
            | Self::Unknown { .. }
            | Self::Ambiguous { .. }
            | Self::NothingChosen
            | Self::Replay(ReplayError::Script(_)) => USAGE,
            Self::Take(_) | Self::Replay(_) | Self::Output(_) => 1,
        }
    }
}

/// Passes every dead letter of every forwarder in this directory to `print`, and reports invalid pieces; returns
/// their number.
pub(super) fn for_each(
    dir: &Path,
    output: &mut Output<'_>,
    mut print: impl FnMut(&Letter, &mut Output<'_>) -> io::Result<()>,
) -> Result<u64, DlqError> {
    let mut skipped = 0;
    for dir in directories(dir) {
        for found in Reader::open(&dir)? {
            skipped += u64::from(found.is_err());
            match found {
                Ok(letter) => print(&letter, output),
                Err(unreadable) => writeln!(output.notes, "skipped: {unreadable}"),
            }
            .map_err(DlqError::Output)?;
        }
    }
    Ok(skipped)
}
