//! Checks a source: the connection to SLS, the clock, the key, each permission, the group, the shards and the checkpoints.
//! It joins, creates and saves nothing.

use std::time::Duration;

use futures_util::future::join_all;

use super::finding::{Findings, Level};
use super::network;
use crate::core::count::count;
use crate::core::cursor::{ShardId, Start};
use crate::core::duration::in_words;
use crate::core::env_proxy;
use crate::core::printable::excerpt;
use crate::core::source::SourceError;
use crate::core::wildcard;
use crate::sls::api::{SavedAt, Shard, configured_group, kept_for};
use crate::sls::endpoint::Endpoint;
use crate::sls::message::Call;
use crate::sls::permissions::{Permission, Scope};
use crate::sls::{Config, InspectError, Sls};

/// Maximum time limit of an answer of SLS, even if the settings allow more.
const PATIENCE: Duration = Duration::from_secs(4);

/// SLS refuses a request whose time differs by more than this.
const MAX_SKEW: u64 = 15 * 60;

/// A larger clock difference causes a warning.
const REPORTED_SKEW: u64 = 5;

/// Maximum number of logstores of a pattern that are named.
const MAX_NAMED: usize = 10;

/// Maximum number of shards that are checked one by one.
const MAX_SHARDS: usize = 64;

/// The parts for the check of a source.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) config: &'a Config,
    /// Whether the settings name the consumer; otherwise its name has a unique part.
    pub(super) is_named: bool,
    /// Whether a forwarder runs with these settings on this machine.
    pub(super) runs_here: bool,
}

pub(super) async fn check(findings: &Findings, source: Source<'_>) {
    let mut config = source.config.clone();
    config.timeout = config.timeout.min(PATIENCE);
    let endpoint = match Endpoint::parse(&config.endpoint, &config.project) {
        Ok(endpoint) => endpoint,
        Err(error) => {
            findings.fail(Level::SETUP, format!("sls.endpoint {error}"), "correct sls.endpoint");
            return;
        }
    };
    let proxy = if endpoint.is_loopback() { None } else { env_proxy::of(&endpoint.base) };
    let setting = "sls.endpoint and sls.project (the host name)";
    if !network::way(findings, &endpoint.base, proxy.as_deref(), setting).await {
        return;
    }
    let sls = match Sls::new(&config) {
        Ok(sls) => sls,
        Err(error) => {
            findings.fail(Level::SETUP, error.to_string(), "correct it under [sls]");
            return;
        }
    };
    let view = View { findings, sls: &sls, source: Source { config: &config, ..source } };
    if !view.key().await || !view.clock().await {
        return;
    }
    if !wildcard::has_wildcards(&config.logstore) {
        view.all().await;
        return;
    }
    // All logstores need the same permissions, so it is enough to check one.
    let Some(logstore) = view.first_found().await else { return };
    let config = Config { logstore, ..config.clone() };
    match Sls::new(&config) {
        Ok(sls) => View { findings, sls: &sls, source: Source { config: &config, ..source } }.all().await,
        Err(error) => findings.fail(Level::SETUP, error.to_string(), "correct it under [sls]"),
    }
}

/// A client, and its findings.
struct View<'a> {
    findings: &'a Findings,
    sls: &'a Sls,
    source: Source<'a>,
}

