//! Faults on request.
//!
//! Scripted faults wait in a queue per kind of call, each for a number of calls. Everything that happens to the service
//! itself (a shard changes hands, logs expire) is an [`SlsEvent`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::group::Fence;
use super::refusal::Refusal;

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// `ListConsumerGroup`.
    ListGroups,
    /// `CreateConsumerGroup`.
    CreateGroup,
    /// `UpdateConsumerGroup`.
    UpdateGroup,
    /// `DeleteConsumerGroup`.
    DeleteGroup,
    /// `HeartBeat`.
    Heartbeat,
    /// `GetConsumerGroupCheckPoint`.
    Checkpoint,
    /// `UpdateCheckPoint`.
    Save,
    /// `ListShards`.
    ListShards,
    /// `GetProject`.
    Project,
    /// `SplitShard`.
    Split,
    /// `MergeShards`.
    Merge,
    /// `GetCursor`.
    Cursor,
    /// `GetCursorTime`.
    CursorTime,
    /// `PullLogs`, also by HEAD.
    Pull,
    /// `PutLogs`.
    Put,
    /// `GetLogStore`.
    Logstore,
    /// `ListLogStores`.
    ListLogstores,
}

/// The fault of a call.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case", deny_unknown_fields)]
pub enum SlsFault {
    /// The call is refused, and not carried out.
    Status {
        /// HTTP status.
        status: u16,
        /// Error code.
        code: String,
        /// Message.
        #[serde(default)]
        message: String,
    },
    /// The connection is reset; the call is not carried out.
    Reset,
    /// The call is carried out, and then the connection is reset.
    DropReply,
    /// The call is executed, and its reply is delayed by this much.
    Delay {
        /// How much later.
        #[serde(rename = "ms", deserialize_with = "milliseconds")]
        by: Duration,
    },
    /// The body comes in ten pieces, this far apart.
    Drip {
        /// How far apart.
        #[serde(rename = "ms", deserialize_with = "milliseconds")]
        pause: Duration,
    },
    /// The connection ends in the middle of the body.
    Truncate,
    /// The body is garbage of the right length.
    Corrupt,
    /// `x-log-bodyrawsize` has this value.
    RawSize {
        /// What it says.
        size: u64,
    },
}

fn milliseconds<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}

impl SlsFault {
    /// A [`SlsFault::Status`].
    #[must_use]
    pub fn status(status: u16, code: &str, message: &str) -> Self {
        Self::Status { status, code: code.to_owned(), message: message.to_owned() }
    }
}

/// Something that happens to a logstore or to one of its consumer groups.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
pub enum SlsEvent {
    /// All but the newest `keep` log groups of a shard expire.
    Expire {
        /// The shard.
        shard: u32,
        /// Groups that stay.
        keep: u32,
    },
    /// A shard is split in two.
    Split {
        /// The shard.
        shard: u32,
    },
    /// A shard is merged with the next.
    Merge {
        /// The shard.
        shard: u32,
    },
    /// A consumer group is deleted with its checkpoints.
    DeleteGroup {
        /// The consumer group.
        group: String,
    },
    /// A consumer is treated as silent for too long.
    Evict {
        /// The consumer group.
        group: String,
        /// The consumer.
        consumer: String,
    },
    /// A shard is given to another consumer at once, whichever holds it; that consumer joins if necessary.
    Assign {
        /// The consumer group.
        group: String,
        /// The shard.
        shard: u32,
        /// The consumer that gets it.
        consumer: String,
    },
    /// A shard is taken back from its owner, and given to another consumer when the owner stops listing it.
    HandOver {
        /// The consumer group.
        group: String,
        /// The shard.
        shard: u32,
        /// The consumer that gets it.
        consumer: String,
    },
}

/// The pending faults.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    queues: BTreeMap<Call, VecDeque<Scripted>>,
    /// Seconds that the server's clock is ahead of the machine's.
    skew: i64,
    fence: Fence,
}

/// A fault, for this many calls.
#[derive(Debug)]
struct Scripted {
    fault: SlsFault,
    times: u32,
    /// The project and the logstore whose calls it is for, if not for all.
    of: Option<(String, String)>,
}

impl Faults {
    /// Adds a fault for the next `times` calls of a kind, after the pending ones; `u32::MAX` means forever.
    pub fn next(&self, call: Call, fault: SlsFault, times: u32) {
        self.script(call, Scripted { fault, times, of: None });
    }

