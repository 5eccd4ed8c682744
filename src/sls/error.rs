//! The meaning of refusals: one table from call, status and code to the reaction.
//!
//! Source: Alibaba Cloud SLS API reference, "Error codes" and the error tables of the single calls, and the codes
//! that the vendor's SDKs handle. Where two places document a status or the spelling of a code differently, both are
//! accepted.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Deserialize;

use super::api::ReadError;
use super::message::{Call, Reply};
use crate::core::cause::Cause;
use crate::core::printable::{excerpt, first_line};
use crate::core::source::SourceError;

/// Maximum wait that a server can request.
const MAX_RETRY_AFTER: u64 = 3600;

/// A refusal, as sent by the server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// `errorCode`; empty when the body is not the JSON of SLS.
    pub code: String,
    /// `errorMessage`, or the start of the body.
    pub message: String,
    /// `x-log-requestid`.
    pub request_id: Option<String>,
    /// `Retry-After`, when it is a number of seconds; an hour at most.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// Reads a reply with a status other than 200.
    #[must_use]
    pub fn read(reply: &Reply) -> Self {
        #[derive(Deserialize, Default)]
        struct Body {
            #[serde(rename = "errorCode")]
            code: String,
            #[serde(rename = "errorMessage", default)]
            message: String,
        }
        let body: Body = serde_json::from_slice(&reply.body)
            .unwrap_or_else(|_| Body { message: first_line(&reply.body), ..Body::default() });
        let seconds = reply.header("retry-after").and_then(|text| text.trim().parse::<u64>().ok());
        Self {
            status: reply.status,
            code: body.code,
            message: body.message,
            request_id: reply.header("x-log-requestid").map(str::to_owned),
            retry_after: seconds.map(|seconds| Duration::from_secs(seconds.min(MAX_RETRY_AFTER))),
        }
    }

    /// The consumer group does not exist: it was deleted, or never created.
    #[must_use]
    pub fn is_group_missing(&self) -> bool {
        self.code.eq_ignore_ascii_case(GROUP_MISSING)
    }

    /// The consumer group may have been created again since the last heartbeat: it does not exist, or does not know this
    /// consumer. The latter can also mean that the consumer was removed after its timeout.
    #[must_use]
    pub fn may_mean_new_group(&self) -> bool {
        self.is_group_missing() || self.is_consumer_missing()
    }

    fn is_consumer_missing(&self) -> bool {
        CONSUMER_MISSING.iter().any(|code| self.code.eq_ignore_ascii_case(code))
    }

    /// The key was accepted, but a right is missing.
    #[must_use]
    pub fn is_permission(&self) -> bool {
        let message = self.message.to_ascii_lowercase();
        message.contains("denied by") || message.contains("log:")
    }

    /// "pull: 404 LogStoreNotExist: logstore x does not exist [request 5F…]".
    fn describe(&self, call: Call) -> String {
        let mut text = format!("{call}: {}", self.status);
        for (before, part) in [(" ", &self.code), (": ", &self.message)] {
            if !part.trim().is_empty() {
                text.push_str(before);
                text.push_str(&excerpt(part));
            }
        }
        if let Some(id) = &self.request_id {
            write!(text, " [request {}]", excerpt(id)).expect("writing to a String cannot fail");
        }
        text
    }
}

/// What a refusal means.
#[derive(Debug)]
pub enum Verdict {
    /// The goal of the call is already reached.
    AlreadyDone,
    /// The clocks differ: sign again with the server's time; if that is not possible, this is the error.
    Clock(SourceError),
    /// The key was not accepted: sign again with a new key; if there is none, this is the error.
    Key(SourceError),
    /// The version of the signature is not accepted: sign with another one; if that is not allowed, this is the
    /// error.
    Signature(SourceError),
    /// The call has failed.
    Failed(SourceError),
}

