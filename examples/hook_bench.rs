//! The cost per log of the way from a page to events, on one core: reading the page, and the script.
//!
//! `cargo run --release --example hook_bench -- [WHAT] [PASSES]`
//!
//! With WHAT, only the rows whose `corpus what` contains it, such as `nginx transform.lua`; PASSES (15) is the number
//! of passes, of which the median is printed.
//!
//! Two generated corpora: audit logs of about 1.1 KB with nested JSON in one field, and access logs of about 450 bytes.
//! Each figure is the median of the passes over four pages of 1000 logs, in nanoseconds of CPU time per log.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use forwarder::core::cursor::{Cursor, ShardId};
use forwarder::core::event::{Body, BodyError, Format, Head};
use forwarder::core::page::Page;
use forwarder::loggroup::Logs;
use forwarder::loggroup::proto::{Log, LogGroup, LogGroupList, Pair};
use forwarder::script::{Config, Hook, Meta, Script};
use prost::Message as _;

const PAGES: usize = 4;
const GROUPS: usize = 10;
const LOGS: usize = 100;

const SCRIPTS: [(&str, &str); 6] = [
    ("drop", "function process(log) return nil end"),
    ("the log itself", "function process(log) return log end"),
    (
        "pass: time moved",
        "function process(log) local t = log.__time__ log.__time__ = nil return { time = t, event = log } end",
    ),
    ("transform.lua", include_str!("../scripts/transform.lua")),
    (
        "decode and read one",
        "function process(log) local d = json.decode(log.event or '') \
         return { host = d and d.userIdentity.accountId or 'none', event = log } end",
    ),
    (
        "read 4, add 1, delete 2",
        "function process(log) if log.status == '500' and log.none then return nil end \
         log.level = log.__topic__ .. log.__source__ log.__time__ = nil log.msg = nil \
         return { host = log['__tag__:__hostname__'], sourcetype = 'st', index = 'i', event = log } end",
    ),
];

fn main() {
    let mut args = std::env::args().skip(1);
    let only = args.next().unwrap_or_default();
    let passes = args.next().map_or(15, |passes| passes.parse().expect("PASSES is a number"));
    println!("{:10} {:>6}   {:26} {:>8} {:>10}", "corpus", "bytes", "what", "ns/log", "MB/s");
    for (corpus, make) in [("audit", audit as fn(usize) -> Log), ("nginx", nginx)] {
        let pages: Vec<Page> = (0..PAGES).map(|page| pull(corpus, make, page)).collect();
        let bytes: usize = pages.iter().map(|page| page.body.len()).sum();
        let logs = PAGES * GROUPS * LOGS;
        let row = |what: &str, work: &mut dyn FnMut()| {
            if !format!("{corpus} {what}").contains(&only) {
                return;
            }
            let spent = median(passes, work);
            let each = spent.as_nanos() as f64 / logs as f64;
            let speed = bytes as f64 / spent.as_secs_f64() / 1e6;
            println!("{corpus:10} {:>6}   {what:26} {each:>8.0} {speed:>10.0}", bytes / logs);
        };
        let mut reader = Logs::default();
        row("read the page", &mut || pages.iter().for_each(|page| read(&mut reader, page)));
        for (what, text) in SCRIPTS {
            let mut hook = load(text);
            row(what, &mut || {
                for page in &pages {
                    let made = hook.run(page).expect("a generated page can be read");
                    assert!(made.failed.is_empty(), "{:?}", made.failed.first());
                    std::hint::black_box(made);
                }
            });
        }
    }
}

fn read(logs: &mut Logs, page: &Page) {
    logs.open(page.body.clone()).expect("a generated page is small");
    while let Some(log) = logs.read().expect("a generated page can be read") {
        std::hint::black_box(log.len());
    }
}

/// One HEC-like object per line.
struct Lines;

impl Format for Lines {
    fn write(&self, head: &Head<'_>, body: &mut dyn Body, out: &mut Vec<u8>) -> Result<(), BodyError> {
        out.extend_from_slice(b"{");
        if let Some(time) = &head.time {
            out.extend_from_slice(b"\"time\":");
            out.extend_from_slice(time.digits.as_bytes());
            out.push(b',');
        }
        out.extend_from_slice(b"\"sourcetype\":\"st\",\"event\":");
        body.json(out)?;
        out.extend_from_slice(b"}\n");
        Ok(())
    }
}

fn load(text: &str) -> Hook {
    let config = Config {
        timeout: Duration::from_millis(100),
        memory: 64 << 20,
        total: Arc::default(),
        vars: toml::Table::new(),
    };
    let meta = Meta { source: "s".to_owned(), project: "p".to_owned(), logstore: "l".to_owned(), shard: ShardId(0) };
    Hook::load(&Script::from_text("bench.lua", text), &config, Arc::new(Lines), meta).expect("the script is good")
}

