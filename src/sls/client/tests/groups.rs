//! The consumer group, the lists of shards and logstores, and where a shard starts.

use super::*;
use crate::core::cursor::Start;

const THEIRS: &str = r#"[{"name":"cg1","timeout":60,"order":true}]"#;
const OURS: &str = r#"[{"name":"other","timeout":1,"order":true},{"name":"cg1","timeout":40,"order":false}]"#;

#[track_caller]
fn check_methods(server: &Server, expected: &[&str]) {
    let lines = server.lines();
    let methods: Vec<&str> = lines.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(methods, expected);
}

#[tokio::test]
async fn a_group_is_created_when_it_is_absent() {
    let server = Server::start([ok("[]"), ok(""), ok(OURS)]).await;
    assert_eq!(server.sls().ensure_group().await.unwrap(), Duration::from_secs(40));
    check_methods(&server, &["GET", "POST", "GET"]);
}

#[tokio::test]
async fn a_group_that_another_member_creates_meanwhile_is_used_as_it_is() {
    let server = Server::start([ok("[]"), error(400, "ConsumerGroupAlreadyExist", &[]), ok(THEIRS)]).await;
    assert_eq!(server.sls().ensure_group().await.unwrap(), Duration::from_secs(60));
    check_methods(&server, &["GET", "POST", "GET"]);
}

#[tokio::test]
async fn a_group_that_differs_is_changed_only_if_we_may_manage_it() {
    let server = Server::start([ok(THEIRS), ok(THEIRS), ok("")]).await;
    assert_eq!(server.sls().ensure_group().await.unwrap(), Duration::from_secs(60));
    let managing = Sls::new(&Config { manage_group: true, ..server.config() });
    assert_eq!(managing.unwrap().ensure_group().await.unwrap(), Duration::from_secs(40));
    check_methods(&server, &["GET", "GET", "PUT"]);
}

#[tokio::test]
async fn a_group_that_matches_the_settings_costs_one_request() {
    let server = Server::start([ok(OURS)]).await;
    assert_eq!(server.sls().ensure_group().await.unwrap(), Duration::from_secs(40));
    check_methods(&server, &["GET"]);
}

#[tokio::test]
async fn shards_are_listed_up_to_the_maximum_and_more_are_refused_with_their_number() {
    let shard = |id: usize| {
        format!(
            r#"{{"shardID":{id},"status":"readwrite","inclusiveBeginKey":"{id:032x}","exclusiveEndKey":"{:032x}","createTime":1700000000}}"#,
            id + 1
        )
    };
    let list = |count: usize| format!("[{}]", (0..count).map(shard).collect::<Vec<_>>().join(","));
    let ids = |count: usize| format!("[{}]", (0..count).map(|id| id.to_string()).collect::<Vec<_>>().join(","));
    let server = Server::start([list(10_000), list(10_001), ids(10_000), ids(10_001)].map(|text| ok(&text))).await;
    let sls = server.sls();
    assert_eq!(sls.shards().await.unwrap().len(), 10_000);
    check_busy(sls.shards().await, "it lists 10001 shards; a source may have at most 10000");
    assert_eq!(sls.heartbeat(&BTreeSet::new()).await.unwrap().len(), 10_000);
    check_busy(sls.heartbeat(&BTreeSet::new()).await, "it lists 10001 shards; a source may have at most 10000");
}

