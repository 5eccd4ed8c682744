//! `/_emulator/…`: faults and events on request, and the state. Only for clients on this machine.

use std::time::Duration;

use hyper::Method;
use serde::Serialize;

use super::faults::{Call, Order, SlsEvent};
use super::group::Phase;
use super::logstore::Logstore;
use super::refusal::Refusal;
use super::reply::Reply;
use super::service::Service;
use crate::emulator::request::Request;

/// Answers a request under `/_emulator/`.
pub(super) fn answer(service: &Service, request: &Request, now: Duration) -> Result<Reply, Refusal> {
    match (&request.method, request.path.as_str()) {
        (&Method::GET, "/_emulator/state") => Ok(Reply::json(look(service, now))),
        (&Method::POST, "/_emulator/faults") => {
            match Order::parse(&request.body)? {
                Order::Fault(fault) => service.faults.order(fault),
                Order::Switch(switch) => service.faults.switch(&switch),
                Order::Event(happening) => {
                    let mut state = super::state::lock(&service.state);
                    let logstore = state.logstore(&happening.project, &happening.logstore, now)?;
                    happen(logstore, &happening.event, now)?;
                }
            }
            Ok(Reply::empty())
        }
        _ => {
            Err(Refusal::new(404, "BadRequest", "emulator: there are GET /_emulator/state and POST /_emulator/faults"))
        }
    }
}

/// Applies an event to a logstore.
pub(super) fn happen(logstore: &mut Logstore, event: &SlsEvent, now: Duration) -> Result<(), Refusal> {
    match event {
        SlsEvent::Expire { shard, keep } => {
            let end = logstore.shard(*shard)?.end();
            logstore.expire(*shard, end - i64::from(*keep))
        }
        SlsEvent::Split { shard } => logstore.split(*shard, None, 2, now).map(|_| ()),
        SlsEvent::Merge { shard } => logstore.merge(*shard, now).map(|_| ()),
        SlsEvent::DeleteGroup { group } => logstore.delete_group(group),
        SlsEvent::Evict { group, consumer } => {
            let (group, shards) = logstore.group_mut(group)?;
            group.evict(consumer, shards);
            Ok(())
        }
        SlsEvent::Assign { group, shard, consumer } => {
            let (group, shards) = logstore.group_mut(group)?;
            group.assign(*shard, consumer, shards, now)
        }
        SlsEvent::HandOver { group, shard, consumer } => {
            let (group, shards) = logstore.group_mut(group)?;
            group.hand_over(*shard, consumer, shards, now)
        }
    }
}

#[derive(Serialize)]
struct View {
    logstores: Vec<LogstoreView>,
    faults_waiting: Vec<(Call, u32)>,
}

#[derive(Serialize)]
struct LogstoreView {
    project: String,
    logstore: String,
    shards: Vec<ShardView>,
    consumer_groups: Vec<GroupView>,
}

/// Cursors as numbers, for people.
#[derive(Serialize)]
struct ShardView {
    shard: u32,
    readonly: bool,
    parents: Vec<u32>,
    begin: i64,
    end: i64,
    log_groups: i64,
    bytes: usize,
}

#[derive(Serialize)]
struct GroupView {
    name: String,
    timeout: u64,
    order: bool,
    consumers: Vec<ConsumerView>,
    shards: Vec<SlotView>,
}

#[derive(Serialize)]
struct ConsumerView {
    name: String,
    silent_seconds: f64,
}

#[derive(Serialize)]
struct SlotView {
    shard: u32,
    phase: Phase,
    owner: Option<String>,
    checkpoint: Option<i64>,
    saved_by: Option<String>,
    /// Log groups between the checkpoint and the end.
    behind: Option<i64>,
}

fn look(service: &Service, now: Duration) -> View {
    let mut state = super::state::lock(&service.state);
    let view = |(project, name, logstore): (&str, &str, &mut Logstore)| LogstoreView {
        project: project.to_owned(),
        logstore: name.to_owned(),
        consumer_groups: groups(logstore, now),
        shards: shards(logstore),
    };
    View { logstores: state.logstores().map(view).collect(), faults_waiting: service.faults.all_waiting() }
}

fn shards(logstore: &Logstore) -> Vec<ShardView> {
    let view = |shard: &super::shard::Shard| ShardView {
        shard: shard.id,
        readonly: shard.readonly,
        parents: shard.parents.clone(),
        begin: shard.begin(),
        end: shard.end(),
        log_groups: shard.end() - shard.begin(),
        bytes: shard.bytes(),
    };
    logstore.shards().values().map(view).collect()
}

fn groups(logstore: &mut Logstore, now: Duration) -> Vec<GroupView> {
    let ends: std::collections::BTreeMap<u32, i64> =
        logstore.shards().values().map(|shard| (shard.id, shard.end())).collect();
    let mut views = Vec::new();
    for (name, group) in logstore.groups(now) {
        let slots = group.slots().iter().map(|(id, slot)| SlotView {
            shard: *id,
            phase: slot.phase.clone(),
            owner: slot.holder().map(str::to_owned),
            checkpoint: slot.checkpoint.as_ref().map(|saved| saved.cursor),
            saved_by: slot.checkpoint.as_ref().map(|saved| saved.consumer.clone()),
            behind: slot.checkpoint.as_ref().map(|saved| ends[id] - saved.cursor),
        });
        let consumers = group.consumers().iter().map(|(name, heard)| ConsumerView {
            name: name.clone(),
            silent_seconds: now.saturating_sub(*heard).as_secs_f64(),
        });
        views.push(GroupView {
            name: name.clone(),
            timeout: group.timeout().as_secs(),
            order: group.order(),
            consumers: consumers.collect(),
            shards: slots.collect(),
        });
    }
    views
}
