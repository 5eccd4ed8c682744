use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::*;
use crate::core::budget::SourceMemory;
use crate::core::certificates::CertificateEnds;
use crate::core::cursor::{ShardId, ShardName, SourceName};
use crate::core::destination_account::EventCounts;
use crate::core::destination_name::DestinationName;
use crate::core::drop_reasons::DropReasons;
use crate::core::ledger::{Ledger, Settled, Wait};
use crate::core::probes::ProbeStatus;
use crate::core::timings::TimingsRead;
use crate::dead_letter::DeadLettersOnDisk;
use crate::destination::{Counter, DestinationStatus, Figures, Gauge, Health, Promise};
use crate::pipeline::tap::Taps;
use crate::script::Reloads;
use crate::sls::{CallError, KeyStatus};

/// A program that only reports its status.
impl<F: Fn() -> Snapshot + Send + Sync + 'static> Program for F {
    fn read(&self) -> Snapshot {
        self()
    }

    fn acknowledge_gaps(&self) -> io::Result<u64> {
        Ok(2)
    }

    fn tap(&self, wanted: TapQuery) -> Result<Tapped, TooManyTaps> {
        Arc::<Taps>::default().open(wanted)
    }
}

fn page(snapshot: &Snapshot) -> String {
    page::html(snapshot, &History::default())
}

fn shard(number: u32) -> ShardName {
    ShardName { source: SourceName::new("audit"), shard: ShardId(number) }
}

pub(super) fn to(name: &str, health: Health) -> DestinationStatus {
    DestinationStatus {
        name: DestinationName::new(name).unwrap(),
        address: "https://siem.example".into(),
        promise: Promise { label: "confirmed", sentence: "delivered means confirmed: the receiver read every byte" },
        health,
        isolation: None,
        certificates: CertificateEnds { server: Some(105 + 30 * 86_400), ours: None },
        events: EventCounts { delivered: 6, rejected: 2, in_flight: 1, ..EventCounts::default() },
        figures: Figures {
            counters: vec![Counter { name: "requests", help: "Requests sent, including failed ones", value: 12 }],
            replies: vec![("503".into(), 11), ("no_reply".into(), 1)],
            ..Figures::default()
        },
        gauges: vec![Gauge {
            name: "unacknowledged_bytes",
            help: "Bytes of events that were accepted and wait for an acknowledgement of the indexers",
            value: 900,
        }],
        warnings: Vec::new(),
    }
}

fn dropped_for(reason: &str, logs: u64) -> DropReasons {
    let mut reasons = DropReasons::default();
    reasons.add(reason.as_bytes(), logs);
    reasons
}

pub(super) fn snapshot() -> Snapshot {
    let ledger = Ledger::default();
    let account = ledger.account(&shard(2));
    account.acquired();
    account.pulled(5, 50, Some(90));
    account.pulled(5, 50, Some(95));
    account.read_to_end(Instant::now());
    account.settled(Settled { delivered: 6, dropped: 1, dead_lettered: 2, events: 6 }, Some(100));
    account.waits(Wait::Disk, "no room \"here\"".into());
    let source = SourceSnapshot {
        name: "audit".into(),
        who: Identity {
            endpoint: "https://sls.example".into(),
            project: "p".into(),
            logstore: "l".into(),
            group: "g".into(),
            consumer: "g-host-7".into(),
        },
        group: GroupHealth { joined: true, ..GroupHealth::default() },
        credentials: KeyStatus {
            provider: "role r assumed by ECS role e".into(),
            valid_for: Some(Duration::from_secs(2400)),
            failing: None,
            failures: 3,
        },
        certificate_end: Some(105 + 20 * 86_400),
        retention: Some(Duration::from_secs(105)),
        owners: vec![
            ShardOwner { shard: ShardId(2), consumer: "g-host-7".into(), saved_at: 100 },
            ShardOwner { shard: ShardId(5), consumer: "g-other-<1>".into(), saved_at: 45 },
        ],
        calls: vec![("pull", 7)],
        errors: vec![CallError { call: "pull", code: "Unauthorized".into(), count: 3 }],
        probe: Some(ProbeStatus {
            waiting: Some(Duration::from_secs(9)),
            took: Some(Duration::from_millis(1_500)),
            failing: None,
        }),
        timings: TimingsRead::default(),
        memory: SourceMemory { held: 950, waiting_since: None },
    };
    Snapshot {
        sources: vec![source],
        destinations: vec![to("siem", Health::Down { since: Instant::now(), cause: "siem: refused".into() })],
        letters: Some(DeadLettersOnDisk { open: 2, bytes: 900, ..DeadLettersOnDisk::default() }),
        open_gaps: 0,
        lag_change: None,
        drop_reasons: dropped_for("health <check>", 7),
        script_errors: vec![("s.lua:7: attempt to index a nil value".into(), 3)],
        letters_dir: "/var/lib/forwarder/dead-letters".into(),
        memory: Memory { used: 950, limit: 1_000 },
        shards: ledger.read(),
        script: "0123456789ab".into(),
        script_since: Instant::now(),
        reloads: Reloads { taken: 3, refused: 1, rolled_back: 0, trouble: Some("s.lua:3: no".into()) },
        last_refused: Some((Instant::now(), "s.lua:2: nor that".into())),
        started: Instant::now(),
        now: 105,
        at: Instant::now(),
    }
}