/// The table. Codes take precedence over statuses, and are compared without case.
#[must_use]
pub fn verdict(call: Call, refusal: &Refusal) -> Verdict {
    let cause = |hint| Cause { what: refusal.describe(call), hint };
    let busy = |hint| Verdict::Failed(SourceError::Busy { retry_after: refusal.retry_after, cause: cause(hint) });
    let lost = |hint| Verdict::Failed(SourceError::Lost(cause(hint)));
    let refused = |hint| Verdict::Failed(SourceError::Refused(cause(Some(hint))));
    let absent = |hint| Verdict::Failed(SourceError::Absent(cause(Some(hint))));
    let key = |hint| Verdict::Key(SourceError::Refused(cause(Some(hint))));

    let code = refusal.code.to_ascii_lowercase();
    let message = refusal.message.to_ascii_lowercase();
    let reads_cursor = matches!(call, Call::Pull | Call::CursorTime);

    if refusal.is_group_missing() {
        return match call {
            Call::UpdateGroup | Call::ListGroups | Call::CreateGroup => busy(None),
            _ => lost(Some(GROUP_GONE)),
        };
    }
    if refusal.is_consumer_missing() {
        return lost(None);
    }
    match code.as_str() {
        "requesttimeexpired" | "requesttimetooskewed" => {
            return Verdict::Clock(SourceError::Refused(cause(Some(CLOCK))));
        }
        "consumergroupalreadyexist" if call == Call::CreateGroup => return Verdict::AlreadyDone,
        "consumernotmatch" => return lost(Some("another consumer holds the shard now")),
        "shardnotexist" | "shardnotexsit" => return lost(Some("its logs have expired after a split or merge")),
        "logstorewithoutshard" => return busy(Some("a new logstore has no shards for a moment")),
        "projectnotexist" | "projectnotexists" => return absent("check `project` and the region of `endpoint`"),
        "logstorenotexist" => return absent("check `logstore`"),
        "consumergroupquotaexceed" => return refused(GROUP_QUOTA),
        "projectforbidden" => return refused("the project is disabled: check the account for overdue payments"),
        "invalidsignaturemethod" => return Verdict::Signature(SourceError::Refused(cause(Some(ONLY_V4)))),
        "internalservererror" | "serverbusy" | "requesttimeout" => return busy(None),
        code if code.contains("invalidcursor") && reads_cursor => return stale(cause),
        "parameterinvalid" | "invalidparameter" | "badrequest" if message.contains("cursor") && reads_cursor => {
            return stale(cause);
        }
        "parameterinvalid" | "invalidparameter" | "badrequest" if call == Call::Pull => return refused(PULL_ARGUMENT),
        code if code.contains("quotaexceed") => return busy(Some(THROTTLED)),
        code if KEY_CODES.iter().any(|known| code.contains(known)) => return key(key_hint(call, code, &message)),
        _ => {}
    }
    match refusal.status {
        300..=399 => refused("redirects are not followed: set `endpoint` to the final address"),
        401 => key(key_hint(call, &code, &message)),
        403 if ["exceed", "quota"].iter().any(|word| message.contains(word)) => busy(Some(THROTTLED)),
        403 => key(key_hint(call, &code, &message)),
        407 => refused("the proxy requires credentials: set them in `http_proxy` or `https_proxy`"),
        408 | 429 | 500..=599 => busy(None),
        400..=499 if code.is_empty() => {
            refused("this is not an answer from SLS: check `endpoint` and the proxy settings")
        }
        400..=499 => refused(OUR_MISTAKE),
        _ => busy(None),
    }
}

