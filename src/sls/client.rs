//! The client: the only module that sends requests to SLS.

mod clock;
mod config_error;
mod connections;
mod dns;
mod inspect;
mod source;
mod wire;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::api;
use super::api::{Group, ReadError, SavedAt, Shard};
use super::call_errors::CallErrors;
use super::credentials::{AccessKey, KeyStatus, Keys};
use super::error::{Refusal, Verdict, busy, unreadable, verdict};
use super::group_signs::GroupSigns;
use super::group_start::GroupStart;
use super::message::{Call, Reply, Request};
use super::probe_log::build_probe;
use super::project;
use super::project::Project;
use super::sign::sign;
use super::{Config, Signature};
use crate::core::budget::Credit;
use crate::core::cause::Cause;
use crate::core::cursor::{Cursor, ShardId};
use crate::core::printable::excerpt;
use crate::core::source::SourceError;
use clock::{ServerClock, server_date};
pub use config_error::ConfigError;
pub use connections::Connections;
pub use inspect::InspectError;
use wire::Wire;

/// Code of a call without a complete reply.
const NO_REPLY: &str = "no_reply";

/// The state of the group at the first look.
#[derive(Debug)]
struct FirstLook {
    group: GroupStart,
    /// How often the group might have been created again by then.
    possible_new_groups: u64,
    /// How often the logstore had been deleted by then.
    deletions: u64,
}

/// A consumer's connection to its logstore.
///
/// It belongs to the runtime in which it is first used, which drives its connections. A second runtime needs a second
/// `Sls` with the same settings. Creating one only reads the files that the settings name.
#[derive(Debug)]
pub struct Sls {
    config: Config,
    wire: Wire,
    keys: Keys,
    clock: ServerClock,
    /// The server refused version 1 of the signature: version 4 is used from then on.
    only_v4: AtomicBool,
    group_told: AtomicBool,
    shards_told: AtomicBool,
    errors: Arc<CallErrors>,
    /// The state of the group at the first look, if there was one.
    first_look: Arc<OnceLock<FirstLook>>,
    /// What shows that the group was created again, besides the replies that say so.
    signs: Arc<Mutex<GroupSigns>>,
}

