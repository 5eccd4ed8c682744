//! Metrics, and the documents, alerts and dashboards that use them.

use std::collections::BTreeSet;

use super::*;

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
        "forwarder_dead_letters_missed 5",
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
        "forwarder_script_memory_used_bytes 270000",
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

const OPERATE: &str = include_str!("../../../docs/operate.md");
const ALERTS: &str = include_str!("../../../examples/alerts.yml");
const BOARD: &str = include_str!("../../../examples/grafana/forwarder.json");

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
    for (file, least) in [(include_str!("../../../README.md"), 2), (OPERATE, 40), (ALERTS, 15), (BOARD, 30)] {
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