/// A snapshot without any problem.
pub(super) fn well() -> Snapshot {
    let ledger = Ledger::default();
    let account = ledger.account(&shard(2));
    account.acquired();
    account.caught_up();
    let well = Snapshot { shards: ledger.read(), reloads: Reloads::default(), ..with_letters(0, snapshot()) };
    with_health(Health::Up { since: Instant::now() }, well)
}

pub(super) fn with_letters(open: u64, snapshot: Snapshot) -> Snapshot {
    Snapshot { letters: Some(DeadLettersOnDisk { open, ..DeadLettersOnDisk::default() }), ..snapshot }
}

pub(super) fn with_health(health: Health, mut snapshot: Snapshot) -> Snapshot {
    snapshot.destinations[0].health = health;
    snapshot
}

pub(super) fn in_group(group: GroupHealth, mut snapshot: Snapshot) -> Snapshot {
    snapshot.sources[0].group = group;
    snapshot
}

#[test]
fn the_status_accounts_for_every_log_and_lists_the_problems() {
    let status: serde_json::Value = serde_json::from_str(&status::json(&snapshot())).unwrap();
    let shard = &status["shards"][0];
    for (key, expected) in
        [("shard", 2), ("pulled", 10), ("delivered", 6), ("dropped", 1), ("dead_lettered", 2), ("in_flight", 1)]
    {
        assert_eq!(shard[key], expected, "{key}");
    }
    assert_eq!((&shard["missing"], &shard["lag_seconds"]), (&0.into(), &5.into()));
    assert_eq!(shard["standstill"], "no room \"here\"");
    assert_eq!((&status["state"], &status["open_dead_letters"]), (&"trouble".into(), &2.into()));
    assert_eq!(status["reasons"][0]["text"], "shard audit/2 is PAUSED: no room \"here\"");
    assert_eq!(shard["page_seconds"], 0);
    assert_eq!(status["dropped_by_reason"]["health <check>"], 7);
    assert_eq!(status["destinations"][0]["state"], "down");
    assert_eq!(status["destinations"][0]["cause"], "siem: refused");
    assert_eq!(status["destinations"][0]["holds"]["unacknowledged_bytes"], 900);
    assert_eq!(status["memory"]["full"], true);
    let credentials = &status["sources"][0]["credentials"];
    assert_eq!(credentials["provider"], "role r assumed by ECS role e");
    assert_eq!((&credentials["valid_seconds"], &credentials["failures"]), (&2400.into(), &3.into()));
    assert_eq!(status["script"]["trouble"], "s.lua:3: no");
    assert_eq!(status["script"]["last_refused"]["why"], "s.lua:2: nor that");
    assert_eq!((&status["sources"][0]["consumer"], &shard["durable_to"]), (&"g-host-7".into(), &100.into()));
}