    /// The same for calls about one logstore.
    pub fn next_of(&self, project: &str, logstore: &str, call: Call, fault: SlsFault, times: u32) {
        self.script(call, Scripted { fault, times, of: Some((project.to_owned(), logstore.to_owned())) });
    }

    fn script(&self, call: Call, scripted: Scripted) {
        if scripted.times > 0 {
            self.lock().queues.entry(call).or_default().push_back(scripted);
        }
    }

    /// Clears the pending faults for a kind of call.
    pub fn clear(&self, call: Call) {
        self.lock().queues.remove(&call);
    }

    /// Clears everything: pending faults, the skew and the fence.
    pub fn clear_all(&self) {
        *self.lock() = Waiting::default();
    }

    /// Sets the server's clock ahead of the machine's by this many seconds: it dates logs, checkpoints and replies, and
    /// is used to check signatures.
    pub fn skew(&self, seconds: i64) {
        self.lock().skew = seconds;
    }

    /// Sets how a save for another consumer's shard is refused.
    pub fn fence(&self, fence: Fence) {
        self.lock().fence = fence;
    }

    /// How many calls of a kind still have a fault.
    #[must_use]
    pub fn waiting(&self, call: Call) -> u32 {
        let all = self.all_waiting();
        all.iter().find(|(kind, _)| *kind == call).map_or(0, |(_, times)| *times)
    }

    pub(super) fn all_waiting(&self) -> Vec<(Call, u32)> {
        let waiting = self.lock();
        let sum = |queue: &VecDeque<Scripted>| queue.iter().fold(0, |sum: u32, next| sum.saturating_add(next.times));
        let sums = waiting.queues.iter().map(|(call, queue)| (*call, sum(queue)));
        sums.filter(|(_, times)| *times > 0).collect()
    }

    /// The fault for a call about a logstore that has just come in.
    pub(super) fn take(&self, call: Call, project: &str, logstore: &str) -> Option<SlsFault> {
        let mut waiting = self.lock();
        let queue = waiting.queues.get_mut(&call)?;
        let is_meant = |of: &Option<(String, String)>| {
            of.as_ref().is_none_or(|(its_project, its)| its_project == project && its == logstore)
        };
        let at = queue.iter().position(|next| is_meant(&next.of))?;
        let next = &mut queue[at];
        let fault = next.fault.clone();
        if next.times != u32::MAX {
            next.times -= 1;
        }
        if next.times == 0 {
            queue.remove(at);
        }
        Some(fault)
    }

    /// Seconds that the server's clock is ahead of the machine's.
    pub(super) fn current_skew(&self) -> i64 {
        self.lock().skew
    }

    pub(super) fn current_fence(&self) -> Fence {
        self.lock().fence
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.0.lock().expect("no code panics while it holds the lock")
    }
}

/// What `POST /_emulator/faults` takes.
#[derive(Debug)]
pub(super) enum Order {
    Fault(ScriptedFault),
    Event(Happening),
    Switch(Switch),
}

/// `{"call": "pull", "fault": "status", "status": 500, "code": "InternalServerError", "times": 3}`, and `project` and `logstore`
/// when it is for the calls about one only.
#[derive(Debug, Deserialize)]
pub(super) struct ScriptedFault {
    call: Call,
    #[serde(flatten)]
    fault: SlsFault,
    #[serde(default = "once")]
    times: u32,
    project: Option<String>,
    logstore: Option<String>,
}

fn once() -> u32 {
    1
}

/// `{"project": "p", "logstore": "l", "event": "expire", "shard": 0, "keep": 10}`.
#[derive(Debug, Deserialize)]
pub(super) struct Happening {
    pub project: String,
    pub logstore: String,
    #[serde(flatten)]
    pub event: SlsEvent,
}

/// `{"skew_seconds": 1200}`, `{"fence": "not_exist"}`, `{"clear": true}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Switch {
    #[serde(default)]
    clear: bool,
    skew_seconds: Option<i64>,
    fence: Option<Fence>,
}

impl Order {
    /// Parses an order; its keys show which of the three it is.
    pub fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let value: serde_json::Value =
            serde_json::from_slice(body).map_err(|error| Refusal::json(error.to_string()))?;
        let order = if value.get("fault").is_some() {
            serde_json::from_value(value).map(Self::Fault)
        } else if value.get("event").is_some() {
            serde_json::from_value(value).map(Self::Event)
        } else {
            serde_json::from_value(value).map(Self::Switch)
        };
        order.map_err(|error| Refusal::json(error.to_string()))
    }
}

