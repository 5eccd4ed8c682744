//! The calls of the service: identifies the call of a request, and answers it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::faults::Call;
use super::group::{ConsumerGroup, Save};
use super::logstore::{Logstore, Route};
use super::pull::{cursor_parameter, pull, put};
use super::refusal::Refusal;
use super::reply::Reply;
use super::service::Service;
use super::shard::Shard;
use super::state::SlsState;
use crate::core::cursor::Cursor;
use crate::emulator::request::Request;

/// Most logstores that one call lists.
const LOGSTORES_PAGE: usize = 500;

/// A call and the names in its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub call: Call,
    logstore: String,
    /// The consumer group, or the last segment of a shard's path.
    name: String,
}

impl Target {
    /// The logstore that the call is about; empty for a call about the project.
    pub fn logstore(&self) -> &str {
        &self.logstore
    }

    /// Identifies the call of a request.
    ///
    /// # Errors
    /// `BadRequest`: none of those that the emulator knows.
    pub fn of(request: &Request) -> Result<Self, Refusal> {
        let unknown = || {
            let message = format!("emulator: no such call: {} {}", request.method, request.path);
            Refusal::new(400, "BadRequest", message)
        };
        let segments: Vec<_> = request.path.trim_matches('/').split('/').collect();
        let kind = request.parameter("type");
        let (call, logstore, name) = match (request.method.as_str(), &segments[..]) {
            ("GET", ["logstores", logstore, "consumergroups"]) => (Call::ListGroups, logstore, ""),
            ("POST", ["logstores", logstore, "consumergroups"]) => (Call::CreateGroup, logstore, ""),
            ("PUT", ["logstores", logstore, "consumergroups", group]) => (Call::UpdateGroup, logstore, *group),
            ("DELETE", ["logstores", logstore, "consumergroups", group]) => (Call::DeleteGroup, logstore, *group),
            ("GET", ["logstores", logstore, "consumergroups", group]) => (Call::Checkpoint, logstore, *group),
            ("POST", ["logstores", logstore, "consumergroups", group]) => match kind {
                Some("heartbeat") => (Call::Heartbeat, logstore, *group),
                Some("checkpoint") => (Call::Save, logstore, *group),
                _ => return Err(unknown()),
            },
            ("GET", [""]) => (Call::Project, &"", ""),
            ("GET", ["logstores"]) => (Call::ListLogstores, &"", ""),
            ("GET", ["logstores", logstore, "shards"]) => (Call::ListShards, logstore, ""),
            ("GET", ["logstores", logstore]) => (Call::Logstore, logstore, ""),
            ("POST", ["logstores", logstore]) => (Call::Put, logstore, "lb"),
            ("POST", ["logstores", logstore, "shards", how @ ("lb" | "route")]) => (Call::Put, logstore, *how),
            ("POST", ["logstores", logstore, "shards", id]) => match request.parameter("action") {
                Some("split") => (Call::Split, logstore, *id),
                Some("merge") => (Call::Merge, logstore, *id),
                _ => return Err(unknown()),
            },
            (method @ ("GET" | "HEAD"), ["logstores", logstore, "shards", id]) => match (method, kind) {
                (_, Some("log" | "logs")) => (Call::Pull, logstore, *id),
                ("GET", Some("cursor")) => (Call::Cursor, logstore, *id),
                ("GET", Some("cursor_time")) => (Call::CursorTime, logstore, *id),
                _ => return Err(unknown()),
            },
            _ => return Err(unknown()),
        };
        Ok(Self { call, logstore: (*logstore).to_owned(), name: name.to_owned() })
    }

    fn shard(&self) -> Result<u32, Refusal> {
        let invalid = |_| Refusal::parameter(format!("invalid shard id {}", self.name));
        self.name.parse().map_err(invalid)
    }
}