#[test]
fn the_page_shows_the_same_with_the_problems_first() {
    let shown = page(&snapshot());
    let mut rest = shown.as_str();
    for next in [
        "<title>Paused, 4 problems – forwarder</title>",
        "p / l, group g, consumer g-host-7",
        "<h2 id=\"verdict\">Paused</h2>",
        "<li>shard audit/2 is PAUSED: no room &quot;here&quot;<br><small>So: its logs wait in SLS</small><br><small>Do: correct",
        "<li>the destination is down, logs wait in SLS: siem: refused<br>",
        "<li>script: s.lua:3: no<br>",
        "<li>2 dead letters wait for somebody: forwarder dlq list<br>",
        "<th scope=\"col\">shard</th>",
        "<td data-is=\"state\"><span class=\"bad\">PAUSED</span></td><td data-is=\"waits for\">room for dead letters</td><td data-is=\"lag\">5 s</td><td data-is=\"logs behind, about\">1</td><td data-is=\"time to loss\">1 min 40 s",
        "<tr data-key=\"audit/5\"><td data-is=\"shard\">audit/5</td><td data-is=\"state\">last saved by g-other-&lt;1&gt;</td>",
        "<td data-is=\"checkpoint saved\">1 min 0 s ago</td>",
        "<dd>https://sls.example</dd>",
        "<dt>its certificate ends</dt><dd>1970-01-21 00:01:45 UTC (in 20 d 0 h)</dd>",
        "<dt>probe</dt><dd>the last log took 1.5 s; one written 9 s ago is not delivered yet</dd>",
        "<td>pull</td><td>Unauthorized</td><td>3</td>",
        "<b class=\"bad\">down</b> since 1970-01-01 00:01:45 UTC (0 s)",
        "<dd>confirmed: the receiver read every byte</dd>",
        "<dt>its certificate ends</dt><dd>1970-01-31 00:01:45 UTC (in 30 d 0 h)</dd>",
        "<td>503</td><td>11</td>",
        "<dd>0123456789ab since 1970-01-01 00:01:45 UTC (0 s)</dd>",
        "<dd>3 taken, 1 refused, 0 rolled back</dd>",
        "<dd>1970-01-01 00:01:45 UTC (0 s): s.lua:2: nor that</dd>",
        "<td>s.lua:7: attempt to index a nil value</td><td>3</td>",
        "<td>health &lt;check&gt;</td><td>7</td>",
        "<code>forwarder dlq list --dir /var/lib/forwarder/dead-letters</code>",
        "pulled <b>10</b> = delivered <b>6</b> + dropped <b>1</b> + dead-lettered <b>2</b> + in flight <b>1</b>",
        "the ledger balances",
    ] {
        let Some(at) = rest.find(next) else { panic!("{next} is not in, or not there:\n{shown}") };
        rest = &rest[at + next.len()..];
    }
    let shown = page(&well());
    assert!(shown.contains("<section class=\"verdict good\"") && !shown.contains("class=\"bad\""), "{shown}");
    let group = GroupHealth { joined: true, waiting: Some("x has them".into()), ..GroupHealth::default() };
    let mut alone = in_group(group, well());
    alone.sources[0].owners.clear();
    let shown = page(&Snapshot { shards: Ledger::default().read(), ..alone });
    assert!(
        shown.contains("<title>Waiting – forwarder</title>") && shown.contains("<li>waiting: x has them</li>"),
        "{shown}"
    );
    assert!(shown.contains("surplus processes stand by") && !shown.contains("verdict good"), "{shown}");
    let shown = page(&Snapshot { open_gaps: 1, ..well() });
    assert!(shown.contains("<button data-post=\"/gaps/acknowledge\">") && shown.contains("Logs were lost"), "{shown}");
}

#[test]
fn an_unknown_number_of_waiting_logs_is_not_shown() {
    let ledger = Ledger::default();
    let account = ledger.account(&shard(2));
    account.acquired();
    // A burst, and its end was not seen.
    account.pulled(50_000, 50, Some(90));
    account.pulled(50_000, 50, Some(91));
    let snapshot = Snapshot { shards: ledger.read(), ..snapshot() };
    let status: serde_json::Value = serde_json::from_str(&status::json(&snapshot)).unwrap();
    assert_eq!(
        (&status["shards"][0]["in_flight"], &status["shards"][0]["lag_logs"]),
        (&100_000.into(), &serde_json::Value::Null)
    );
    assert!(page(&snapshot).contains("<td data-is=\"logs behind, about\">–</td>"));
    assert!(!metrics::text(&snapshot, Dialect::Prometheus).contains("forwarder_lag_logs{"));
}

#[test]
fn live_updates_carry_the_same_markup_as_the_page() {
    let snapshot = snapshot();
    let shown = page(&snapshot);
    let event = page::event(&snapshot, &History::default());
    assert!(event.starts_with("retry: 2000\ndata: <main ") && event.ends_with("</main>\n\n"), "{event}");
    let (_, main) = shown.split_once("<main ").unwrap();
    let (main, _) = main.split_once("</main>").unwrap();
    let lines: Vec<_> = event.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(format!("<main {main}</main>"), lines.join("\n"));
}