impl View<'_> {
    /// Checks that there is a signing key, and shows its identity.
    async fn key(&self) -> bool {
        match self.sls.sign_in().await {
            Ok(()) => self.findings.ok(format!("signs with: {}", self.sls.key_status())),
            Err(error) => {
                self.fail(&error);
                return false;
            }
        }
        true
    }

    /// Checks that SLS answers, and compares the clocks.
    async fn clock(&self) -> bool {
        match self.sls.clock_ahead().await {
            Ok(Some(ahead)) if ahead.unsigned_abs() >= REPORTED_SKEW => {
                let consequence = match ahead.unsigned_abs() > MAX_SKEW {
                    true => "SLS refuses such requests; the program signs with the time of SLS instead",
                    false => "SLS allows 15 minutes",
                };
                self.findings.warn(
                    format!("the clock of SLS is {} of this machine's; {consequence}", ahead_in_words(ahead)),
                    "set the clock of this machine (NTP): timedatectl set-ntp true",
                );
            }
            Ok(_) => self.findings.ok("the clocks agree"),
            Err(error) => {
                self.fail(&error);
                return false;
            }
        }
        true
    }

    /// The first logstore that matches the pattern.
    async fn first_found(&self) -> Option<String> {
        let Config { project, logstore: pattern, .. } = self.source.config;
        if let Err(error) = self.sls.inspect_logstores().await {
            match error {
                InspectError::Failed(SourceError::Absent(cause)) => {
                    self.fail(&SourceError::Absent(self.sls.whereabouts(cause).await));
                }
                error => self.refused(&error),
            }
            return None;
        }
        let listed = match self.sls.logstores().await {
            Ok(listed) => listed,
            Err(error) => {
                self.fail(&error);
                return None;
            }
        };
        let found: Vec<_> = listed.into_iter().filter(|name| wildcard::matches(pattern, name)).collect();
        let Some(first) = found.first() else {
            self.findings.warn(
                format!("no logstore of project {} matches {}", excerpt(project), excerpt(pattern)),
                "correct sls.logstore, or ignore this if such logstores will be created later: they are looked up every minute",
            );
            return None;
        };
        self.findings.ok(format!("{}; checks {}", matching(pattern, &found), excerpt(first)));
        Some(first.clone())
    }

    async fn all(&self) {
        let shards = match self.sls.inspect_shards().await {
            Ok(shards) => Some(shards),
            Err(InspectError::Denied { permission, cause }) => {
                self.denied(permission, &cause.what);
                None
            }
            Err(InspectError::Failed(SourceError::Absent(cause))) => {
                self.fail(&SourceError::Absent(self.sls.whereabouts(cause).await));
                return;
            }
            // For example an unknown key: nothing else will work.
            Err(InspectError::Failed(error)) => {
                self.fail(&error);
                return;
            }
        };
        self.findings.ok(format!(
            "the key is accepted; project {}, logstore {}",
            excerpt(&self.source.config.project),
            excerpt(&self.source.config.logstore)
        ));
        let number = shards.as_ref().map_or(1, Vec::len);
        if let Some(shards) = &shards {
            self.shards(shards);
        }
        let (days, checkpoints, (), ()) =
            tokio::join!(self.retention(), self.group(), self.reading(shards.as_deref()), self.saving());
        if let Some(saved) = checkpoints {
            self.consumers(&saved, number);
            let lags = saved.iter().take(MAX_SHARDS).map(|saved| self.lag(saved, days));
            join_all(lags).await;
        }
    }

    fn shards(&self, shards: &[Shard]) {
        let old = shards.iter().filter(|shard| shard.is_read_only()).count();
        match shards.len() {
            0 => self.findings.warn("the logstore has no shards", "a new logstore gets them within minutes"),
            all if old == 0 => self.findings.ok(count(all as u64, "shard")),
            all => self.findings.ok(format!(
                "{}, {old} of them split or merged and kept until their logs expire",
                count(all as u64, "shard")
            )),
        }
    }

    async fn retention(&self) -> Option<u32> {
        match self.sls.inspect_retention().await {
            Ok(days) => {
                let kept = if kept_for(days).is_none() { "for ever".to_owned() } else { count(days, "day") };
                self.findings.ok(format!("logs are kept {kept}"));
                Some(days)
            }
            Err(InspectError::Denied { permission, .. }) => {
                let permission = permission.action;
                self.findings
                    .note(format!("the retention cannot be read without {permission}, which nothing else needs"));
                None
            }
            Err(InspectError::Failed(error)) => {
                self.findings.note(format!("the retention cannot be read: {}", error.cause()));
                None
            }
        }
    }

    /// Checks the group and its checkpoints.
    async fn group(&self) -> Option<Vec<SavedAt>> {
        let (group, checkpoints) = tokio::join!(self.sls.inspect_group(), self.sls.inspect_checkpoints());
        let Config { group: name, manage_group, .. } = self.source.config;
        let name = excerpt(name);
        match group {
            Ok(Some(found)) => {
                let wanted = configured_group(self.source.config);
                if found == wanted {
                    self.findings
                        .ok(format!("the consumer group {name} is there, with a timeout of {} s", found.timeout));
                } else if *manage_group {
                    self.findings.note(format!(
                        "the consumer group {name} has a timeout of {} s and order {}: the next start changes them to {} s and {}",
                        found.timeout, found.order, wanted.timeout, wanted.order
                    ));
                } else {
                    self.findings.warn(
                        format!(
                            "the consumer group {name} has a timeout of {} s and order {}, the settings say {} s and \
                            {}: those of the group apply",
                            found.timeout, found.order, wanted.timeout, wanted.order
                        ),
                        "set sls.group_timeout and sls.in_order to what the group has, or sls.manage_group = true",
                    );
                }
                self.findings.note(format!(
                    "{} cannot be tested without joining the group",
                    Permission::of(Call::Heartbeat).action
                ));
            }
            Ok(None) => {
                self.findings.note(format!(
                    "the consumer group {name} does not exist yet; the first start creates it, which needs {}",
                    Permission::of(Call::CreateGroup).action
                ));
                match self.sls.inspect_heartbeat_permission().await {
                    Ok(()) => self.findings.ok("may send heartbeats"),
                    Err(error) => self.refused(&error),
                }
            }
            Err(error) => self.refused(&error),
        }
        match checkpoints {
            Ok(saved) => {
                self.findings.ok("may read checkpoints");
                saved
            }
            Err(error) => {
                self.refused(&error);
                None
            }
        }
    }

    /// Reads the first log group of the first shard.
    async fn reading(&self, shards: Option<&[Shard]>) {
        let first = match shards {
            Some([]) => return,
            Some(shards) => shards.iter().find(|shard| !shard.is_read_only()).unwrap_or(&shards[0]).id,
            None => 0,
        };
        let shard = ShardId(first);
        let read = async {
            let cursor = self.sls.inspect_cursor(shard, Start::End).await?;
            self.sls.inspect_page(shard, &cursor).await
        };
        match read.await {
            Ok(()) if self.source.config.query.is_some() || self.source.config.processor.is_some() => {
                self.findings.ok("may read logs, and the filter is accepted");
            }
            Ok(()) => self.findings.ok("may read logs"),
            Err(error) => self.refused(&error),
        }
    }

    async fn saving(&self) {
        match self.sls.inspect_save_permission().await {
            Ok(()) => self.findings.ok("may save checkpoints"),
            Err(error) => self.refused(&error),
        }
        if self.source.config.probe {
            self.findings.note(format!(
                "{}, which probe.enabled needs, cannot be tested without writing a log",
                Permission::of(Call::Put).action
            ));
        }
    }

    /// Checks who saved last, and whether under our name.
    fn consumers(&self, saved: &[SavedAt], shards: usize) {
        let Config { consumer, group_timeout, .. } = self.source.config;
        let now = self.sls.server_now() * 1_000_000;
        let age = |saved: &SavedAt| Duration::from_micros(u64::try_from(now - saved.micros).unwrap_or(0));
        let newest = saved.iter().filter(|saved| saved.micros > 0).min_by_key(|saved| age(saved));
        match newest {
            Some(newest) => self.findings.ok(format!(
                "{} of {} have a checkpoint; the last was saved {} ago by {}",
                saved.len(),
                count(shards as u64, "shard"),
                in_words(age(newest)),
                excerpt(&newest.consumer)
            )),
            None => self.findings.ok("no shard has a checkpoint yet"),
        }
        let twin = saved.iter().find(|saved| saved.consumer == *consumer && age(saved) < *group_timeout);
        if let Some(twin) = twin.filter(|_| self.source.is_named) {
            let what = format!(
                "a consumer with our name, {}, saved a checkpoint {} ago",
                excerpt(consumer),
                in_words(age(twin))
            );
            if self.source.runs_here {
                self.findings.ok(format!("{what}: the forwarder that runs here"));
            } else {
                self.findings.warn(
                    format!("{what}: it is live, and two consumers with one name take the shards from each other"),
                    "stop it, or give this one another sls.consumer; without the setting each process has a name of its own",
                );
            }
        }
    }

    /// Checks the lag of a shard, and when unread logs expire.
    async fn lag(&self, saved: &SavedAt, days: Option<u32>) {
        let shard = ShardId(saved.shard);
        let (end, received) = tokio::join!(
            self.sls.inspect_cursor(shard, Start::End),
            self.sls.inspect_cursor_time(shard, &saved.cursor)
        );
        let (Ok(end), Ok(received)) = (end, received) else { return };
        if end == saved.cursor {
            return;
        }
        let Some(received) = received else {
            self.findings.warn(
                format!(
                    "shard {shard}: the log at its checkpoint has expired; it continues with the oldest remaining log"
                ),
                "the expired logs are lost; raise the retention of the logstore, or read faster",
            );
            return;
        };
        let lag = Duration::from_secs(u64::try_from(self.sls.server_now() - received).unwrap_or(0));
        if let Some(kept) = days.and_then(kept_for).filter(|kept| lag > *kept / 4 * 3) {
            self.findings.warn(
                format!(
                    "shard {shard} is {} behind, and logs are kept {}: the first are lost in {}",
                    in_words(lag),
                    count(kept.as_secs() / 86_400, "day"),
                    in_words(kept.saturating_sub(lag))
                ),
                "raise the retention of the logstore, or add processes or shards",
            );
        }
    }

    fn refused(&self, error: &InspectError) {
        match error {
            InspectError::Denied { permission, cause } => self.denied(*permission, &cause.what),
            InspectError::Failed(error) => self.fail(error),
        }
    }

    fn denied(&self, permission: Permission, what: &str) {
        self.findings.fail(Level::DENIED, what, permission.grant(&Scope::from(self.source.config)));
    }

    fn fail(&self, error: &SourceError) {
        let cause = error.cause();
        let level = match error {
            SourceError::Refused(_) | SourceError::Absent(_) => Level::DENIED,
            _ => Level::UNREACHABLE,
        };
        let fix = cause.hint.unwrap_or(match level {
            Level::UNREACHABLE => "wait, and check again: the program retries until SLS answers",
            _ => "correct what it names under [sls]",
        });
        self.findings.fail(level, cause.what.clone(), fix);
    }
}

/// `2 logstores match audit-*: audit-a, audit-b`.
fn matching(pattern: &str, found: &[String]) -> String {
    let named: Vec<_> = found.iter().take(MAX_NAMED).map(|name| excerpt(name)).collect();
    let rest = found.len() - named.len();
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    let number = count(found.len() as u64, "logstore");
    let verb = if found.len() == 1 { "matches" } else { "match" };
    format!("{number} {verb} {}: {}{more}", excerpt(pattern), named.join(", "))
}

fn ahead_in_words(ahead: i64) -> String {
    let by = in_words(Duration::from_secs(ahead.unsigned_abs()));
    if ahead > 0 { format!("{by} ahead") } else { format!("{by} behind that") }
}