impl Faults {
    pub(super) fn order(&self, fault: ScriptedFault) {
        self.script(
            fault.call,
            Scripted { fault: fault.fault, times: fault.times, of: fault.project.zip(fault.logstore) },
        );
    }

    pub(super) fn switch(&self, switch: &Switch) {
        if switch.clear {
            self.clear_all();
        }
        if let Some(seconds) = switch.skew_seconds {
            self.skew(seconds);
        }
        if let Some(fence) = switch.fence {
            self.fence(fence);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_come_in_order_as_often_as_configured_and_only_for_their_call() {
        let faults = Faults::default();
        faults.next(Call::Pull, SlsFault::Reset, 2);
        faults.next(Call::Pull, SlsFault::Truncate, 1);
        faults.next(Call::Save, SlsFault::DropReply, 0);
        assert_eq!((faults.waiting(Call::Pull), faults.waiting(Call::Save)), (3, 0));
        assert_eq!(faults.take(Call::Heartbeat, "p", "l"), None);
        let taken = [(); 4].map(|()| faults.take(Call::Pull, "p", "l"));
        assert_eq!(taken, [Some(SlsFault::Reset), Some(SlsFault::Reset), Some(SlsFault::Truncate), None]);
    }

    #[test]
    fn a_fault_of_one_logstore_affects_only_its_calls() {
        let faults = Faults::default();
        faults.next_of("p", "l", Call::Pull, SlsFault::Reset, 1);
        faults.next(Call::Pull, SlsFault::Truncate, 1);
        let taken = ["other", "l", "l"].map(|logstore| faults.take(Call::Pull, "p", logstore));
        assert_eq!(taken, [Some(SlsFault::Truncate), Some(SlsFault::Reset), None]);
    }

    #[test]
    fn a_permanent_fault_ends_when_it_is_cleared() {
        let faults = Faults::default();
        faults.next(Call::Pull, SlsFault::Reset, u32::MAX);
        for _ in 0..3 {
            assert_eq!(faults.take(Call::Pull, "p", "l"), Some(SlsFault::Reset));
        }
        faults.clear(Call::Pull);
        assert_eq!(faults.take(Call::Pull, "p", "l"), None);
    }

    #[test]
    fn the_servers_clock_can_be_set_ahead_and_back() {
        let faults = Faults::default();
        let at = |skew| {
            faults.skew(skew);
            faults.current_skew()
        };
        assert_eq!([at(0), at(60), at(-60)], [0, 60, -60]);
        faults.clear_all();
        assert_eq!(faults.current_skew(), 0);
    }

    #[test]
    fn fault_specifications_are_read_by_their_keys() {
        let fault = br#"{"call": "pull", "fault": "status", "status": 500, "code": "InternalServerError", "times": 3}"#;
        let Ok(Order::Fault(fault)) = Order::parse(fault) else { panic!("a fault") };
        assert_eq!(
            (fault.call, fault.fault, fault.times),
            (Call::Pull, SlsFault::status(500, "InternalServerError", ""), 3)
        );
        let one = br#"{"call": "pull", "fault": "reset", "project": "p", "logstore": "l"}"#;
        let Ok(Order::Fault(one)) = Order::parse(one) else { panic!("a fault") };
        assert_eq!((one.project.as_deref(), one.logstore.as_deref()), (Some("p"), Some("l")));
        let Ok(Order::Fault(delay)) = Order::parse(br#"{"call": "save", "fault": "delay", "ms": 250}"#) else {
            panic!("a fault")
        };
        assert_eq!((delay.fault, delay.times), (SlsFault::Delay { by: Duration::from_millis(250) }, 1));
        let expire = br#"{"project": "p", "logstore": "l", "event": "expire", "shard": 0, "keep": 10}"#;
        let Ok(Order::Event(expire)) = Order::parse(expire) else { panic!("an event") };
        assert_eq!(expire.event, SlsEvent::Expire { shard: 0, keep: 10 });
        assert!(matches!(Order::parse(br#"{"skew_seconds": -1200}"#), Ok(Order::Switch(_))));
    }

    #[test]
    fn an_invalid_fault_specification_is_refused() {
        for body in [
            "",
            "[]",
            r#"{"skew": 5}"#,
            r#"{"call": "pul", "fault": "reset"}"#,
            r#"{"call": "pull", "fault": "sleep"}"#,
            r#"{"project": "p", "logstore": "l", "event": "evict", "group": "g"}"#,
        ] {
            let refusal = Order::parse(body.as_bytes()).expect_err(body);
            assert_eq!(refusal.code, "JsonInfoInvalid", "{body}");
        }
    }
}