/// Executes a call.
pub(super) fn answer(service: &Service, target: &Target, request: &Request, now: Duration) -> Result<Reply, Refusal> {
    match target.call {
        Call::Pull => return pull(&service.state, &target.logstore, target.shard()?, request, now),
        Call::Project => {
            let region = super::state::lock(&service.state).region(&request.project)?.to_owned();
            return Ok(project(&request.project, &region));
        }
        Call::ListLogstores => return list_logstores(&super::state::lock(&service.state), request),
        Call::Put => return put(&service.state, &target.logstore, route(target, request)?, request, now),
        _ => {}
    }
    let mut state = super::state::lock(&service.state);
    let logstore = state.logstore(&request.project, &target.logstore, now)?;
    let group = &target.name;
    match target.call {
        Call::ListGroups => Ok(list_groups(logstore, now)),
        Call::CreateGroup => create_group(logstore, request),
        Call::UpdateGroup => update_group(logstore, group, request),
        Call::DeleteGroup => logstore.delete_group(group).map(|()| Reply::empty()),
        Call::Heartbeat => heartbeat(logstore, group, service, request, now),
        Call::Checkpoint => checkpoints(logstore, group, request, now),
        Call::Save => save(logstore, group, service, request, now),
        Call::ListShards => Ok(Reply::json(logstore.shards().values().map(describe).collect::<Vec<_>>())),
        Call::Logstore => Ok(describe_logstore(&target.logstore, logstore)),
        Call::Split => split(logstore, target.shard()?, request, now),
        Call::Merge => merge(logstore, target.shard()?, now),
        Call::Cursor => cursor(logstore.shard(target.shard()?)?, request),
        Call::CursorTime => cursor_time(logstore.shard(target.shard()?)?, request),
        Call::Project | Call::ListLogstores | Call::Pull | Call::Put => {
            unreachable!("answered above, where no logstore is looked up")
        }
    }
}

fn list_logstores(state: &SlsState, request: &Request) -> Result<Reply, Refusal> {
    let number = |name: &str, default| {
        let text = request.parameter(name).map_or(Ok(default), str::parse::<usize>);
        text.map_err(|_| Refusal::parameter(format!("{name} is not a number")))
    };
    let (offset, size) = (number("offset", 0)?, number("size", 200)?.min(LOGSTORES_PAGE));
    let all = state.names(&request.project)?;
    let page: Vec<&str> = all.iter().skip(offset).take(size).copied().collect();
    Ok(Reply::json(json!({ "count": page.len(), "total": all.len(), "logstores": page })))
}

