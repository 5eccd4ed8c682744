//! Faults of SLS.

use std::net::SocketAddr;
use std::time::Duration;

use forwarder::emulator::hec::Keep;
use forwarder::emulator::sls::{Call, SlsEmulator, SlsEvent, SlsFault};
use forwarder::loggroup::proto::Pair;

use super::bench::{Bench, GROUP, LOGSTORE, PROJECT, command, servers, until};
use super::program::Program;

#[tokio::test(flavor = "multi_thread")]
async fn f19_an_expired_checkpoint_continues_with_the_oldest_log_and_reports_the_gap() {
    let bench = Bench::new().await;
    (0..2).for_each(|shard| bench.put(shard, 5, 20));
    let mut first = bench.start("a");
    bench.settled().await;
    first.signal(libc::SIGTERM);
    assert_eq!(first.exit(Duration::from_secs(10)).await, Some(0));

    (0..2).for_each(|shard| bench.put(shard, 30, 20));
    bench.sls.happen(PROJECT, LOGSTORE, &SlsEvent::Expire { shard: 0, keep: 10 }).unwrap();
    assert_eq!(bench.oracle.excuse(0, bench.end(0) - 10), 20 * 20);
    let next = bench.start("a");
    bench.settled().await;
    assert_eq!(next.says("GAP: logs expired"), 1, "{}", next.printed());
    assert_eq!(bench.oracle.repeats(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evicted_consumer_drops_everything_and_joins_again() {
    let bench = Bench::new().await;
    (0..2).for_each(|shard| bench.put(shard, 5, 20));
    let program = bench.start("a");
    bench.settled().await;
    let evict = SlsEvent::Evict { group: GROUP.into(), consumer: "a".into() };
    bench.sls.happen(PROJECT, LOGSTORE, &evict).unwrap();
    program.to_say("no longer a member of the group").await;
    program.to_say("rejoined the group").await;
    (0..2).for_each(|shard| bench.put(shard, 5, 20));
    bench.settled().await;
    assert_eq!(bench.oracle.repeats(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_logstore_ends_the_program_unless_it_is_to_wait() {
    let (mut sls, hec) = servers(2);
    sls.elsewhere = vec![("away".into(), "cn-shanghai".into())];
    let bench = Bench::with((sls, hec)).await;
    let mut program = bench.start_with("a", &[("SLS_PROJECT", "away")]);
    assert_eq!(program.exit(Duration::from_secs(20)).await, Some(77), "{}", program.printed());
    assert!(program.says("the project away is there, in region \"cn-shanghai\"") > 0, "{}", program.printed());

    bench.sls.faults().next(
        Call::ListGroups,
        SlsFault::status(404, "LogStoreNotExist", "logstore l does not exist"),
        1,
    );
    (0..2).for_each(|shard| bench.put(shard, 5, 20));
    let waiting = bench.start_with("a", &[("FORWARDER_SLS_WAIT", "true")]);
    waiting.to_say("cannot join the consumer group: list consumer groups: 404 LogStoreNotExist").await;
    bench.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f25_throttled_pulls_back_off_while_heartbeats_continue() {
    let bench = Bench::with(servers(1)).await;
    let throttled = SlsFault::status(403, "ReadQuotaExceed", "shard read quota exceed");
    bench.sls.faults().next(Call::Pull, throttled, 5);
    bench.put(0, 10, 20);
    let program = bench.start("a");
    bench.settled().await;
    assert_eq!(bench.sls.faults().waiting(Call::Pull), 0);
    assert_eq!(program.says("cannot pull, retrying"), 1, "{}", program.printed());
    let beats = bench.oracle.beats("a");
    let longest = beats.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(beats.len() >= 2 && longest < Duration::from_secs(5), "{} heartbeats, {longest:?}", beats.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn f07_a_save_whose_reply_is_lost_is_neither_lost_nor_mistaken_for_another_consumers() {
    let bench = Bench::new().await;
    bench.sls.faults().next(Call::Save, SlsFault::DropReply, 4);
    let program = bench.start("a");
    for _ in 0..5 {
        (0..2).for_each(|shard| bench.put(shard, 2, 20));
        bench.all_arrived().await;
    }
    bench.settled().await;
    assert_eq!(bench.sls.faults().waiting(Call::Save), 0);
    assert_eq!(program.says("the checkpoint was changed from outside"), 0, "{}", program.printed());
    assert_eq!(program.says("shard released"), 0, "{}", program.printed());
    assert_eq!(bench.oracle.repeats(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn f23_a_start_at_the_end_reads_no_old_log_and_misses_none_of_a_later_shard() {
    let bench = Bench::with(servers(1)).await;
    bench.put(0, 5, 20);
    assert_eq!(bench.oracle.excuse(0, bench.end(0)), 5 * 20);
    // SLS counts in whole seconds: logs of the second in which the group was created are read.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let _program = bench.start_with("a", &[("FORWARDER_SLS_START", "end")]);
    until("it starts at the end", 30, || bench.checkpoint(0) == Some(bench.end(0))).await;
    bench.sls.happen(PROJECT, LOGSTORE, &SlsEvent::Split { shard: 0 }).unwrap();
    for child in [1, 2] {
        bench.put(child, 5, 20);
    }
    bench.all_arrived().await;
    bench.nothing_wrong();
    assert_eq!(bench.oracle.repeats(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn f24_f80_a_clock_wrong_by_twenty_minutes_is_corrected_from_the_server() {
    for skew in [1200, -1200] {
        let bench = Bench::new().await;
        bench.sls.faults().skew(skew);
        (0..2).for_each(|shard| bench.put(shard, 5, 20));
        let _program = bench.start("a");
        bench.settled().await;
        // The clock also changes while the program runs.
        bench.sls.faults().skew(0);
        (0..2).for_each(|shard| bench.put(shard, 5, 20));
        bench.settled().await;
        assert_eq!(bench.oracle.repeats(), 0, "{skew}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f28_f29_pages_that_are_torn_or_of_wrong_size_are_pulled_again() {
    let faults = [
        SlsFault::Truncate,
        SlsFault::Corrupt,
        SlsFault::RawSize { size: 0 },
        SlsFault::RawSize { size: 1 },
        SlsFault::RawSize { size: 1 << 31 },
        SlsFault::Reset,
        SlsFault::DropReply,
    ];
    let bench = Bench::with(servers(1)).await;
    let program = bench.start("a");
    program.to_say("shard acquired").await;
    for fault in faults {
        // The pull that gets the fault must return something.
        bench.put(0, 2, 20);
        bench.sls.faults().next(Call::Pull, fault, 1);
        until("the fault has met its pull", 10, || bench.sls.faults().waiting(Call::Pull) == 0).await;
        bench.put(0, 2, 20);
        bench.settled().await;
    }
    assert_eq!(bench.oracle.repeats(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_without_a_listener_is_waited_for() {
    // Bound and not listening: connections are refused, and no other test gets the port.
    let reserved = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    reserved.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = reserved.local_addr().unwrap().as_socket().unwrap();
    let directory = tempfile::TempDir::new().unwrap();
    std::fs::write(directory.path().join("t.lua"), "function process(log) return { event = log } end\n").unwrap();
    let mut command = command(directory.path(), &format!("http://{address}"));
    command.env("FORWARDER_HEC_URL", "http://127.0.0.1:9").env("FORWARDER_SLS_CONSUMER", "a");
    let program = Program::start("a", command);
    program.to_say("cannot join the consumer group, retrying").await;
    let (mut sls, _) = servers(1);
    sls.address = address;
    drop(reserved);
    let _sls = SlsEmulator::start(sls).await.unwrap();
    program.to_say("shard acquired").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f22_a_failure_to_join_is_reported_with_its_remedy() {
    let faults = [
        (Call::CreateGroup, 400, "ConsumerGroupQuotaExceed", "delete an unused consumer group"),
        (Call::ListGroups, 404, "LogStoreNotExist", "check `endpoint` and `logstore`"),
        (Call::ListGroups, 404, "ProjectNotExist", "check `endpoint` and `logstore`"),
    ];
    for (call, status, code, remedy) in faults {
        let bench = Bench::with(servers(1)).await;
        bench.sls.faults().next(call, SlsFault::status(status, code, "no"), u32::MAX);
        let mut program = bench.start("a");
        assert_eq!(program.exit(Duration::from_secs(20)).await, Some(77), "{}", program.printed());
        assert!(program.says(remedy) > 0 && program.says(code) > 0, "{}", program.printed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f27_pages_emptied_by_a_query_move_the_checkpoint() {
    let bench = Bench::with(servers(1)).await;
    bench.put(0, 20, 5);
    let _program = bench.start_with("a", &[("FORWARDER_SLS_QUERY", "* | where no_such_field = 'x'")]);
    until("the checkpoint is at the end", 30, || bench.checkpoint(0) == Some(bench.end(0))).await;
    assert_eq!(bench.oracle.arrived(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn f31_large_fields_large_groups_and_thousands_of_keys_arrive_unchanged() {
    let (sls, mut hec) = servers(1);
    hec.keep = Keep::Last(100);
    let bench = Bench::with((sls, hec)).await;
    let large: String = (0..1 << 20).map(|at| char::from(b'a' + (at % 23) as u8)).collect();
    let pair = |key: String, value: &str| Pair { key: key.into(), value: value.into() };
    bench.put_changed(0, 10, |group| {
        group.logs.iter_mut().for_each(|log| log.contents.push(pair("large".to_owned(), &large)));
    });
    bench.put_changed(0, 1, |group| {
        group.logs[0].contents.extend((0..5_000).map(|key| pair(format!("key-{key}"), &format!("value-{key}"))));
    });
    let _program = bench.start_with("a", &[("FORWARDER_SCRIPT_TIMEOUT", "10s")]);
    bench.settled().await;
    assert_eq!(bench.oracle.repeats(), 0);
    let events: Vec<serde_json::Value> =
        bench.hec.received().iter().map(|event| serde_json::from_slice(&event.event_raw).unwrap()).collect();
    assert_eq!(events.iter().filter(|event| event["large"] == large.as_str()).count(), 10);
    let wide = events.iter().find(|event| event.get("key-0").is_some()).unwrap();
    assert!((0..5_000).all(|key| wide[&format!("key-{key}")] == format!("value-{key}").as_str()));
}