#[tokio::test]
async fn logstores_are_listed_page_by_page_to_the_last() {
    let page = |names: &str| ok(&format!(r#"{{"count":2,"total":3,"logstores":[{names}]}}"#));
    let too_many = ok(r#"{"count":1,"total":10001,"logstores":["a"]}"#);
    let server = Server::start([page(r#""a","b""#), page(r#""c""#), page(r#""a""#), page(""), too_many]).await;
    let sls = server.sls();
    let names =
        |listed: Result<BTreeSet<String>, SourceError>| listed.unwrap().into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(names(sls.logstores().await), "a b c");
    assert_eq!(names(sls.logstores().await), "a", "fewer than were announced: nothing more comes");
    check_busy(sls.logstores().await, "it lists 10001 logstores; a project may have at most 10000");
    let lines: Vec<_> = server.received().into_iter().map(|request| request.line).collect();
    let line = |offset| format!("GET /logstores?offset={offset}&size=500");
    assert_eq!(lines[..2], [line(0), line(2)]);
}

#[tokio::test]
async fn f23_with_start_at_the_end_old_shards_start_there_and_new_ones_with_their_oldest_log() {
    let shards = r#"[{"shardID":0,"status":"readwrite"}]"#;
    let (cursor, none) = (ok(r#"{"cursor":"YQ=="}"#), ok("[]"));
    let dated = Answer::Whole(raw(200, &[("date", "Tue, 14 Nov 2023 22:13:20 GMT")], shards.as_bytes()));
    let first = [cursor.clone(), dated, none.clone()];
    let at_the_end = [none.clone(), cursor.clone(), none, cursor.clone()];
    let server = Server::start(first.into_iter().chain(at_the_end).chain([cursor.clone(), cursor])).await;
    let sls = server.sls();
    let (old, new) = (SHARD, ShardId(7));
    sls.cursor(new, Start::End).await.unwrap();
    sls.learn_shards().await.unwrap();
    for (shard, start) in [(old, Start::End), (new, Start::End), (new, Start::Begin), (new, Start::Time(5))] {
        sls.cursor(shard, start).await.unwrap();
    }
    let lines = server.lines();
    let from: Vec<&str> = lines.iter().filter_map(|line| line.split("from=").nth(1)).collect();
    assert_eq!(from, ["end", "1700000000", "begin", "begin", "5"], "the moment at which the group began");
}

#[tokio::test]
async fn f22_after_the_group_or_its_consumer_was_missing_a_shard_without_a_known_checkpoint_starts_with_its_oldest_log()
{
    let shards = r#"[{"shardID":0,"status":"readwrite"},{"shardID":3,"status":"readwrite"}]"#;
    let saved = r#"[{"shard":0,"checkpoint":"YQ==","updateTime":1700000000000000,"consumer":"c"}]"#;
    let cursor = ok(r#"{"cursor":"Yg=="}"#);
    let none = error(404, "consumerGroupNotExist", &[]);
    // Another process may have created the group again in the meantime: then only the consumer is missing.
    for gone in [none.clone(), error(400, "NotExistConsumerWithBody", &[])] {
        // The group is also missing before the lookup: every group begins like this.
        let saved = ok(saved);
        let looks = [none.clone(), ok(shards), saved.clone(), saved.clone(), cursor.clone()];
        let answers = looks.into_iter().chain([gone, saved.clone(), cursor.clone(), saved]);
        let server = Server::start(answers).await;
        let sls = server.sls();
        let beats = sls.beside(&Connections::default()).unwrap();
        beats.heartbeat(&BTreeSet::new()).await.unwrap_err();
        sls.learn_shards().await.unwrap();
        sls.cursor(ShardId(3), Start::End).await.unwrap();
        beats.heartbeat(&BTreeSet::new()).await.unwrap_err();
        sls.cursor(ShardId(3), Start::End).await.unwrap();
        let seen = sls.cursor(ShardId(0), Start::End).await.unwrap();
        assert_eq!(seen, Cursor::new("YQ=="), "a checkpoint that was seen is where its shard goes on");
        let lines = server.lines();
        let from: Vec<&str> = lines.iter().filter_map(|line| line.split("from=").nth(1)).collect();
        assert_eq!(from, ["1700000000", "begin"]);
    }
}

/// Where shard 3 starts, after a first look and these calls.
async fn from<const N: usize>(answers: [&str; N], group_timeout: u64, calls: impl AsyncFnOnce(&Sls)) -> String {
    let server = Server::start(answers.map(ok)).await;
    let sls = Sls::new(&Config { group_timeout: Duration::from_secs(group_timeout), ..server.config() }).unwrap();
    sls.learn_shards().await.unwrap();
    calls(&sls).await;
    sls.cursor(ShardId(3), Start::End).await.unwrap();
    server.lines().iter().find_map(|line| Some(line.split("from=").nth(1)?.to_owned())).unwrap()
}

#[tokio::test]
async fn f22_a_group_that_was_created_again_unnoticed_is_recognized_by_a_missing_checkpoint_or_by_missed_heartbeats() {
    let shards = r#"[{"shardID":0,"status":"readwrite"},{"shardID":3,"status":"readwrite"}]"#;
    let saved = r#"[{"shard":0,"checkpoint":"YQ==","updateTime":1700000000000000,"consumer":"c"}]"#;
    let (none, cursor) = ("[]", r#"{"cursor":"Yg=="}"#);
    let nothing = async |_: &Sls| {};
    assert_eq!(from([shards, saved, saved, cursor], 60, nothing).await, "1700000000");
    assert_eq!(from([shards, saved, none, cursor], 60, nothing).await, "begin", "the checkpoint of another shard");
    let save = async |sls: &Sls| sls.save(ShardId(0), &Cursor::new("YQ==")).await.unwrap();
    assert_eq!(from([shards, none, none, saved, cursor], 60, save).await, "end");
    assert_eq!(from([shards, none, none, none, cursor], 60, save).await, "begin", "one of our own");
    let look = async |sls: &Sls| assert_eq!(sls.checkpoint(ShardId(0)).await.unwrap(), None);
    assert_eq!(from([shards, saved, none, saved, cursor], 60, look).await, "begin", "it is saved again by now");
    let beats = async |sls: &Sls| {
        sls.heartbeat(&BTreeSet::new()).await.unwrap();
        sls.heartbeat(&BTreeSet::new()).await.unwrap();
    };
    assert_eq!(from([shards, none, none, none, none, none, none, cursor], 60, beats).await, "end");
    assert_eq!(from([shards, none, none, none, none, none, none, cursor], 0, beats).await, "begin");
    let refused = "{}";
    let later = "the consumer has no shard, and sees the group's first checkpoint beside a later heartbeat";
    assert_eq!(from([shards, none, none, refused, none, saved, none, cursor], 60, beats).await, "begin", "{later}");
    let seen = [shards, none, none, saved, none, none, cursor];
    assert_eq!(from(seen, 60, beats).await, "begin", "and then looks no more");
}

#[tokio::test]
async fn a_child_of_a_split_starts_with_its_oldest_log_even_if_its_holder_joined_after_the_split() {
    let shards = r#"[
        {"shardID":0,"status":"readonly","inclusiveBeginKey":"00","exclusiveEndKey":"80","createTime":1700000000},
        {"shardID":1,"status":"readwrite","inclusiveBeginKey":"80","exclusiveEndKey":"ff","createTime":1700000000},
        {"shardID":2,"status":"readwrite","inclusiveBeginKey":"00","exclusiveEndKey":"80","createTime":1700000900}]"#;
    let saved = r#"[{"shard":0,"checkpoint":"YQ==","updateTime":1700000950000000,"consumer":"c"}]"#;
    let (saved, cursor) = (ok(saved), ok(r#"{"cursor":"YQ=="}"#));
    let looks = [ok(shards), saved.clone(), saved.clone(), cursor.clone(), saved.clone(), cursor, saved];
    let server = Server::start(looks).await;
    let sls = server.sls();
    sls.learn_shards().await.unwrap();
    for shard in [ShardId(1), ShardId(2)] {
        sls.cursor(shard, Start::End).await.unwrap();
    }
    let lines = server.lines();
    let from: Vec<&str> = lines.iter().filter_map(|line| line.split("from=").nth(1)).collect();
    assert_eq!(from, ["1700000950", "begin"], "the group had begun when it saved");
    let seen = sls.cursor(ShardId(0), Start::End).await.unwrap();
    assert_eq!(seen, Cursor::new("YQ=="), "a checkpoint that is gone with its group is where the shard goes on");
}
