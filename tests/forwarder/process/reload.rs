//! The script is saved while logs flow.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use forwarder::emulator::hec::{Received, Tap};
use tokio::time::{interval, sleep};

use super::bench::{Bench, servers, until};
use super::oracle::Oracle;

/// Seconds of flow, unless `FORWARDER_RELOAD_SECONDS` is set: 60 make 200,000 logs. The gate takes 8.
const SECONDS: u32 = 4;

const SHARDS: u32 = 2;

/// Every 24 ms a group of 40 logs is written to each shard: 3,333 logs a second.
const PACE: Duration = Duration::from_millis(24);
const GROUP_LOGS: u64 = 40;

/// Version `number` of the script: every event names the version, its shard and its group.
fn script(number: u32) -> String {
    format!(
        "function process(log, meta)
           return {{ event = log, source = '{number}', host = tostring(meta.shard), sourcetype = meta.cursor }}
         end\n"
    )
}

/// A version that must not be loaded.
fn broken(number: u32) -> String {
    match number / 3 % 4 {
        0 => format!("function process(log) return {number} +\n"),
        1 => format!("local n = {number}\nfunction process(log) return nil end\n"),
        2 => format!("local n = {number}\nfunction process(log) return log.nothing.at_all end\n"),
        _ => format!("local n = {number}\nwhile true do end\n"),
    }
}

/// The arrived events, by shard.
#[derive(Debug, Default)]
struct Watched {
    oracle: OnceLock<Arc<Oracle>>,
    shards: Mutex<BTreeMap<String, Arrived>>,
}

#[derive(Debug, Default)]
struct Arrived {
    /// The version that made the events of each group.
    versions: BTreeMap<String, String>,
    last: Option<Instant>,
    /// Time between the first events of two groups.
    gaps: Vec<Duration>,
    mixed: Vec<String>,
}

impl Tap for Watched {
    fn indexed(&self, event: &Received<'_>) {
        if let Some(oracle) = self.oracle.get() {
            oracle.indexed(event);
        }
        let text = |text: &Option<std::borrow::Cow<'_, str>>| text.as_deref().unwrap_or_default().to_owned();
        let mut shards = self.shards.lock().unwrap();
        let shard = shards.entry(text(&event.host)).or_default();
        let (group, version) = (text(&event.sourcetype), text(&event.source));
        match shard.versions.get(&group) {
            None => {
                let now = Instant::now();
                shard.gaps.extend(shard.last.replace(now).map(|last| now - last));
                shard.versions.insert(group, version);
            }
            Some(made_by) if *made_by == version => {}
            Some(made_by) => shard.mixed.push(format!("group {group} is by {made_by} and {version}")),
        }
    }
}

/// The results of a flow.
#[derive(Debug)]
struct Flow {
    logs: usize,
    /// The number of versions that made events.
    versions: usize,
    reloaded: usize,
    refused: usize,
    /// The time between two groups of a shard: the median.
    p50: Duration,
    p99: Duration,
    longest: Duration,
}

/// Logs flow for this many seconds, with a save each second if `saves`.
async fn flow(seconds: u32, saves: bool) -> Flow {
    let watched = Arc::<Watched>::default();
    let (sls, mut hec) = servers(SHARDS);
    hec.tap = Some(Arc::clone(&watched) as _);
    let bench = Bench::with((sls, hec)).await;
    watched.oracle.set(Arc::clone(&bench.oracle)).unwrap();
    let path = bench.directory.path().join("t.lua");
    fs::write(&path, script(0)).unwrap();
    let program = bench.start("a");
    // Logs for the trial of the first save.
    (0..SHARDS).for_each(|shard| bench.put(shard, 1, GROUP_LOGS));
    bench.settled().await;
    watched.shards.lock().unwrap().values_mut().for_each(|shard| shard.last = None);

    let feed = async {
        let mut ticks = interval(PACE);
        let groups = u128::from(seconds) * 1000 / PACE.as_millis();
        for _ in 0..groups {
            ticks.tick().await;
            (0..SHARDS).for_each(|shard| bench.put(shard, 1, GROUP_LOGS));
        }
    };
    let save = async {
        let mut ticks = interval(Duration::from_secs(1));
        for number in 1..=if saves { seconds } else { 0 } {
            ticks.tick().await;
            fs::write(&path, if number % 3 == 0 { broken(number) } else { script(number) }).unwrap();
            // Waits for two polls that see the same content. The watch polls only every two seconds, and by then the
            // file has changed again.
            for _ in 0..2 {
                program.signal(libc::SIGHUP);
                sleep(Duration::from_millis(150)).await;
            }
        }
    };
    tokio::join!(feed, save);
    bench.settled().await;
    assert_eq!(bench.oracle.repeats(), 0);
    assert_eq!(program.says("shard released"), 0, "{}", program.printed());

    let mut shards = watched.shards.lock().unwrap();
    let mixed: Vec<_> = shards.values().flat_map(|shard| &shard.mixed).collect();
    assert!(mixed.is_empty(), "one group is one version's work: {mixed:?}");
    for (shard, arrived) in &*shards {
        let mut groups: Vec<(i64, u32)> = arrived
            .versions
            .iter()
            .map(|(group, version)| {
                (group.parse().unwrap_or_else(|_| panic!("a cursor: {group}")), version.parse().unwrap())
            })
            .collect();
        groups.sort_unstable();
        assert!(groups.is_sorted_by_key(|(_, version)| *version), "shard {shard} goes back and forth: {groups:?}");
    }
    let versions =
        shards.values().flat_map(|shard| shard.versions.values()).collect::<std::collections::BTreeSet<_>>().len();
    let mut gaps: Vec<_> = shards.values_mut().flat_map(|shard| std::mem::take(&mut shard.gaps)).collect();
    gaps.sort_unstable();
    let share = |percent: usize| gaps[(gaps.len() - 1) * percent / 100];
    let (reloaded, refused) = (program.says("script reloaded"), program.says("script refused"));
    let (p50, p99, longest) = (share(50), share(99), share(100));
    Flow { logs: bench.oracle.arrived(), versions, reloaded, refused, p50, p99, longest }
}

