//! Faults of SLS, of the consumer group and of the way there.

use forwarder::emulator::sls::SlsEvent;

use super::*;
use crate::pages::post;

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_sls_is_named_with_its_fix() {
    let mut wrongs = Wrongs::default();
    type Seed = fn(&Site);
    let faults: [(&str, Seed, &str, &str, &str, i32); 17] = [
        (
            "may not list shards",
            |site| site.deny(Call::ListShards),
            "fail",
            "denied by",
            "grant log:ListShards in RAM: {",
            77,
        ),
        (
            "may not list groups",
            |site| site.deny(Call::ListGroups),
            "fail",
            "denied by",
            "grant log:ListConsumerGroup",
            77,
        ),
        ("may not read", |site| site.deny(Call::Cursor), "fail", "denied by", "project/p/logstore/l\"", 77),
        ("may not pull", |site| site.deny(Call::Pull), "fail", "denied by", "grant log:GetCursorOrData", 77),
        (
            "may not read checkpoints",
            |site| site.deny(Call::Checkpoint),
            "fail",
            "denied by",
            "log:GetConsumerGroupCheckPoint",
            77,
        ),
        ("may not save", |site| site.deny(Call::Save), "fail", "denied by", "log:ConsumerGroupUpdateCheckPoint", 77),
        ("may not send heartbeats", |site| site.deny(Call::Heartbeat), "fail", "denied by", "consumergroup/siem", 77),
        (
            "an expired token",
            |site| site.refuse(Call::ListShards, 401, "SecurityTokenExpired"),
            "fail",
            "TokenExpired",
            "renew",
            77,
        ),
        (
            "no project",
            |site| site.refuse(Call::ListShards, 404, "ProjectNotExist"),
            "fail",
            "ProjectNotExist",
            "`endpoint`",
            77,
        ),
        (
            "throttled",
            |site| site.refuse(Call::Pull, 403, "ReadQuotaExceed"),
            "fail",
            "ReadQuotaExceed",
            "split the shard",
            69,
        ),
        (
            "broken",
            |site| site.refuse(Call::ListShards, 500, "InternalServerError"),
            "fail",
            "500",
            "the program retries",
            69,
        ),
        (
            "a filter that is none",
            |site| site.refuse(Call::Pull, 400, "ParameterInvalid"),
            "fail",
            "Parameter",
            "`query`",
            77,
        ),
        ("a clock that SLS refuses", |site| site.sls.faults().skew(1230), "warn", "is 20m ", "set the clock", 0),
        ("a clock that is a minute off", |site| site.sls.faults().skew(-90), "warn", "is 1m ", "set the clock", 0),
        (
            "resets",
            |site| site.sls.faults().next(Call::ListShards, SlsFault::Reset, u32::MAX),
            "fail",
            "list shards",
            "",
            69,
        ),
        (
            "late",
            |site| site.sls.faults().next(Call::Pull, SlsFault::Delay { by: HOUR }, 9),
            "fail",
            "no complete reply",
            "wait",
            69,
        ),
        (
            "garbage",
            |site| site.sls.faults().next(Call::ListShards, SlsFault::Corrupt, 9),
            "fail",
            "cannot be understood",
            "",
            69,
        ),
    ];
    for (name, seed, level, what, fix, code) in faults {
        let site = Site::new().await;
        seed(&site);
        wrongs.found(name, &site.check().await, level, what, fix, code);
    }
    wrongs.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_is_checked_with_the_first_logstore_that_it_matches() {
    let mut wrongs = Wrongs::default();
    let mut site = Site::new().await;
    site.set("SLS_LOGSTORE", "?");
    wrongs.found("a pattern", &site.check().await, "ok", "1 logstore matches ?: l; checks l", "", 0);
    site.deny(Call::Save);
    let found = site.check().await;
    wrongs.found("may not save", &found, "fail", "denied by", "log:ConsumerGroupUpdateCheckPoint", 77);
    site.sls.faults().clear(Call::Save);
    site.set("SLS_LOGSTORE", "audit-*");
    let what = "no logstore of project p matches audit-*";
    wrongs.found("a pattern that finds nothing", &site.check().await, "warn", what, "every minute", 0);
    site.deny(Call::ListLogstores);
    let found = site.check().await;
    wrongs.found("may not list logstores", &found, "fail", "denied by", "grant log:ListLogStores in RAM: {", 77);
    wrongs.end();
}

/// The emulator creates each logstore that a request names.
#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_is_never_taken_for_the_name_of_a_logstore() {
    let mut wrongs = Wrongs::default();
    let mut site = Site::new().await;
    site.sls = SlsEmulator::start(sls::Config::default()).await.unwrap();
    site.set("SLS_ENDPOINT", format!("http://{}", site.sls.address()));
    site.set("SLS_LOGSTORE", "audit-*");
    let what = "no logstore of project p matches audit-*";
    wrongs.found("no logstore yet", &site.check().await, "warn", what, "correct sls.logstore", 0);
    for logstore in ["audit-a", "audit-b", "waf"] {
        let logs = forwarder::emulator::generate::Generator::new(7, 1_800_000_000).nginx(5);
        site.sls.put(PROJECT, logstore, 0, [logs]).unwrap();
    }
    let what = "2 logstores match audit-*: audit-a, audit-b; checks audit-a";
    wrongs.found("two logstores", &site.check().await, "ok", what, "", 0);
    wrongs.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_on_the_way_to_sls_is_named_with_its_fix() {
    let mut wrongs = Wrongs::default();
    let mut site = Site::new().await;
    site.set("SLS_ENDPOINT", format!("http://{CLOSED}"));
    wrongs.found("a closed port", &site.check().await, "fail", "nothing listens at 127.0.0.1:", "check the port", 69);

    site.set("SLS_ENDPOINT", "http://no-such-host.invalid");
    wrongs.found("an unknown name", &site.check().await, "fail", "p.no-such-host.invalid", "sls.endpoint", 69);

    site.set("SLS_ENDPOINT", format!("https://{}", site.sls.address()));
    wrongs.found("no TLS", &site.check().await, "fail", ": wrong version number", "write http://, or name", 2);

    let silent = site.answers(None).await;
    site.set("SLS_ENDPOINT", format!("http://{silent}"));
    wrongs.found("silence", &site.check().await, "fail", "no complete reply within 4s", "wait", 69);

    let page =
        site.answers(Some(b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")).await;
    site.set("SLS_ENDPOINT", format!("http://{page}"));
    wrongs.found("not SLS", &site.check().await, "fail", "404: hello", "not an answer from SLS", 77);

    let mut site = Site::new().await;
    site.set("SLS_AK_ID", "another");
    wrongs.found("an unknown key", &site.check().await, "fail", "AccessKey", "AccessKey", 77);
    site.set("SLS_AK_ID", "key-id");
    site.set("SLS_AK_KEY", "wrong");
    wrongs.found("a wrong secret", &site.check().await, "fail", "SignatureNotMatch", "check the AccessKey secret", 77);
    site.set("SLS_AK_KEY", SECRET);
    site.set("SLS_LOGSTORE", "other");
    wrongs.found("no logstore", &site.check().await, "fail", "LogStoreNotExist", "`logstore`", 77);

    let elsewhere = vec![("away".to_owned(), "cn-shanghai".to_owned())];
    let logstores = vec![(PROJECT.to_owned(), LOGSTORE.to_owned())];
    site.sls = SlsEmulator::start(sls::Config { elsewhere, logstores, ..sls::Config::default() }).await.unwrap();
    site.set("SLS_ENDPOINT", format!("http://{}", site.sls.address()));
    site.set("SLS_PROJECT", "away");
    wrongs.found("another region", &site.check().await, "fail", "in region \"cn-shanghai\"", "`endpoint`", 77);
    wrongs.end();
}

/// Writes the checkpoints that a running group leaves behind.
fn saved(site: &Site, consumer: &str) {
    let logs = forwarder::emulator::generate::Generator::new(7, 1_800_000_000).nginx(5);
    site.sls.put(PROJECT, LOGSTORE, 0, [logs.clone(), logs]).unwrap();
    let assign = SlsEvent::Assign { group: "siem".to_owned(), shard: 0, consumer: consumer.to_owned() };
    site.sls.happen(PROJECT, LOGSTORE, &assign).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_differing_group_a_duplicate_consumer_and_an_expired_checkpoint_are_named() {
    let mut wrongs = Wrongs::default();
    let mut site = Site::new().await;
    let keyless = sls::Config { logstores: vec![], ..sls::Config::default() };
    let sls = SlsEmulator::start(keyless).await.unwrap();
    site.set("SLS_ENDPOINT", format!("http://{}", sls.address()));
    site.sls = sls;
    let address = site.sls.address().to_string();
    let host = format!("{PROJECT}.localhost");
    site.sls.happen(PROJECT, LOGSTORE, &SlsEvent::Expire { shard: 0, keep: 0 }).unwrap();
    let group = r#"{"consumerGroup": "siem", "timeout": 90, "order": false}"#;
    post(&address, &host, "/logstores/l/consumergroups", group).await;
    wrongs.found("a group's timeout", &site.check().await, "warn", "a timeout of 90 s", "sls.group_timeout", 0);
    site.set("FORWARDER_SLS_GROUP_TIMEOUT", "90s");
    wrongs.sound("the same timeout", &site.check().await);

    site.set("FORWARDER_SLS_CONSUMER", "me");
    saved(&site, "me");
    let cursor = forwarder::core::cursor::Cursor::from_number(site.sls.range(PROJECT, LOGSTORE, 0).unwrap().start);
    let save = format!(r#"{{"shard": 0, "checkpoint": "{}"}}"#, cursor.as_str());
    let path = "/logstores/l/consumergroups/siem?type=checkpoint&consumer=me&forceSuccess=false";
    let reply = post(&address, &host, path, &save).await;
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    wrongs.found("a twin", &site.check().await, "warn", "a consumer with our name, me", "another sls.consumer", 0);

    site.environment.remove("FORWARDER_SLS_CONSUMER");
    wrongs.sound("another consumer at work", &site.check().await);

    site.sls.happen(PROJECT, LOGSTORE, &SlsEvent::Expire { shard: 0, keep: 1 }).unwrap();
    wrongs.found("an expired checkpoint", &site.check().await, "warn", "has expired", "retention", 0);
    assert_eq!(site.sls.saves(PROJECT, LOGSTORE, "siem").len(), 1, "no check saves anything");
    wrongs.end();
}