/// Assistive technology navigates by headings, landmarks and header cells.
#[test]
fn every_section_of_the_page_has_a_heading_and_every_header_cell_a_scope() {
    let shown = page(&snapshot());
    assert_eq!(shown.matches("<section").count(), shown.matches("<h2 id=").count());
    assert_eq!(shown.matches("<th").count(), shown.matches("<th scope=").count() + shown.matches("<thead").count());
    for at in shown.split("aria-labelledby=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(shown.contains(&format!(" id=\"{at}\"")), "{at}");
    }
    assert!(!shown.contains(" style=") && !shown.contains("http-equiv"), "the policy forbids it, and nothing reloads");
}

#[tokio::test(start_paused = true)]
async fn a_page_that_the_script_works_on_for_long_is_shown_everywhere() {
    let ledger = Ledger::default();
    let account = ledger.account(&shard(2));
    account.acquired();
    account.enters_script(Instant::now());
    let snapshot = || Snapshot { shards: ledger.read(), reloads: Reloads::default(), ..snapshot() };
    tokio::time::advance(std::time::Duration::from_secs(9)).await;
    assert!(!page(&snapshot()).contains("SLOW"));
    tokio::time::advance(std::time::Duration::from_secs(61)).await;
    let shown = page(&snapshot());
    assert!(shown.contains("<li>shard audit/2 is SLOW: the script has worked on one page for 1m 10s;"), "{shown}");
    let status: serde_json::Value = serde_json::from_str(&status::json(&snapshot())).unwrap();
    assert_eq!(status["shards"][0]["page_seconds"], 70);
    assert!(
        metrics::text(&snapshot(), Dialect::Prometheus)
            .contains("forwarder_page_seconds{source=\"audit\",shard=\"2\"} 70\n")
    );
    account.leaves_script();
    assert!(!page(&snapshot()).contains("SLOW"));
}

/// Logs, the answers of a SIEM, scripts and project names come from other people.
#[test]
fn no_foreign_text_becomes_markup() {
    const EVIL: &str = "</li></dd></title><script>alert(1)</script><img src=x onerror='a()'>\"\u{202e}\u{1b}[2J";
    let evil = || EVIL.to_owned();
    let ledger = Ledger::default();
    ledger.account(&shard(1)).halted(1, evil());
    ledger.account(&shard(2)).waits(Wait::Script, evil());
    let mut base = Snapshot {
        shards: ledger.read(),
        script: evil(),
        reloads: Reloads { trouble: Some(evil()), ..Reloads::default() },
        last_refused: Some((Instant::now(), evil())),
        ..snapshot()
    };
    base.sources[0].who =
        Identity { endpoint: evil(), project: evil(), logstore: evil(), group: evil(), consumer: evil() };
    base.destinations[0].address = evil();
    base.destinations[0].figures.replies = vec![(evil(), 1)];
    (base.script_errors, base.letters_dir) = (vec![(evil(), 1)], evil());
    let since = Instant::now();
    for health in [Health::Down { since, cause: evil() }, Health::Refusing { since, cause: evil() }] {
        let page = page(&with_health(health, base.clone()));
        // Four names; two shards, the destination and the script's trouble in the list; and under their headings the
        // endpoint, the cause, the address, a reply, the running version, the last refusal, an error and the directory twice.
        assert_eq!(page.matches("&lt;script&gt;alert(1)&lt;/script&gt;").count(), 17, "{page}");
        let markup = ["<script>alert", "<img", "='a()'", "\u{202e}", "\u{1b}"];
        assert_eq!(markup.map(|markup| page.contains(markup)), [false; 5], "{page}");
    }
}