fn list_groups(logstore: &mut Logstore, now: Duration) -> Reply {
    let describe = |(name, group): (&String, &ConsumerGroup)| json!({ "name": name, "timeout": group.timeout().as_secs(), "order": group.order() });
    Reply::json(logstore.groups(now).iter().map(describe).collect::<Vec<_>>())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewGroup {
    consumer_group: String,
    timeout: u64,
    #[serde(default)]
    order: bool,
}

fn create_group(logstore: &mut Logstore, request: &Request) -> Result<Reply, Refusal> {
    let new: NewGroup = body(request)?;
    logstore.create_group(&new.consumer_group, Duration::from_secs(new.timeout), new.order)?;
    Ok(Reply::empty())
}

#[derive(Deserialize)]
struct GroupChange {
    timeout: Option<u64>,
    order: Option<bool>,
}

fn update_group(logstore: &mut Logstore, group: &str, request: &Request) -> Result<Reply, Refusal> {
    let change: GroupChange = body(request)?;
    if change.timeout.is_none() && change.order.is_none() {
        return Err(Refusal::json("neither timeout nor order is given"));
    }
    let (group, shards) = logstore.group_mut(group)?;
    group.update(change.timeout.map(Duration::from_secs), change.order, shards);
    Ok(Reply::empty())
}

fn heartbeat(
    logstore: &mut Logstore,
    group: &str,
    service: &Service,
    request: &Request,
    now: Duration,
) -> Result<Reply, Refusal> {
    let consumer = request.parameter("consumer").filter(|consumer| !consumer.is_empty());
    let consumer = consumer.ok_or_else(|| Refusal::parameter("consumer is missing"))?;
    let held: BTreeSet<u32> = body(request)?;
    let owned = logstore.heartbeat(group, consumer, &held, now)?;
    if let Some(tap) = &service.tap {
        tap.beat(consumer);
    }
    Ok(Reply::json(owned))
}

fn checkpoints(logstore: &mut Logstore, group: &str, request: &Request, now: Duration) -> Result<Reply, Refusal> {
    let wanted = match request.parameter("shard") {
        Some(id) => Some(id.parse::<u32>().map_err(|_| Refusal::parameter(format!("invalid shard id {id}")))?),
        None => None,
    };
    let groups = logstore.groups(now);
    let slots = groups.get(group).ok_or_else(|| Refusal::group(group))?.slots();
    let entries: Vec<Value> = slots
        .iter()
        .filter(|(id, _)| wanted.is_none_or(|wanted| wanted == **id))
        .map(|(id, slot)| match &slot.checkpoint {
            Some(saved) => json!({
                "shard": id,
                "checkpoint": Cursor::from_number(saved.cursor).as_str(),
                "updateTime": saved.updated.as_micros() as u64,
                "consumer": saved.consumer,
            }),
            None => json!({ "shard": id, "checkpoint": "", "updateTime": 0, "consumer": "" }),
        })
        .collect();
    Ok(Reply::json(entries))
}

#[derive(Deserialize)]
struct NewCheckpoint {
    shard: u32,
    checkpoint: String,
}

fn save(
    logstore: &mut Logstore,
    group: &str,
    service: &Service,
    request: &Request,
    now: Duration,
) -> Result<Reply, Refusal> {
    let new: NewCheckpoint = body(request)?;
    let invalid = || Refusal::new(400, "InvalidShardCheckPoint", "shard checkpoint not encoded by base64");
    let cursor = Cursor::new(&new.checkpoint).number();
    let save = Save {
        shard: new.shard,
        cursor: cursor.ok_or_else(invalid)?,
        consumer: request.parameter("consumer").unwrap_or_default().to_owned(),
        forced: request.parameter("forceSuccess").is_some_and(|force| force.eq_ignore_ascii_case("true")),
    };
    if save.consumer.is_empty() && !save.forced {
        return Err(Refusal::parameter("without a consumer, forceSuccess has to be true"));
    }
    logstore.save(group, save.clone(), service.faults.current_fence(), now)?;
    if let Some(tap) = &service.tap {
        tap.saved(&save);
    }
    Ok(Reply::empty())
}

fn project(name: &str, region: &str) -> Reply {
    Reply::json(json!({
        "projectName": name,
        "status": "Normal",
        "region": region,
        "internetEndpoint": format!("{region}.log.aliyuncs.com"),
        "internalEndpoint": format!("{region}-intranet.log.aliyuncs.com"),
    }))
}

fn describe(shard: &Shard) -> Value {
    json!({
        "shardID": shard.id,
        "status": if shard.readonly { "readonly" } else { "readwrite" },
        "inclusiveBeginKey": format!("{:032x}", shard.begin_key),
        "exclusiveEndKey": format!("{:032x}", shard.end_key),
        "createTime": shard.created.as_secs(),
    })
}

fn describe_logstore(name: &str, logstore: &Logstore) -> Reply {
    let days = logstore.retention().as_secs().div_ceil(86_400);
    Reply::json(json!({ "logstoreName": name, "ttl": days, "shardCount": logstore.shards().len() }))
}

fn describe_all(logstore: &Logstore, ids: impl IntoIterator<Item = u32>) -> Reply {
    Reply::json(ids.into_iter().filter_map(|id| logstore.shards().get(&id).map(describe)).collect::<Vec<_>>())
}

fn split(logstore: &mut Logstore, id: u32, request: &Request, now: Duration) -> Result<Reply, Refusal> {
    let key = request.parameter("key").map(hash_key).transpose()?;
    let count = request.parameter("shardCount").map_or(Ok(2), str::parse);
    let count = count.map_err(|_| Refusal::parameter("shardCount is not a number"))?;
    let children = logstore.split(id, key, count, now)?;
    Ok(describe_all(logstore, [id].into_iter().chain(children)))
}

fn merge(logstore: &mut Logstore, id: u32, now: Duration) -> Result<Reply, Refusal> {
    let shards = logstore.merge(id, now)?;
    Ok(describe_all(logstore, shards))
}

fn cursor(shard: &Shard, request: &Request) -> Result<Reply, Refusal> {
    let number = match request.parameter("from") {
        Some("begin") => shard.begin(),
        Some("end") => shard.end(),
        from => {
            let seconds = from.and_then(|from| from.parse().ok());
            shard.cursor_at(seconds.ok_or_else(|| Refusal::parameter("Parameter From is not valid"))?)
        }
    };
    Ok(Reply::json(json!({ "cursor": Cursor::from_number(number).as_str() })))
}

fn cursor_time(shard: &Shard, request: &Request) -> Result<Reply, Refusal> {
    let number = cursor_parameter(request, "cursor")?.ok_or_else(|| Refusal::parameter("cursor is missing"))?;
    let received = shard.received(number).ok_or_else(Refusal::cursor)?;
    Ok(Reply::json(json!({ "cursor_time": received.as_secs() })))
}

fn route(target: &Target, request: &Request) -> Result<Route, Refusal> {
    if target.name != "route" {
        return Ok(Route::Any);
    }
    let key = request.parameter("key").unwrap_or_default();
    hash_key(key).map(Route::Key)
}

fn hash_key(text: &str) -> Result<u128, Refusal> {
    let key = u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32);
    key.ok_or_else(|| Refusal::parameter(format!("Invalid hash key {text}")))
}

fn body<'a, T: Deserialize<'a>>(request: &'a Request) -> Result<T, Refusal> {
    serde_json::from_slice(&request.body).map_err(|error| Refusal::json(error.to_string()))
}

#[cfg(test)]
mod tests;