fn median(passes: usize, work: &mut dyn FnMut()) -> Duration {
    work();
    let mut spent: Vec<Duration> = (0..passes.max(1))
        .map(|_| {
            let before = computed();
            work();
            computed() - before
        })
        .collect();
    spent.sort();
    spent[spent.len() / 2]
}

/// CPU time of this thread, which other programs on the machine do not affect.
#[expect(unsafe_code, reason = "asks the kernel for the computing time of the thread")]
fn computed() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a plain system call with a valid argument.
    let asked = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(asked, 0, "the kernel counts the computing time of threads");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn pull(corpus: &str, make: fn(usize) -> Log, page: usize) -> Page {
    let group = |group: usize| LogGroup {
        logs: (0..LOGS).map(|log| make((page * GROUPS + group) * LOGS + log)).collect(),
        topic: Some(if corpus == "audit" { b"actiontrail_audit_event".to_vec() } else { b"access".to_vec() }),
        source: Some(format!("10.0.0.{group}").into_bytes()),
        machine_uuid: None,
        tags: vec![pair("__hostname__", &format!("host-{group}")), pair("__receive_time__", "1700000001")],
    };
    let body = LogGroupList { groups: (0..GROUPS).map(group).collect() }.encode_to_vec();
    Page {
        shard: ShardId(0),
        cursor: Cursor::from_number(1),
        next: Cursor::from_number(2),
        scanned_bytes: body.len() as u64,
        packed: None,
        wire_bytes: 0,
        body: body.into(),
        groups: GROUPS as u32,
        last_group: None,
        first_log: 0,
        at_end: None,
        received_at: None,
    }
}

fn pair(key: &str, value: &str) -> Pair {
    Pair { key: key.as_bytes().to_vec(), value: value.as_bytes().to_vec() }
}

/// Numbers that look random, the same in every run.
fn mix(seed: usize) -> u64 {
    let mut x = (seed as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn audit(seed: usize) -> Log {
    let r = mix(seed);
    let name = ["DescribeInstances", "RunInstances", "AssumeRole", "PutObject", "DeleteBucket"][r as usize % 5];
    let mut event = String::new();
    write!(
        event,
        r#"{{"eventId":"{r:016x}-{seed}","eventVersion":"1","eventSource":"ecs.cn-hangzhou.aliyuncs.com","sourceIpAddress":"203.0.{}.{}","userAgent":"AlibabaCloud (Linux; amd64) Java/1.8.0_292-b10 Core/4.5.17 HTTPClient/ApacheHttpClient","eventType":"ApiCall","eventName":"{name}","userIdentity":{{"accessKeyId":"LTAI{:012x}","accountId":"{}","principalId":"{}","type":"ram-user","userName":"ops-{}","sessionContext":{{"attributes":{{"creationDate":"2023-11-15T06:13:20Z","mfaAuthenticated":"false"}}}}}},"requestParameters":{{"RegionId":"cn-hangzhou","InstanceIds":["i-{:016x}","i-{:016x}"],"Note":"say \"hi\"","PageSize":{},"stsTokenPlayerUid":{}}},"responseElements":null,"serviceName":"Ecs","requestId":"{:016X}","apiVersion":"2014-05-26","acsRegion":"cn-hangzhou","isGlobal":false}}"#,
        r % 256, r / 256 % 256, r >> 16, r % 10_000_000_000, r % 9_000_000_000, r % 40, r, r ^ 77, r % 100, r >> 1, r ^ 99,
    )
    .expect("a String takes all that is written");
    let contents = vec![
        pair("event", &event),
        pair("owner_id", "1234567890123456"),
        pair("event_name", name),
        pair("region", "cn-hangzhou"),
        pair("level", "info"),
        pair("trace", &format!("{r:032x}")),
    ];
    Log { time: 1_700_000_000 + (seed / 50) as u32, contents, time_ns: None }
}

fn nginx(seed: usize) -> Log {
    let r = mix(seed);
    let contents = vec![
        pair("remote_addr", &format!("198.51.{}.{}", r % 256, r / 256 % 256)),
        pair("remote_user", "-"),
        pair("time_local", "15/Nov/2023:06:13:20 +0800"),
        pair("request_method", ["GET", "POST", "PUT"][r as usize % 3]),
        pair("request_uri", &format!("/api/v1/items/{}?page={}&sort=name&q=shoes+red", r % 100_000, r % 20)),
        pair("status", ["200", "404", "500"][(r >> 8) as usize % 3]),
        pair("body_bytes_sent", &(r % 100_000).to_string()),
        pair("http_referer", "https://shop.example.com/catalogue/index.html"),
        pair("http_user_agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/119.0"),
        pair("request_time", "0.042"),
        pair("upstream_addr", "10.1.2.3:8080"),
        pair("request_id", &format!("{r:032x}")),
    ];
    Log { time: 1_700_000_000 + (seed / 50) as u32, contents, time_ns: None }
}