#[test]
fn every_metric_has_help_and_one_line_per_shard() {
    let text = metrics::text(&snapshot(), Dialect::Prometheus);
    for line in [
        "forwarder_delivered_total{source=\"audit\",shard=\"2\"} 6",
        "forwarder_dead_lettered_total{source=\"audit\",shard=\"2\"} 2",
        "forwarder_dropped_by_reason_total{reason=\"health <check>\"} 7",
        "forwarder_build_info{version=\"0.1.0\"} 1",
        "forwarder_pulled_total{source=\"audit\",shard=\"2\"} 10",
        "forwarder_sls_calls_total{source=\"audit\",call=\"pull\"} 7",
        "forwarder_destination_replies_total{destination=\"siem\",code=\"503\"} 11",
        "forwarder_delivery_seconds_count{destination=\"siem\"} 0",
        "forwarder_end_to_end_seconds_bucket{source=\"audit\",le=\"+Inf\"} 0",
        "forwarder_dead_letters_bytes 900",
        "forwarder_time_to_loss_seconds{source=\"audit\",shard=\"2\"} 100",
        "process_start_time_seconds 105",
        "forwarder_missing{source=\"audit\",shard=\"2\"} 0",
        "forwarder_lag_seconds{source=\"audit\",shard=\"2\"} 5",
        "forwarder_lag_logs{source=\"audit\",shard=\"2\"} 1",
        "forwarder_standstill{source=\"audit\",shard=\"2\"} 1",
        "forwarder_shards_held 1",
        "forwarder_sls_up 1",
        "forwarder_problems 4",
        "forwarder_joined{source=\"audit\"} 1",
        "forwarder_waiting_for_shards{source=\"audit\"} 0",
        "forwarder_dead_letters_open 2",
        "forwarder_credentials_expiry_seconds{source=\"audit\"} 2400",
        "forwarder_credentials_failures_total{source=\"audit\"} 3",
        "forwarder_sls_errors_total{source=\"audit\",call=\"pull\",code=\"Unauthorized\"} 3",
        "forwarder_destination_info{destination=\"siem\",address=\"https://siem.example\",delivered_means=\"confirmed\"} 1",
        "forwarder_destination_state{destination=\"siem\",state=\"down\"} 1",
        "forwarder_destination_state{destination=\"siem\",state=\"up\"} 0",
        "# HELP forwarder_destination_requests_total Requests sent, including failed ones",
        "forwarder_destination_unacknowledged_bytes{destination=\"siem\"} 900",
        "forwarder_certificate_expiry_timestamp_seconds{source=\"audit\",side=\"server\"} 1728105",
        "forwarder_certificate_expiry_timestamp_seconds{destination=\"siem\",side=\"server\"} 2592105",
        "forwarder_probe_seconds{source=\"audit\"} 1.5",
        "forwarder_probe_age_seconds{source=\"audit\"} 9",
        "forwarder_memory_used_bytes 950",
        "forwarder_destination_events_total{destination=\"siem\"} 6",
        "forwarder_destination_rejected_events_total{destination=\"siem\"} 2",
        "forwarder_destination_requests_total{destination=\"siem\"} 12",
        "forwarder_script_refused_total 1",
        "forwarder_script_trouble 1",
        "forwarder_script_info{version=\"0123456789ab\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let name = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(text.contains(&format!("# HELP {name} ")) && text.contains(&format!("# TYPE {name} ")), "{name}");
    }
}

/// To update it after a change of the metrics, copy the output of this test.
#[test]
fn the_documentation_has_the_table_of_metrics() {
    let text = metrics::text(&snapshot(), Dialect::Prometheus);
    let mut table = "| metric | type | labels | meaning |\n|---|---|---|---|\n".to_owned();
    let mut lines = text.lines().filter(|line| !line.starts_with("# HELP process_")).peekable();
    while let Some(line) = lines.next() {
        let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) else { continue };
        let kind = lines.next().unwrap().rsplit(' ').next().unwrap();
        let sample = lines.peek().filter(|line| !line.starts_with('#')).map_or("", |line| line);
        let labels: Vec<_> = sample.split('"').step_by(2).filter_map(|part| part.strip_suffix('=')).collect();
        let labels: Vec<_> = labels.iter().map(|part| part.rsplit([',', '{']).next().unwrap()).collect();
        table += &format!("| `{name}` | {kind} | {} | {help} |\n", labels.join(", "));
    }
    assert!(table.lines().count() > 40, "{table}");
    if !OPERATE.contains(&table) {
        let path = std::env::temp_dir().join("forwarder-metrics-table.md");
        std::fs::write(&path, &table).unwrap();
        panic!("docs/operate.md is behind; the table that it should hold is in {}", path.display());
    }
}

const OPERATE: &str = include_str!("../../docs/operate.md");
const ALERTS: &str = include_str!("../../examples/alerts.yml");
const BOARD: &str = include_str!("../../examples/grafana/forwarder.json");

