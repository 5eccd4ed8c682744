//! A dead letter.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::core::cursor::{Cursor, ShardId};
use crate::core::destination_name::DestinationName;

/// One dead letter: what could not be delivered, why, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// When it was given up.
    pub at: Timestamp,
    /// Why, in a word.
    pub reason: Reason,
    /// The destination that refused the event; absent where it is about the log as a whole, which goes wherever the script
    /// sends it.
    pub destination: Option<DestinationName>,
    /// The destination's code or the kind of the script's error: "hec 6". Cut to 64 bytes when written.
    pub code: String,
    /// What was said about it, without secrets. Cut to 1024 bytes when written.
    pub message: String,
    /// Which log it is about.
    pub origin: LogOrigin,
    /// Version of the script that was in charge.
    pub script: String,
    /// The log as it was pulled: keys and values in the log's order, any bytes.
    pub log: Vec<(Vec<u8>, Vec<u8>)>,
    /// The encoded event; absent when none was made.
    pub event: Option<Vec<u8>>,
}

impl Record {
    /// Names the log, or the event made of it: `shard-cursor-log`, or `shard-cursor-log-event`, with the number inside
    /// the cursor when it has one. Needs no quotes in a shell.
    ///
    /// The same log has the same id when it is pulled again. A crash between the letter and the checkpoint therefore
    /// leaves a second record with the same id, never a second id for one loss. Unique within a logstore and a
    /// destination: what two destinations refuse is two letters of one id.
    #[must_use]
    pub fn id(&self) -> String {
        let LogOrigin { shard, cursor, log, event, .. } = &self.origin;
        let cursor = cursor.number().map_or_else(|| cursor.to_string(), |number| number.to_string());
        match event {
            Some(event) => format!("{shard}-{cursor}-{log}-{event}"),
            None => format!("{shard}-{cursor}-{log}"),
        }
    }
}

/// Which log, and which of the events made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOrigin {
    /// The project of the logstore.
    pub project: String,
    /// The logstore.
    pub logstore: String,
    /// The shard.
    pub shard: ShardId,
    /// From where to pull to see the log again.
    pub cursor: Cursor,
    /// Which log after that cursor, counted from 0.
    pub log: u32,
    /// Which of the events made of that log for the destination, counted from 0; absent when the letter is about the log as a whole.
    pub event: Option<u32>,
}

/// Why something could not be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The script raised an error.
    ScriptError,
    /// The script took longer than it may.
    ScriptTimeout,
    /// The script took more memory than it may.
    ScriptMemory,
    /// What the script returned is no event.
    BadReturn,
    /// The destination refuses the event for what it is.
    Rejected,
    /// The event is larger than the destination takes.
    TooLarge,
    /// The destination was down, and is isolated: the others went on without it.
    DestinationDown,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::ScriptError,
        Self::ScriptTimeout,
        Self::ScriptMemory,
        Self::BadReturn,
        Self::Rejected,
        Self::TooLarge,
        Self::DestinationDown,
    ];

    /// Its name, as in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ScriptError => "script_error",
            Self::ScriptTimeout => "script_timeout",
            Self::ScriptMemory => "script_memory",
            Self::BadReturn => "bad_return",
            Self::Rejected => "rejected",
            Self::TooLarge => "too_large",
            Self::DestinationDown => "destination_down",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Self, UnknownReason> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text).ok_or(UnknownReason)
    }
}

/// There is no such reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown reason; the reasons are {}", Reason::ALL.map(Reason::as_str).join(", "))]
pub struct UnknownReason;