impl Sls {
    /// A client for these settings, with its own connections. Nothing is sent yet.
    ///
    /// # Errors
    /// A setting, or a file that it names, is wrong.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        Self::over(config, &format!("{}/{}", config.project, config.logstore), &Connections::default())
    }

    /// The same over shared connections; `source` names it in the log.
    ///
    /// # Errors
    /// As for [`Sls::new`].
    pub fn over(config: &Config, source: &str, connections: &Connections) -> Result<Self, ConfigError> {
        check_names(config)?;
        let wire = Wire::new(config, connections)?;
        let keys = Keys::new(&config.credentials, source)?;
        Ok(Self {
            config: config.clone(),
            wire,
            keys,
            clock: ServerClock::default(),
            only_v4: AtomicBool::new(false),
            group_told: AtomicBool::new(false),
            shards_told: AtomicBool::new(false),
            errors: Arc::default(),
            first_look: Arc::default(),
            signs: Arc::default(),
        })
    }

    /// The current time by the clock of SLS, in unix seconds, as far as its replies show it.
    #[must_use]
    pub fn server_now(&self) -> i64 {
        self.clock.now()
    }

    /// A moment by the clock of SLS, in unix seconds by ours.
    #[must_use]
    pub fn by_our_clock(&self, second: i64) -> i64 {
        self.clock.by_ours(second)
    }

    /// The failed calls. Another client may share the counter.
    #[must_use]
    pub fn errors(&self) -> &Arc<CallErrors> {
        &self.errors
    }

    /// A second client for another runtime and its connections. It counts its failures together with those of this one,
    /// knows what this one has looked up, and signs with the session that this one renews.
    ///
    /// # Errors
    /// As for [`Sls::new`].
    pub fn beside(&self, connections: &Connections) -> Result<Self, ConfigError> {
        // Keys that log anything are shared.
        let mut other = Self::over(&self.config, "", connections)?;
        other.errors = Arc::clone(&self.errors);
        other.first_look = Arc::clone(&self.first_look);
        other.signs = Arc::clone(&self.signs);
        if let Some(keys) = self.keys.shared() {
            other.keys = keys;
        }
        Ok(other)
    }

    /// The signing key, and the state of its renewal.
    #[must_use]
    pub fn key_status(&self) -> KeyStatus {
        self.keys.status()
    }

    /// When the certificate of the server expires, unix seconds, as last seen.
    #[must_use]
    pub fn certificate_end(&self) -> Option<i64> {
        self.wire.certificates.ends().server
    }

    /// Waits for a signing key, if there is none yet.
    ///
    /// # Errors
    /// No provider has given a key.
    pub async fn sign_in(&self) -> Result<(), SourceError> {
        self.keys.current().await.map(drop)
    }

    /// Looks up the state of the group. From then on [`Start::End`](crate::core::cursor::Start::End) is the time at
    /// which the group was created, not the end of the shard at some later time: see [`GroupStart`]. Each
    /// later [`ensure_group`](crate::core::source::Source::ensure_group) notices whether the logstore was deleted and
    /// created again.
    ///
    /// # Errors
    /// As for every call.
    pub async fn learn_shards(&self) -> Result<(), SourceError> {
        // In this order: a shard that is created in between is missing here, and so counts as a later one.
        let looking = api::build_list_shards(&self.config);
        let dated = |reply: &Reply| Ok((api::read_shards(reply)?, server_date(reply)));
        let (shards, looked_at) = self.ask(&looking, dated).await?;
        let checkpoints = self.checkpoints().await?;
        let group = GroupStart::new(&shards, &checkpoints, looked_at);
        let (possible_new_groups, deletions) = (self.errors.possible_new_groups(), self.errors.missing_logstores());
        // The first look has seen the earliest state.
        let _ = self.first_look.set(FirstLook { group, possible_new_groups, deletions });
        Ok(())
    }

    /// The checkpoints of the group that were ever saved.
    ///
    /// # Errors
    /// As for every call.
    pub async fn checkpoints(&self) -> Result<Vec<SavedAt>, SourceError> {
        let known = self.signs().known();
        let saved = self.ask(&api::build_checkpoints(&self.config), api::read_checkpoints).await?;
        self.note(self.signs().look(&known, saved.iter().map(|saved| ShardId(saved.shard))));
        Ok(saved)
    }

    fn signs(&self) -> MutexGuard<'_, GroupSigns> {
        self.signs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a sign that the group was created again.
    fn note(&self, is_sign: bool) {
        if is_sign {
            self.errors.count_possible_new_group();
        }
    }

    /// The project's region and endpoints, from the server.
    ///
    /// # Errors
    /// As for every call. [`SourceError::Absent`]: this endpoint knows no project of this name.
    pub async fn project(&self) -> Result<Project, SourceError> {
        self.ask(&project::build_project(), project::read_project).await
    }

    /// The cause of an [`SourceError::Absent`], with details about the project: whether it exists, and which endpoint
    /// it needs.
    pub async fn whereabouts(&self, absent: Cause) -> Cause {
        project::advice(&self.config, absent, self.project().await.ok().as_ref())
    }

    /// The timeout of the group, after which it reassigns the shards of a silent consumer; `None` if there is no
    /// group.
    ///
    /// # Errors
    /// As for every call.
    pub async fn group_timeout(&self) -> Result<Option<Duration>, SourceError> {
        Ok(self.find_group().await?.map(|group| group.timeout()))
    }

    /// Whether the consumer that saved a checkpoint still holds the shard: then SLS accepts the same checkpoint from
    /// it again. Use this only if it has not saved for a while: a save of its own at the same moment would be set
    /// back.
    ///
    /// # Errors
    /// As for every call.
    pub async fn still_holds(&self, saved: &SavedAt) -> Result<bool, SourceError> {
        match self.ask(&api::build_save_of(&self.config, saved), |_| Ok(())).await {
            Ok(()) => Ok(true),
            Err(SourceError::Lost(_)) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// Sets a checkpoint, whichever consumer holds the shard.
    ///
    /// # Errors
    /// As for every call.
    pub async fn force_checkpoint(&self, shard: ShardId, cursor: &Cursor) -> Result<(), SourceError> {
        self.ask(&api::build_forced_save(&self.config, shard, cursor), |_| Ok(())).await
    }

    /// The shards of the logstore.
    ///
    /// # Errors
    /// As for every call.
    pub async fn shards(&self) -> Result<Vec<Shard>, SourceError> {
        let request = api::build_list_shards(&self.config);
        self.ask(&request, api::read_shards).await
    }

    /// Writes a probe log with this id into a shard.
    ///
    /// # Errors
    /// As for every call. [`SourceError::Lost`]: the shard no longer exists, or accepts no logs after a split or merge.
    pub async fn write_probe(&self, shard: ShardId, id: &str) -> Result<(), SourceError> {
        let shards = self.shards().await?;
        let found = shards.iter().find(|found| found.id == shard.0 && !found.is_read_only());
        let Some(found) = found else {
            return Err(SourceError::Lost(Cause::new(format!("shard {shard} takes no new logs"))));
        };
        let now = u32::try_from(self.clock.now()).unwrap_or(0);
        self.ask(&build_probe(&self.config, &found.begin_key, id, now), |_| Ok(())).await
    }

    /// The names of the project's logstores.
    ///
    /// # Errors
    /// As for every call.
    pub async fn logstores(&self) -> Result<BTreeSet<String>, SourceError> {
        let mut names = BTreeSet::new();
        let mut offset = 0;
        loop {
            let page = self.ask(&api::build_list_logstores(offset), api::read_logstores).await?;
            offset += page.logstores.len();
            let is_last = page.logstores.is_empty() || offset >= page.total;
            names.extend(page.logstores);
            if is_last {
                return Ok(names);
            }
        }
    }

    /// Sends a request with a small reply, and parses the reply.
    async fn ask<T>(&self, request: &Request, read: impl Fn(&Reply) -> Result<T, ReadError>) -> Result<T, SourceError> {
        let reply = self.send(request, None).await?;
        read(&reply).map_err(|error| self.unreadable(request.call, &error, reply.header("x-log-requestid")))
    }

    /// Sends a request, signs it again once if the clock or the key was the cause of a refusal, and classifies the
    /// reply. A page is read only if `room` can grow to its size.
    async fn send(&self, request: &Request, room: Option<&mut Credit>) -> Result<Reply, SourceError> {
        let timeout = self.config.timeout;
        tokio::time::timeout(timeout, self.attempt_twice(request, room)).await.unwrap_or_else(|_| {
            self.errors.count(request.call, NO_REPLY);
            Err(busy(request.call, format!("no complete reply within {timeout:?}"), None))
        })
    }

    fn unreadable(&self, call: Call, error: &ReadError, id: Option<&str>) -> SourceError {
        self.errors.count(call, "unreadable");
        unreadable(call, error, id)
    }

    async fn attempt_twice(&self, request: &Request, mut room: Option<&mut Credit>) -> Result<Reply, SourceError> {
        let mut first = true;
        loop {
            let key = self.keys.current().await?;
            self.errors.sends(request.call);
            let reply = match self.attempt(request, &key, room.as_deref_mut()).await {
                Ok(reply) if reply.status == 200 => return Ok(reply),
                Ok(reply) => reply,
                Err(no_room @ SourceError::NoRoom { .. }) => return Err(no_room),
                Err(error) => {
                    self.errors.count(request.call, NO_REPLY);
                    return Err(error);
                }
            };
            let refusal = Refusal::read(&reply);
            if refusal.may_mean_new_group() {
                self.errors.count_possible_new_group();
            }
            let judged = verdict(request.call, &refusal);
            if matches!(judged, Verdict::Failed(SourceError::Absent(_))) {
                self.errors.count_missing_logstore();
            }
            if !matches!(judged, Verdict::AlreadyDone) {
                let status = refusal.status.to_string();
                self.errors.count(request.call, if refusal.code.is_empty() { &status } else { &refusal.code });
            }
            let error = match judged {
                Verdict::AlreadyDone => return Ok(reply),
                Verdict::Failed(error) => return Err(error),
                Verdict::Clock(error) => {
                    if first && self.clock.learn(&reply) {
                        first = false;
                        continue;
                    }
                    error
                }
                Verdict::Signature(error) => {
                    if first && self.turn_to_v4() {
                        first = false;
                        continue;
                    }
                    error
                }
                Verdict::Key(error) => {
                    if first && self.keys.other_than(&key).await {
                        first = false;
                        continue;
                    }
                    self.with_renewal(self.with_place(error))
                }
            };
            return Err(error);
        }
    }

    /// A refusal of the key, with the reason why it cannot be renewed.
    fn with_renewal(&self, error: SourceError) -> SourceError {
        match (error, self.keys.status().failing) {
            (SourceError::Refused(cause), Some(failing)) => {
                let what = format!("{}; the credentials cannot be renewed: {}", cause.what, failing.cause);
                SourceError::Refused(Cause { what, hint: None })
            }
            (error, _) => error,
        }
    }

    /// A refusal of the key, with the endpoint and project: the same key may be accepted elsewhere.
    fn with_place(&self, error: SourceError) -> SourceError {
        let SourceError::Refused(mut cause) = error else { return error };
        let Config { project, endpoint, .. } = &self.config;
        cause.what += &format!(" (project {}, {})", excerpt(project), excerpt(endpoint));
        SourceError::Refused(cause)
    }

    /// Sends one signed request and returns the reply.
    async fn attempt(
        &self,
        request: &Request,
        key: &AccessKey,
        room: Option<&mut Credit>,
    ) -> Result<Reply, SourceError> {
        let mut request = request.clone();
        request.headers.push(("host", self.wire.host().to_owned()));
        let signed = sign(&self.signature(), key, self.clock.signing_time(), &request);
        request.headers.extend(signed);
        let asked = Timestamp::now().as_second();
        let reply = self.wire.send(&request, room).await?;
        if reply.status == 200 {
            self.clock.observe(asked, &reply);
        }
        Ok(reply)
    }

    /// The current way of signing.
    fn signature(&self) -> Signature {
        match &self.config.signature {
            Signature::Auto { region: Some(region) } if self.only_v4.load(Ordering::Relaxed) => {
                Signature::V4 { region: region.clone() }
            }
            signature => signature.clone(),
        }
    }

    /// Uses version 4 from now on. Returns whether that is allowed and new.
    fn turn_to_v4(&self) -> bool {
        let Signature::Auto { region: Some(region) } = &self.config.signature else { return false };
        if self.only_v4.swap(true, Ordering::Relaxed) {
            return false;
        }
        tracing::info!(%region, "SLS refuses signature version 1 here: signing with version 4");
        true
    }

    async fn find_group(&self) -> Result<Option<Group>, SourceError> {
        let groups = self.ask(&api::build_list_groups(&self.config), api::read_groups).await?;
        Ok(groups.into_iter().find(|group| group.name == self.config.group))
    }
}

/// Whether a name can be part of a host name, as projects and regions are.
#[must_use]
pub fn is_label(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=63).contains(&name.len()) && name.bytes().all(is_plain)
}

/// Names are used in a host name, a path and headers.
fn check_names(config: &Config) -> Result<(), ConfigError> {
    let names = [
        ("project", &config.project),
        ("logstore", &config.logstore),
        ("consumer group", &config.group),
        ("consumer", &config.consumer),
    ];
    for (what, name) in names {
        let problem = if name.is_empty() {
            "is empty"
        } else if what == "project" && !is_label(name) {
            "is not a project name: letters, digits and '-' only, without the endpoint"
        } else if matches!(name.as_str(), "." | "..") {
            "is not a name"
        } else if name.chars().any(char::is_control) {
            "has a control character"
        } else {
            continue;
        };
        return Err(ConfigError::Name { what, name: name.clone(), problem });
    }
    if let Signature::V4 { region } | Signature::Auto { region: Some(region) } = &config.signature
        && !is_label(region)
    {
        return Err(ConfigError::Name {
            what: "region",
            name: region.clone(),
            problem: "is not a region id such as cn-hangzhou, which signature version 4 needs",
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
