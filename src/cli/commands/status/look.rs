//! Reads the state of a group from SLS with read-only calls. Nothing is joined, created or saved.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use jiff::Timestamp;

use crate::cli::exit::{DENIED, TROUBLE, UNREACHABLE, USAGE};
use crate::core::cause::Cause;
use crate::core::cursor::{ShardId, Start};
use crate::core::printable::excerpt;
use crate::core::source::SourceError;
use crate::settings::start::StartPosition;
use crate::sls::api::{SavedAt, kept_for};
use crate::sls::permissions::{Permission, Scope};
use crate::sls::shard_state::{Seen, ShardPlace, ShardReport, judge, sort};
use crate::sls::{Config, InspectError, Sls};

/// Maximum time to wait for an answer of SLS, even if the settings allow more.
const PATIENCE: Duration = Duration::from_secs(10);

/// Shards that are read concurrently.
const AT_ONCE: usize = 16;

/// A source whose group is read.
pub(super) struct GroupReader {
    config: Config,
    start: Start,
    sls: Sls,
}

/// The state of a group.
#[derive(Debug, Clone)]
pub(super) struct Group {
    /// Silence after which the group reassigns the shards of a consumer.
    pub(super) timeout: Duration,
    /// How long logs are kept. `None`: without limit, or it cannot be read.
    pub(super) retention: Option<Duration>,
    /// The worst first.
    pub(super) shards: Vec<ShardReport>,
    /// What could not be read, and the consequences.
    pub(super) notes: Vec<String>,
    /// Why the lags cannot be read.
    pub(super) hidden: Option<Trouble>,
}

/// Why something cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    /// The exit code for it.
    pub(super) code: u8,
    pub(super) what: String,
    pub(super) fix: String,
}

impl GroupReader {
    /// # Errors
    /// A setting is wrong, or a file that it names.
    pub(super) fn new(mut config: Config, start: &StartPosition) -> Result<Self, String> {
        config.timeout = config.timeout.min(PATIENCE);
        let sls = Sls::new(&config).map_err(|error| error.to_string())?;
        Ok(Self { config, start: start.start, sls })
    }

    /// # Errors
    /// The group cannot be read.
    pub(super) async fn look(&self) -> Result<Group, Trouble> {
        self.sls.sign_in().await.map_err(|error| failed(&error))?;
        let ahead = self.sls.clock_ahead().await.map_err(|error| failed(&error))?.unwrap_or(0);
        let now = Timestamp::now().as_second() + ahead;
        let (shards, groups, saved, retention) = tokio::join!(
            self.sls.inspect_shards(),
            self.sls.inspect_groups(),
            self.sls.inspect_checkpoints(),
            self.sls.inspect_retention(),
        );
        let mut notes = Vec::new();
        let listed = match shards {
            Ok(shards) => Some(shards),
            Err(InspectError::Failed(SourceError::Absent(cause))) => {
                return Err(failed(&SourceError::Absent(self.sls.whereabouts(cause).await)));
            }
            Err(InspectError::Denied { permission, .. }) => {
                notes.push(format!("shards without a checkpoint are not listed: {}", self.grant(permission)));
                None
            }
            Err(error) => return Err(self.trouble(&error)),
        };
        let timeout = match groups {
            Ok(groups) => match groups.iter().find(|group| group.name == self.config.group) {
                Some(group) => group.timeout(),
                None => return Err(self.no_group(&groups.into_iter().map(|group| group.name).collect())),
            },
            Err(InspectError::Denied { permission, .. }) => {
                notes.push(format!("the group's timeout is taken from the settings: {}", self.grant(permission)));
                self.config.group_timeout
            }
            Err(error) => return Err(self.trouble(&error)),
        };
        let saved = match saved {
            Ok(saved) => saved.ok_or_else(|| self.no_group(&BTreeSet::new()))?,
            Err(error) => return Err(self.trouble(&error)),
        };
        let retention = match retention {
            Ok(days) => kept_for(days),
            Err(InspectError::Denied { permission, .. }) => {
                notes.push(format!("the time until logs are lost is not known: {}", self.grant(permission)));
                None
            }
            Err(error) => {
                notes.push(format!("the time until logs are lost is not known: {}", self.trouble(&error).what));
                None
            }
        };
        let mut saved: BTreeMap<u32, SavedAt> = saved.into_iter().map(|saved| (saved.shard, saved)).collect();
        let known: Vec<(u32, bool)> = match listed {
            Some(shards) => shards.iter().map(|shard| (shard.id, shard.is_read_only())).collect(),
            None => saved.keys().map(|shard| (*shard, false)).collect(),
        };
        let looks = known.into_iter().map(|(shard, is_read_only)| {
            let saved = saved.remove(&shard);
            async move {
                let cursor = saved.as_ref().map(|saved| &saved.cursor);
                let place = self.sls.inspect_place(ShardId(shard), cursor, self.start).await;
                (shard, is_read_only, saved, place)
            }
        });
        let looks: Vec<_> = looks.collect();
        let mut hidden = None;
        let mut judged = Vec::new();
        let mut found = stream::iter(looks).buffered(AT_ONCE);
        while let Some((shard, is_read_only, saved, place)) = found.next().await {
            let place = place.unwrap_or_else(|error| {
                hidden.get_or_insert_with(|| self.trouble(&error));
                ShardPlace::Hidden
            });
            judged.push(judge(Seen { shard, is_read_only, saved, place }, now, timeout, retention));
        }
        sort(&mut judged);
        Ok(Group { timeout, retention, shards: judged, notes, hidden })
    }

    fn no_group(&self, others: &BTreeSet<String>) -> Trouble {
        let known: Vec<String> = others.iter().map(|name| excerpt(name)).collect();
        let known = match &known[..] {
            [] => String::new(),
            known => format!("; the logstore has {}", known.join(", ")),
        };
        Trouble {
            code: TROUBLE,
            what: format!("there is no consumer group {}", who(&self.config)),
            fix: format!("start forwarder, which creates it, or correct sls.group{known}"),
        }
    }

    fn trouble(&self, error: &InspectError) -> Trouble {
        match error {
            InspectError::Denied { permission, cause: Cause { what, .. } } => {
                Trouble { code: DENIED, what: what.clone(), fix: self.grant(*permission) }
            }
            InspectError::Failed(error) => failed(error),
        }
    }

    fn grant(&self, permission: Permission) -> String {
        permission.grant(&Scope::from(&self.config))
    }
}

/// The names of the group and its logstore: `siem of my-project/my-logstore`.
pub(super) fn who(config: &Config) -> String {
    let Config { project, logstore, group, .. } = config;
    format!("{} of {}/{}", excerpt(group), excerpt(project), excerpt(logstore))
}

/// Why nothing can be read, and what to do.
pub(super) fn failed(error: &SourceError) -> Trouble {
    let Cause { what, hint } = error.cause();
    let (code, fix) = match error {
        SourceError::Refused(_) | SourceError::Absent(_) => (DENIED, "correct what it names under [sls]"),
        SourceError::Busy { .. } => (UNREACHABLE, "wait, and try again; forwarder check tests the connection to SLS"),
        SourceError::Lost(_) | SourceError::Stale(_) | SourceError::NoRoom { .. } => (USAGE, "look again"),
    };
    Trouble { code, what: what.clone(), fix: hint.unwrap_or(fix).to_owned() }
}
