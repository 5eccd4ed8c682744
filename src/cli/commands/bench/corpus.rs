//! Generated logs.

use prost::Message as _;

use crate::core::cursor::{Cursor, ShardId};
use crate::core::page::Page;
use crate::emulator::generate::Generator;
use crate::loggroup::proto::{LogGroup, LogGroupList};

/// Logs in a group, as a busy Logtail would send them.
pub(super) const GROUP_LOGS: usize = 50;

/// Groups in a page.
const PAGE_GROUPS: usize = 20;

/// When the logs begin.
const START: u32 = 1_700_000_000;

/// A kind of generated logs.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum Kind {
    /// ActionTrail events: one large field of JSON
    Audit,
    /// Access logs: many small fields
    Web,
}

impl Kind {
    /// Its name for users.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Web => "web",
        }
    }
}

/// Generates logs of one kind, the same in every run.
pub(super) struct Corpus {
    kind: Kind,
    generator: Generator,
}

impl Corpus {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, generator: Generator::new(1, START) }
    }

    /// The next group of [`GROUP_LOGS`] logs.
    pub(super) fn group(&mut self) -> LogGroup {
        match self.kind {
            Kind::Audit => self.generator.audit(GROUP_LOGS),
            Kind::Web => self.generator.nginx(GROUP_LOGS),
        }
    }

    /// This many pages of the next groups.
    pub(super) fn pages(&mut self, pages: usize) -> Vec<Page> {
        (0..pages).map(|_| self.page()).collect()
    }

    fn page(&mut self) -> Page {
        let groups: Vec<LogGroup> = (0..PAGE_GROUPS).map(|_| self.group()).collect();
        let body = LogGroupList { groups }.encode_to_vec();
        Page {
            shard: ShardId(0),
            cursor: Cursor::from_number(1),
            next: Cursor::from_number(2),
            scanned_bytes: body.len() as u64,
            packed: None,
            wire_bytes: 0,
            body: body.into(),
            groups: PAGE_GROUPS as u32,
            last_group: None,
            first_log: 0,
            at_end: None,
            received_at: None,
        }
    }
}
