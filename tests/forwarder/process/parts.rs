//! Scripts that make many events of a page, or are slow.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use forwarder::loggroup::proto::{Log, LogGroup, Pair};

use super::bench::{Bench, LOGSTORE, PROJECT, servers, until};

fn log(fields: &[(&str, &str)]) -> Log {
    let pair = |(key, value): &(&str, &str)| Pair { key: key.as_bytes().into(), value: value.as_bytes().into() };
    Log { time: 1_800_000_000, contents: fields.iter().map(pair).collect(), time_ns: None }
}

fn put(bench: &Bench, shard: u32, logs: Vec<Log>) {
    bench.sls.put(PROJECT, LOGSTORE, shard, [LogGroup { logs, ..LogGroup::default() }]).unwrap();
}

/// Whether the checkpoint of a shard is still at the beginning of the shard.
fn has_not_moved(bench: &Bench, shard: u32) -> bool {
    let begin = bench.sls.range(PROJECT, LOGSTORE, shard).unwrap().start;
    bench.checkpoint(shard).is_none_or(|saved| saved == begin)
}

/// The value of a metric of a shard in `/metrics`.
fn metric(address: &str, name: &str, shard: u32) -> Option<u64> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).ok()?;
    let start = format!("{name}{{source=\"{LOGSTORE}\",shard=\"{shard}\"}} ");
    reply.lines().find_map(|line| line.strip_prefix(&start))?.parse().ok()
}

/// 500 logs of 14 KB, each of which becomes 20 MB: 10 GB from one page.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_the_script_turns_into_gigabytes_is_delivered_in_bounded_memory() {
    let bench = Bench::with(servers(1)).await;
    let script = "function process(log)
      local events = {}
      for line in log.batch:gmatch('[^\\n]+') do
        events[#events + 1] = { event = { msg = line, header = log.header } }
      end
      return events
    end\n";
    fs::write(bench.directory.path().join("t.lua"), script).unwrap();
    let (header, batch) = ("h".repeat(10_000), "l\n".repeat(2_000));
    for _ in 0..10 {
        put(&bench, 0, (0..50).map(|_| log(&[("header", &header), ("batch", &batch)])).collect());
    }
    let started = Instant::now();
    // A debug build takes a second where a release build takes 30 ms.
    let program = bench.start_with("a", &[("FORWARDER_SCRIPT_TIMEOUT", "30s")]);
    until("10,000 events arrive", 90, || bench.hec.counts().events >= 10_000).await;
    let took = started.elapsed();
    println!("10,000 events of 10 KB within {took:?}, peak {} MB", program.peak_memory() / 1_000_000);
    assert!(program.peak_memory() < 400_000_000, "{} bytes", program.peak_memory());
    assert!(has_not_moved(&bench, 0), "the page is not at its end");
    assert_eq!(program.says("ERROR"), 0, "{}", program.printed());
}

/// Two of four shards have nothing but logs that loop until their time limit, 1,280 of them in a page.
#[tokio::test(flavor = "multi_thread")]
async fn shards_with_looping_logs_use_only_their_share_are_shown_and_do_not_delay_a_stop() {
    let bench = Bench::with(servers(4)).await;
    let script = "function process(log) if log.loop then while true do end end return { event = log } end\n";
    fs::write(bench.directory.path().join("t.lua"), script).unwrap();
    for shard in 0..2 {
        put(&bench, shard, (0..1_280).map(|_| log(&[("loop", "yes")])).collect());
    }
    let program_settings = [
        ("FORWARDER_RUN_HOOK_THREADS", "2"),
        ("FORWARDER_RUN_DRAIN_TIMEOUT", "3s"),
        ("FORWARDER_DEAD_LETTERS_MAX_SHARE", "100"),
        ("FORWARDER_ADMIN_LISTEN", "127.0.0.1:0"),
    ];
    let mut program = bench.start_with("a", &program_settings);
    program.to_say("status page at http://").await;
    let printed = program.printed();
    let (_, address) = printed.split_once("status page at http://").unwrap();
    let address = address.split('/').next().unwrap().to_owned();
    let at_page = |shard| metric(&address, "forwarder_page_seconds", shard).unwrap_or(0);
    until("both pages are under way", 30, || at_page(0) >= 2 && at_page(1) >= 2).await;

    let begun = Instant::now();
    for shard in 2..4 {
        bench.put(shard, 60, 50);
    }
    until("the other shards get on", 60, || bench.oracle.arrived() == bench.oracle.expected()).await;
    println!("6,000 logs of the other shards within {:?}", begun.elapsed());
    bench.nothing_wrong();
    assert!(metric(&address, "forwarder_dead_lettered_total", 0) > Some(0), "what was made goes on");
    assert_eq!(metric(&address, "forwarder_missing", 0), Some(0));

    let asked = Instant::now();
    program.signal(libc::SIGTERM);
    assert_eq!(program.exit(Duration::from_secs(40)).await, Some(75), "{}", program.printed());
    println!("stopped within {:?} of 3 s", asked.elapsed());
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
    assert!((0..2).all(|shard| has_not_moved(&bench, shard)), "their pages are not at their ends");
}