#[tokio::test(flavor = "multi_thread")]
async fn f44_f47_saving_the_script_every_second_a_third_of_it_broken_loses_repeats_and_delays_nothing() {
    let seconds = std::env::var("FORWARDER_RELOAD_SECONDS").map_or(SECONDS, |text| text.parse().expect("a number"));
    let quiet = flow(seconds, false).await;
    let saved = flow(seconds, true).await;
    for (name, flow) in [("without saves", &quiet), ("with saves", &saved)] {
        let Flow { logs, p50, p99, longest, .. } = flow;
        println!("{name}: {logs} logs; between two groups of a shard p50 {p50:?}, p99 {p99:?}, at most {longest:?}");
    }
    let (good, bad) = ((seconds - seconds / 3) as usize, (seconds / 3) as usize);
    // On a busy machine the second poll can come after the next save.
    assert!(saved.reloaded * 2 >= good && saved.refused * 2 >= bad && saved.versions >= 2, "{saved:?}");
    assert!(saved.reloaded <= good && saved.refused <= bad, "each save is taken up once: {saved:?}");
    // A coarse limit, because other tests run at the same time; a test of the watch itself checks that no page waits
    // for a trial.
    assert!(saved.p99 <= quiet.p99 * 2 + Duration::from_secs(1), "delivery waits for reloads: {quiet:?} {saved:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_broken_script_causes_no_outage_after_a_restart() {
    let bench = Bench::with(servers(1)).await;
    let script = bench.directory.path().join("t.lua");
    let mut program = bench.start("a");
    bench.put(0, 2, 20);
    bench.settled().await;
    let kept = bench.directory.path().join("state/last-good-script.json");
    until("the running version is kept", 30, || kept.exists()).await;
    fs::write(&script, "function process(log) return").unwrap();
    program.to_say("script refused").await;
    program.signal(libc::SIGTERM);
    assert_eq!(program.exit(Duration::from_secs(30)).await, Some(0));

    let mut next = bench.start("a");
    next.to_say("LAST GOOD SCRIPT").await;
    bench.put(0, 2, 20);
    bench.settled().await;
    assert_eq!(next.says("script refused"), 0, "one fact is printed once: {}", next.printed());
    next.signal(libc::SIGTERM);
    assert_eq!(next.exit(Duration::from_secs(30)).await, Some(0));

    let off = bench.start_with("a", &[("FORWARDER_SCRIPT_LAST_GOOD", "false")]);
    off.to_say("t.lua:1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f38_a_version_that_fails_on_later_logs_is_rolled_back_automatically() {
    let bench = Bench::with(servers(1)).await;
    let program = bench.start_with("a", &[("FORWARDER_DEAD_LETTERS_MAX_SHARE", "100")]);
    bench.put(0, 2, 20);
    bench.settled().await;
    let fails_from_the_tenth_page = "local pages, last = 0, nil
        function process(log, meta)
          if meta.cursor ~= last then pages, last = pages + 1, meta.cursor end
          if pages > 10 then error('no') end
          return { event = log }
        end\n";
    fs::write(bench.directory.path().join("t.lua"), fails_from_the_tenth_page).unwrap();
    program.to_say("script reloaded").await;
    let mut rounds = 0;
    until("the version is rolled back", 60, || {
        bench.put(0, 1, 20);
        rounds += 1;
        program.says("SCRIPT ROLLED BACK") > 0
    })
    .await;
    bench.put(0, 5, 20);
    let at_end = || bench.checkpoint(0) == Some(bench.end(0));
    until("the shard goes on", 30, at_end).await;
    // The file still has the bad content, which is not tried again.
    sleep(Duration::from_secs(5)).await;
    assert_eq!((program.says("script reloaded"), program.says("SCRIPT ROLLED BACK")), (1, 1), "{}", program.printed());
    let letters = bench.oracle.expected() - bench.oracle.arrived();
    println!("{rounds} groups, {letters} dead letters before it was rolled back");
    assert!(letters < 200, "{letters}");
}