#[test]
fn every_alert_says_what_to_do() {
    let alerts: Vec<_> = ALERTS.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() >= 10, "{alerts:?}");
    for alert in alerts {
        assert!(OPERATE.contains(&format!("| `{alert}` |")), "docs/operate.md has no line for {alert}");
    }
}

#[test]
fn documents_alerts_and_dashboards_name_only_existing_metrics() {
    let text = metrics::text(&snapshot(), Dialect::Prometheus);
    for (file, least) in [(include_str!("../../README.md"), 2), (OPERATE, 40), (ALERTS, 15), (BOARD, 30)] {
        let names = names(file);
        assert!(names.len() >= least, "{names:?}");
        for name in names {
            assert!(has_metric(&text, name), "{name}");
        }
    }
}

#[test]
fn alerts_and_dashboards_use_only_labels_of_their_metrics() {
    let text = metrics::text(&snapshot(), Dialect::Prometheus);
    let rules: Vec<_> = ALERTS.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).collect();
    let board: serde_json::Value = serde_json::from_str(BOARD).unwrap();
    let panels = board["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    let shown: Vec<_> = targets.map(|target| target["expr"].as_str().unwrap()).collect();
    assert!(rules.len() >= 15 && shown.len() >= 30, "{rules:?} {shown:?}");
    for expression in rules.into_iter().chain(shown) {
        // Those that Prometheus adds, and those of a histogram.
        let mut known: BTreeSet<_> = ["instance", "job", "le"].into();
        for name in names(expression) {
            let samples = text.lines().filter(|line| line.starts_with(&format!("{name}{{")));
            // Every other piece is a value.
            known.extend(
                samples
                    .flat_map(|sample| sample.split('"').step_by(2))
                    .filter_map(|piece| piece.strip_suffix('=').and_then(|piece| piece.rsplit([',', '{']).next())),
            );
        }
        let grouped = [" by (", " on ("].iter().flat_map(|word| expression.split(word).skip(1));
        let grouped = grouped.flat_map(|rest| rest.split(')').next().unwrap().split(", "));
        let matched = expression.split('{').skip(1).map(|rest| rest.split(['=', '!']).next().unwrap());
        for label in grouped.chain(matched) {
            assert!(known.contains(label), "no metric has {label}, only {known:?}: {expression}");
        }
    }
}

/// The names of our metrics in a text, and those of the process.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("forwarder_") || word.starts_with("process_")).collect()
}

fn has_metric(text: &str, name: &str) -> bool {
    let name = name.strip_suffix("_bucket").unwrap_or(name);
    text.contains(&format!("# HELP {name} "))
}

async fn ask(address: std::net::SocketAddr, request: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{request} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    reply
}

#[tokio::test]
async fn each_path_is_answered_and_an_unknown_one_gets_the_list_of_paths() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let joined = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = Arc::clone(&joined);
    let read = move || {
        let joined = seen.load(std::sync::atomic::Ordering::Relaxed);
        in_group(GroupHealth { joined, ..GroupHealth::default() }, snapshot())
    };
    let mut serving = JoinSet::new();
    serving.spawn(serve(Some(listener), None, read));
    let check_with = async |request: &str, headers: &str, status: &str, part: &str| {
        let reply = ask(address, request, headers).await;
        let is_good = reply.starts_with(&format!("HTTP/1.1 {status}")) && reply.contains(part);
        assert!(is_good, "{request} {headers}: {reply}");
    };
    let check = async |request: &str, status: &str, part: &str| {
        check_with(request, "Host: localhost:9464\r\n", status, part).await;
    };
    check("GET /live", "200", "live").await;
    check("GET /ready", "503", "not joined").await;
    joined.store(true, std::sync::atomic::Ordering::Relaxed);
    check("GET /ready", "200", "ready; shard audit/2 is PAUSED").await;
    check("GET /status", "200", "\"shards\"").await;
    check("GET /metrics", "200", "forwarder_pulled_total{").await;
    let open = "Host: localhost\r\nAccept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n";
    check_with("GET /metrics", open, "200", "\n# EOF\n").await;
    check_with("GET /metrics", open, "200", "application/openmetrics-text; version=1.0.0").await;
    check("GET /nothing", "404", "/metrics").await;
    check("GET /tap", "403", "only at the socket of the process").await;
    check("POST /status", "405", "GET").await;
    check("OPTIONS /gaps/acknowledge", "405", "GET").await;
    check("POST /gaps/acknowledge", "403", "X-Forwarder").await;
    check_with("POST /gaps/acknowledge", "Host: localhost\r\nX-Forwarder: 1\r\n", "200", "2 gaps acknowledged").await;
    check_with("POST /gaps/acknowledge", "Host: evil.example\r\nX-Forwarder: 1\r\n", "403", "Host").await;

    check("GET /", "200", "<h1>forwarder").await;
    check("GET /events", "200", "content-type: text/event-stream").await;
    check("GET /events", "200", "data: <main ").await;
    check("GET /", "200", "content-security-policy: default-src 'none'; style-src 'sha256-").await;
    check("GET /", "200", "x-content-type-options: nosniff").await;
    let browser = "Host: [::1]:9464\r\nAccept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\n";
    check_with("GET /status", browser, "200", "<h1>forwarder").await;
    check_with("GET /status", "Host: 127.0.0.1\r\nAccept: */*\r\n", "200", "\"shards\"").await;

    // A page of another site whose name was made to resolve to this address.
    for host in ["evil.example", "evil.example:9464", "127.0.0.1.evil.example", "localhost.evil.example", "", "a b"] {
        for path in ["/", "/status", "/metrics", "/live"] {
            check_with(&format!("GET {path}"), &format!("Host: {host}\r\n"), "403", "the Host header must be").await;
        }
    }
    let two = "Host: localhost\r\nHost: evil.example\r\n";
    check_with("GET /status", two, "403", "the Host header must be").await;
}