fn stale(cause: impl Fn(Option<&'static str>) -> Cause) -> Verdict {
    Verdict::Failed(SourceError::Stale(cause(None)))
}

const GROUP_MISSING: &str = "ConsumerGroupNotExist";

const CONSUMER_MISSING: [&str; 3] = ["NotExistConsumerWithBody", "ConsumerNotExist", "ConsumerNotExsit"];

/// Parts of the codes that are about credentials.
const KEY_CODES: [&str; 5] =
    ["unauthorized", "signaturenotmatch", "invalidaccesskeyid", "securitytoken", "missaccesskeyid"];

/// Advice for a key that was not accepted.
fn key_hint(call: Call, code: &str, message: &str) -> &'static str {
    if message.contains("denied by") || message.contains("log:") {
        permission(call)
    } else if code.contains("securitytoken") || message.contains("security token") {
        "renew the STS token"
    } else if code.contains("signaturenotmatch") {
        "check the AccessKey secret, the signature version and its region; a proxy must not change headers"
    } else if message.contains("disabled") {
        "enable the AccessKey"
    } else if code.is_empty() {
        "a proxy or firewall may have answered instead of SLS"
    } else {
        "check the AccessKey and its RAM permissions"
    }
}

/// The missing right; `forwarder policy` prints all of them.
fn permission(call: Call) -> &'static str {
    match call {
        Call::ListGroups => {
            "grant log:ListConsumerGroup on consumergroup/* in RAM; `forwarder policy` prints all that is needed"
        }
        Call::CreateGroup => {
            "grant log:CreateConsumerGroup on consumergroup/* in RAM; `forwarder policy` prints all that is needed"
        }
        Call::UpdateGroup => "grant log:UpdateConsumerGroup on the consumer group in RAM, or leave out `manage_group`",
        Call::Heartbeat => {
            "grant log:ConsumerGroupHeartBeat on the consumer group in RAM; `forwarder policy` prints all that is needed"
        }
        Call::Checkpoint => {
            "grant log:GetConsumerGroupCheckPoint on the consumer group in RAM; `forwarder policy` prints all that is needed"
        }
        Call::Save => {
            "grant log:ConsumerGroupUpdateCheckPoint on the consumer group in RAM; `forwarder policy` prints all that is needed"
        }
        Call::Cursor | Call::CursorTime | Call::Pull => {
            "grant log:GetCursorOrData on the logstore in RAM; `forwarder policy` prints all that is needed"
        }
        Call::ListShards => "grant log:ListShards on the logstore in RAM; `forwarder policy` prints all that is needed",
        Call::Logstore => "grant log:GetLogStore on the logstore in RAM",
        Call::Put => "grant log:PostLogStoreLogs on the logstore in RAM, or leave out `probe.enabled`",
        Call::ListLogstores => {
            "grant log:ListLogStores on project/{project}/logstore/* in RAM; `forwarder policy` prints all that is needed"
        }
        Call::Project => "grant log:GetProject on the project in RAM",
    }
}

const CLOCK: &str = "set the clock of this host (NTP); SLS allows 15 minutes";
const ONLY_V4: &str = "only another signature version is accepted here: set `signature` to v4, and `region`";
const GROUP_GONE: &str =
    "the consumer group was deleted with its checkpoints: it is created again, with those that this process knows";
const GROUP_QUOTA: &str = "delete an unused consumer group (limit 30 per logstore)";
const THROTTLED: &str = "the read quota is used up: split the shard, or read with fewer consumer groups";
const PULL_ARGUMENT: &str = "check `query` and `processor`";
const OUR_MISTAKE: &str = "the request is malformed: look for a proxy that changes requests, else report this as a bug";

/// The error of a reply with status 200 that cannot be parsed: a retry may succeed.
#[must_use]
pub fn unreadable(call: Call, error: &ReadError, request_id: Option<&str>) -> SourceError {
    let id = request_id.map(|id| format!(" [request {}]", excerpt(id))).unwrap_or_default();
    busy(call, format!("{}{id}", excerpt(&error.to_string())), None)
}

/// The error of a call without a reply.
#[must_use]
pub fn busy(call: Call, what: String, hint: Option<&'static str>) -> SourceError {
    SourceError::Busy { retry_after: None, cause: Cause { what: format!("{call}: {what}"), hint } }
}

#[cfg(test)]
mod tests;
