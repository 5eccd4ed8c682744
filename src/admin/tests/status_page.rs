//! The status as JSON and as a page.

use super::*;

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
    assert_eq!(status["missed_dead_letters"], 5);
    assert_eq!(status["reasons"][0]["text"], "shard audit/2 is PAUSED: no room \"here\"");
    assert_eq!(shard["page_seconds"], 0);
    assert_eq!(status["dropped_by_reason"]["health <check>"], 7);
    assert_eq!(status["destinations"][0]["state"], "down");
    assert_eq!(status["destinations"][0]["cause"], "siem: refused");
    assert_eq!(status["destinations"][0]["holds"]["unacknowledged_bytes"], 900);
    let limited_by = status["destinations"][0]["limited_by"].as_str().unwrap();
    assert!(limited_by.starts_with("run.memory and acknowledgements"), "{limited_by}");
    assert_eq!(status["memory"]["full"], true);
    let destination = &status["destinations"][0];
    let expected = serde_json::json!({ "seconds": 430, "half_within_seconds": 0.005, "most_within_seconds": 1.0 });
    assert_eq!((&destination["events_per_second"], &destination["recent_batches"]), (&12.34.into(), &expected));
    assert_eq!(status["sources"][0]["member_seconds"], 60);
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
        "<li>2 dead letters wait for an operator: forwarder dlq list --dir /var/lib/forwarder/dead-letters<br>",
        "then forwarder dlq replay --dir /var/lib/forwarder/dead-letters</small>",
        "<th scope=\"col\">shard</th>",
        "<td data-is=\"state\"><span class=\"bad\">PAUSED</span></td><td data-is=\"waits for\">room for dead letters</td><td data-is=\"lag\">5 s</td><td data-is=\"logs behind, about\">1</td><td data-is=\"time to loss\">1 min 40 s",
        "<tr data-key=\"audit/5\"><td data-is=\"shard\">audit/5</td><td data-is=\"state\">last saved by g-other-&lt;1&gt;</td>",
        "<td data-is=\"checkpoint saved\">1 min 0 s ago</td>",
        "<dd>https://sls.example</dd>",
        "<dt>member of the group</dt><dd>since 1970-01-01 00:00:45 UTC (1 min 0 s)</dd>",
        "<dt>its certificate ends</dt><dd>1970-01-21 00:01:45 UTC (in 20 d 0 h)</dd>",
        "<dt>probe</dt><dd>the last log took 1.5 s; one written 9 s ago is not delivered yet</dd>",
        "<td>pull</td><td>Unauthorized</td><td>3</td>",
        "<b class=\"bad\">down</b> since 1970-01-01 00:01:45 UTC (0 s)",
        "<dd>confirmed: the receiver read every byte</dd>",
        "<dt>its certificate ends</dt><dd>1970-01-31 00:01:45 UTC (in 30 d 0 h)</dd>",
        "<dt>events a second</dt><dd>12.3 in the last minute</dd>",
        "<dt>a batch takes</dt><dd>at most 5 ms (50 %), 1 s (99 %), in the last 7 min</dd>",
        "<dt>limited by</dt><dd>run.memory and acknowledgements: the memory is used up",
        "<td>503</td><td>11</td>",
        "<dd>0123456789ab since 1970-01-01 00:01:45 UTC (0 s)</dd>",
        "<dd>3 taken, 1 refused, 0 rolled back</dd>",
        "<dd>1970-01-01 00:01:45 UTC (0 s): s.lua:2: nor that</dd>",
        "<td>s.lua:7: attempt to index a nil value</td><td>3</td>",
        "<td>health &lt;check&gt;</td><td>7</td>",
        "<code>forwarder dlq list --dir /var/lib/forwarder/dead-letters</code>",
        "pulled <b>10</b> = delivered <b>6</b> + dropped <b>1</b> + dead-lettered <b>2</b> + in flight <b>1</b>",
        "the ledger balances",
        "<p>950 B of 1.0 kB of run.memory are in use: it delays the pulls.</p>",
    ] {
        let Some(at) = rest.find(next) else { panic!("{next} is not in, or not there:\n{shown}") };
        rest = &rest[at + next.len()..];
    }
    let shown = page(&well());
    assert!(shown.contains("<section class=\"verdict good\"") && !shown.contains("class=\"bad\""), "{shown}");
    let group = GroupHealth {
        joined: true,
        waiting: Some("shard 0 is held by x: standing by".into()),
        ..GroupHealth::default()
    };
    let mut alone = in_group(group, well());
    alone.sources[0].owners.clear();
    let shown = page(&Snapshot { shards: Ledger::default().read(), ..alone });
    assert!(
        shown.contains("<title>Standing by – forwarder</title>")
            && shown.contains("<li>shard 0 is held by x: standing by</li>"),
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
        // endpoint, the cause, the address, a reply, the running version, the last refusal, an error and the directory four times.
        assert_eq!(page.matches("&lt;script&gt;alert(1)&lt;/script&gt;").count(), 19, "{page}");
        let markup = ["<script>alert", "<img", "='a()'", "\u{202e}", "\u{1b}"];
        assert_eq!(markup.map(|markup| page.contains(markup)), [false; 5], "{page}");
    }
}