#[tokio::test]
async fn the_socket_serves_the_same_paths_and_also_accepts_changes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let mut serving = JoinSet::new();
    serving.spawn(serve(None, Some(UnixListener::bind(&path).unwrap()), snapshot));
    for (request, status, part) in [
        ("GET /status HTTP/1.0\r\n", "200", "\"shards\""),
        ("GET /metrics HTTP/1.1\r\nHost: what.ever\r\n", "200", "forwarder_pulled_total{"),
        ("GET /tap?kind=nothing HTTP/1.0\r\n", "400", "log, event, failure or letter"),
        ("POST /gaps/acknowledge HTTP/1.1\r\nHost: x\r\nX-Forwarder: 1\r\n", "200", "2 gaps acknowledged"),
    ] {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(format!("{request}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        let is_good = reply.split(' ').nth(1) == Some(status) && reply.contains(part);
        assert!(is_good, "{request}: {reply}");
    }
}

/// Starts the listener with a snapshot of many shards, so that a reply is larger than the socket buffer.
async fn start_with_shards(shards: u32) -> (std::net::SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let ledger = Ledger::default();
    for id in 0..shards {
        ledger.account(&shard(id)).acquired();
    }
    let mut serving = JoinSet::new();
    serving.spawn(serve(Some(listener), None, move || Snapshot { shards: ledger.read(), ..snapshot() }));
    (address, serving)
}

/// Asserts that the answer comes before any deadline could have closed a connection.
async fn assert_answers_at_once(address: std::net::SocketAddr, path: &str) {
    let request = format!("GET {path}");
    let reply = tokio::time::timeout(listener::REQUEST_TIMEOUT * 4 / 5, ask(address, &request, "Host: localhost\r\n"));
    let reply = reply.await.expect("a probe is answered");
    assert!(reply.starts_with("HTTP/1.1 200"), "{path}: {reply}");
}

#[tokio::test]
async fn silent_clients_do_not_block_probes() {
    let (address, _serving) = start_with_shards(1).await;
    let mut silent = Vec::new();
    for _ in 0..2 * listener::MAX_CONNECTIONS {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    assert_answers_at_once(address, "/live").await;
}

#[tokio::test]
async fn clients_that_pipeline_and_never_read_do_not_block_probes() {
    let (address, _serving) = start_with_shards(2_000).await;
    let many = "GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
    let mut greedy = Vec::new();
    for _ in 0..2 * listener::MAX_CONNECTIONS {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(many.as_bytes()).await.unwrap();
        greedy.push(stream);
    }
    for path in ["/live", "/ready", "/metrics"] {
        assert_answers_at_once(address, path).await;
    }
}

#[tokio::test]
async fn a_connection_carries_one_request() {
    let (address, _serving) = start_with_shards(1).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let two = "GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(2);
    stream.write_all(two.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    assert_eq!(reply.matches("HTTP/1.1 200").count(), 1, "{reply}");
}
